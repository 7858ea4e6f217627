/** Fixtures of the pure lifecycle: a bounced message with two retries, after 1 h and 4 h, and what may happen to it. */
import type { SendResult } from '../../src/activities/index.js'
import { type Attempt, type Bounce, encodeToken, type Send } from '../../src/bounce/index.js'
import { begin, step } from '../../src/workflows/lifecycle.js'
import type { Clock, Event, Next, Plan, Signal } from '../../src/workflows/lifecycle-state.js'
import { isInterrupted, receive } from '../../src/workflows/receive.js'

export const HOUR = 3_600_000
export const NOW = Date.parse('2026-11-24T08:00:00.000Z')
export const iso = (ms: number) => new Date(ms).toISOString()
export const at = (ms: number): Clock => ({ nowMs: ms, random: () => 0 })
export const token = (send: Send) => encodeToken({ id: '00'.repeat(10), day: 1, send }, new Uint8Array(10))

export const bounce: Bounce = { status: '4.3.2', bouncedAt: iso(NOW), diagnostic: '421 4.3.2 no' }
export const plan = (more: Partial<Plan> = {}): Plan => ({
  bounce,
  bouncedAtMs: NOW,
  fromMs: NOW,
  delaysMs: [HOUR, 4 * HOUR],
  retriesSoFar: 0,
  confirmWithinMs: 24 * HOUR,
  ...more,
})
export const attempt = (retry: number, more: Partial<Attempt> = {}): Attempt => ({
  ...{ retry, at: iso(NOW + HOUR), outcome: 'deferred', status: '4.3.2', reply: '421 4.3.2 still not' },
  ...more,
})
export const answered = (one: Attempt, more: Partial<Extract<SendResult, { kind: 'answered' }>> = {}): Event => ({
  kind: 'sent',
  result: { kind: 'answered', attempt: one, relayed: false, lasting: false, ambiguous: false, ...more },
})
export const accepted = (retry: number) => attempt(retry, { outcome: 'accepted', status: '2.0.0', reply: '250 2.0.0 Ok' })
export const report = (more: Partial<Bounce>): Signal => ({
  kind: 'bouncedAgain',
  bounce: { ...bounce, bouncedAt: iso(NOW + 2 * HOUR), ...more },
})
export const WOKE: Event = { kind: 'woke' }

/** Applies events and signals in order. */
export function follow(first: Next, ...moves: (Event | Signal)[]): Next {
  return moves.reduce<Next>((next, move) => {
    const sleeps = next.command.kind === 'wait' && move.kind === 'woke' && !isInterrupted(next.delivery)
    const nowMs = Math.max(NOW + HOUR, sleeps ? (next.command as { untilMs: number }).untilMs : 0)
    if (
      move.kind === 'retryNow' ||
      move.kind === 'bouncedAgain' ||
      move.kind === 'giveUp' ||
      move.kind === 'acceptedByBackup' ||
      move.kind === 'backupEnded'
    )
      return { command: next.command, delivery: receive(next.delivery, move, nowMs) }
    return step(next.delivery, move, at(nowMs))
  }, first)
}
export const waiting = () => begin(plan(), at(NOW))
export const sending = () => follow(waiting(), WOKE)
export const confirming = () => follow(sending(), answered(accepted(1), { relayed: true }))
export const backup: Signal = {
  ...{ kind: 'acceptedByBackup', relayed: true, row: { firstRunId: 'child', retry: 1 } },
  attempt: { ...accepted(0), via: 'backup-relay' },
}
