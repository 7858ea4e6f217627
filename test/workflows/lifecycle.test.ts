/** The lifecycle as a table: state and event -> state and command; and invariants for any sequence of events. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dueAt, type Send } from '../../src/bounce/index.js'
import { begin, step } from '../../src/workflows/lifecycle.js'
import type { Clock, Command, Delivery, Event, Next, Signal } from '../../src/workflows/lifecycle-state.js'
import { isInterrupted, receive } from '../../src/workflows/receive.js'
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

describe('state and event -> state and command', () => {
  const table: [string, Next, (Event | Signal)[], string, object][] = [
    ['a bounce waits an hour', waiting(), [], 'waiting', { kind: 'wait', untilMs: NOW + HOUR }],
    ['the hour is over', waiting(), [WOKE], 'sending', { kind: 'send', retry: 1 }],
    ['deferred', sending(), [answered(attempt(1))], 'waiting', { kind: 'wait', untilMs: NOW + 5 * HOUR }],
    ['accepted', sending(), [answered(accepted(1))], 'delivered', { kind: 'end', result: { outcome: 'delivered', confirmed: true } }],
    [
      'rejected',
      sending(),
      [answered(attempt(1, { outcome: 'rejected', status: '5.7.1' }))],
      'rejected',
      { kind: 'end', result: { outcome: 'rejected', retries: 1 } },
    ],
    [
      'rejected for the recipient',
      sending(),
      [answered(attempt(1, { outcome: 'rejected', status: '5.1.1', reply: '550 5.1.1 no' }), { lasting: true })],
      'suppressing',
      { kind: 'suppress', because: 'rejected', status: '5.1.1', reply: '550 5.1.1 no' },
    ],
    ['of no use any more', sending(), [{ kind: 'sent', result: { kind: 'expired', reason: 'late' } }], 'sending', { outcome: 'expired' }],
    [
      'suppressed meanwhile',
      sending(),
      [{ kind: 'sent', result: { kind: 'suppressed', reason: 'so' } }],
      'sending',
      { kind: 'record end', outcome: 'suppressed' },
    ],
    [
      'stopped, since an operator gave up',
      sending(),
      [{ kind: 'giveUp' }, { kind: 'send stopped' }],
      'suppressing',
      { because: 'unavailable' },
    ],
    ['a relay accepted', sending(), [answered(accepted(1), { relayed: true })], 'confirming', { kind: 'wait', untilMs: NOW + 25 * HOUR }],
    ['the last retry failed', sending(), [answered(attempt(1)), WOKE, answered(attempt(2))], 'suppressing', { because: 'unavailable' }],
    [
      'suppressed for a while',
      sending(),
      [answered(attempt(1)), WOKE, answered(attempt(2)), { kind: 'suppressed', until: iso(NOW) }],
      'suppressed',
      { kind: 'end', result: { outcome: 'suppressed', retries: 2, suppressedUntil: iso(NOW) } },
    ],
    [
      'only lost connections',
      sending(),
      [answered(attempt(1), { ambiguous: true }), WOKE, answered(attempt(2), { ambiguous: true })],
      'sending',
      { kind: 'record end', outcome: 'delivered', confirmed: false },
    ],
    ['giveUp', waiting(), [{ kind: 'giveUp' }, WOKE], 'suppressing', { kind: 'suppress', because: 'unavailable', status: '4.3.2' }],
    ['giveUp while a relay has it', confirming(), [{ kind: 'giveUp' }, WOKE], 'suppressing', { status: '4.3.2', reply: '421 4.3.2 no' }],
    ['silence', confirming(), [WOKE], 'confirming', { kind: 'record end', outcome: 'delivered', confirmed: false }],
    [
      'silence, and it is recorded',
      confirming(),
      [WOKE, { kind: 'recorded' }],
      'delivered',
      { kind: 'end', result: { outcome: 'delivered', confirmed: false, retries: 1 } },
    ],
    [
      'a bounce comes while silence is recorded',
      confirming(),
      [WOKE, report({}), { kind: 'recorded' }],
      'confirming',
      { kind: 'record report' },
    ],
    ['a bounce', confirming(), [report({ token: token(1) }), WOKE], 'confirming', { kind: 'record report', report: { retry: 1 } }],
    ['a bounce, recorded', confirming(), [report({}), WOKE, { kind: 'recorded' }], 'waiting', { kind: 'wait' }],
    [
      'a bounce of an earlier send',
      confirming(),
      [report({ token: token(0) }), WOKE],
      'confirming',
      { kind: 'wait', untilMs: NOW + 25 * HOUR },
    ],
    [
      'the relay is late',
      confirming(),
      [report({ action: 'delayed', willRetryUntil: iso(NOW + 48 * HOUR) }), WOKE],
      'confirming',
      { kind: 'wait', untilMs: NOW + 48 * HOUR },
    ],
    [
      'delivered, says a report',
      confirming(),
      [report({ status: '2.0.0' }), WOKE],
      'confirming',
      { outcome: 'delivered', confirmed: true },
    ],
    [
      'rejected, says a report',
      confirming(),
      [report({ status: '5.7.1', diagnostic: '550 5.7.1 no' }), WOKE],
      'confirming',
      { kind: 'record end', outcome: 'rejected' },
    ],
    [
      'no such user, says a report',
      confirming(),
      [report({ status: '5.1.1', diagnostic: '550 5.1.1 no' }), WOKE],
      'suppressing',
      { kind: 'suppress', because: 'rejected' },
    ],
    ['a late bounce before the next retry', waiting(), [report({}), WOKE], 'sending', { kind: 'send', retry: 1 }],
    [
      'no such user, before the next retry',
      waiting(),
      [report({ status: '5.1.1', diagnostic: '550 5.1.1 no' }), WOKE],
      'suppressing',
      { because: 'rejected' },
    ],
    ['the backup relay accepted', waiting(), [backup, WOKE], 'confirming', { kind: 'wait', untilMs: NOW + 25 * HOUR }],
    [
      'the backup relay accepted for the receiving system',
      waiting(),
      [{ ...backup, relayed: false } as Signal, WOKE],
      'confirming',
      { kind: 'record end', outcome: 'delivered', confirmed: true },
    ],
    [
      'what the backup relay accepted came back',
      waiting(),
      [backup, WOKE, report({ token: token('backup'), status: '5.1.1' }), WOKE],
      'confirming',
      { kind: 'record report', report: { firstRunId: 'child', retry: 1 } },
    ],
    [
      'and the same retry waits again',
      waiting(),
      [backup, WOKE, report({ token: token('backup') }), WOKE, { kind: 'recorded' }],
      'waiting',
      { kind: 'wait', untilMs: NOW + HOUR },
    ],
  ]
  test.each(table)('%s', (_, first, moves, state, command) => {
    const next = follow(first, ...moves)
    expect(next.delivery.state).toBe(state)
    expect(next.command).toMatchObject(command)
  })

  test('a retry that had ended before ends at once', () => {
    const ended = { outcome: 'delivered', confirmed: true, retries: 1, attempts: [] } as const
    expect(begin(plan({ ended: { ...ended, attempts: [] } }), at(NOW)).command).toEqual({ kind: 'end', result: ended })
  })

  test('a permanent bounce is not retried', () => {
    const permanent = (lasting: boolean) =>
      begin(plan({ permanent: { lasting, reason: 'no' }, bounce: { ...bounce, status: '5.1.1', diagnostic: '550 5.1.1 no' } }), at(NOW))
    expect(permanent(true).command).toMatchObject({ kind: 'suppress', because: 'rejected', status: '5.1.1', reply: '550 5.1.1 no' })
    expect(permanent(false).command).toMatchObject({ kind: 'record end', outcome: 'rejected' })
  })

  test('a deadline before the next retry ends the wait as expired', () => {
    const next = begin(plan({ deliverByMs: NOW + 1000 }), at(NOW))
    expect(next.command).toEqual({ kind: 'wait', untilMs: NOW + 1000 })
    expect(step(next.delivery, WOKE, at(NOW + 1000)).command).toMatchObject({ kind: 'record end', outcome: 'expired' })
    const hurried = receive(next.delivery, { kind: 'retryNow' }, NOW)
    expect(step(hurried, WOKE, at(NOW)).command).toEqual({ kind: 'send', retry: 1 })
  })

  test('no retry goes while the backup relay may still send', () => {
    const open = begin(plan({ backupUntilMs: NOW + 2 * HOUR }), at(NOW))
    expect(open.command).toEqual({ kind: 'wait', untilMs: NOW + 2 * HOUR })
    expect(isInterrupted(receive(open.delivery, { kind: 'retryNow' }, NOW))).toBe(false)
    const ended = receive(open.delivery, { kind: 'backupEnded' }, NOW)
    expect(isInterrupted(receive(ended, { kind: 'retryNow' }, NOW))).toBe(true)
  })

  test('without a retry left, the backup relay has its time before the address is suppressed', () => {
    const none = begin(plan({ retriesSoFar: 2, backupUntilMs: NOW + HOUR }), at(NOW))
    expect(none).toMatchObject({ delivery: { state: 'waiting' }, command: { kind: 'wait', untilMs: NOW + HOUR } })
    expect(follow(none, WOKE).command).toMatchObject({ kind: 'suppress', because: 'unavailable' })
    expect(follow(none, { kind: 'backupEnded' }, WOKE).command).toMatchObject({ kind: 'suppress' })
    expect(follow(none, backup, WOKE)).toMatchObject({ delivery: { state: 'confirming' }, command: { kind: 'wait' } })
  })
})

describe('signals', () => {
  test('retryNow acts on the waiting retry, once even if sent twice', () => {
    const { delivery } = waiting()
    const pressed = receive(delivery, { kind: 'retryNow' }, NOW)
    expect([isInterrupted(delivery), isInterrupted(pressed)]).toEqual([false, true])
    expect(receive(delivery, { kind: 'retryNow', retry: 2 }, NOW)).toBe(delivery)
    expect(isInterrupted(receive(delivery, { kind: 'retryNow', retry: 1 }, NOW))).toBe(true)
    const next = follow({ ...waiting(), delivery: pressed }, WOKE, answered(attempt(1))).delivery
    expect(receive(next, { kind: 'retryNow' }, NOW + 9_999).retryNow).toBe(false)
    expect(receive(next, { kind: 'retryNow' }, NOW + 10_000).retryNow).toBe(true)
    expect(receive(sending().delivery, { kind: 'retryNow' }, NOW + HOUR).retryNow).toBe(false)
  })

  test('a signal received during prepare counts', () => {
    const early = [{ signal: { kind: 'retryNow' } as const, atMs: NOW }]
    expect(isInterrupted(begin(plan(), at(NOW), early).delivery)).toBe(true)
  })

  test('a report time in the far future is clamped to now', () => {
    const { delivery } = confirming()
    const late = receive(delivery, report({ bouncedAt: iso(NOW + 100 * HOUR) }), NOW + 2 * HOUR)
    expect(late.reports.map(({ bouncedAt }) => bouncedAt)).toEqual([iso(NOW + 2 * HOUR)])
  })
})

describe('no sequence of events', () => {
  const signal = fc.oneof(
    fc.constant<Signal>({ kind: 'retryNow' }),
    fc.constant<Signal>({ kind: 'giveUp' }),
    fc.constant<Signal>(backup),
    fc
      .record({
        status: fc.constantFrom('4.3.2', '4.4.7', '5.1.1', '5.7.1', '2.0.0'),
        send: fc.constantFrom<Send | null>(null, 0, 1, 2, 'backup'),
        agoMs: fc.integer({ min: -HOUR, max: 3 * HOUR }),
      })
      .map(({ status, send, agoMs }): Signal => {
        const more = send === null ? {} : { token: token(send) }
        return { kind: 'bouncedAgain', bounce: { status, bouncedAt: iso(NOW + HOUR - agoMs), ...more } }
      }),
  )
  const answer = fc.constantFrom<'accepted' | 'relayed' | 'deferred' | 'ambiguous' | 'rejected' | 'gone' | 'expired'>(
    ...(['accepted', 'relayed', 'deferred', 'ambiguous', 'rejected', 'gone', 'expired'] as const),
  )
  const life = fc.record({
    answers: fc.array(answer, { minLength: 4, maxLength: 4 }),
    signals: fc.array(fc.array(signal, { maxLength: 2 }), { minLength: 30, maxLength: 30 }),
    random: fc.double({ min: 0, max: 0.999, noNaN: true }),
  })

  test('sends early, twice, after the end, or suppresses though a send was accepted', () => {
    fc.assert(
      fc.property(life, ({ answers, signals, random }) => {
        let nowMs = NOW
        const clock = (): Clock => ({ nowMs, random: () => random })
        const delaysMs = [HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR]
        let next = begin(plan({ delaysMs }), clock())
        const sent: number[] = []
        let moves = 0
        while (next.command.kind !== 'end') {
          const command: Exclude<Command, { kind: 'end' }> = next.command
          let delivery: Delivery = next.delivery
          for (const one of signals[moves % signals.length] ?? []) delivery = receive(delivery, one, nowMs)
          moves += 1
          expect(moves).toBeLessThan(200)
          next = step(delivery, performed(command, delivery), clock())
        }
        const { result } = next.command
        expect(sent).toEqual([...new Set(sent)].sort((a, b) => a - b))
        expect(sent.length).toBeLessThanOrEqual(delaysMs.length)
        if (result.outcome === 'suppressed' && !next.delivery.givenUp) expect(result.attempts.at(-1)?.outcome).toBe('deferred')

        function performed(command: Exclude<Command, { kind: 'end' }>, delivery: Delivery): Event {
          switch (command.kind) {
            case 'wait':
              if (!isInterrupted(delivery)) nowMs = Math.max(nowMs, command.untilMs)
              return WOKE
            case 'send': {
              expect(delivery.state).toBe('sending')
              const waited = dueAt(delivery.countFromMs, delaysMs[command.retry - 1] as number, 0, 0).atMs
              if (delivery.retryNowAtMs !== nowMs) expect(nowMs).toBeGreaterThanOrEqual(waited)
              sent.push(command.retry)
              nowMs += 1000
              return sentAs(answers[command.retry - 1] ?? 'deferred', command.retry, iso(nowMs))
            }
            case 'suppress':
              return { kind: 'suppressed', until: iso(nowMs) }
            default:
              return { kind: 'recorded' }
          }
        }
      }),
      { numRuns: 2000 },
    )
  })

  function sentAs(what: string, retry: number, when: string): Event {
    if (what === 'expired') return { kind: 'sent', result: { kind: 'expired', reason: 'late' } }
    const outcome =
      what === 'accepted' || what === 'relayed' ? 'accepted' : what === 'rejected' || what === 'gone' ? 'rejected' : 'deferred'
    const status = { accepted: '2.0.0', rejected: '5.1.1', deferred: '4.3.2' }[outcome]
    return answered(attempt(retry, { at: when, outcome, status }), {
      relayed: what === 'relayed',
      lasting: what === 'gone',
      ambiguous: what === 'ambiguous',
    })
  }
})
