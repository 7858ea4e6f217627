import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkBounce, checkBouncedMessage, parseTime } from '../../src/bounce/index.js'

const good = {
  messageId: 'm1@example.com',
  sender: 'bounces@example.com',
  recipient: 'ann@example.org',
  message: { stored: 'sha256-x' },
  bounce: { status: '4.3.2', bouncedAt: '2026-11-24T08:00:00Z' },
}
const faults = (input: unknown): string => {
  const checked = checkBouncedMessage(input)
  return 'faults' in checked ? checked.faults.join('; ') : ''
}

test('unknown fields are ignored', () => {
  expect(checkBouncedMessage({ ...good, colour: 'red', bounce: { ...good.bounce, extra: 1 } })).toEqual({ value: good })
})

test('null stands for a field that is left out, as some languages send it', () => {
  expect(checkBouncedMessage({ ...good, schedule: null, deliverBy: null, urgent: null, retriesSoFar: null, destination: null })).toEqual({
    value: good,
  })
})

test('missing fields are named, all at once', () => {
  const text = faults({})
  for (const name of ['messageId', 'sender', 'recipient', 'message', 'bounce']) expect(text).toContain(`${name} is missing`)
  expect(faults({ ...good, bounce: {} })).toBe('bounce.status is missing; bounce.bouncedAt is missing')
})

test('what is wrong is named', () => {
  for (const [change, words] of [
    [{ sender: '' }, 'null sender'],
    [{ sender: '<>' }, 'null sender'],
    [{ recipient: 'ann' }, 'recipient: '],
    [{ recipient: 'ann@example.org\r\nDATA' }, 'control character'],
    [{ messageId: 'a b' }, 'messageId: '],
    [{ message: {} }, 'exactly one'],
    [{ message: { raw: 'x', stored: 'y' } }, 'exactly one'],
    [{ message: { raw: '' } }, 'empty'],
    [{ message: { rawBase64: '*' } }, 'base64'],
    [{ message: { raw: 1 } }, 'message.raw must be a string'],
    [{ bounce: { status: '432', bouncedAt: '2026-11-24T08:00:00Z' } }, 'bounce.status'],
    [{ bounce: { status: '4.3.2', bouncedAt: 'yesterday' } }, 'bounce.bouncedAt'],
    [{ bounce: { status: '4.3.2', bouncedAt: '2026-11-24T08:00:00' } }, 'zone'],
    [{ bounce: { status: '4.3.2', bouncedAt: '2026-11-24T08:00:00Z', action: 'lost' } }, 'bounce.action'],
    [{ schedule: ['1h', '4x'] }, 'schedule entry 2'],
    [{ schedule: '1h' }, 'schedule must be a list'],
    [{ retriesSoFar: -1 }, 'retriesSoFar'],
    [{ retriesSoFar: 1.5 }, 'retriesSoFar'],
    [{ urgent: 'yes' }, 'urgent'],
    [{ deliverBy: 'soon' }, 'deliverBy'],
    [{ destination: 'a b' }, 'destination'],
  ] as const)
    expect(faults({ ...good, ...change }), JSON.stringify(change)).toContain(words)
})

test('no input takes long to refuse, and none makes a long error', () => {
  const began = Date.now()
  const spaces = faults({ ...good, message: { rawBase64: `${' '.repeat(500_000)}!` } })
  expect(spaces).toContain('base64')
  const long = faults({ ...good, schedule: ['x'.repeat(1_000_000)] })
  expect(long.length).toBeLessThan(500)
  expect(Date.now() - began).toBeLessThan(2000)
  for (const stored of ['a\0b', 'x'.repeat(201), '']) expect(faults({ ...good, message: { stored } })).toContain('message.stored')
  const checked = checkBounce({ ...good.bounce, diagnostic: `421 4.3.2 a\0${'x'.repeat(10_000)}` })
  expect('value' in checked && checked.value.diagnostic?.length).toBe(2000)
  expect(JSON.stringify(checked)).not.toContain('\\u0000')
})

test('a payload that could not be read is said to be that', () => {
  expect(faults({ unreadablePayload: 'binary/encrypted' })).toContain('binary/encrypted')
})

test('nothing that is sent makes the check throw', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (a, b) => {
      checkBouncedMessage(a)
      checkBounce(b)
      checkBouncedMessage({ ...good, message: a, bounce: b })
    }),
  )
})

test('a time needs its date, its time and its zone', () => {
  expect(parseTime('2026-11-24T08:00:00Z')).toBe(Date.UTC(2026, 10, 24, 8))
  expect(parseTime('2026-11-24T08:00+01:00')).toBe(Date.UTC(2026, 10, 24, 7))
  for (const text of ['2026-11-24', '2026-11-24T08:00:00', '08:00Z', '2026-13-24T08:00:00Z', '']) expect(parseTime(text)).toBeNull()
})
