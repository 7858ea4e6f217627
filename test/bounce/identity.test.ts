import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addressKey,
  envelopeAddress,
  foldDomain,
  isInternational,
  messageIdKey,
  openRetriesOf,
  parseAddress,
  quoted,
  TASK_QUEUE,
  workflowId,
} from '../../src/bounce/index.js'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

test('any address or destination stays one quoted value in a visibility query', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("'", '\\', '"', 'a', ' ', '=', '-') }), (text) => {
      const [, inner] = /^'((?:[^'\\]|\\.)*)'$/s.exec(quoted(text)) as RegExpExecArray
      expect(inner?.replace(/\\(.)/gs, '$1')).toBe(text)
    }),
  )
  expect(openRetriesOf(TASK_QUEUE, "x' OR ExecutionStatus = 'Running")).toMatch(
    /BounceDestination = 'x\\' OR ExecutionStatus = \\'Running'$/,
  )
})

describe('addresses', () => {
  test('addresses compare case-insensitively, with the domain as A-labels', () => {
    expect(addressKey('Ann.O@EXAMPLE.Org')).toBe('ann.o@example.org')
    expect(addressKey('ann@BÜCHER.example')).toBe('ann@xn--bcher-kva.example')
    expect(addressKey('ann@xn--bcher-kva.example')).toBe('ann@xn--bcher-kva.example')
    expect(addressKey('ann@example.org.')).toBe('ann@example.org')
    expect(addressKey('ann@[192.0.2.1]')).toBe('ann@[192.0.2.1]')
    // NFD and NFC of the same local part are the same mailbox
    expect(addressKey('jose\u0301@example.org')).toBe(addressKey('jos\u00e9@example.org'))
  })

  test('an address key is its own key; an address whose key would be invalid is refused', () => {
    const key = addressKey('J\u030cim@example.org')
    expect(addressKey(key)).toBe(key)
    for (const bad of [
      'x\u037ey@example.org',
      'ann@bank.example/\u00fc',
      'ann@\u00fc/x',
      'ann@\u00fc:80',
      'ann@\u00fc?x',
      'ann@\u00fc#x',
      `${'a'.repeat(60)}@${'\u00fc.'.repeat(25)}de`,
    ])
      expect(() => parseAddress(bad), bad).toThrow()
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 6 }), (local) => {
        let once: string
        try {
          once = addressKey(`${local}@example.org`)
        } catch {
          return
        }
        expect(addressKey(once)).toBe(once)
      }),
      { numRuns: 5000 },
    )
  })

  test('the envelope address keeps the local part as written', () => {
    expect(envelopeAddress(parseAddress('Ann.O@EXAMPLE.Org'))).toBe('Ann.O@example.org')
    expect(envelopeAddress(parseAddress('用户@例え.jp'))).toBe('用户@xn--r8jz45g.jp')
    expect(envelopeAddress(parseAddress('"ann o"@example.org'))).toBe('"ann o"@example.org')
  })

  test('an invalid address is refused with the reason', () => {
    for (const text of [
      '',
      'ann',
      '@example.org',
      'ann@',
      'ann@ex ample.org',
      'ann o@example.org',
      'ann@example..org',
      'ann@-example.org',
      'ann@exa_mple.org',
      'a@b@example.org',
      '<ann@example.org>',
      'ann@example.org\r\nRCPT TO:<eve@example.org>',
      'ann\0@example.org',
      'ann\n@example.org',
      '"ann@example.org',
      'ann@http://example.org',
      'ann@example.org:25',
      `${'a'.repeat(250)}@example.org`,
      `ann@${'a'.repeat(64)}.org`,
    ])
      expect(() => parseAddress(text), JSON.stringify(text)).toThrow(/./)
  })

  test('length limits of addresses are exact', () => {
    const nonRetryable = (text: string) => {
      try {
        parseAddress(text)
        return null
      } catch (error) {
        return (error as Error).message
      }
    }
    // 254 bytes and no more (RFC 5321 4.5.3.1.3, erratum 1690), labels of 63
    const domain = `${'d'.repeat(63)}.${'e'.repeat(63)}.${'f'.repeat(60)}.org`
    expect(nonRetryable(`${'a'.repeat(254 - 1 - domain.length)}@${domain}`)).toBeNull()
    expect(nonRetryable(`${'a'.repeat(255 - 1 - domain.length)}@${domain}`)).toContain('is longer than 254 bytes (RFC 5321 4.5.3.1.3)')
    expect(nonRetryable(`ann@${'a'.repeat(64)}.org`)).toContain('is not a domain')
    for (const one of ['a@b', 'a@b.c', 'a@1.de', 'a@x-y.z', 'a@[192.0.2.1]', 'a@[IPv6:2001:db8::1]', 'a@[2001:db8::1]', '"a\\"b"@c.d'])
      expect(nonRetryable(one), one).toBeNull()
    for (const none of ['x[192.0.2.1]', '[192.0.2.1]x', 'x[ipv6:::1]', '[ipv6:::1]x', '[ipv6:]', '[ipv6:g]', '[]', 'a..b', '-a.b', 'a-.b'])
      expect(nonRetryable(`ann@${none}`), none).toContain('is not a domain')
    for (const local of ['"a"b', 'a"b"', '"a', 'a b', '"a"b"'])
      expect(nonRetryable(`${local}@example.org`), local).toContain('has characters that need quotes, or quotes that do not close')
    expect(nonRetryable('"a<b>"@example.org')).toContain('has an angle bracket in it')
    // a long address is truncated in the error
    expect(nonRetryable('x'.repeat(101))).toBe(`"${'x'.repeat(100)}…" is not an address; an address looks like ann@example.org`)
    expect(nonRetryable('x'.repeat(100))).toBe(`"${'x'.repeat(100)}" is not an address; an address looks like ann@example.org`)
  })

  test('internationalized addresses are recognized', () => {
    expect([isInternational('jos\u00e9'), isInternational('~'), isInternational('')]).toEqual([true, false, false])
    for (const wrong of ['b\u00fccher..example', '\u00fc[', 'a\u00fc b']) expect(foldDomain(wrong), wrong).toBeNull()
    expect(foldDomain('a'.repeat(60).concat('.').repeat(4).concat('abcdefghijk'))).toHaveLength(255)
    expect(foldDomain('a'.repeat(60).concat('.').repeat(4).concat('abcdefghijkl'))).toBeNull()
  })

  test('no accepted address can break out of its SMTP command line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ maxLength: 20 }), (local, domain) => {
        let envelope: string
        try {
          envelope = envelopeAddress(parseAddress(`${local}@${domain}`))
        } catch {
          return
        }
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
        expect(envelope).not.toMatch(/[\u0000-\u001f\u007f<>]/)
      }),
    )
  })

  test('folding is idempotent', () => {
    const label = fc.stringMatching(/^[a-z0-9üéß例え]{1,12}$/)
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,30}$/), label, label, (local, a, b) => {
        const domain = foldDomain(`${a}.${b}`)
        if (domain === null) return
        const key = addressKey(`${local}@${a}.${b}`)
        expect(addressKey(key)).toBe(key)
        expect(addressKey(key.toUpperCase())).toBe(key)
      }),
    )
  })
})

