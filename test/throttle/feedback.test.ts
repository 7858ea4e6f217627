import { describe, expect, test } from 'vitest'
import {
  applyFeedback,
  classifyFeedback,
  connectionsOf,
  type DestinationAnswer,
  type Feedback,
  type LimiterState,
  newLimiterState,
  rateOf,
} from '../../src/throttle/index.js'

const LIMITS = { minMessageRate: 1, maxMessageRate: 20, connections: 5, maxDeliveriesPerConnection: 20 }
const SETTINGS = { failuresBeforeDown: 5, probeIntervalMs: 60_000 }
const NOW = 1_000_000
const answer = (reply: string, stage: DestinationAnswer['stage'], status = reply.slice(4, 9)): DestinationAnswer => ({
  outcome: reply.startsWith('2') ? 'accepted' : reply.startsWith('5') ? 'rejected' : 'deferred',
  status,
  reply,
  stage,
})
const taught = (state: LimiterState, ...lessons: Feedback[]) =>
  lessons.reduce((s, lesson) => applyFeedback(s, lesson, 50, LIMITS, SETTINGS, NOW), state)
const ACCEPTED: Feedback = { kind: 'accepted' }
const FAILING: Feedback = { kind: 'failing', slower: 'both', waitMs: 0 }

describe('what an answer says of the system', () => {
  test.each([
    ['421 4.3.2 System not accepting network messages', 'banner'],
    ['421 4.3.2 closing', 'RCPT'],
    ['452 4.3.2 Connection rate limit exceeded', 'MAIL'],
    ['421 Service not available', 'final dot', '4.3.2'],
    ['453 System not accepting network messages', 'EHLO', '4.3.2'],
    ['host 203-0-113-5.example.net refused the connection', 'connect', '4.4.1'],
    ['host 203.0.113.5 refused the connection', 'connect', '4.4.1'],
    ['mx.example.org: no answer in time at banner', 'banner', '4.4.2'],
    ['host 203-0-113-5.example.net: connection lost after the final dot', 'final dot', '4.4.2'],
  ] as const)('%s at %s: it is failing', (reply, stage, status?) => {
    expect(classifyFeedback(answer(reply, stage, status))).toMatchObject({ kind: 'failing' })
  })

  test.each([
    ['450 4.2.1 mailbox busy', 'RCPT'],
    ['452 4.2.2 mailbox full', 'RCPT'],
    ['450 4.7.1 Greylisted, try again in 300 seconds', 'RCPT'],
    ['451 4.3.0 aliases are being rebuilt', 'RCPT'],
    ['450 4.2.1 The user you are trying to contact is receiving mail too quickly', 'RCPT'],
    ['452 4.2.2 mailbox has too many messages', 'RCPT'],
    ['550 5.1.1 no such user', 'RCPT'],
    ['554 5.7.1 spam', 'final dot'],
  ] as const)('%s at %s: it speaks of one recipient or message, and changes nothing', (reply, stage) => {
    expect(classifyFeedback(answer(reply, stage))).toEqual({ kind: 'nothing' })
    const state = taught(newLimiterState(LIMITS, NOW), ACCEPTED, FAILING)
    expect(applyFeedback(state, classifyFeedback(answer(reply, stage)), null, LIMITS, SETTINGS, NOW)).toEqual(state)
  })

  test('a TLS verification failure does not count against the destination', () => {
    const policy = {
      outcome: 'deferred',
      status: '4.7.5',
      reply: 'TLS with mx.example.org could not be verified',
      stage: 'STARTTLS',
    } as const
    expect(classifyFeedback(policy)).toEqual({ kind: 'nothing' })
  })

  test('a wait time in the reply is respected, within bounds', () => {
    expect(classifyFeedback(answer('421 4.7.0 Try again in 300 seconds', 'banner'))).toMatchObject({ waitMs: 300_000 })
    expect(classifyFeedback(answer('421 4.3.2 retry after 5 minutes', 'banner'))).toMatchObject({ waitMs: 300_000 })
    expect(classifyFeedback(answer('421 4.3.2 please wait 10 min', 'banner'))).toMatchObject({ waitMs: 600_000 })
    expect(classifyFeedback(answer('421 4.3.2 come back in 900 hours', 'banner'))).toMatchObject({ waitMs: 900_000 })
    expect(classifyFeedback(answer('421 4.3.2 closing in 2026', 'banner'))).toMatchObject({ waitMs: 0 })
    const state = taught(newLimiterState(LIMITS, NOW), { kind: 'failing', slower: 'both', waitMs: 300_000 })
    expect(state.notBefore).toBe(NOW + 300_000)
    // an acceptance of an earlier transaction does not cancel the requested wait
    expect(taught(state, ACCEPTED).notBefore).toBe(NOW + 300_000)
  })

  test('feedback lowers the limit that the reply complains about', () => {
    expect(classifyFeedback(answer('421 4.7.0 Too many concurrent SMTP connections', 'banner'))).toMatchObject({ slower: 'connections' })
    expect(classifyFeedback(answer('451 4.7.1 rate limited, slow down', 'RCPT'))).toMatchObject({ slower: 'rate' })
    const fast = taught(newLimiterState(LIMITS, NOW), ...Array.from({ length: 300 }, () => ACCEPTED))
    const [rate, connections] = [taught(fast, { ...FAILING, slower: 'rate' }), taught(fast, { ...FAILING, slower: 'connections' })]
    expect([rateOf(rate, LIMITS), connectionsOf(rate, LIMITS)]).toEqual([10, 5])
    expect([rateOf(connections, LIMITS), connectionsOf(connections, LIMITS)]).toEqual([20, 2])
  })
})

