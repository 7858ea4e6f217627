/** Watches the bounces of each destination: those that became more than usual are recorded, and published as `destination.degrading`. */
import type { Client } from '@temporalio/client'
import { sql } from 'kysely'
import { channelsFor, type EventChannels, type SoftbounceEvent } from '../../bounce/index.js'
import type { Log } from '../../logger.js'
import { advisoryLock, type Database, databaseNow } from '../../store/index.js'
import { startPublishing } from '../../throttle/index.js'
import { HOUR_MS } from '../window.js'
import { type Counted, judge, LEAST_BOUNCES, WEEKS } from './usual.js'

const WEEK_MS = 7 * 24 * HOUR_MS
const LOOK_EVERY_MS = 5 * 60_000
/** An event is not published after this time. */
const OF_USE_FOR_MS = 24 * HOUR_MS
/** A bounce that begins to be retried later than this after it happened is not counted. */
const HELD_UP_MS = 24 * HOUR_MS

interface WatchContext {
  readonly database: Database
  readonly settings: { readonly events: EventChannels }
  readonly log: Pick<Log, 'warn'>
}

/**
 * Looks every five minutes. Every worker does so; a lock keeps them apart.
 * @returns a function that stops it.
 */
export function watchForDegradation(client: Client, taskQueue: string, context: WatchContext): () => void {
  const look = () =>
    lookForDegradation(client, taskQueue, context).catch((error: Error) =>
      context.log.warn(
        { error: error.message },
        'the bounces of the destinations could not be compared with what is usual; it is tried again',
      ),
    )
  const timer = setInterval(look, LOOK_EVERY_MS * (0.9 + 0.2 * Math.random()))
  timer.unref()
  return () => clearInterval(timer)
}

/** One look. @throws Error if the database or Temporal is unavailable. */
export async function lookForDegradation(client: Client, taskQueue: string, { database, settings, log }: WatchContext): Promise<void> {
  const now = Math.round(await databaseNow(database))
  for (const { destination, bounces, usual } of await recordDegradations(database, now))
    log.warn({ destination, bounces, usual }, 'a destination bounces more than usual at this hour of the week')
  await publish(client, taskQueue, database, settings.events, now)
}

/** A destination that bounces more than usual. */
export interface Degradation {
  readonly destination: string
  readonly bounces: number
  readonly usual: number
}

/** Records the destinations that bounce more than usual from now on, and ends what is over. @returns those that are new. */
export async function recordDegradations(database: Database, now: number): Promise<Degradation[]> {
  const counted = await countBounces(database, now)
  return database.db.transaction().execute(async (tx) => {
    await advisoryLock(tx, 'degradations')
    const open = await tx.selectFrom('degradations').select('destination').where('ended_at', 'is', null).execute()
    const known = new Set(open.map(({ destination }) => destination))
    // the bounces of an outage are counted for an hour after its end too
    const down = await tx
      .selectFrom('outages')
      .select('destination')
      .where('down_at', 'is not', null)
      .where((eb) => eb.or([eb('ended_at', 'is', null), eb('ended_at', '>', now - HOUR_MS)]))
      .execute()
    const shared = await tx.selectFrom('destinations').select('name').where('down_since', 'is not', null).execute()
    const isDown = new Set([...down.map(({ destination }) => destination), ...shared.map(({ name }) => name)])
    const judged = [...counted].map(([destination, counts]) => ({ destination, counts, judged: judge(counts) }))
    // one that another worker has recorded since the bounces were counted is judged at the next look
    const over = judged.flatMap(({ destination, judged: found }) =>
      known.has(destination) && (found?.isUsual !== false || isDown.has(destination)) ? [destination] : [],
    )
    if (over.length > 0)
      await tx.updateTable('degradations').set({ ended_at: now }).where('ended_at', 'is', null).where('destination', 'in', over).execute()
    const fresh = judged.flatMap(({ destination, counts, judged: found }) =>
      found?.isDegrading === true && !known.has(destination) && !isDown.has(destination)
        ? [{ destination, bounces: counts.lastHour, usual: Math.round(found.usual * 10) / 10 }]
        : [],
    )
    if (fresh.length > 0)
      await tx
        .insertInto('degradations')
        .values(fresh.map((one) => ({ ...one, began_at: now, ended_at: null, published: 0 })))
        .execute()
    return fresh
  })
}

/** The bounces of the last hour, and of the same hour of earlier weeks, of destinations with enough of them and of those being watched. */
async function countBounces({ db }: Database, now: number): Promise<ReadonlyMap<string, Counted>> {
  const { first } = await db.selectFrom('runs').select(sql<number | null>`min(started_at)`.as('first')).executeTakeFirstOrThrow()
  const last = await bouncesBetween(db, now - HOUR_MS, now)
  const destinations = [...last].flatMap(([destination, n]) => (n >= LEAST_BOUNCES ? [destination] : []))
  const watched = await db.selectFrom('degradations').select('destination').where('ended_at', 'is', null).execute()
  const names = [...new Set([...destinations, ...watched.map(({ destination }) => destination)])]
  const weeks = Array.from({ length: WEEKS }, (_, i) => now - (i + 1) * WEEK_MS).filter((at) => first !== null && at - 2 * HOUR_MS >= first)
  const earlier: Record<'hour' | 'around', ReadonlyMap<string, number>>[] = []
  for (const at of names.length === 0 ? [] : weeks)
    earlier.push({
      hour: await bouncesBetween(db, at - HOUR_MS, at),
      around: await bouncesBetween(db, at - 2 * HOUR_MS, at + HOUR_MS),
    })
  return new Map(
    names.map((name) => [
      name,
      {
        lastHour: last.get(name) ?? 0,
        earlierWeeks: earlier.map(({ hour, around }) => ({ hour: hour.get(name) ?? 0, around: around.get(name) ?? 0 })),
      },
    ]),
  )
}

/** Bounces with 4.3.2 in this time, by destination. Those that were held up, as while the workers were stopped, count when they happened. */
async function bouncesBetween(db: Database['db'], from: number, to: number): Promise<ReadonlyMap<string, number>> {
  const rows = await db
    .selectFrom('runs')
    .select(['destination', sql<number>`count(*)`.as('n')])
    .where('bounced_at', '>=', from)
    .where('bounced_at', '<', to)
    // for the index
    .where('started_at', '>=', from)
    .where('started_at', '<', to + HELD_UP_MS)
    .where('status', '=', '4.3.2')
    .groupBy('destination')
    .execute()
  return new Map(rows.map(({ destination, n }) => [destination, Number(n)]))
}

async function publish(client: Client, taskQueue: string, { db }: Database, events: EventChannels, now: number): Promise<void> {
  const rows = await db
    .selectFrom('degradations')
    .selectAll()
    .where('published', '=', 0)
    .where('began_at', '>', now - OF_USE_FOR_MS)
    .execute()
  const channels = channelsFor(
    events.types.filter((type) => type === 'destination.degrading'),
    events,
  )
  for (const { destination, began_at, bounces, usual } of rows) {
    const timestamp = new Date(began_at).toISOString()
    const type = 'destination.degrading' as const
    const event: SoftbounceEvent = { id: `${destination}.${timestamp}.${type}`, type, timestamp, data: { destination, bounces, usual } }
    if (channels !== null) await startPublishing(client, taskQueue, { event, ...channels }, destination)
    await db
      .updateTable('degradations')
      .set({ published: 1 })
      .where('destination', '=', destination)
      .where('began_at', '=', began_at)
      .execute()
  }
}