describe('the workflow ID', () => {
  test('the workflow ID is bounce/<recipient>/<messageId>', () => {
    expect(workflowId('Ann@Example.org', '<m1@example.com>', sha256)).toBe('bounce/ann@example.org/m1@example.com')
    expect(workflowId('Ann@Example.org', '<m1@example.com>', sha256, 'invoices')).toBe('bounce/@invoices/ann@example.org/m1@example.com')
  })

  test('the workflow ID matches the test vectors of docs/protocol.md', () => {
    const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
    const block = /```json workflow-id-vectors\n([\s\S]*?)```/.exec(page)?.[1] ?? '[]'
    const vectors = JSON.parse(block) as { recipient: string; messageId: string; messageIdTimes?: number; workflowId: string }[]
    expect(vectors.length).toBeGreaterThanOrEqual(5)
    for (const { recipient, messageId, messageIdTimes, workflowId: expected } of vectors)
      expect(workflowId(recipient, messageId.repeat(messageIdTimes ?? 1), sha256)).toBe(expected)
  })

  test('the workflow ID has at most 255 bytes, and is distinct per message and recipient', () => {
    const id = fc.stringMatching(/^[!-;=?-~é]{1,400}$/)
    const address = fc.stringMatching(/^[a-zé]{1,60}$/).map((local) => `${local}@example.org`)
    fc.assert(
      fc.property(address, id, address, id, (r1, m1, r2, m2) => {
        const first = workflowId(r1, m1, sha256)
        expect(Buffer.byteLength(first)).toBeLessThanOrEqual(255)
        if (r1 !== r2 || m1 !== m2) expect(first).not.toBe(workflowId(r2, m2, sha256))
      }),
    )
  })

  test('an invalid Message-ID is refused', () => {
    for (const text of ['', '<>', ' ', 'a b', 'a\nb', 'a'.repeat(999), 'x<a@b>', '<a@b>x', '<a\nb>'])
      expect(() => messageIdKey(text), text).toThrow(/Message-ID/)
    expect(() => messageIdKey(`a b${'x'.repeat(500)}`)).toThrow(`"a b${'x'.repeat(97)}" is not a Message-ID such as 20261124.1@example.com`)
    expect(messageIdKey(' <m@example.com>\r\n')).toBe('m@example.com')
    expect(messageIdKey('a'.repeat(998))).toHaveLength(998)
  })

  test('an ID over the limit has a hash for the Message-ID, then also for the recipient', () => {
    const fits = 'm'.repeat(255 - 'bounce/ann@example.org/'.length)
    expect(workflowId('ann@example.org', fits, sha256)).toBe(`bounce/ann@example.org/${fits}`)
    expect(workflowId('ann@example.org', `${fits}m`, sha256)).toBe(`bounce/ann@example.org/sha256-${sha256(`${fits}m`)}`)
    const domain = `${'d'.repeat(60)}.${'e'.repeat(50)}.org`
    const room = 255 - 'bounce/'.length - '/sha256-'.length - 64 - '@'.length - domain.length
    const recipient = (length: number) => `${'a'.repeat(length)}@${domain}`
    expect(workflowId(recipient(room), 'm'.repeat(200), sha256)).toBe(`bounce/${recipient(room)}/sha256-${sha256('m'.repeat(200))}`)
    expect(workflowId(recipient(room + 1), 'm'.repeat(200), sha256)).toBe(
      `bounce/sha256-${sha256(recipient(room + 1))}/sha256-${sha256('m'.repeat(200))}`,
    )
  })
})