test('the rate starts low, increases additively with each acceptance, and halves with each failure, within bounds', () => {
  let state = newLimiterState(LIMITS, NOW)
  expect([rateOf(state, LIMITS), connectionsOf(state, LIMITS)]).toEqual([1, 1])
  state = taught(state, ...Array.from({ length: 10 }, () => ACCEPTED))
  expect(rateOf(state, LIMITS)).toBeCloseTo(2)
  expect(connectionsOf(state, LIMITS)).toBe(4)
  state = taught(state, ...Array.from({ length: 500 }, () => ACCEPTED))
  expect([rateOf(state, LIMITS), connectionsOf(state, LIMITS)]).toEqual([20, 5])
  state = taught(state, FAILING)
  expect([rateOf(state, LIMITS), connectionsOf(state, LIMITS)]).toEqual([10, 2])
  state = taught(state, FAILING, FAILING, FAILING)
  expect([rateOf(state, LIMITS), connectionsOf(state, LIMITS)]).toEqual([1.25, 1])
})

test('five failures without an acceptance between them mark the destination down; one acceptance marks it up', () => {
  const flapping = taught(newLimiterState(LIMITS, NOW), FAILING, FAILING, FAILING, FAILING, ACCEPTED, FAILING, FAILING, FAILING, FAILING)
  expect(flapping).toMatchObject({ downSince: null, failures: 4, failingSince: NOW })
  const down = applyFeedback(flapping, FAILING, 50, LIMITS, SETTINGS, NOW + 5000)
  expect(down).toMatchObject({ downSince: NOW, nextProbeAt: NOW + 65_000, epoch: flapping.epoch + 1, rate: 1, connections: 1 })
  // a failure of one recipient does not prove recovery
  expect(taught(down, { kind: 'nothing' })).toMatchObject({ downSince: NOW, failures: 5 })
  expect(taught(down, ACCEPTED)).toMatchObject({
    downSince: null,
    failingSince: null,
    failures: 0,
    epoch: down.epoch + 1,
    reservedUntil: NOW,
  })
})

test('a higher rate keeps the number of reserved slots; a lower rate voids them', () => {
  const state = { ...newLimiterState(LIMITS, NOW), rate: 10, reservedUntil: NOW + 6000 }
  expect(taught(state, ACCEPTED).reservedUntil).toBeCloseTo(NOW + (6000 * 10) / rateOf(taught(state, ACCEPTED), LIMITS))
  expect(taught(state, FAILING)).toMatchObject({ reservedUntil: NOW, epoch: state.epoch + 1 })
  const atLowest = { ...state, rate: LIMITS.minMessageRate }
  expect(taught(atLowest, FAILING)).toMatchObject({ reservedUntil: NOW + 6000, epoch: state.epoch })
})
