/** Signals, and the reasons that an operator gets for a request that changes nothing: pure tables. */
import { describe, expect, test } from 'vitest'
import { MOST_AHEAD_MS } from '../../src/bounce/index.js'
import { begin } from '../../src/workflows/lifecycle.js'
import type { Delivery, Signal, Wait } from '../../src/workflows/lifecycle-state.js'
import { dropLateReports, isInterrupted, receive, whyNotGiveUp, whyNotRetryNow } from '../../src/workflows/receive.js'
import {
  answered,
  at,
  attempt,
  backup,
  confirming,
  follow,
  HOUR,
  iso,
  NOW,
  plan,
  report,
  sending,
  token,
  WOKE,
  waiting,
} from '../support/lifecycle.js'

const inState = (state: Delivery['state'], more: Partial<Delivery> = {}): Delivery => ({ ...waiting().delivery, state, ...more })
const withBackup = () => begin(plan({ backupUntilMs: NOW + 2 * HOUR }), at(NOW)).delivery

describe('why a retry cannot be sent now', () => {
  test.each<[string, Delivery, number | undefined, string | null]>([
    ['it waits', waiting().delivery, undefined, null],
    ['it waits, by its number', waiting().delivery, 1, null],
    ['another one waits', waiting().delivery, 2, 'retry 1 of 2 waits, not retry 2'],
    ['it is being prepared', inState('preparing'), undefined, null],
    ['it is being prepared, by any number', inState('preparing'), 2, null],
    ['it is being sent', sending().delivery, undefined, 'retry 1 of 2 is being sent already'],
    [
      'a relay has it',
      confirming().delivery,
      undefined,
      `a relay has accepted it, and nothing is sent until a report arrives, or until ${iso(NOW + 25 * HOUR)}`,
    ],
    [
      'a relay has it, for as long as it takes',
      { ...confirming().delivery, wait: null },
      undefined,
      'a relay has accepted it, and nothing is sent until a report arrives',
    ],
    ['the address is being suppressed', inState('suppressing'), undefined, 'the address is being suppressed'],
    ['it has ended', inState('delivered'), undefined, 'it has ended: delivered'],
    ['the backup relay may send it', withBackup(), undefined, 'the backup relay may still send it; retry 1 of 2 waits for that'],
    ['just asked', inState('waiting', { retryNowAtMs: NOW - 9_999 }), undefined, 'a retry was asked for less than 10 s ago'],
    ['just asked, by number', inState('waiting', { retryNowAtMs: NOW - 9_999 }), 1, null],
    ['asked a while ago', inState('waiting', { retryNowAtMs: NOW - 10_000 }), undefined, null],
  ])('%s', (_, delivery, named, why) => {
    expect(whyNotRetryNow(delivery, named, NOW)).toBe(why)
    const after = receive(delivery, { kind: 'retryNow', retry: named }, NOW)
    expect([after.retryNow, after.retryNowAtMs]).toEqual(why === null ? [true, NOW] : [delivery.retryNow, delivery.retryNowAtMs])
  })

  test.each<[Delivery['state'], string | null]>([
    ['preparing', null],
    ['waiting', null],
    ['sending', null],
    ['confirming', null],
    ['suppressing', 'the address is being suppressed'],
    ['suppressed', 'it has ended: suppressed'],
    ['cancelled', 'it has ended: cancelled'],
  ])('giving up while it is %s', (state, why) => {
    expect(whyNotGiveUp(inState(state))).toBe(why)
    expect(whyNotGiveUp(inState(state, { givenUp: true }))).toBe('an operator has given up already')
  })
})

