/** Schedules on trial (`retry.schedules`), compared: how many messages each delivered, and how fast, with 95 % confidence intervals. */
import { sql } from 'kysely'
import { maxStaggerMs } from '../bounce/index.js'
import type { Database } from '../store/index.js'
import { isOf, type Window } from './window.js'

/** A value with its confidence interval. */
export interface Interval {
  readonly value: number
  readonly from: number
  readonly to: number
}

/** What one schedule did. */
export interface TrialArm {
  readonly delaysMs: readonly number[]
  /** Messages that its retries delivered, or suppressed the address of. Others (rejected for good, cancelled) say nothing of a schedule. */
  readonly messages: number
  readonly delivered: number
  /** The share delivered, 0 to 1 (Wilson's interval). */
  readonly share: Interval
  /** The share less that of the arm with the most messages (Newcombe's interval); null for that one. */
  readonly difference: Interval | null
  /** From the bounce to the delivery (interval by order statistics); null if nothing was delivered. */
  readonly medianMs: Interval | null
  readonly retriesEach: number
}

export interface Trial {
  /** From when on all of them were in use. */
  readonly since: string
  /** The one with the most messages first. */
  readonly arms: readonly TrialArm[]
}

/** Two-sided 95 %. */
const Z = 1.959964
const MOST_ARMS = 6

/**
 * Compares the schedules that were in use at the same time. Only messages that bounced so long ago that the longest schedule is over count:
 * a shorter one is not better because it fails sooner.
 * @returns null if fewer than two schedules were in use.
 */
export async function trialOf({ db }: Database, window: Window): Promise<Trial | null> {
  const [since, until] = [window.since.getTime(), window.until.getTime()]
  const used = await db
    .selectFrom('runs')
    .select(['schedule', sql<number>`min(started_at)`.as('first'), sql<number>`count(*)`.as('n')])
    .where('schedule', 'is not', null)
    .where('started_at', '>=', since)
    .where('started_at', '<', until)
    .where(isOf(window))
    .groupBy('schedule')
    .orderBy('n', 'desc')
    .limit(MOST_ARMS)
    .execute()
  if (used.length < 2) return null
  const schedules = used.map(({ schedule }) => schedule as string)
  const from = Math.max(since, ...used.map(({ first }) => Number(first)))
  const to = until - Math.max(...schedules.map((schedule) => lastingMs(delaysOf(schedule))))
  const rows = await db
    .selectFrom('runs')
    .innerJoin('outcomes', 'outcomes.first_run_id', 'runs.first_run_id')
    .select(['runs.schedule', 'outcomes.outcome', sql<number>`outcomes.ended_at - runs.bounced_at`.as('took')])
    .select((eb) =>
      eb
        .selectFrom('attempts')
        .select(sql<number>`count(*)`.as('n'))
        .whereRef('attempts.first_run_id', '=', 'runs.first_run_id')
        .where('via', 'is', null)
        .as('retries'),
    )
    .where('runs.schedule', 'in', schedules)
    .where('runs.started_at', '>=', from)
    .where('runs.bounced_at', '<', to)
    .where('outcomes.outcome', 'in', ['delivered', 'suppressed'])
    .where(isOf(window, 'runs.destination'))
    .execute()
  const arms = schedules.map((schedule) =>
    armOf(
      delaysOf(schedule),
      rows
        .filter((row) => row.schedule === schedule)
        .map(({ outcome, took, retries }) => ({
          tookMs: outcome === 'delivered' ? Number(took) : null,
          retries: Number(retries),
        })),
    ),
  )
  arms.sort((a, b) => b.messages - a.messages)
  const [first] = arms as [TrialArm]
  return {
    since: new Date(from).toISOString(),
    arms: arms.map((arm) => ({ ...arm, difference: arm === first ? null : differenceOf(arm.share, first.share) })),
  }
}

const delaysOf = (schedule: string): number[] => schedule.split(',').map(Number)
const lastingMs = (delaysMs: readonly number[]) => delaysMs.reduce((sum, ms) => sum + ms + maxStaggerMs(ms), 0)

function armOf(delaysMs: readonly number[], ended: readonly { readonly tookMs: number | null; readonly retries: number }[]): TrialArm {
  const times = ended.flatMap(({ tookMs }) => (tookMs === null ? [] : [tookMs])).sort((a, b) => a - b)
  return {
    ...{ delaysMs, messages: ended.length, delivered: times.length, share: wilson(times.length, ended.length), difference: null },
    medianMs: medianOf(times),
    retriesEach: ended.reduce((sum, { retries }) => sum + retries, 0) / Math.max(1, ended.length),
  }
}

/** Wilson's score interval of a share. */
export function wilson(part: number, all: number): Interval {
  if (all === 0) return { value: 0, from: 0, to: 1 }
  const [p, z2] = [part / all, Z * Z]
  const middle = (p + z2 / (2 * all)) / (1 + z2 / all)
  const half = (Z / (1 + z2 / all)) * Math.sqrt((p * (1 - p)) / all + z2 / (4 * all * all))
  return { value: p, from: Math.max(0, middle - half), to: Math.min(1, middle + half) }
}

/** The difference of two independent shares, by Newcombe's hybrid score method. */
export function differenceOf(a: Interval, b: Interval): Interval {
  const value = a.value - b.value
  return {
    value,
    from: value - Math.hypot(a.value - a.from, b.to - b.value),
    to: value + Math.hypot(a.to - a.value, b.value - b.from),
  }
}

/** The median of sorted values, and the values between which it lies, by the binomial distribution of their ranks. */
export function medianOf(sorted: readonly number[]): Interval | null {
  const n = sorted.length
  if (n === 0) return null
  const half = (Z * Math.sqrt(n)) / 2
  const at = (rank: number) => sorted[Math.min(n - 1, Math.max(0, rank))] as number
  return { value: at(Math.ceil(n / 2) - 1), from: at(Math.floor(n / 2 - half) - 1), to: at(Math.ceil(n / 2 + half)) }
}
