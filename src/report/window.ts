/** What all figures have in common: the time they are of, and how a retry's outcome reads in SQL. */
import { type ExpressionBuilder, sql } from 'kysely'
import type { AttemptOutcome } from '../bounce/index.js'
import type { Tables } from '../store/index.js'

/** From `since` (inclusive) to `until` (exclusive). */
export interface Window {
  readonly since: Date
  readonly until: Date
}

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** What became of a retry: its answer, or what a report told of it later. */
export const outcomeOf = sql<AttemptOutcome>`case when reported_status is null then outcome when reported_status like '2%' then 'accepted' when reported_status like '5%' then 'rejected' else 'deferred' end`

/** 1 where its system said 4.3.2 (or what means it). */
export const saidNotNow = sql<number>`case when coalesce(reported_status, status) = '4.3.2' then 1 else 0 end`

/** The sends that were answered in that time, those by the backup relay among them. */
export const answeredIn =
  ({ since, until }: Window) =>
  (eb: ExpressionBuilder<Tables, 'attempts'>) =>
    eb.and([eb('at', '>=', since.getTime()), eb('at', '<', until.getTime()), eb('outcome', 'is not', null)])

/** The retries of the schedule that were. */
export const retriesIn = (window: Window) => (eb: ExpressionBuilder<Tables, 'attempts'>) =>
  eb.and([answeredIn(window)(eb), eb('via', 'is', null)])

/** A sum that is a number on both databases. */
export const count = (condition: ReturnType<typeof sql>) => sql<number>`cast(sum(case when ${condition} then 1 else 0 end) as bigint)`

/** The value in the middle of so many (from 0 to 1), nearest rank; null if there are none. */
export async function percentile(n: number, share: number, at: (offset: number) => Promise<number | null>): Promise<number | null> {
  return n === 0 ? null : at(Math.min(n - 1, Math.max(0, Math.ceil(n * share) - 1)))
}
