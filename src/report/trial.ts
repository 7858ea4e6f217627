/** Schedules on trial (`retry.schedules`), compared: how many messages each delivered, and how fast, with 95 % confidence intervals. */
import { type SelectQueryBuilder, sql } from 'kysely'
import { maxStaggerMs } from '../bounce/index.js'
import type { Database, Tables } from '../store/index.js'
import { count, isOf, type Window } from './window.js'

/** A value with its confidence interval. */
export interface Interval {
  readonly value: number
  readonly from: number
  readonly to: number
}

/** What one schedule did. */
export interface TrialArm {
  readonly delaysMs: readonly number[]
  /** Messages that were delivered, or not in time: suppressed, or past their deadline. Others (rejected for good, cancelled) say nothing of a schedule. */
  readonly messages: number
  readonly delivered: number
  /** The share delivered, 0 to 1 (Wilson's interval). */
  readonly share: Interval
  /** The share less that of the arm with the most messages (Newcombe's interval); null for that one. */
  readonly difference: Interval | null
  /** From the bounce to the delivery (interval by order statistics); null if fewer than six were delivered. */
  readonly medianMs: Interval | null
  readonly retriesEach: number
}

export interface Trial {
  /** From when until when all of them were in use. */
  readonly since: string
  readonly until: string
  /** The one with the most messages first. */
  readonly arms: readonly TrialArm[]
}

/** With fewer values, even the smallest and the largest do not hold the median with 95 %. */
const LEAST_FOR_MEDIAN = 6
/** Two-sided 95 %. */
const Z = 1.959964
const MOST_ARMS = 6
/** The restart of a fleet's workers with a new schedule takes less. */
const SIDE_BY_SIDE_MS = 6 * 3_600_000

/**
 * Compares the schedules that were in use at the same time. Only messages that bounced so long ago that the longest schedule is over count:
 * a shorter one is not better because it fails sooner.
 * @returns null if no two schedules were in use side by side.
 */
export async function trialOf({ db }: Database, window: Window): Promise<Trial | null> {
  const [since, until] = [window.since.getTime(), window.until.getTime()]
  const used = await db
    .selectFrom('runs')
    .select(['schedule', sql<number>`min(started_at)`.as('first'), sql<number>`max(started_at)`.as('last'), sql<number>`count(*)`.as('n')])
    .where('schedule', 'is not', null)
    .where('started_at', '>=', since)
    .where('started_at', '<', until)
    .where(isOf(window))
    .groupBy('schedule')
    .orderBy('n', 'desc')
    .limit(MOST_ARMS)
    .execute()
  if (used.length < 2) return null
  const together = sideBySide(
    used.map((one) => ({ schedule: one.schedule as string, first: Number(one.first), last: Number(one.last) })),
    { since, until },
  )
  if (together === null) return null
  const { schedules, from, last, to } = together
  const ended = db
    .selectFrom('runs')
    .innerJoin('outcomes', 'outcomes.first_run_id', 'runs.first_run_id')
    .where('runs.started_at', '>=', from)
    .where('runs.started_at', '<=', last)
    .where('runs.bounced_at', '<', to)
    .where('outcomes.outcome', 'in', ['delivered', 'suppressed', 'expired'])
    .where(isOf(window, 'runs.destination'))
  const arms: TrialArm[] = []
  for (const schedule of schedules) arms.push(await armOf(ended.where('runs.schedule', '=', schedule), delaysOf(schedule)))
  arms.sort((a, b) => b.messages - a.messages)
  const [first] = arms as [TrialArm]
  return {
    since: new Date(from).toISOString(),
    until: new Date(last).toISOString(),
    arms: arms.map((arm) => ({ ...arm, difference: arm === first ? null : differenceOf(arm.share, first.share) })),
  }
}

interface Used {
  readonly schedule: string
  readonly first: number
  readonly last: number
}

/**
 * Those that were in use side by side, and when: a schedule that another one has replaced was not tried beside it, and one that began too
 * late for its messages to have ended would leave nothing to compare.
 */
function sideBySide(used: readonly Used[], { since, until }: { readonly since: number; readonly until: number }) {
  const chosen: Used[] = []
  const of = (all: readonly Used[]) => {
    const [from, last] = [Math.max(since, ...all.map(({ first }) => first)), Math.min(...all.map((one) => one.last))]
    return { from, last, to: until - Math.max(...all.map(({ schedule }) => lastingMs(delaysOf(schedule)))) }
  }
  for (const one of used) {
    const { from, last, to } = of([...chosen, one])
    if (Math.min(last, to) - from >= SIDE_BY_SIDE_MS) chosen.push(one)
  }
  return chosen.length < 2 ? null : { schedules: chosen.map(({ schedule }) => schedule), ...of(chosen) }
}

const delaysOf = (schedule: string): number[] => schedule.split(',').map(Number)
const lastingMs = (delaysMs: readonly number[]) => delaysMs.reduce((sum, ms) => sum + ms + maxStaggerMs(ms), 0)

type Ended = SelectQueryBuilder<Tables, 'runs' | 'outcomes', object>

async function armOf(ended: Ended, delaysMs: readonly number[]): Promise<TrialArm> {
  const { messages, delivered } = await ended
    .select([sql<number>`count(*)`.as('messages'), count(sql`outcomes.outcome = 'delivered'`).as('delivered')])
    .executeTakeFirstOrThrow()
  const { retries } = await ended
    .innerJoin('attempts', 'attempts.first_run_id', 'runs.first_run_id')
    .where('attempts.via', 'is', null)
    .select(sql<number>`count(*)`.as('retries'))
    .executeTakeFirstOrThrow()
  const [all, part] = [Number(messages), Number(delivered ?? 0)]
  const took = sql<number>`outcomes.ended_at - runs.bounced_at`
  const at = async (rank: number): Promise<number> => {
    const delivery = ended.where('outcomes.outcome', '=', 'delivered').select(took.as('took')).orderBy('took').limit(1).offset(rank)
    return Number((await delivery.executeTakeFirstOrThrow()).took)
  }
  const ranks = medianRanks(part)
  return {
    ...{ delaysMs, messages: all, delivered: part, share: wilson(part, all), difference: null },
    medianMs: ranks === null ? null : { value: await at(ranks.value), from: await at(ranks.from), to: await at(ranks.to) },
    retriesEach: Number(retries) / Math.max(1, all),
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

/** The places, from 0, of the median of `n` sorted values and of its interval, by the binomial distribution of ranks; null if there are too few. */
export function medianRanks(n: number): Interval | null {
  if (n < LEAST_FOR_MEDIAN) return null
  const half = (Z * Math.sqrt(n)) / 2
  const place = (rank: number) => Math.min(n - 1, Math.max(0, rank))
  return { value: place(Math.ceil(n / 2) - 1), from: place(Math.floor(n / 2 - half) - 1), to: place(Math.ceil(n / 2 + half)) }
}
