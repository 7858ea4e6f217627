/** Shared by all figures: the time window, and SQL expressions for the outcome of a retry. */
import { type ExpressionBuilder, sql } from 'kysely'
import type { AttemptOutcome } from '../bounce/index.js'
import type { Tables } from '../store/index.js'

/** From `since` (inclusive) to `until` (exclusive). */
export interface Window {
  readonly since: Date
  readonly until: Date
  /** Only what belongs to this destination. */
  readonly destination?: string
}

/** Whether a row belongs to the window's destination: always, if it names none. */
export const isOf = ({ destination }: Window, column = 'destination') =>
  destination === undefined ? sql<boolean>`1 = 1` : sql<boolean>`${sql.ref(column)} = ${destination}`

/** Likewise for a row of an address: its suppression is the destination's. */
export const isSuppressedBy = ({ destination }: Window) =>
  destination === undefined
    ? sql<boolean>`1 = 1`
    : sql<boolean>`address in (select address from ${sql.table('suppressions')} where destination = ${destination})`

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** The outcome of a retry: by its answer, unless a later report gave another status. */
export const outcomeOf = sql<AttemptOutcome>`case when reported_status is null then outcome when reported_status like '2%' then 'accepted' when reported_status like '5%' then 'rejected' else 'deferred' end`

/** 1 if the status is 4.3.2 (or a reply that counts as 4.3.2). */
export const saidNotNow = sql<number>`case when coalesce(reported_status, status) = '4.3.2' then 1 else 0 end`

/** Attempts answered in the window, including those by the backup relay. */
export const answeredIn = (window: Window) => (eb: ExpressionBuilder<Tables, 'attempts'>) =>
  eb.and([eb('at', '>=', window.since.getTime()), eb('at', '<', window.until.getTime()), eb('outcome', 'is not', null), isOf(window)])

/** Retries of the schedule answered in the window, without the backup relay. */
export const retriesIn = (window: Window) => (eb: ExpressionBuilder<Tables, 'attempts'>) =>
  eb.and([answeredIn(window)(eb), eb('via', 'is', null)])

/** Counts the rows that meet a condition, cast alike for both databases. */
export const count = (condition: ReturnType<typeof sql>) => sql<number>`cast(sum(case when ${condition} then 1 else 0 end) as bigint)`

/** The value at a share (0 to 1) of `n` sorted values, by nearest rank; null if there are none. */
export async function percentile(n: number, share: number, at: (offset: number) => Promise<number | null>): Promise<number | null> {
  return n === 0 ? null : at(Math.min(n - 1, Math.max(0, Math.ceil(n * share) - 1)))
}
