/** What changed since the last period: destinations with clearly more or fewer bounces than in the same time before. */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import { isOf, type Window } from './window.js'

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
const CLEAR_Z = 3
const LEAST = 5
/** Each period is cut into as many parts: bounces come in clusters, so the parts say how much they vary. */
const PARTS = 30

/** @returns null if the log does not reach back over the period before. */
export async function changesSince({ db }: Database, window: Window): Promise<readonly Change[] | null> {
  const [since, until] = [window.since.getTime(), window.until.getTime()]
  const before = since - (until - since)
  const { first } = await db.selectFrom('runs').select(sql<number | null>`min(started_at)`.as('first')).executeTakeFirstOrThrow()
  if (first === null || Number(first) > before) return null
  const part = sql<number>`(started_at - ${sql.lit(before)}) / ${sql.lit(Math.max(1, Math.ceil((until - since) / PARTS)))}`
  const rows = await db
    .selectFrom('runs')
    .select(['destination', part.as('part'), sql<number>`count(*)`.as('n')])
    .where('started_at', '>=', before)
    .where('started_at', '<', until)
    .where('status', '=', '4.3.2')
    .where(isOf(window))
    .groupBy(['destination', part])
    .execute()
  const counts = new Map<string, number[]>()
  for (const row of rows) {
    const parts = counts.get(row.destination) ?? new Array<number>(2 * PARTS).fill(0)
    parts[Math.min(2 * PARTS - 1, Number(row.part))] = Number(row.n)
    counts.set(row.destination, parts)
  }
  return [...counts]
    .map(([destination, parts]) => ({ destination, earlier: parts.slice(0, PARTS), later: parts.slice(PARTS) }))
    .map(({ destination, earlier, later }) => ({ destination, before: sum(earlier), bounces: sum(later), z: zOf(earlier, later) }))
    .filter(({ before: n, bounces, z }) => Math.abs(bounces - n) >= LEAST && z > CLEAR_Z)
    .sort((a, b) => b.z - a.z)
    .slice(0, MOST)
    .map(({ z: _, ...change }) => change)
}

const sum = (counts: readonly number[]) => counts.reduce((total, n) => total + n, 0)

/** The difference of the means, in standard errors; at least as uncertain as two Poisson counts. */
export function zOf(earlier: readonly number[], later: readonly number[]): number {
  const of = (counts: readonly number[]) => {
    const mean = sum(counts) / counts.length
    const variance = counts.reduce((total, n) => total + (n - mean) ** 2, 0) / (counts.length - 1)
    return { mean, error: Math.max(variance, mean) / counts.length }
  }
  const [a, b] = [of(earlier), of(later)]
  return a.error + b.error === 0 ? 0 : Math.abs(b.mean - a.mean) / Math.sqrt(a.error + b.error)
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
