/**
 * The figures of a time: what came in, what each retry earned, which systems were away, how long messages took, who was suppressed. All are
 * counted by the database; what is held here does not grow with the log. Days and hours are UTC.
 */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import {
  type Answers,
  countSystems,
  type Heat,
  heat,
  longestOutages,
  type Outage,
  type SystemFigures,
  worstSystems,
} from './outage-figures.js'
import { answeredIn, count, DAY_MS, HOUR_MS, outcomeOf, ranked, retriesIn, saidNotNow, type Window } from './window.js'

/** What a retry of the schedule earned. Shares are of 1. */
export interface Step {
  readonly retry: number
  readonly sent: number
  readonly accepted: number
  readonly deferred: number
  readonly rejected: number
  /** A relay took it, and no word of it has come (yet): counted as accepted. */
  readonly byRelay: number
  /** Of those that were sent. */
  readonly acceptedShare: number
  /** Of all that any retry got accepted. */
  readonly earnedShare: number
}

/** A day, UTC: bounces that came in with 4.3.2, retries that were refused with it, and retries that were accepted. */
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
  /** How many took at most so long, and longer than the one before; the last has no bound. */
  readonly buckets: readonly { readonly upToMs: number | null; readonly delivered: number }[]
}

export interface SuppressionFigures {
  readonly suppressed: number
  readonly extended: number
  readonly lifted: number
  readonly restored: number
  /** Their time ran out, and nothing has come since. */
  readonly lapsed: number
  /** Suppressed once more. */
  readonly cameBack: number
  readonly now: Readonly<Record<string, number>>
}

export interface Figures {
  readonly since: string
  readonly until: string
  readonly timeZone: 'UTC'
  readonly bounces: readonly { readonly disposition: string; readonly status: string | null; readonly count: number }[]
  /** Messages whose retries began; and how those ended that ended in that time. */
  readonly started: number
  readonly ended: Readonly<Record<string, number>>
  readonly answers: Answers
  readonly steps: readonly Step[]
  /** Messages that went by the backup relay, beside their retries. */
  readonly backup: Readonly<Record<'sent' | 'accepted' | 'deferred' | 'rejected', number>>
  readonly days: readonly Day[]
  /** 4.3.2 by weekday (Monday first) and hour, UTC. */
  readonly week: readonly (readonly number[])[]
  readonly systems: number
  readonly worst: readonly SystemFigures[]
  readonly outages: readonly Outage[]
  readonly heat: Heat
  readonly delivery: DeliveryTime
  readonly suppressions: SuppressionFigures
}

export interface FigureLimits {
  /** How many systems are shown, the worst first. */
  readonly systems: number
  readonly heatRows: number
  readonly outages: number
}

const LIMITS: FigureLimits = { systems: 10, heatRows: 20, outages: 20 }

/** @param until exclusive; what goes on still is counted up to then. */
export async function figures(database: Database, window: Window, limits: FigureLimits = LIMITS): Promise<Figures> {
  const shown = await worstSystems(database, window, Math.max(limits.systems, limits.heatRows))
  const { steps, answers, backup } = await stepsOf(database, window)
  const hours = await hoursOf(database, window)
  return {
    since: window.since.toISOString(),
    until: window.until.toISOString(),
    timeZone: 'UTC',
    bounces: await bouncesOf(database, window),
    started: await startedIn(database, window),
    ended: await endedIn(database, window),
    answers,
    steps,
    backup,
    days: await daysOf(database, window, hours),
    week: weekOf(hours),
    systems: await countSystems(database, window),
    worst: shown.slice(0, limits.systems),
    outages: await longestOutages(database, window, limits.outages),
    heat: await heat(
      database,
      window,
      shown.slice(0, limits.heatRows).map(({ destination }) => destination),
    ),
    delivery: await deliveryTime(database, window),
    suppressions: await suppressionsOf(database, window),
  }
}

const MOST_STATUSES = 50

