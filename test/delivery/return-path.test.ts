import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeToken, TOKEN_LENGTH } from '../../src/bounce/index.js'
import { dayOf, parseReturnPathTemplate, type ReturnPaths, sentId, signReturnPath, verifyReturnPath } from '../../src/delivery/index.js'

const NOW = new Date('2026-11-25T08:00:00Z')
const DAY_MS = 86_400_000
const paths: ReturnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 1)], validDays: 28 }
const id = sentId('m1@example.com', 'ann@example.org')
const signed = (send = 0, from = paths, day = dayOf(NOW)) => signReturnPath(from, { id, day, send }, 'news@example.com')

test('a signed return path names message, recipient, day and send', () => {
  const address = signed(3)
  expect(address).toMatch(/^bounce\+[a-z2-7]{39}@example\.com$/)
  expect(address.lastIndexOf('@')).toBeLessThanOrEqual(64)
  expect(verifyReturnPath(paths, address, NOW)).toMatchObject({ id, send: 3, day: dayOf(NOW) })
})

test('the identifier is the same for every spelling of message and recipient', () => {
  expect(sentId('<m1@example.com>', 'Ann@EXAMPLE.org')).toBe(id)
  expect(sentId('m2@example.com', 'ann@example.org')).not.toBe(id)
})

test('a return path verifies in any case; any other change is refused', () => {
  const address = signed()
  expect(verifyReturnPath(paths, address.toUpperCase(), NOW)).toHaveProperty('id')
  const start = 'bounce+'.length
  for (let i = start; i < start + TOKEN_LENGTH; i += 1) {
    const other = address[i] === 'a' ? 'b' : 'a'
    expect(verifyReturnPath(paths, address.slice(0, i) + other + address.slice(i + 1), NOW), `position ${i}`).toHaveProperty('refused')
  }
  for (const forged of [
    'bounce+@example.com',
    'ann@example.org',
    '',
    `x${address}`,
    address.replace('bounce+', 'bounce-'),
    `bounce+${'a'.repeat(39)}@example.com`,
  ])
    expect(verifyReturnPath(paths, forged, NOW), forged).toHaveProperty('refused')
})

test('a new key signs, the old ones still verify, a foreign one never does', () => {
  const rotated = { ...paths, keys: [Buffer.alloc(32, 2), ...paths.keys] }
  expect(verifyReturnPath(rotated, signed(), NOW)).toHaveProperty('id')
  expect(verifyReturnPath(paths, signed(0, rotated), NOW)).toEqual({
    refused: expect.stringContaining('the signature of its return path is not ours'),
  })
})

test('a return path is valid for its number of days, and not before its date', () => {
  const at = (days: number) => verifyReturnPath(paths, signed(), new Date(NOW.getTime() + days * DAY_MS))
  expect(at(28)).toHaveProperty('id')
  expect(at(29)).toMatchObject({ refused: expect.stringContaining('ran out') })
  expect(at(-1)).toHaveProperty('id')
  expect(at(-2)).toMatchObject({ refused: expect.stringContaining('future') })
})

test('no text makes verifying throw', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 80 }), (text) => {
      const decoded = decodeToken(text)
      if (decoded !== null) expect(text).toHaveLength(TOKEN_LENGTH)
      expect(verifyReturnPath(paths, `bounce+${text}@example.com`, NOW)).toHaveProperty('refused')
    }),
  )
})

describe('returnPath.address', () => {
  test('valid templates are accepted', () => {
    for (const template of ['bounce+{token}@{domain}', 'b-{token}@bounces.{domain}', '{token}@bounces.example.com'])
      expect(parseReturnPathTemplate(template)).toBe(template)
    const at = { ...paths, template: 'b-{token}@bounces.{domain}' }
    expect(verifyReturnPath(at, signed(1, at), NOW)).toMatchObject({ send: 1 })
    expect(signed(1, at)).toMatch(/@bounces\.example\.com$/)
  })

  test.each([
    ['bounces@example.com', '{token} once'],
    ['{token}{token}@example.com', '{token} once'],
    [`${'a'.repeat(30)}{token}@example.com`, 'up to 64'],
    ['Bounce+{token}@example.com', 'lower case'],
    ['b {token}@example.com', 'quotes'],
    ['{token}@', 'not an address'],
  ])('%s is refused', (template, why) => {
    expect(() => parseReturnPathTemplate(template)).toThrow(why)
  })
})
