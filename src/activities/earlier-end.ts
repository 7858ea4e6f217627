/** What the log says of earlier runs: whether the message had ended before, so that this bounce changes nothing. */
import { isRetry, isStale, type RetryResult, type Send } from '../bounce/index.js'
import { type AnsweredRow, type End, toAttempt } from '../store/index.js'
import { nonRetryable } from '../temporal/index.js'
import type { RunInfo } from './run-info.js'

export const retriesOf = (logged: readonly AnsweredRow[]): number => Math.max(0, ...logged.filter(isRetry).map((row) => row.retry))

/** How it ended, or was taken, before this run, if this bounce changes nothing; null if it starts anew. */
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

/** The logged result, if it ended before and this bounce changes nothing; null if it starts anew. */
export function loggedResult(end: End, logged: readonly AnsweredRow[], bouncedAtMs: number, send: Send | null): RetryResult | null {
  const last = logged.at(-1)
  // what was suppressed or given up is told nothing new by a bounce from before that; a relay's bounce may be told long after it happened
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
 * Its workflow is gone without an end (terminated, or Temporal's store was lost), its last retry was taken, and this bounce is from before
 * that: it is sent no second time. Null if the retries begin, or go on.
 */
export function takenBefore(logged: readonly AnsweredRow[], bouncedAtMs: number, send: Send | null): RetryResult | null {
  const last = logged.at(-1)
  if (last === undefined || last.outcome !== 'accepted' || last.reported !== null) return null
  if (!isStale({ atMs: bouncedAtMs, send }, last, last.at.getTime())) return null
  return { outcome: 'delivered', confirmed: !last.relayed, retries: retriesOf(logged), attempts: logged.map(toAttempt) }
}
