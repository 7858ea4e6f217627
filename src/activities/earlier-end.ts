/** Decides from the log of earlier runs whether the message had already ended, so that this bounce changes nothing. */
import { isRetry, isStale, type RetryResult, type Send } from '../bounce/index.js'
import { type AnsweredRow, type End, toAttempt } from '../store/index.js'
import { nonRetryable } from '../temporal/index.js'
import type { RunInfo } from './run-info.js'

export const retriesOf = (logged: readonly AnsweredRow[]): number => Math.max(0, ...logged.filter(isRetry).map((row) => row.retry))

/** The result of an earlier run (an end, or an acceptance), if this bounce changes nothing; null if retries start anew. */
export function endedBefore(
  end: End | null,
  { firstRunId }: RunInfo,
  logged: readonly AnsweredRow[],
  bouncedAtMs: number,
  send: Send | null,
): RetryResult | null {
  if (end === null) return takenBefore(logged, bouncedAtMs, send)
  return end.firstRunId === firstRunId ? null : loggedResult(end, logged, bouncedAtMs, send)
}

/** The logged result of an earlier end, if this bounce changes nothing; null if retries start anew. */
export function loggedResult(end: End, logged: readonly AnsweredRow[], bouncedAtMs: number, send: Send | null): RetryResult | null {
  const last = logged.at(-1)
  // a bounce from before a suppression or a give-up adds nothing; a relay's bounce may arrive long after the failure
  const newest = Math.max(
    last?.at.getTime() ?? 0,
    last?.reported?.at.getTime() ?? 0,
    end.outcome === 'suppressed' || last === undefined ? end.endedAt.getTime() : 0,
  )
  const stale = isStale({ atMs: bouncedAtMs, send }, last, newest)
  const stays = end.outcome === 'cancelled' || end.outcome === 'rejected' || end.outcome === 'expired' || end.confirmed
  if (!stale && !stays) return null
  if (end.outcome === 'cancelled')
    throw nonRetryable(
      'InvalidBouncedMessage',
      `the retries of this message for this recipient were cancelled at ${end.endedAt.toISOString()}, and a bounce does not start them again; pass retriesSoFar (softbounce retry --again) to start them all the same`,
    )
  return {
    outcome: end.outcome,
    ...(end.outcome === 'delivered' ? { confirmed: end.confirmed } : {}),
    retries: retriesOf(logged),
    attempts: logged.map(toAttempt),
    ...(end.suppressedUntil === null ? {} : { suppressedUntil: end.suppressedUntil.toISOString() }),
  }
}

/**
 * The result if the workflow is gone without an end (terminated, or Temporal's store was lost), its last attempt was accepted, and this
 * bounce is older: the message is not sent again. Null if the retries begin or continue.
 */
export function takenBefore(logged: readonly AnsweredRow[], bouncedAtMs: number, send: Send | null): RetryResult | null {
  const last = logged.at(-1)
  if (last === undefined || last.outcome !== 'accepted' || last.reported !== null) return null
  if (!isStale({ atMs: bouncedAtMs, send }, last, last.at.getTime())) return null
  return { outcome: 'delivered', confirmed: !last.relayed, retries: retriesOf(logged), attempts: logged.map(toAttempt) }
}
