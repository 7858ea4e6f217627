/**
 * The figures of a time window: bounces, outcomes of each retry, outages, delivery times, suppressions. The database counts them, so memory
 * use does not grow with the log. Days and hours are UTC.
 */

import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import { type Change, changesSince, type Degraded, degradationsIn } from './changes.js'
import { type Day, type DeliveryTime, daysOf, deliveryTime, hoursOf, weekOf } from './daily-figures.js'
import {
  type Answers,
  countDestinations,
  type DestinationFigures,
  type Heat,
  heat,
  longestOutages,
  type Outage,
  worstDestinations,
} from './destination-figures.js'
import { endedIn } from './ends.js'
import { type Now, nowOf } from './now.js'
import { type Trial, trialOf } from './trial.js'
import type { WhatIf } from './what-if/index.js'
import { answeredIn, count, isOf, isSuppressedBy, outcomeOf, saidNotNow, type Window } from './window.js'

/** Outcomes of one retry of the schedule. Shares are from 0 to 1. */
export interface Step {
  readonly retry: number
  readonly sent: number
  readonly accepted: number
  readonly deferred: number
  readonly rejected: number
  /** Of the accepted ones: accepted by a relay, without a report so far. */
  readonly byRelay: number
  /** Accepted, of those sent. */
  readonly acceptedShare: number
  /** Of the messages accepted at any retry, the share of this one. */
  readonly earnedShare: number
}

export interface SuppressionFigures {
  readonly suppressed: number
  readonly extended: number
  readonly lifted: number
  readonly restored: number
  /** Expired in the window, and not suppressed again since. */
  readonly lapsed: number
  /** Of the suppressed: addresses that were suppressed before. */
  readonly cameBack: number
  readonly now: Readonly<Record<string, number>>
}

export interface Figures {
  readonly since: string
  readonly until: string
  readonly timeZone: 'UTC'
  /** The one destination that the figures are about; left out for all. */
  readonly destination?: string
  readonly now: Now
  readonly bounces: readonly { readonly disposition: string; readonly status: string | null; readonly count: number }[]
  /** Messages whose retries began in the window; `ended`: outcomes of those that ended in it. */
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
  readonly worst: readonly DestinationFigures[]
  readonly outages: readonly Outage[]
  readonly heat: Heat
  readonly delivery: DeliveryTime
  readonly suppressions: SuppressionFigures
  /** Destinations whose bounces changed clearly since the period before; null if the log does not reach back that far. */
  readonly changes: readonly Change[] | null
  /** When destinations bounced more than usual. */
  readonly degraded: readonly Degraded[]
  /** Schedules on trial; null if fewer than two were in use. */
  readonly trial: Trial | null
  /** What other schedules would have earned, if asked for. */
  readonly whatIf?: WhatIf
}

export interface FigureLimits {
  /** How many destinations are listed, the worst first. */
  readonly systems: number
  readonly heatRows: number
  readonly outages: number
}

const LIMITS: FigureLimits = { systems: 10, heatRows: 20, outages: 20 }

/** @param window open outages count up to its end. */
export async function figures(database: Database, window: Window, limits: FigureLimits = LIMITS): Promise<Figures> {
  const shown = await worstDestinations(database, window, Math.max(limits.systems, limits.heatRows))
  const { steps, answers, backup } = await stepsOf(database, window)
  const hours = await hoursOf(database, window)
  return {
    since: window.since.toISOString(),
    until: window.until.toISOString(),
    timeZone: 'UTC',
    ...(window.destination === undefined ? {} : { destination: window.destination }),
    now: await nowOf(database, window),
    bounces: await bouncesOf(database, window),
    started: await startedIn(database, window),
    ended: await endedIn(database, window),
    answers,
    steps,
    backup,
    days: await daysOf(database, window, hours),
    week: weekOf(hours),
    systems: await countDestinations(database, window),
    worst: shown.slice(0, limits.systems),
    outages: await longestOutages(database, window, limits.outages),
    heat: await heat(
      database,
      window,
      shown.slice(0, limits.heatRows).map(({ destination }) => destination),
    ),
    delivery: await deliveryTime(database, window),
    suppressions: await suppressionsOf(database, window),
    changes: await changesSince(database, window),
    degraded: await degradationsIn(database, window),
    trial: await trialOf(database, window),
  }
}

const MOST_STATUSES = 50
/** Reports of success (RFC 3461 NOTIFY=SUCCESS) are no bounces. */
const notSuccess = sql<boolean>`(status is null or status not like '2.%') and (action is null or action not in ('delivered', 'relayed', 'expanded'))`

/** None for a single destination: a report that led to nothing has none. */
async function bouncesOf({ db }: Database, { since, until, destination }: Window) {
  if (destination !== undefined) return []
  const rows = await db
    .selectFrom('inbound')
    .select(['disposition', 'status', sql<number>`count(*)`.as('n')])
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .where(notSuccess)
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
    .where(notSuccess)
    .executeTakeFirstOrThrow()
  const rest = Number(n) - shown.reduce((sum, { count }) => sum + count, 0)
  return rest > 0 ? [...shown, { disposition: 'others', status: null, count: rest }] : shown
}

async function startedIn({ db }: Database, window: Window): Promise<number> {
  const { since, until } = window
  const { n } = await db
    .selectFrom('runs')
    .select(sql<number>`count(*)`.as('n'))
    .where('started_at', '>=', since.getTime())
    .where('started_at', '<', until.getTime())
    .where(isOf(window))
    .executeTakeFirstOrThrow()
  return Number(n)
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

async function suppressionsOf({ db }: Database, window: Window): Promise<SuppressionFigures> {
  const { since, until } = window
  const within = db
    .selectFrom('suppression_history')
    .where('at', '>=', since.getTime())
    .where('at', '<', until.getTime())
    .where(isSuppressedBy(window))
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
    .where(isOf(window))
    .executeTakeFirstOrThrow()
  const active = await db
    .selectFrom('suppressions')
    .select(['reason', sql<number>`count(*)`.as('n')])
    .where('lifted_at', 'is', null)
    .where((eb) => eb.or([eb('until', 'is', null), eb('until', '>=', until.getTime())]))
    .where(isOf(window))
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