async function bouncesOf({ db }: Database, { since, until }: Window) {
  const rows = await db
    .selectFrom('inbound')
    .select(['disposition', 'status', sql<number>`count(*)`.as('n')])
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .groupBy(['disposition', 'status'])
    .orderBy('n', 'desc')
    .limit(MOST_STATUSES)
    .execute()
  const shown: { disposition: string; status: string | null; count: number }[] = rows.map(({ disposition, status, n }) => ({
    disposition,
    status,
    count: Number(n),
  }))
  if (rows.length < MOST_STATUSES) return shown
  const { n } = await db
    .selectFrom('inbound')
    .select(sql<number>`count(*)`.as('n'))
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .executeTakeFirstOrThrow()
  const rest = Number(n) - shown.reduce((sum, { count }) => sum + count, 0)
  return rest > 0 ? [...shown, { disposition: 'others', status: null, count: rest }] : shown
}

async function startedIn({ db }: Database, { since, until }: Window): Promise<number> {
  const { n } = await db
    .selectFrom('runs')
    .select(sql<number>`count(*)`.as('n'))
    .where('started_at', '>=', since.getTime())
    .where('started_at', '<', until.getTime())
    .executeTakeFirstOrThrow()
  return Number(n)
}

async function endedIn({ db }: Database, { since, until }: Window): Promise<Record<string, number>> {
  const rows = await db
    .selectFrom('outcomes')
    .select(['outcome', sql<number>`count(*)`.as('n')])
    .where('ended_at', '>=', since.getTime())
    .where('ended_at', '<', until.getTime())
    .groupBy('outcome')
    .orderBy('outcome')
    .execute()
  return Object.fromEntries(rows.map(({ outcome, n }) => [outcome, Number(n)]))
}

async function stepsOf({ db }: Database, window: Window): Promise<{ steps: Step[]; answers: Answers; backup: Figures['backup'] }> {
  const all = await db
    .selectFrom('attempts')
    .select([
      'retry',
      'via',
      sql<number>`count(*)`.as('sent'),
      count(sql`${outcomeOf} = 'accepted'`).as('accepted'),
      count(sql`${outcomeOf} = 'deferred'`).as('deferred'),
      count(sql`${outcomeOf} = 'rejected'`).as('rejected'),
      count(sql`${outcomeOf} = 'accepted' and relayed = 1 and reported_status is null`).as('byRelay'),
      count(sql`${saidNotNow} = 1`).as('notNow'),
    ])
    .where(answeredIn(window))
    .groupBy(['retry', 'via'])
    .orderBy('retry')
    .execute()
  const rows = all.filter(({ via }) => via === null)
  const byBackup = all.find(({ via }) => via !== null)
  const sum = (of: 'sent' | 'accepted' | 'deferred' | 'rejected' | 'notNow') => rows.reduce((total, row) => total + Number(row[of]), 0)
  const accepted = sum('accepted')
  return {
    answers: { attempts: sum('sent'), accepted, deferred: sum('deferred'), rejected: sum('rejected'), notNow: sum('notNow') },
    steps: rows.map((row) => ({
      retry: row.retry,
      sent: Number(row.sent),
      accepted: Number(row.accepted),
      deferred: Number(row.deferred),
      rejected: Number(row.rejected),
      byRelay: Number(row.byRelay),
      acceptedShare: Number(row.accepted) / Number(row.sent),
      earnedShare: accepted === 0 ? 0 : Number(row.accepted) / accepted,
    })),
    backup: {
      sent: Number(byBackup?.sent ?? 0),
      accepted: Number(byBackup?.accepted ?? 0),
      deferred: Number(byBackup?.deferred ?? 0),
      rejected: Number(byBackup?.rejected ?? 0),
    },
  }
}

interface Hour {
  readonly hour: number
  readonly notNow: number
  readonly accepted: number
}

/** One row for each hour since the epoch in which a retry was answered. */
async function hoursOf({ db }: Database, window: Window): Promise<Hour[]> {
  const hour = sql<number>`at / ${sql.lit(HOUR_MS)}`
  const rows = await db
    .selectFrom('attempts')
    .select([hour.as('hour'), count(sql`${saidNotNow} = 1`).as('notNow'), count(sql`${outcomeOf} = 'accepted'`).as('accepted')])
    .where(retriesIn(window))
    .groupBy(hour)
    .execute()
  return rows.map((row) => ({ hour: Number(row.hour), notNow: Number(row.notNow), accepted: Number(row.accepted) }))
}

