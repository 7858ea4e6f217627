/** What a notification about a message says of its retries. */
import { patched } from '@temporalio/workflow'
import { type Attempt, type Bounce, effectiveStatus, parseTime, sendNumber, sendOf } from '../bounce/index.js'

/** How far the clock of the system that makes the notifications may be behind ours. */
const CLOCK_SKEW_MS = 5 * 60 * 1000
/** A relay that says it tries for longer than this is not believed. */
const LONGEST_DELAY_MS = 30 * 24 * 60 * 60 * 1000

/** What it means; it was checked, and so has one. */
export const statusOf = (bounce: Bounce): string => effectiveStatus(bounce.status, bounce.diagnostic) as string

export const isSuccess = (bounce: Bounce): boolean =>
  bounce.action === 'delivered' ||
  bounce.action === 'relayed' ||
  bounce.action === 'expanded' ||
  (bounce.action === undefined && bounce.status.startsWith('2'))

/** A proven delivery, or a permanent refusal. */
export const isFinal = (bounce: Bounce): boolean => isSuccess(bounce) || (bounce.action !== 'delayed' && statusOf(bounce).startsWith('5'))

/** When it happened, ms; it was checked. */
export const timeOf = (bounce: Bounce): number => parseTime(bounce.bouncedAt) as number

/** A delivery that was told late: of another send than the last one, whose message came back (at the latest at `failedAtMs`) after that. */
export function isOfEarlierSend(bounce: Bounce, last: Attempt, failedAtMs: number): boolean {
  const send = sendOf(bounce)
  if (!isSuccess(bounce) || send === null || send === sendNumber(last.retry)) return false
  return timeOf(bounce) <= failedAtMs && patched('a late delivery of an earlier send')
}

/** Whether it is about this send: its token says so, else the time must. */
export function isAbout(attempt: Attempt, bounce: Bounce, failedAtMs: number): boolean {
  const send = sendOf(bounce)
  if (send !== null && patched('a token names the send')) return send === sendNumber(attempt.retry)
  const atMs = timeOf(bounce)
  return atMs > failedAtMs && atMs >= Date.parse(attempt.at) - CLOCK_SKEW_MS
}

/** Until when a relay says that it goes on trying, ms, as far as that is believed; 0 where it says nothing. */
export function triedUntil(bounce: Bounce): number {
  const untilMs = bounce.willRetryUntil === undefined ? 0 : (parseTime(bounce.willRetryUntil) as number)
  return Math.min(untilMs, Date.now() + LONGEST_DELAY_MS)
}

/** The attempt as a notification tells of it. */
export function asReported(attempt: Attempt, bounce: Bounce, outcome: Attempt['outcome']): Attempt {
  const status = statusOf(bounce)
  return { ...attempt, outcome, status, reply: bounce.diagnostic ?? `a notification said ${status}` }
}
