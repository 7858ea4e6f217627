import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addressKey,
  envelopeAddress,
  foldDomain,
  messageIdKey,
  openRetriesOf,
  parseAddress,
  quoted,
  workflowId,
} from '../../src/bounce/index.js'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

test('whatever an address or a destination holds, it stays one word of a list query', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("'", '\\', '"', 'a', ' ', '=', '-') }), (text) => {
      const [, inner] = /^'((?:[^'\\]|\\.)*)'$/s.exec(quoted(text)) as RegExpExecArray
      expect(inner?.replace(/\\(.)/gs, '$1')).toBe(text)
    }),
  )
  expect(openRetriesOf("x' OR ExecutionStatus = 'Running")).toMatch(/BounceDestination = 'x\\' OR ExecutionStatus = \\'Running'$/)
})

describe('addresses', () => {
  test('are compared without case, the domain as A-labels', () => {
    expect(addressKey('Ann.O@EXAMPLE.Org')).toBe('ann.o@example.org')
    expect(addressKey('ann@BÜCHER.example')).toBe('ann@xn--bcher-kva.example')
    expect(addressKey('ann@xn--bcher-kva.example')).toBe('ann@xn--bcher-kva.example')
    expect(addressKey('ann@example.org.')).toBe('ann@example.org')
    expect(addressKey('ann@[192.0.2.1]')).toBe('ann@[192.0.2.1]')
    // NFD and NFC of the same local part are the same mailbox
    expect(addressKey('jose\u0301@example.org')).toBe(addressKey('jos\u00e9@example.org'))
  })

  test('are sent with the local part as it was written', () => {
    expect(envelopeAddress(parseAddress('Ann.O@EXAMPLE.Org'))).toBe('Ann.O@example.org')
    expect(envelopeAddress(parseAddress('用户@例え.jp'))).toBe('用户@xn--r8jz45g.jp')
    expect(envelopeAddress(parseAddress('"ann o"@example.org'))).toBe('"ann o"@example.org')
  })

  test('that are none are refused with what is wrong', () => {
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

  test('no address that is accepted can break out of its line', () => {
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

  test('folding twice is folding once', () => {
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
  test('is bounce/<recipient>/<messageId>', () => {
    expect(workflowId('Ann@Example.org', '<m1@example.com>', sha256)).toBe('bounce/ann@example.org/m1@example.com')
  })

  test('is what the test vectors of docs/protocol.md say', () => {
    const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
    const block = /```json workflow-id-vectors\n([\s\S]*?)```/.exec(page)?.[1] ?? '[]'
    const vectors = JSON.parse(block) as { recipient: string; messageId: string; messageIdTimes?: number; workflowId: string }[]
    expect(vectors.length).toBeGreaterThanOrEqual(5)
    for (const { recipient, messageId, messageIdTimes, workflowId: expected } of vectors)
      expect(workflowId(recipient, messageId.repeat(messageIdTimes ?? 1), sha256)).toBe(expected)
  })

  test('is never longer than 255 bytes, and differs where message or recipient does', () => {
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

  test('is refused where the Message-ID is none', () => {
    for (const text of ['', '<>', ' ', 'a b', 'a\nb', 'a'.repeat(999)]) expect(() => messageIdKey(text), text).toThrow(/Message-ID/)
  })
})