/** The epoch began on a Thursday; the week on Monday. */
const EPOCH_WEEKDAY = 3

function weekOf(hours: readonly Hour[]): number[][] {
  const week = Array.from({ length: 7 }, () => new Array<number>(24).fill(0))
  for (const { hour, notNow } of hours) {
    const day = week[(Math.floor(hour / 24) + EPOCH_WEEKDAY) % 7] as number[]
    day[hour % 24] = (day[hour % 24] as number) + notNow
  }
  return week
}

const MOST_DAYS = 3700

async function daysOf({ db }: Database, { since, until }: Window, hours: readonly Hour[]): Promise<Day[]> {
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
  const bounced = await db
    .selectFrom('inbound')
    .select([dayOf.as('day'), sql<number>`count(*)`.as('n')])
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .where('status', '=', '4.3.2')
    .groupBy(dayOf)
    .execute()
  for (const row of bounced) {
    const day = days[Number(row.day) - first]
    if (day !== undefined) day.bounced = Number(row.n)
  }
  const changes = await db
    .selectFrom('suppression_history')
    .select([dayOf.as('day'), 'change', sql<number>`count(*)`.as('n')])
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .groupBy([dayOf, 'change'])
    .execute()
  for (const row of changes) {
    const day = days[Number(row.day) - first]
    if (day !== undefined) day[row.change] = Number(row.n)
  }
  return days
}

const BOUNDS_MS = [1, 2, 4, 8, 16, 24, 48].map((hours) => hours * HOUR_MS)

/** From the bounce to the delivery, of those that were delivered in that time (confirmed, or taken by a relay without a word since). */
async function deliveryTime({ db }: Database, { since, until }: Window): Promise<DeliveryTime> {
  const took = sql<number>`outcomes.ended_at - runs.bounced_at`
  const delivered = db
    .selectFrom('outcomes')
    .innerJoin('runs', 'runs.first_run_id', 'outcomes.first_run_id')
    .where('outcomes.outcome', '=', 'delivered')
    .where('outcomes.confirmed', '=', 1)
    .where('outcomes.ended_at', '>=', since.getTime())
    .where('outcomes.ended_at', '<', until.getTime())
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
  return { delivered: n, medianMs: await ranked(n, 0.5, at), p90Ms: await ranked(n, 0.9, at), buckets }
}

async function suppressionsOf({ db }: Database, { since, until }: Window): Promise<SuppressionFigures> {
  const within = db.selectFrom('suppression_history').where('at', '>=', since.getTime()).where('at', '<', until.getTime())
  const changes = await within
    .select(['change', sql<number>`count(*)`.as('n')])
    .groupBy('change')
    .execute()
  const of = (change: string) => Number(changes.find((row) => row.change === change)?.n ?? 0)
  const again = await within
    .select(sql<number>`count(*)`.as('n'))
    .where('change', '=', 'suppressed')
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('suppression_history as earlier')
          .select('earlier.id')
          .whereRef('earlier.address', '=', 'suppression_history.address')
          .whereRef('earlier.id', '<', 'suppression_history.id')
          .where('earlier.change', '=', 'suppressed'),
      ),
    )
    .executeTakeFirstOrThrow()
  const lapsed = await db
    .selectFrom('suppressions')
    .select(sql<number>`count(*)`.as('n'))
    .where('until', '>=', since.getTime())
    .where('until', '<', until.getTime())
    .where('lifted_at', 'is', null)
    .executeTakeFirstOrThrow()
  const active = await db
    .selectFrom('suppressions')
    .select(['reason', sql<number>`count(*)`.as('n')])
    .where('lifted_at', 'is', null)
    .where((eb) => eb.or([eb('until', 'is', null), eb('until', '>=', until.getTime())]))
    .groupBy('reason')
    .orderBy('reason')
    .execute()
  return {
    suppressed: of('suppressed'),
    extended: of('extended'),
    lifted: of('lifted'),
    restored: of('restored'),
    lapsed: Number(lapsed.n),
    cameBack: Number(again.n),
    now: Object.fromEntries(active.map(({ reason, n }) => [reason, Number(n)])),
  }
}
