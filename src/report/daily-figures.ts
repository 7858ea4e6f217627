/** Figures by hour, day and weekday, and how long deliveries took. */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import { count, DAY_MS, HOUR_MS, isOf, isSuppressedBy, outcomeOf, percentile, retriesIn, saidNotNow, type Window } from './window.js'

/** Counts of a UTC day: bounces with 4.3.2, retries answered with 4.3.2 or accepted, and changes of the suppression list. */
export interface Day {
  readonly day: string
  readonly bounced: number
  readonly notNow: number
  readonly accepted: number
  readonly suppressed: number
  readonly extended: number
  readonly lifted: number
  readonly restored: number
}

export interface DeliveryTime {
  readonly delivered: number
  readonly medianMs: number | null
  readonly p90Ms: number | null
  /** Histogram: deliveries up to each bound, and beyond the previous one; the last bucket has no bound. */
  readonly buckets: readonly { readonly upToMs: number | null; readonly delivered: number }[]
}

export interface Hour {
  readonly hour: number
  readonly notNow: number
  readonly accepted: number
}

/** One row for each hour (numbered since the epoch) with an answered retry. */
export async function hoursOf({ db }: Database, window: Window): Promise<Hour[]> {
  const hour = sql<number>`at / ${sql.lit(HOUR_MS)}`
  const rows = await db
    .selectFrom('attempts')
    .select([hour.as('hour'), count(sql`${saidNotNow} = 1`).as('notNow'), count(sql`${outcomeOf} = 'accepted'`).as('accepted')])
    .where(retriesIn(window))
    .groupBy(hour)
    .execute()
  return rows.map((row) => ({ hour: Number(row.hour), notNow: Number(row.notNow), accepted: Number(row.accepted) }))
}

/** Weekday of the epoch (Thursday), counted from Monday = 0. */
export const EPOCH_WEEKDAY = 3

export function weekOf(hours: readonly Hour[]): number[][] {
  const week = Array.from({ length: 7 }, () => new Array<number>(24).fill(0))
  for (const { hour, notNow } of hours) {
    const day = week[(Math.floor(hour / 24) + EPOCH_WEEKDAY) % 7] as number[]
    day[hour % 24] = (day[hour % 24] as number) + notNow
  }
  return week
}

export const MOST_DAYS = 3700

export async function daysOf({ db }: Database, window: Window, hours: readonly Hour[]): Promise<Day[]> {
  const { since, until } = window
  const first = Math.max(Math.floor(since.getTime() / DAY_MS), Math.floor(until.getTime() / DAY_MS) - MOST_DAYS)
  const last = Math.floor((until.getTime() - 1) / DAY_MS)
  const empty = { bounced: 0, notNow: 0, accepted: 0, suppressed: 0, extended: 0, lifted: 0, restored: 0 }
  const days = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => ({
    day: new Date((first + i) * DAY_MS).toISOString().slice(0, 10),
    ...empty,
  }))
  for (const { hour, notNow, accepted } of hours) {
    const day = days[Math.floor(hour / 24) - first]
    if (day === undefined) continue
    day.notNow += notNow
    day.accepted += accepted
  }
  const dayOf = sql<number>`at / ${sql.lit(DAY_MS)}`
  for (const row of await bouncedByDay(db, window)) {
    const day = days[Number(row.day) - first]
    if (day !== undefined) day.bounced = Number(row.n)
  }
  const changes = await db
    .selectFrom('suppression_history')
    .select([dayOf.as('day'), 'change', sql<number>`count(*)`.as('n')])
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .where(isSuppressedBy(window))
    .groupBy([dayOf, 'change'])
    .execute()
  for (const row of changes) {
    const day = days[Number(row.day) - first]
    if (day !== undefined) day[row.change] = Number(row.n)
  }
  return days
}

/** Bounces with 4.3.2; of one destination: those whose retries began, since only they have one. */
function bouncedByDay(db: Database['db'], window: Window) {
  const [table, time] = window.destination === undefined ? ['inbound', 'at'] : ['runs', 'bounced_at']
  const [at, day] = [sql.ref<number>(time as string), sql<number>`${sql.ref(time as string)} / ${sql.lit(DAY_MS)}`]
  return db
    .selectFrom(table as 'inbound' | 'runs')
    .select([day.as('day'), sql<number>`count(*)`.as('n')])
    .where(at, '>=', window.since.getTime())
    .where(at, '<', window.until.getTime())
    .where('status', '=', '4.3.2')
    .$if(window.destination !== undefined, (query) => query.where(isOf(window)))
    .groupBy(day)
    .execute()
}

export const BOUNDS_MS = [1, 2, 4, 8, 16, 24, 48].map((hours) => hours * HOUR_MS)

/** Time from bounce to delivery, for confirmed deliveries in the window. */
export async function deliveryTime({ db }: Database, window: Window): Promise<DeliveryTime> {
  const { since, until } = window
  const took = sql<number>`outcomes.ended_at - runs.bounced_at`
  const delivered = db
    .selectFrom('outcomes')
    .innerJoin('runs', 'runs.first_run_id', 'outcomes.first_run_id')
    .where('outcomes.outcome', '=', 'delivered')
    .where('outcomes.confirmed', '=', 1)
    .where('outcomes.ended_at', '>=', since.getTime())
    .where('outcomes.ended_at', '<', until.getTime())
    .where(isOf(window, 'runs.destination'))
  const bucket = sql<number>`case ${sql.join(
    BOUNDS_MS.map((ms, i) => sql`when ${took} <= ${sql.lit(ms)} then ${sql.lit(i)}`),
    sql` `,
  )} else ${sql.lit(BOUNDS_MS.length)} end`
  const rows = await delivered
    .select([bucket.as('bucket'), sql<number>`count(*)`.as('n')])
    .groupBy(bucket)
    .execute()
  const buckets = [...BOUNDS_MS, null].map((upToMs, i) => ({
    upToMs,
    delivered: Number(rows.find((row) => Number(row.bucket) === i)?.n ?? 0),
  }))
  const n = buckets.reduce((sum, one) => sum + one.delivered, 0)
  const at = async (offset: number) => {
    const row = await delivered.select(took.as('ms')).orderBy('ms').limit(1).offset(offset).executeTakeFirst()
    return row === undefined ? null : Number(row.ms)
  }
  return { delivered: n, medianMs: await percentile(n, 0.5, at), p90Ms: await percentile(n, 0.9, at), buckets }
}
