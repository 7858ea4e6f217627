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

const BOUNCE = {
  ...{ status: '4.3.2', bouncedAt: '2026-11-24T08:00:00Z', diagnostic: '421 4.3.2 no', remoteMta: 'mx.example.org' },
  ...{ token: 'abc', action: 'delayed', willRetryUntil: '2026-11-25T08:00:00Z' },
}
const WHOLE = {
  ...good,
  bounce: BOUNCE,
  ...{
    destination: 'example.org',
    schedule: ['1h', '4h'],
    retriesSoFar: 2,
    urgent: { via: 'backup-relay' },
    deliverBy: '2026-11-26T08:00:00Z',
  },
}

test('every field is kept as given, but the destination in lower case and the Message-ID without brackets', () => {
  expect(checkBouncedMessage(WHOLE)).toEqual({ value: WHOLE })
  expect(checkBouncedMessage({ ...WHOLE, destination: 'Example.ORG', messageId: ' <m1@example.com> ' })).toEqual({ value: WHOLE })
  expect(checkBounce(BOUNCE)).toEqual({ value: BOUNCE })
  expect(checkBounce(good.bounce)).toEqual({ value: good.bounce })
  for (const urgent of [true, false]) expect(checkBouncedMessage({ ...good, urgent })).toEqual({ value: { ...good, urgent } })
  for (const action of ['failed', 'delayed', 'delivered', 'relayed', 'expanded'])
    expect(checkBounce({ ...good.bounce, action })).toEqual({ value: { ...good.bounce, action } })
  for (const retriesSoFar of [0, 1000]) expect(checkBouncedMessage({ ...good, retriesSoFar })).toEqual({ value: { ...good, retriesSoFar } })
  for (const message of [
    { raw: 'From: a@b' },
    { rawBase64: 'QUJD' },
    { rawBase64: 'QUI=' },
    { rawBase64: ' QQ \r\n\t == ' },
    { stored: 'x'.repeat(200) },
  ])
    expect(checkBouncedMessage({ ...good, message })).toEqual({ value: { ...good, message } })
  expect(faults({ ...good, destination: 'x'.repeat(255) })).toBe('')
  // alternative forms that are null count as absent, as some languages send them
  expect(checkBouncedMessage({ ...good, message: { raw: 'From: a@b', rawBase64: null, stored: undefined } })).toEqual({
    value: { ...good, message: { raw: 'From: a@b' } },
  })
})

test('an invalid bounce alone is refused with its fields named as in the signal', () => {
  const bounceFaults = (input: unknown) => {
    const checked = checkBounce(input)
    return 'faults' in checked ? checked.faults : []
  }
  expect(bounceFaults(undefined)).toEqual(['the bounce is missing'])
  for (const wrong of [null, 'x', 1, []]) expect(bounceFaults(wrong)).toEqual(['the bounce must be an object'])
  expect(bounceFaults({})).toEqual(['status is missing', 'bouncedAt is missing'])
  expect(bounceFaults({ status: '4.3.2' })).toEqual(['bouncedAt is missing'])
  expect(bounceFaults({ ...BOUNCE, action: 'lost', willRetryUntil: 'later', token: 1, remoteMta: 2, diagnostic: 3 })).toEqual([
    ...['diagnostic must be a string', 'remoteMta must be a string', 'token must be a string'],
    'action must be one of failed, delayed, delivered, relayed, expanded',
    'willRetryUntil must be an ISO 8601 time with its zone, such as 2026-11-24T08:00:00Z',
  ])
  const long = checkBounce({ ...BOUNCE, remoteMta: `mx\0${'x'.repeat(300)}`, token: 'y'.repeat(300) })
  expect('value' in long && [long.value.remoteMta?.length, long.value.token?.length]).toEqual([255, 255])
  expect(JSON.stringify(long)).not.toContain('\\u0000')
})

test('unknown fields are ignored', () => {
  expect(checkBouncedMessage({ ...good, colour: 'red', bounce: { ...good.bounce, extra: 1 } })).toEqual({ value: good })
})

test('null means an absent field, as some languages send it', () => {
  expect(checkBouncedMessage({ ...good, schedule: null, deliverBy: null, urgent: null, retriesSoFar: null, destination: null })).toEqual({
    value: good,
  })
})

test('missing fields are named, all at once', () => {
  const text = faults({})
  for (const name of ['messageId', 'sender', 'recipient', 'message', 'bounce']) expect(text).toContain(`${name} is missing`)
  expect(text).toBe('messageId is missing; sender is missing; recipient is missing; message is missing; bounce is missing')
  expect(faults({ ...good, bounce: [] })).toBe('bounce must be an object')
  for (const wrong of [undefined, null, 'x', []])
    expect(faults(wrong)).toBe('the argument must be one object, a BouncedMessage (docs/protocol.md)')
  expect(faults({ ...good, bounce: {} })).toBe('bounce.status is missing; bounce.bouncedAt is missing')
})

test('each invalid field is named', () => {
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
    [{ sender: ' ' }, 'null sender'],
    [{ sender: 'ann' }, 'sender: "ann" is not an address'],
    [{ message: 'x' }, 'message must have exactly one of raw, rawBase64 and stored'],
    [{ message: [] }, 'message must have exactly one of raw, rawBase64 and stored'],
    [{ message: { rawBase64: 'QQ===' } }, 'message.rawBase64 is not base64'],
    [{ message: { rawBase64: 'Q!Q=' } }, 'message.rawBase64 is not base64'],
    [{ schedule: ['1h', '4x'] }, 'schedule: schedule entry 2'],
    [{ schedule: [1] }, 'schedule must be a list of strings'],
    [{ schedule: ['1h', 1] }, 'schedule must be a list of strings'],
    [{ retriesSoFar: 1001 }, 'retriesSoFar'],
    [{ retriesSoFar: '1' }, 'retriesSoFar must be a whole number'],
    [{ urgent: { via: 'sms' } }, 'urgent must be true, false or'],
    [{ urgent: {} }, 'urgent must be true, false or'],
    [{ destination: '' }, 'destination must be a name'],
    [{ destination: 'a\u007f' }, 'destination must be a name'],
    [{ destination: 'x'.repeat(256) }, 'destination must be a name'],
    [{ schedule: '1h' }, 'schedule must be a list'],
    [{ retriesSoFar: -1 }, 'retriesSoFar'],
    [{ retriesSoFar: 1.5 }, 'retriesSoFar'],
    [{ urgent: 'yes' }, 'urgent'],
    [{ deliverBy: 'soon' }, 'deliverBy'],
    [{ destination: 'a b' }, 'destination'],
  ] as const)
    expect(faults({ ...good, ...change }), JSON.stringify(change)).toContain(words)
})

test('any invalid input is refused quickly, with a short error', () => {
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

test('an unreadable payload is reported as such, with its encoding', () => {
  expect(faults({ unreadablePayload: 'binary/encrypted' })).toContain('binary/encrypted')
})

test('no input makes the check throw', () => {
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
  expect(parseTime('2026-11-24T08:00:01.250Z')).toBe(Date.UTC(2026, 10, 24, 8, 0, 1, 250))
  expect(parseTime('2026-11-24T08:00:01.123456789-0130')).toBe(Date.UTC(2026, 10, 24, 9, 30, 1, 123))
  for (const text of [
    '2026-11-24',
    '2026-11-24T08:00:00',
    '08:00Z',
    '2026-13-24T08:00:00Z',
    '',
    'on 2026-11-24T08:00:00Z',
    '2026-11-24T08:00:00Z.',
  ])
    expect(parseTime(text), text).toBeNull()
})
