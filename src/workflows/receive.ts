/** Applies signals to the state, and drops reports that change nothing. Pure. */
import {
  type Attempt,
  type Bounce,
  bouncedAtMs,
  isBackupFailure,
  isFinal,
  isOfEarlierSend,
  isSuccess,
  MOST_AHEAD_MS,
} from '../bounce/index.js'
import type { Delivery, Signal } from './lifecycle-state.js'

/** A second `retryNow` without a number within this time is a repeat of the first, even if the retry was answered in between. */
export const DOUBLE_PRESS_MS = 10_000

/** Applies a signal to the state; the next `step` acts on it. */
export function receive(delivery: Delivery, signal: Signal, nowMs: number): Delivery {
  switch (signal.kind) {
    case 'retryNow':
      return whyNotRetryNow(delivery, signal.retry, nowMs) === null ? { ...delivery, retryNow: true, retryNowAtMs: nowMs } : delivery
    case 'bouncedAgain': {
      const { bounce } = signal
      // clocks may be ahead by up to MOST_AHEAD_MS; a later time would make every genuine report look older
      const clamped = bouncedAtMs(bounce) <= nowMs + MOST_AHEAD_MS ? bounce : { ...bounce, bouncedAt: new Date(nowMs).toISOString() }
      const received = { ...delivery, reports: [...delivery.reports, clamped] }
      return delivery.state === 'waiting' ? dropLateReports(received) : received
    }
    case 'giveUp':
      return { ...delivery, givenUp: true }
    case 'acceptedByBackup': {
      const { attempt, row, relayed } = signal
      return { ...delivery, backup: { attempt, row, relayed }, backupIsOpen: false }
    }
    case 'backupEnded':
      return { ...delivery, backupIsOpen: false }
  }
}

/**
 * Why the waiting retry cannot be sent now; null if it can. The signal then changes nothing; the update is rejected with this text.
 * @param named the number of the retry that is asked for; the waiting one without it.
 */
export function whyNotRetryNow(delivery: Delivery, named: number | null | undefined, nowMs: number): string | null {
  const { state, retry, plan, wait, backupIsOpen, retryNowAtMs } = delivery
  const which = `retry ${retry} of ${plan.delaysMs.length}`
  // during preparation, it applies to the first retry
  if (state === 'preparing') return null
  if (state === 'sending') return `${which} is being sent already`
  if (state === 'confirming')
    return `a relay has accepted it, and nothing is sent until a report arrives${wait === null ? '' : `, or until ${new Date(wait.untilMs).toISOString()}`}`
  if (state !== 'waiting') return state === 'suppressing' ? 'the address is being suppressed' : `it has ended: ${state}`
  // otherwise the backup relay and the retry could both send
  if (backupIsOpen) return `the backup relay may still send it; ${which} waits for that`
  if (named != null && named !== retry) return `${which} waits, not retry ${named}`
  if (named == null && nowMs - retryNowAtMs < DOUBLE_PRESS_MS) return 'a retry was asked for less than 10 s ago'
  return null
}

/** Why giving up would change nothing; null if it would. */
export function whyNotGiveUp({ state, givenUp }: Delivery): string | null {
  if (givenUp) return 'an operator has given up already'
  if (state === 'suppressing') return 'the address is being suppressed'
  return ['preparing', 'waiting', 'sending', 'confirming'].includes(state) ? null : `it has ended: ${state}`
}

/** Whether a wait ends early, or need not begin. */
export function isInterrupted({ state, retryNow, givenUp, reports, backup, backupIsOpen, wait }: Delivery): boolean {
  if (wait?.kind === 'backup' && !backupIsOpen) return true
  return givenUp || reports.length > 0 || (state === 'waiting' && (retryNow || backup !== null))
}

/** Drops reports that arrive while the next retry waits, except final ones that change something. */
export function dropLateReports(delivery: Delivery): Delivery {
  const isNews = (bounce: Bounce) =>
    isFinal(bounce) && (isSuccess(bounce) ? delivery.attempts.length > 0 && !isOfAnEarlierSend(delivery, bounce) : !isBackupFailure(bounce))
  return { ...delivery, reports: delivery.reports.filter(isNews) }
}

export function isOfAnEarlierSend({ attempts, failedAtMs, plan }: Delivery, bounce: Bounce): boolean {
  return isOfEarlierSend(bounce, attempts.at(-1) as Attempt, Math.max(failedAtMs, plan.bouncedAtMs))
}
