/** How a life ends and why, what of a failed confirmation is recorded, and from when the next delay counts: pure tables. */
import { describe, expect, test } from 'vitest'
import { begin, step } from '../../src/workflows/lifecycle.js'
import type { Delivery, Event, Next, Plan, Reason, Signal } from '../../src/workflows/lifecycle-state.js'
import {
  accepted,
  answered,
  at,
  attempt,
  backup,
  bounce,
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

const RECORDED: Event = { kind: 'recorded' }
const rejection = { status: '5.7.1', diagnostic: '550 5.7.1 no' }
/** The rejection, as it is recorded for the retry that it is about. */
const reported = { retry: 1, status: '5.7.1', reply: '550 5.7.1 no', atMs: NOW + 2 * HOUR }
const gone = { status: '5.1.1', diagnostic: '550 5.1.1 no such user' }
const started = (more: Partial<Plan>) => begin(plan(more), at(NOW))

describe('the reason that is shown', () => {
  test.each<[string, Next, (Event | Signal)[], Reason]>([
    ['ended before', started({ ended: { outcome: 'delivered', retries: 1, attempts: [] } }), [], { kind: 'ended before' }],
    [
      'a permanent bounce',
      started({ permanent: { lasting: false, reason: 'policy' }, bounce: { ...bounce, ...rejection } }),
      [],
      { kind: 'permanent bounce', text: 'policy' },
    ],
    ['accepted', sending(), [answered(accepted(1))], { kind: 'accepted', atMs: NOW + HOUR }],
    ['accepted by the backup relay', waiting(), [{ ...backup, relayed: false } as Signal, WOKE], { kind: 'accepted', atMs: NOW + HOUR }],
    ['the message rejected', sending(), [answered(attempt(1, { outcome: 'rejected', status: '5.7.1' }))], { kind: 'message rejected' }],
    [
      'the recipient rejected',
      sending(),
      [answered(attempt(1, { outcome: 'rejected', status: '5.1.1' }), { lasting: true })],
      { kind: 'recipient rejected', status: '5.1.1' },
    ],
    [
      'already suppressed',
      sending(),
      [{ kind: 'sent', result: { kind: 'suppressed', reason: 'a complaint' } }],
      { kind: 'already suppressed', text: 'a complaint' },
    ],
    [
      'the deadline, while it was sent',
      sending(),
      [{ kind: 'sent', result: { kind: 'expired', reason: 'late' } }],
      { kind: 'deadline passed', text: 'late' },
    ],
    ['the deadline, while it waited', started({ deliverByMs: NOW + 1000 }), [WOKE], { kind: 'deadline passed', text: null }],
    ['no bounce came', confirming(), [WOKE], { kind: 'no bounce came' }],
    ['a report confirmed it', confirming(), [report({ status: '2.0.0' }), WOKE], { kind: 'report confirmed' }],
    ['a report rejected it', confirming(), [report(rejection), WOKE], { kind: 'report rejected', status: '5.7.1' }],
    ['an operator gave up', waiting(), [{ kind: 'giveUp' }, WOKE], { kind: 'gave up' }],
    [
      'an operator gave up, and until when',
      waiting(),
      [{ kind: 'giveUp' }, WOKE, { kind: 'suppressed', until: iso(NOW) }],
      { kind: 'gave up', until: iso(NOW) },
    ],
    ['every retry failed', sending(), [answered(attempt(1)), WOKE, answered(attempt(2))], { kind: 'every retry failed' }],
    [
      'every retry failed, and until when',
      sending(),
      [answered(attempt(1)), WOKE, answered(attempt(2)), { kind: 'suppressed', until: iso(NOW) }],
      { kind: 'every retry failed', until: iso(NOW) },
    ],
    [
      'maybe delivered',
      sending(),
      [answered(attempt(1), { ambiguous: true }), WOKE, answered(attempt(2), { ambiguous: true })],
      { kind: 'maybe delivered' },
    ],
  ])('%s', (_, first, moves, reason) => expect(follow(first, ...moves).delivery.reason).toEqual(reason))
})

describe('what is recorded', () => {
  test.each<[string, Next, (Event | Signal)[], object]>([
    [
      'a permanent bounce',
      started({ permanent: { lasting: false, reason: 'policy' }, bounce: { ...bounce, ...rejection } }),
      [],
      { kind: 'record end', outcome: 'rejected', confirmed: false },
    ],
    [
      'already suppressed',
      sending(),
      [{ kind: 'sent', result: { kind: 'suppressed', reason: 'a complaint' } }],
      { kind: 'record end', outcome: 'suppressed', confirmed: false },
    ],
    [
      'a bounce after a relay accepted it',
      confirming(),
      [report({ diagnostic: '421 4.3.2 not yet' }), WOKE],
      { kind: 'record report', report: { retry: 1, atMs: NOW + 2 * HOUR, status: '4.3.2', reply: '421 4.3.2 not yet' } },
    ],
    [
      'a bounce without words',
      confirming(),
      [{ kind: 'bouncedAgain', bounce: { status: '4.4.7', bouncedAt: iso(NOW + 2 * HOUR) } }, WOKE],
      { kind: 'record report', report: { retry: 1, atMs: NOW + 2 * HOUR, status: '4.4.7' } },
    ],
    [
      'a delivery',
      confirming(),
      [{ kind: 'bouncedAgain', bounce: { status: '2.0.0', bouncedAt: iso(NOW + 2 * HOUR) } }, WOKE],
      { kind: 'record end', outcome: 'delivered', confirmed: true, report: { retry: 1, atMs: NOW + 2 * HOUR, status: '2.0.0' } },
    ],
    [
      'a rejection',
      confirming(),
      [report(rejection), WOKE],
      {
        kind: 'record end',
        outcome: 'rejected',
        confirmed: false,
        report: reported,
      },
    ],
    [
      'a rejection before the first retry: the row is that of the retry that waits',
      waiting(),
      [report(rejection), WOKE],
      {
        kind: 'record end',
        outcome: 'rejected',
        confirmed: false,
        report: reported,
      },
    ],
    [
      'a rejection of what the backup relay accepted is its failure, not the end',
      waiting(),
      [backup, WOKE, report({ ...rejection, token: token('backup') }), WOKE],
      { kind: 'record report', report: { firstRunId: 'child', ...reported } },
    ],
    [
      'a rejection without a token, too',
      waiting(),
      [backup, WOKE, report(rejection), WOKE],
      { kind: 'record report', report: { firstRunId: 'child', ...reported } },
    ],
    [
      'a rejection of another send ends it',
      waiting(),
      [backup, WOKE, report({ ...rejection, token: token(0) }), WOKE],
      {
        kind: 'record end',
        outcome: 'rejected',
        confirmed: false,
        report: { firstRunId: 'child', ...reported },
      },
    ],
  ])('%s', (_, first, moves, command) => expect(follow(first, ...moves).command).toEqual(command))
})

describe('the attempts', () => {
  const countAttempts = (next: Next) => next.delivery.attempts

  test('a bounce turns the accepted attempt into a deferred one, and leaves the earlier ones', () => {
    const second = follow(
      sending(),
      answered(attempt(1)),
      WOKE,
      answered(accepted(2), { relayed: true }),
      report({ diagnostic: '421 4.3.2 not yet' }),
      WOKE,
    )
    expect(countAttempts(second)).toEqual([
      attempt(1),
      { ...accepted(2), outcome: 'deferred', status: '4.3.2', reply: '421 4.3.2 not yet' },
    ])
  })

  test('a delivery, or a rejection, corrects the last one', () => {
    expect(countAttempts(follow(confirming(), report({ status: '2.0.0', diagnostic: '250 ok' }), WOKE))).toEqual([
      { ...accepted(1), status: '2.0.0', reply: '250 ok' },
    ])
    expect(countAttempts(follow(confirming(), report(rejection), WOKE))).toMatchObject([
      { outcome: 'rejected', status: '5.7.1', reply: '550 5.7.1 no' },
    ])
  })

  test('a rejection leaves a refused attempt as it was', () => {
    const refused = follow(sending(), answered(attempt(1)))
    expect(countAttempts(follow(refused, report(rejection), WOKE))).toEqual([attempt(1)])
  })

  test('the retries are counted over all runs, without the backup relay', () => {
    const ended = (next: Next) => (next.command.kind === 'end' ? next.command.result : null)
    const later = begin(plan({ retriesSoFar: 1 }), at(NOW))
    expect(ended(follow(later, WOKE, answered(accepted(2))))).toMatchObject({ retries: 2, attempts: [accepted(2)] })
    expect(ended(follow(later, backup, WOKE, report({ status: '2.0.0' }), WOKE, RECORDED))).toMatchObject({
      outcome: 'delivered',
      confirmed: true,
      retries: 1,
    })
    expect(ended(follow(later, { kind: 'giveUp' }, WOKE, { kind: 'suppressed' }))).toEqual({
      outcome: 'suppressed',
      retries: 1,
      attempts: [],
    })
  })
})

describe('from when the next delay counts', () => {
  const nextAt = (next: Next) => (next.command.kind === 'wait' ? next.command.untilMs : null)
  const failed = (bouncedAt: number, nowMs: number) => {
    const first = follow(confirming(), report({ bouncedAt: iso(bouncedAt) }))
    const recorded = step(first.delivery, WOKE, at(nowMs))
    return step(recorded.delivery, RECORDED, at(nowMs))
  }
  test('from the reported failure', () => expect(nextAt(failed(NOW + 2 * HOUR, NOW + 3 * HOUR))).toBe(NOW + 6 * HOUR))
  test('not from before the attempt, even if the other clock says so', () =>
    expect(nextAt(failed(NOW + HOUR - 60_000, NOW + 3 * HOUR))).toBe(NOW + 5 * HOUR))
  test('not from the future', () => expect(nextAt(failed(NOW + HOUR + 60_000, NOW + HOUR))).toBe(NOW + 5 * HOUR))
  test('from the answer of a retry, and from the failure that the send itself names', () => {
    expect(nextAt(follow(sending(), answered(attempt(1))))).toBe(NOW + 5 * HOUR)
    expect(nextAt(follow(sending(), answered(attempt(1), { failedAtMs: NOW + 2 * HOUR })))).toBe(NOW + 6 * HOUR)
  })
  test('a failure of the backup relay moves nothing', () => {
    const open = begin(plan(), at(NOW))
    const failedBackup = follow(open, backup, WOKE, report({ token: token('backup') }), WOKE, RECORDED)
    expect(nextAt(failedBackup)).toBe(NOW + HOUR)
    expect(failedBackup.delivery).toMatchObject({ state: 'waiting', retry: 1 })
  })
  test('a failure of the backup relay after a retry counts', () => {
    const refused = follow(
      sending(),
      answered(attempt(1)),
      backup,
      WOKE,
      report({ token: token('backup'), bouncedAt: iso(NOW + 90 * 60_000) }),
    )
    const recorded = step(refused.delivery, WOKE, at(NOW + 2 * HOUR))
    expect(nextAt(step(recorded.delivery, RECORDED, at(NOW + 2 * HOUR)))).toBe(NOW + 5.5 * HOUR)
  })
})

describe('an ambiguous loss of the connection', () => {
  const lost = (retry: number) => answered(attempt(retry), { ambiguous: true })
  test.each<[string, (Event | Signal)[], object]>([
    ['then a clear refusal: suppressed', [lost(1), WOKE, answered(attempt(2))], { kind: 'suppress', because: 'unavailable' }],
    ['a clear refusal, then a loss: suppressed', [answered(attempt(1)), WOKE, lost(2)], { kind: 'suppress', because: 'unavailable' }],
    ['only losses: delivered, unconfirmed', [lost(1), WOKE, lost(2)], { kind: 'record end', outcome: 'delivered', confirmed: false }],
    [
      'only losses, and an operator gives up: suppressed',
      [lost(1), { kind: 'giveUp' }, WOKE],
      { kind: 'suppress', because: 'unavailable' },
    ],
    [
      'then a relay’s acceptance that bounced: suppressed',
      [lost(1), WOKE, answered(accepted(2), { relayed: true, ambiguous: true }), report({}), WOKE, RECORDED],
      { kind: 'suppress', because: 'unavailable' },
    ],
    [
      'then a bounce of the backup relay: still delivered, unconfirmed',
      [lost(1), backup, WOKE, report({ token: token('backup') }), WOKE, RECORDED, WOKE, lost(2)],
      { kind: 'record end', outcome: 'delivered', confirmed: false },
    ],
  ])('%s', (_, moves, command) => expect(follow(sending(), ...moves).command).toMatchObject(command))
})

describe('after the last retry, while it was under way', () => {
  const last = (): Next => follow(sending(), answered(attempt(1)), WOKE)
  const failing = answered(attempt(2))
  test.each<[string, (Event | Signal)[], object, Delivery['state']]>([
    ['nothing came', [failing], { kind: 'suppress', status: '4.3.2', reply: '421 4.3.2 still not' }, 'suppressing'],
    [
      'a permanent failure was reported',
      [report(gone), failing],
      { kind: 'suppress', because: 'rejected', status: '5.1.1', reply: gone.diagnostic },
      'suppressing',
    ],
    [
      'a delivery was reported',
      [report({ status: '2.0.0', bouncedAt: iso(NOW + 3 * HOUR) }), failing],
      { kind: 'record end', outcome: 'delivered', confirmed: true },
      'sending',
    ],
    ['the backup relay accepted it', [backup, failing], { kind: 'wait' }, 'confirming'],
    ['an operator gave up', [{ kind: 'giveUp' }, failing], { kind: 'suppress', because: 'unavailable' }, 'suppressing'],
    [
      'an operator gave up, and the backup relay accepted it',
      [backup, { kind: 'giveUp' }, failing],
      { kind: 'suppress', because: 'unavailable' },
      'suppressing',
    ],
    [
      'an operator gave up, and a delivery was reported',
      [report({ status: '2.0.0', bouncedAt: iso(NOW + 3 * HOUR) }), { kind: 'giveUp' }, failing],
      { kind: 'suppress' },
      'suppressing',
    ],
  ])('%s', (_, moves, command, state) => {
    const next = follow(last(), ...moves)
    expect(next.command).toMatchObject(command)
    expect(next.delivery.state).toBe(state)
  })

  test('the backup relay’s time that is just over is waited for no longer', () => {
    expect(begin(plan({ retriesSoFar: 2, backupUntilMs: NOW }), at(NOW)).command).toMatchObject({ kind: 'suppress' })
    expect(begin(plan({ retriesSoFar: 2, backupUntilMs: NOW + 1 }), at(NOW)).command).toEqual({ kind: 'wait', untilMs: NOW + 1 })
  })
})

describe('a suppression names', () => {
  test('an operator who gave up, and nobody if every retry failed', () => {
    const reply = { kind: 'suppress', because: 'unavailable', status: '4.3.2' }
    expect(follow(waiting(), { kind: 'giveUp' }, WOKE).command).toEqual({ ...reply, reply: '421 4.3.2 no', givenUp: true })
    expect(follow(sending(), answered(attempt(1)), WOKE, answered(attempt(2))).command).toEqual({ ...reply, reply: '421 4.3.2 still not' })
  })
  test('the bounce, if nothing was sent', () => {
    expect(follow(waiting(), { kind: 'giveUp' }, WOKE).command).toMatchObject({ status: '4.3.2', reply: '421 4.3.2 no' })
    const wordless = begin(plan({ bounce: { status: '4.3.2', bouncedAt: iso(NOW) } }), at(NOW))
    expect(follow(wordless, { kind: 'giveUp' }, WOKE).command).toMatchObject({ status: '4.3.2', reply: '' })
  })
  test('a lasting one without words: its status', () => {
    const wordless = begin(plan({ permanent: { lasting: true, reason: 'no' }, bounce: { status: '5.1.1', bouncedAt: iso(NOW) } }), at(NOW))
    expect(wordless.command).toMatchObject({ because: 'rejected', status: '5.1.1', reply: '5.1.1' })
  })
  test('and a recipient who was rejected ends as rejected', () => {
    const rejected = follow(sending(), answered(attempt(1, { outcome: 'rejected', status: '5.1.1' }), { lasting: true }), {
      kind: 'suppressed',
    })
    expect(rejected).toMatchObject({
      delivery: { state: 'rejected' },
      command: { kind: 'end', result: { outcome: 'rejected', retries: 1 } },
    })
  })
})

describe('deadline and jitter', () => {
  test('a deadline at the time of the retry is no deadline before it', () => {
    expect(begin(plan({ deliverByMs: NOW + HOUR }), at(NOW)).delivery.wait).toEqual({
      kind: 'retry',
      untilMs: NOW + HOUR,
      delayMs: HOUR,
      jitterMs: 0,
    })
    expect(begin(plan({ deliverByMs: NOW + HOUR - 1 }), at(NOW)).delivery.wait).toMatchObject({ kind: 'deadline', untilMs: NOW + HOUR - 1 })
  })
  test('jitter is added, and shown', () => {
    const { delivery, command } = begin(plan(), { nowMs: NOW, random: () => 0.5 })
    expect(delivery.wait).toMatchObject({ kind: 'retry', delayMs: HOUR, jitterMs: 3 * 60_000 })
    expect(command).toEqual({ kind: 'wait', untilMs: NOW + HOUR + 3 * 60_000 })
  })
  test('giving up during a send that then fails suppresses, and starts no retry', () => {
    const next = follow(sending(), { kind: 'giveUp' }, answered(attempt(1)))
    expect(next.command).toMatchObject({ kind: 'suppress', because: 'unavailable', reply: '421 4.3.2 still not' })
  })
})
