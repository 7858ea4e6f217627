/** Destinations as operators view and control them: status, pauses, limits and releases. */
import { type Kysely, sql } from 'kysely'
import { type Database, databaseNow, type Tables } from '../store/index.js'
import { columnsOf, type DestinationStatus, EVERYTHING, toDestinationStatus } from './destination-row.js'
import type { Limits } from './limits.js'
import { intervalOf, newLimiterState } from './rate-limiter.js'

/** A message that polled within this time still waits. */
export const STILL_WAITS_MS = 20 * 60_000

/** A destination, how many messages wait for it, and how many connections are open to it. */
export interface DestinationOverview extends DestinationStatus {
  readonly waitingForPermit: number
  readonly connectionsNow: number
}

/** Since when everything is paused, and by whom; null if it is not. */
export function pausedAltogether(db: Kysely<Tables>): Promise<{ since: Date; by: string } | null> {
  return pausedNow(db, EVERYTHING)
}

/** The pause that holds retries for a destination: its own, or that of everything; null if there is none. */
export async function pausedNow(db: Kysely<Tables>, destination: string): Promise<{ name: string; since: Date; by: string } | null> {
  const row = await db
    .selectFrom('destinations')
    .select(['name', 'paused_since', 'paused_by'])
    .where('name', 'in', [EVERYTHING, destination])
    .where('paused_since', 'is not', null)
    .limit(1)
    .executeTakeFirst()
  return row?.paused_since == null ? null : { name: row.name, since: new Date(row.paused_since), by: row.paused_by ?? 'an operator' }
}

/** The destinations, those that are down or paused first; only `name`, if given. */
export async function destinations(database: Database, limit: number, name?: string): Promise<DestinationOverview[]> {
  const { db } = database
  const now = await databaseNow(database)
  const rows = await db
    .selectFrom('destinations')
    .selectAll('destinations')
    .select((eb) => [
      eb
        .selectFrom('waiters')
        .select(sql<number>`count(*)`.as('n'))
        .whereRef('waiters.name', '=', 'destinations.name')
        .where('seen_at', '>', Math.round(now - STILL_WAITS_MS))
        .as('waiting'),
      eb
        .selectFrom('connection_leases')
        .select(sql<number>`count(*)`.as('n'))
        .whereRef('connection_leases.name', '=', 'destinations.name')
        .where('until', '>', Math.round(now))
        .as('held'),
    ])
    .where('name', '!=', EVERYTHING)
    .$if(name !== undefined, (query) => query.where('name', '=', name as string))
    .orderBy(
      sql`case when down_since is not null then 0 when paused_since is not null then 1 when failing_since is not null then 2 else 3 end`,
    )
    .orderBy('name')
    .limit(limit)
    .execute()
  return rows.map(({ waiting, held, ...row }) => ({
    ...toDestinationStatus(row),
    waitingForPermit: Number(waiting),
    connectionsNow: Number(held),
  }))
}

/** The columns that operators change. */
interface ByHand {
  readonly paused_since?: number | null
  readonly paused_by?: string | null
  readonly limited_rate?: number | null
  readonly limited_connections?: number | null
  readonly limited_by?: string | null
}

const UNKNOWN: Limits = { minMessageRate: 1, maxMessageRate: 1, connections: 1, maxDeliveriesPerConnection: 1 }

async function change(database: Database, name: string, byHand: ByHand, now: number): Promise<void> {
  await database.db
    .insertInto('destinations')
    .values({ name, ...columnsOf({ ...newLimiterState(UNKNOWN, now), rate: 0 }), ...byHand })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(byHand))
    .execute()
}

/** Holds every retry for the destination (or for all, if it is left out), using none up. */
export async function pause(database: Database, by: string, name: string = EVERYTHING): Promise<void> {
  const now = await databaseNow(database)
  await change(database, name, { paused_since: Math.round(now), paused_by: by }, now)
}

/** Resumes; the retries still need permits. False if it was not paused. */
export async function resume(database: Database, name: string = EVERYTHING): Promise<boolean> {
  const done = await database.db
    .updateTable('destinations')
    .set({ paused_since: null, paused_by: null })
    .where('name', '=', name)
    .where('paused_since', 'is not', null)
    .executeTakeFirst()
  return Number(done.numUpdatedRows) > 0
}

/** Sets limits that override configured ones; null removes one. */
export async function limitDestination(
  database: Database,
  name: string,
  by: string,
  limits: { readonly rate?: number | null; readonly connections?: number | null },
): Promise<void> {
  const row = await database.db.selectFrom('destinations').selectAll().where('name', '=', name).executeTakeFirst()
  const rate = limits.rate === undefined ? (row?.limited_rate ?? null) : limits.rate
  const connections = limits.connections === undefined ? (row?.limited_connections ?? null) : limits.connections
  const limitedBy = rate === null && connections === null ? null : by
  const byHand = { limited_rate: rate, limited_connections: connections, limited_by: limitedBy }
  const now = await databaseNow(database)
  await change(database, name, byHand, now)
  // times reserved under the former limits are void; the next start is at most one interval away
  const next = now + intervalOf(rate ?? (row?.rate || 1))
  await database.db
    .updateTable('destinations')
    .set((eb) => ({
      epoch: eb('epoch', '+', 1),
      reserved_until: now,
      overflow_until: now,
      next_start_at: eb.case().when('next_start_at', '>', next).then(next).else(eb.ref('next_start_at')).end(),
    }))
    .where('name', '=', name)
    .execute()
}

