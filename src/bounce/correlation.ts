/**
 * Finds the send that a report is about, and detects stale reports; shared by `prepare` and the retry lifecycle.
 * The token of a signed return path identifies the send; without one, times decide.
 */
import { type Bounce, parseTime } from './bounced-message.js'
import { effectiveStatus } from './effective-status.js'
import type { Attempt } from './retry-result.js'
import { isRetry, type Send, sendOf, sendOfAttempt, type Via } from './token.js'

/** How far the clock of a reporting system may be behind ours. */
const CLOCK_SKEW_MS = 5 * 60 * 1000
/** Limit for how long a `delayed` report can announce further tries. */
const MAX_DELAY_MS = 30 * 24 * 60 * 60 * 1000

/** The status of a checked bounce; it always has one. */
export const statusOf = (bounce: Bounce): string => effectiveStatus(bounce) as string

/** When a checked bounce happened, epoch ms. */
export const bouncedAtMs = (bounce: Bounce): number => parseTime(bounce.bouncedAt) as number

/** A report of success: `Action` delivered, relayed or expanded, or a class 2 status without an action. */
export const isSuccess = (bounce: Bounce): boolean =>
  bounce.action === 'delivered' ||
  bounce.action === 'relayed' ||
  bounce.action === 'expanded' ||
  (bounce.action === undefined && bounce.status.startsWith('2'))

/** A proven delivery, or a permanent failure: it ends the retries. */
export const isFinal = (bounce: Bounce): boolean => isSuccess(bounce) || (bounce.action !== 'delayed' && statusOf(bounce).startsWith('5'))

/**
 * True for a success report about another send than the last one, no later than the last failure: it is outdated.
 * @param failedAtMs when the last failure that counts happened, epoch ms.
 */
export function isOfEarlierSend(bounce: Bounce, last: Attempt, failedAtMs: number): boolean {
  const send = sendOf(bounce)
  return isSuccess(bounce) && send !== null && send !== sendOfAttempt(last) && bouncedAtMs(bounce) <= failedAtMs
}

/**
 * Whether a report is about this attempt: by its token, else by its time.
 * @param failedAtMs when the last failure that counts happened, epoch ms; a report that is no later is stale.
 */
export function isAbout(attempt: Attempt, bounce: Bounce, failedAtMs: number): boolean {
  const send = sendOf(bounce)
  if (send !== null) return send === sendOfAttempt(attempt)
  const atMs = bouncedAtMs(bounce)
  return atMs > failedAtMs && atMs >= Date.parse(attempt.at) - CLOCK_SKEW_MS
}

/** A failure of the send by the backup relay: the receiving system itself has not refused anything. */
export const isBackupFailure = (bounce: Bounce): boolean => !isSuccess(bounce) && sendOf(bounce) === 'backup'

/** When the relay stops trying according to a `delayed` report, epoch ms; 0 if it gives no time. */
export function relayTriesUntilMs(bounce: Bounce, nowMs: number): number {
  const untilMs = bounce.willRetryUntil === undefined ? 0 : (parseTime(bounce.willRetryUntil) as number)
  return Math.min(untilMs, nowMs + MAX_DELAY_MS)
}

/** The attempt, updated with the outcome from a report. */
export function withReport(attempt: Attempt, bounce: Bounce, outcome: Attempt['outcome']): Attempt {
  const status = statusOf(bounce)
  return { ...attempt, outcome, status, reply: bounce.diagnostic ?? `a report said ${status}` }
}

/** The fields of a logged attempt that matter here. */
export interface LoggedAttempt extends Via {
  /** A relay accepted it. */
  readonly relayed: boolean
  /** The outcome in a later report, if there was one. */
  readonly reported: object | null
}

/**
 * Whether a bounce is stale: it adds nothing to the last logged attempt.
 * @param newestMs time of the newest known event of the message, epoch ms.
 */
export function isStale(
  bounce: { readonly atMs: number; readonly send: Send | null },
  last: LoggedAttempt | undefined,
  newestMs: number,
): boolean {
  if (bounce.send === null || last === undefined) return bounce.atMs <= newestMs
  const earlier = isRetry(last) ? bounce.send === 'backup' || bounce.send < last.retry : bounce.send !== 'backup'
  return earlier || last.reported !== null || !last.relayed
}
