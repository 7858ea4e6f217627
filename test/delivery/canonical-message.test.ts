import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalMessage, MAX_MESSAGE_BYTES, signaturesExpireAt, UnsendableMessage } from '../../src/delivery/index.js'

const canonical = (text: string) => canonicalMessage(Buffer.from(text, 'latin1')).toString('latin1')

describe('the bytes that are sent', () => {
  test('the bytes sent are those of the original', () => {
    const text = 'Received: x\r\nDelivered-To: y\r\nDKIM-Signature: v=1;\r\n\tb=abc\r\nFrom: a@b\r\n\r\nbody\r\n\r\n.\r\n\xff\r\n'
    expect(canonical(text)).toBe(text)
  })

  test('only Return-Path, Bcc and Resent-Bcc are removed, with their folded lines', () => {
    expect(
      canonical('Return-Path: <x@y>\r\nFrom: a@b\r\nBCC: c@d,\r\n e@f\r\nresent-bcc : g@h\r\nTo: i@j\r\n\r\nBcc: stays in the body\r\n'),
    ).toBe('From: a@b\r\nTo: i@j\r\n\r\nBcc: stays in the body\r\n')
  })

  test('any line endings become CRLF', () => {
    expect(canonical('From: a@b\n\none\ntwo\r\nthree')).toBe('From: a@b\r\n\r\none\r\ntwo\r\nthree')
    expect(canonical('From: a@b')).toBe('From: a@b')
  })

  test('bare line endings cannot hide an end of message', () => {
    const hidden = canonical('From: a@b\r\n\r\nx\n.\nMAIL FROM:<e@f>\n')
    expect(hidden).not.toMatch(/[^\r]\n/)
  })
})

describe('content that SMTP cannot carry unchanged is refused with its position', () => {
  for (const [text, words] of [
    ['From: a@b\r\n\r\na\0b\r\n', 'line 3 has a NUL'],
    ['From: a@b\r\n\r\nx\r\na\rb\r\n', 'line 4 has a CR'],
    [`From: a@b\r\n\r\n${'x'.repeat(999)}\r\n`, 'line 3 has 999 bytes'],
    ['', 'does not begin with a header'],
    ['hello\r\n\r\nbody', 'does not begin with a header'],
    ['\r\nFrom: a@b\r\n', 'does not begin with a header'],
    [' From: a@b\r\n\r\nx', 'does not begin with a header'],
  ] as const)
    test(words, () => {
      expect(() => canonical(text)).toThrow(UnsendableMessage)
      expect(() => canonical(text)).toThrow(words)
    })

  test('a message over the size limit is refused', () => {
    expect(() => canonicalMessage(Buffer.alloc(MAX_MESSAGE_BYTES + 1, 'a'))).toThrow(`the message has ${MAX_MESSAGE_BYTES + 1} bytes`)
  })

  test('a line of 998 bytes is accepted', () => {
    expect(canonical(`From: a@b\r\n\r\n${'x'.repeat(998)}\r\n`)).toContain('x'.repeat(998))
  })
})

test('a canonical message stays unchanged', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '.', '\r\n', '\n', ' ', ':', 'Bcc: x') })
  fc.assert(
    fc.property(text, (body) => {
      const once = canonicalMessage(Buffer.from(`From: a@b\r\n\r\n${body}`))
      expect(canonicalMessage(once).equals(once)).toBe(true)
      expect(once.toString()).not.toMatch(/[^\r]\n/)
    }),
  )
})

describe('a message’s own DKIM signatures', () => {
  const signed = (tags: string, from = 'shop@example.com') =>
    Buffer.from(`DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=k;\r\n\t${tags}; b=x\r\nFrom: Shop <${from}>\r\n\r\nx\r\n`)

  test('signatures expire at the latest x=', () => {
    expect(signaturesExpireAt(signed('x=1700000000'), 'b@example.com')).toEqual(new Date(1_700_000_000_000))
    const two = Buffer.concat([Buffer.from('DKIM-Signature: d=example.com; x=1800000000\r\n'), signed('x=1700000000')])
    expect(signaturesExpireAt(two, 'b@example.com')).toEqual(new Date(1_800_000_000_000))
  })

  test('one signature without expiry keeps the message valid', () => {
    expect(signaturesExpireAt(signed('t=1'), 'b@example.com')).toBeNull()
    // RFC 6376 3.5: more than twelve digits may be treated as never
    expect(signaturesExpireAt(signed('x=9999999999999'), 'b@example.com')).toBeNull()
    expect(
      signaturesExpireAt(Buffer.concat([Buffer.from('DKIM-Signature: d=example.com; t=1\r\n'), signed('x=1700000000')]), 'b@example.com'),
    ).toBeNull()
  })

  test('only signatures of the author’s or the sender’s domain count', () => {
    expect(
      signaturesExpireAt(Buffer.from('DKIM-Signature: v=1; x=1700000000\r\nFrom: a@example.com\r\n\r\nx\r\n'), 'a@example.com'),
    ).toBeNull()
    expect(signaturesExpireAt(signed('x=1700000000', 'a@other.org'), 'b@third.net')).toBeNull()
    expect(signaturesExpireAt(signed('x=1700000000', 'a@mail.example.com'), 'b@third.net')).not.toBeNull()
    expect(signaturesExpireAt(signed('x=1700000000', 'a@other.org'), 'b@example.com')).not.toBeNull()
    expect(signaturesExpireAt(Buffer.from('From: a@b.org\r\n\r\nx'), 'c@b.org')).toBeNull()
  })
})
