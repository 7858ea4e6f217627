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
    case 'retryNow': {
      const named = signal.retry
      // during preparation, the signal applies to the first retry
      const waits = delivery.state === 'waiting' || delivery.state === 'preparing'
      // otherwise the backup relay and the retry could both send
      if (delivery.backupIsOpen && delivery.state === 'waiting') return delivery
      if (!waits || (named != null && named !== delivery.retry)) return delivery
      if (named == null && nowMs - delivery.retryNowAtMs < DOUBLE_PRESS_MS) return delivery
      return { ...delivery, retryNow: true, retryNowAtMs: nowMs }
    }
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