describe('a wait ends early', () => {
  const wait = (kind: Wait['kind']): Wait => ({ kind, untilMs: NOW, delayMs: 0, jitterMs: 0 })
  const accepted = receive(waiting().delivery, backup, NOW).backup
  test.each<[string, Partial<Delivery>, boolean]>([
    ['nothing happened', {}, false],
    ['an operator gave up', { givenUp: true }, true],
    ['a report came', { reports: [{ status: '5.7.1', bouncedAt: iso(NOW) }] }, true],
    ['retryNow', { retryNow: true }, true],
    ['retryNow, while a relay has it', { retryNow: true, state: 'confirming' }, false],
    ['the backup relay accepted it', { backup: accepted }, true],
    ['the backup relay accepted it, while it is confirmed', { backup: accepted, state: 'confirming' }, false],
    ['the backup relay may still send', { wait: wait('backup'), backupIsOpen: true }, false],
    ['the backup relay has ended', { wait: wait('backup'), backupIsOpen: false }, true],
    ['the backup relay has ended, and a retry waits', { wait: wait('retry'), backupIsOpen: false }, false],
    ['there is no wait yet', { wait: null }, false],
  ])('%s', (_, more, ends) => expect(isInterrupted({ ...waiting().delivery, ...more })).toBe(ends))
})

describe('reports', () => {
  const times = (signal: Signal, nowMs: number) => receive(confirming().delivery, signal, nowMs).reports.map(({ bouncedAt }) => bouncedAt)

  test('a clock may be ahead a little; what is further ahead counts as now', () => {
    const nowMs = NOW + 2 * HOUR
    expect(times(report({ bouncedAt: iso(nowMs - HOUR) }), nowMs)).toEqual([iso(nowMs - HOUR)])
    expect(times(report({ bouncedAt: iso(nowMs + MOST_AHEAD_MS) }), nowMs)).toEqual([iso(nowMs + MOST_AHEAD_MS)])
    expect(times(report({ bouncedAt: iso(nowMs + MOST_AHEAD_MS + 1) }), nowMs)).toEqual([iso(nowMs)])
  })

  const refused = follow(sending(), answered(attempt(1))).delivery
  test.each<[string, Delivery, Signal, number]>([
    ['a late failure is dropped', refused, report({}), 0],
    ['a permanent failure is kept', refused, report({ status: '5.1.1', diagnostic: '550 5.1.1 no' }), 1],
    ['a permanent failure of the backup relay is dropped', refused, report({ status: '5.1.1', token: token('backup') }), 0],
    ['a delivery is kept', refused, report({ status: '2.0.0' }), 1],
    [
      'a delivery of an earlier send, before the last failure, is dropped',
      refused,
      report({ status: '2.0.0', token: token(0), bouncedAt: iso(NOW - HOUR) }),
      0,
    ],
    [
      'a delivery of an earlier send, after it, is kept',
      refused,
      report({ status: '2.0.0', token: token(0), bouncedAt: iso(NOW + 3 * HOUR) }),
      1,
    ],
    ['a delivery before any attempt is dropped', waiting().delivery, report({ status: '2.0.0' }), 0],
  ])('while the next retry waits: %s', (_, delivery, signal, kept) => {
    expect(receive(delivery, signal, NOW + 4 * HOUR).reports).toHaveLength(kept)
  })

  test('the time of the bounce counts as a failure, too', () => {
    const delivery = { ...refused, failedAtMs: NOW - 9 * HOUR }
    const old = receive({ ...delivery, state: 'sending' }, report({ status: '2.0.0', token: token(0), bouncedAt: iso(NOW - HOUR) }), NOW)
    expect(old.reports).toHaveLength(1)
    expect(dropLateReports(old).reports).toEqual([])
  })

  test('while it is sent or confirmed, each report is kept', () => {
    expect(receive(sending().delivery, report({}), NOW).reports).toHaveLength(1)
    expect(receive(confirming().delivery, report({}), NOW).reports).toHaveLength(1)
  })
})

test('the backup relay: accepted or ended, it sends no more', () => {
  const open = withBackup()
  expect(open.backupIsOpen).toBe(true)
  expect(receive(open, backup, NOW)).toMatchObject({
    backupIsOpen: false,
    backup: { relayed: true, row: { firstRunId: 'child', retry: 1 } },
  })
  expect(receive(open, { kind: 'backupEnded' }, NOW)).toMatchObject({ backupIsOpen: false, backup: null })
  expect(receive(open, { kind: 'giveUp' }, NOW)).toMatchObject({ givenUp: true, backupIsOpen: true })
  expect(follow({ delivery: open, command: { kind: 'wait', untilMs: NOW } }, backup, WOKE).delivery.backup).toBeNull()
})
