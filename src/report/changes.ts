/** What changed since the last period: destinations with clearly more or fewer bounces than in the same time before. */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import { count, isOf, type Window } from './window.js'

/** Bounces with 4.3.2 of a destination, in the period before the report's and in it. */
export interface Change {
  readonly destination: string
  readonly before: number
  readonly bounces: number
}

/** A time in which a destination bounced more than usual for the hour of the week, before it was down or as usual again. */
export interface Degraded {
  readonly destination: string
  readonly beganAt: Date
  readonly endedAt: Date | null
  /** In the hour before it began, and usually. */
  readonly bounces: number
  readonly usual: number
}

const MOST = 10
/** If nothing changed, one destination in 370 differs by more than this by chance. */
const CLEAR_Z = 3
const LEAST = 5

/** @returns null if the log does not reach back over the period before. */
export async function changesSince({ db }: Database, window: Window): Promise<readonly Change[] | null> {
  const [since, until] = [window.since.getTime(), window.until.getTime()]
  const before = since - (until - since)
  const { first } = await db.selectFrom('runs').select(sql<number | null>`min(started_at)`.as('first')).executeTakeFirstOrThrow()
  if (first === null || Number(first) > before) return null
  const rows = await db
    .selectFrom('runs')
    .select(['destination', count(sql`started_at < ${since}`).as('before'), count(sql`started_at >= ${since}`).as('bounces')])
    .where('started_at', '>=', before)
    .where('started_at', '<', until)
    .where('status', '=', '4.3.2')
    .where(isOf(window))
    .groupBy('destination')
    .execute()
  const zOf = (one: Change) => Math.abs(one.bounces - one.before) / Math.sqrt(one.bounces + one.before)
  return rows
    .map((row) => ({ destination: row.destination, before: Number(row.before), bounces: Number(row.bounces) }))
    .filter((one) => Math.abs(one.bounces - one.before) >= LEAST && zOf(one) > CLEAR_Z)
    .sort((a, b) => zOf(b) - zOf(a))
    .slice(0, MOST)
}

/** The latest first. */
export async function degradationsIn({ db }: Database, window: Window): Promise<readonly Degraded[]> {
  const rows = await db
    .selectFrom('degradations')
    .selectAll()
    .where('began_at', '<', window.until.getTime())
    .where((eb) => eb.or([eb('ended_at', 'is', null), eb('ended_at', '>=', window.since.getTime())]))
    .where(isOf(window))
    .orderBy('began_at', 'desc')
    .limit(MOST)
    .execute()
  return rows.map(({ destination, began_at, ended_at, bounces, usual }) => ({
    ...{ destination, beganAt: new Date(began_at), endedAt: ended_at === null ? null : new Date(ended_at), bounces, usual },
  }))
}