/** A release of a destination's waiting retries: of those whose last attempt was before it began. */
export interface Release {
  readonly destination: string
  readonly beganAt: Date
  readonly withinMs: number
  readonly by: string
  readonly released: number
  readonly endedAt: Date | null
}

/** Begins a release, or resumes one that has not ended and is recent: a second one would send again what the first has sent. */
export async function beginRelease(
  db: Kysely<Tables>,
  destination: string,
  withinMs: number,
  by: string,
  now: Date,
  goesOnWithinMs: number,
): Promise<Release> {
  const row = { began_at: now.getTime(), within_ms: withinMs, by, released: 0, ended_at: null }
  await db
    .insertInto('releases')
    .values({ destination, ...row })
    .onConflict((conflict) =>
      conflict
        .column('destination')
        .doUpdateSet(row)
        .where((eb) => eb.or([eb('releases.ended_at', 'is not', null), eb('releases.began_at', '<', now.getTime() - goesOnWithinMs)])),
    )
    .execute()
  return (await findRelease(db, destination)) as Release
}

export async function findRelease(db: Kysely<Tables>, destination: string): Promise<Release | null> {
  const row = await db.selectFrom('releases').selectAll().where('destination', '=', destination).executeTakeFirst()
  if (row === undefined) return null
  return {
    destination,
    beganAt: new Date(row.began_at),
    withinMs: row.within_ms,
    by: row.by,
    released: row.released,
    endedAt: row.ended_at === null ? null : new Date(row.ended_at),
  }
}

/** Adds to the number of released retries, or ends the release. */
export async function recordRelease(db: Kysely<Tables>, destination: string, released: number, endedAt: Date | null = null): Promise<void> {
  await db
    .updateTable('releases')
    .set((eb) => ({ released: eb('released', '+', released), ended_at: endedAt?.getTime() ?? null }))
    .where('destination', '=', destination)
    .execute()
}

/** The last answered retry of each workflow; workflows without one are left out. */
export async function lastRetries(
  db: Kysely<Tables>,
  workflowIds: readonly string[],
): Promise<ReadonlyMap<string, { readonly retry: number; readonly at: Date }>> {
  if (workflowIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('attempts')
    .select(['workflow_id', sql<number>`max(retry)`.as('retry'), sql<number>`max(coalesce(reported_at, at))`.as('at')])
    .where('workflow_id', 'in', workflowIds)
    .where('outcome', 'is not', null)
    .groupBy('workflow_id')
    .execute()
  return new Map(rows.map((row) => [row.workflow_id, { retry: Number(row.retry), at: new Date(Number(row.at)) }]))
}

const DAY_MS = 24 * 60 * 60_000
/** An outage is closed after this time without any contact. */
const UNMET_MS = 14 * DAY_MS
/** A destination's state is deleted after this time without contact. */
const FORGET_AFTER_MS = 90 * DAY_MS

/** Deletes waiters that stopped polling, expired leases and policies, destinations without contact; closes their outages. */
export async function purgeDestinations(database: Database): Promise<void> {
  const { db } = database
  const now = Math.round(await databaseNow(database))
  const dayAgo = now - DAY_MS
  const longAgo = now - FORGET_AFTER_MS
  await db.deleteFrom('waiters').where('seen_at', '<', dayAgo).execute()
  await db.deleteFrom('connection_leases').where('until', '<', dayAgo).execute()
  await db.deleteFrom('mta_sts_policies').where('expires_at', '<', now).execute()
  await db.deleteFrom('releases').where('ended_at', '<', longAgo).execute()
  await db.deleteFrom('degradations').where('ended_at', '<', longAgo).execute()
  // without contact, the time of the recovery is unknown; the next refusal begins an outage of its own
  await db
    .updateTable('destinations')
    .set({ failing_since: null, down_since: null, failures: 0 })
    .where('next_start_at', '<', now - UNMET_MS)
    .where('failing_since', 'is not', null)
    .execute()
  await db
    .updateTable('outages')
    .set((eb) => ({
      ended_at: eb.fn.coalesce(
        eb.selectFrom('destinations').select('last_answer_at').whereRef('destinations.name', '=', 'outages.destination'),
        'outages.began_at',
      ),
      // nothing was accepted: the suppressions stay
      restored_at: now,
    }))
    .where('ended_at', 'is', null)
    .where('destination', 'not in', (eb) =>
      eb
        .selectFrom('destinations')
        .select('name')
        .where('next_start_at', '>=', now - UNMET_MS),
    )
    .execute()
  await db
    .deleteFrom('destinations')
    .where('next_start_at', '<', longAgo)
    .where('paused_since', 'is', null)
    .where('limited_by', 'is', null)
    .execute()
}
