import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatStatus, isGeneric, meaningOf, parseStatus, REGISTERED } from '../../src/bounce/index.js'

test('4.3.2 means that the receiving system accepts no messages now', () => {
  const status = parseStatus('4.3.2')
  expect(status).toEqual({ class: 4, subject: 3, detail: 2 })
  expect(status && meaningOf(status)).toEqual({
    status: '4.3.2',
    sentence: 'the mail system takes no messages from the network just now',
    whose: 'receiving system',
  })
})

test('every registered code has a description and a responsible party in each class', () => {
  expect(REGISTERED).toContain('7.30')
  for (const code of REGISTERED)
    for (const kind of ['2', '4', '5']) {
      const status = parseStatus(`${kind}.${code}`)
      expect(status).not.toBeNull()
      const meaning = meaningOf(status as NonNullable<typeof status>)
      expect(meaning.sentence.length).toBeGreaterThan(5)
      if (code !== '0.0') expect(meaning.whose).not.toBe('unknown')
    }
})

test('an unregistered code is interpreted by its subject', () => {
  expect(meaningOf({ class: 5, subject: 2, detail: 99 }).whose).toBe('mailbox')
  expect(meaningOf({ class: 5, subject: 99, detail: 1 }).whose).toBe('unknown')
})

test('only status codes as defined by RFC 3463 are parsed', () => {
  for (const text of ['', '4', '4.3', '3.0.0', '1.2.3', '6.1.1', '4.03.2', '4.3.2 ', '4.3.2.1', '4.1000.1', '-4.3.2', '4.3.x'])
    expect(parseStatus(text), text).toBeNull()
})

test('a formatted code parses back to itself', () => {
  const part = fc.integer({ min: 0, max: 999 })
  fc.assert(
    fc.property(fc.constantFrom(2 as const, 4 as const, 5 as const), part, part, (kind, subject, detail) => {
      const status = { class: kind, subject, detail }
      expect(parseStatus(formatStatus(status))).toEqual(status)
      expect(isGeneric(status)).toBe(detail === 0)
      expect(meaningOf(status).status).toBe(formatStatus(status))
    }),
  )
})
