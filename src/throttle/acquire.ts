/**
 * The permit: may this message contact the destination now? The state is one row for each destination. A permit is granted, or a time
 * reserved, in one transaction that holds that row (PostgreSQL: `for update`; SQLite: the write lock), by the database's clock. So any
 * number of workers share a limit exactly. The decision itself is pure (rate-limiter.ts).
 */
import type { Kysely, Selectable } from 'kysely'
import type { DestinationsTable, Tables } from '../store/index.js'
import { asyncCommit, type Database, databaseNow, nowExpression } from '../store/index.js'
import { leasesOf, writeLease } from './connection-leases.js'
import { columnsOf, type DestinationStatus, EVERYTHING, stateOf, toDestinationStatus, writeStates } from './destination-row.js'
import { type AdmissionSettings, type Limits, withManualLimits } from './limits.js'
import {
  type Admission,
  admit,
  forgetNextHop,
  type LimiterState,
  newLimiterState,
  type Reservation,
  type WaitReason,
} from './rate-limiter.js'

/** What a permit is for: the destination, or the relay that the message goes through. */
export interface LimiterKey {
  readonly name: string
  /** As configured; limits set by hand are applied here. */
  readonly limits: Limits
  /** False: it is contacted through a relay, whose connections count instead. */
  readonly needsConnection: boolean
  /** A relay's rate is fixed: it does not adapt. */
  readonly fixed: boolean
  /** The current next hop; state adapted to another one is reset. */
  readonly nextHop: string
}

export interface Waiter {
  readonly firstRunId: string
  readonly retry: number
  /** The workflow to wake. */
  readonly workflowId: string
  /** The lease that it will hold, or already holds with an open connection. */
  readonly leaseId: string
  readonly hasConnection: boolean
}

/** A permit (`polls`: number of polls, including this one; `waitedMs`: since the first), or when to poll again and why. */
export type Acquisition =
  | { readonly kind: 'granted'; readonly polls: number; readonly waitedMs: number }
  | {
      readonly kind: 'wait'
      readonly name: string
      readonly why: WaitReason
      /** Time until the next poll. */
      readonly askAgainMs: number
      /** The expected start time, by the database's clock; null if unknown. */
      readonly goesAt: Date | null
      readonly state: DestinationStatus
    }

/** Acquires the permits of all of them, or reserves a time at the first that grants none. */
export async function acquire(
  database: Database,
  waiter: Waiter,
  wanted: readonly LimiterKey[],
  settings: AdmissionSettings,
  random: () => number = Math.random,
): Promise<Acquisition> {
  return asyncCommit(database, async (tx) => {
    const locked = await lockRows(tx, database, wanted)
    const { now } = locked
    const place = await placeOf(tx, waiter)
    const polls = (place?.polls ?? 0) + 1
    const granted: { name: string; nextHop: string; state: LimiterState }[] = []
    for (const key of wanted) {
      const row = locked.rows.get(key.name) as Selectable<DestinationsTable>
      const isNew = isNewNextHop(row, key, settings, now)
      const nextHop = isNew ? key.nextHop : (row.next_hop ?? key.nextHop)
      const state = limiterState(row, key, locked.everything, isNew, now)
      const mine = place === undefined ? null : reservationAt(place, key.name, wanted, { now, state })
      const request = { ...(await connectionsInUse(tx, waiter, key, now)), mine, now, random: random() }
      const admission = admit(state, request, limitsWith(key.limits, row), settings)
      if (admission.kind === 'wait') {
        await writeStates(tx, [{ name: key.name, nextHop, state: admission.state }])
        await writeReservation(tx, waiter, key.name, admission.mine, now, polls)
        return waitResult(admission, key.name, now, toDestinationStatus(row, admission.state, locked.everything))
      }
      granted.push({ name: key.name, nextHop, state: admission.state })
    }
    await writeStates(tx, granted)
    if (place !== undefined) await cancelReservation(tx, waiter)
    for (const { name } of wanted.filter(({ needsConnection }) => needsConnection)) await writeLease(tx, waiter.leaseId, name, now)
    return { kind: 'granted', polls, waitedMs: place === undefined ? 0 : Math.max(0, now - place.asked_at) }
  })
}

type Place = Selectable<Tables['waiters']>

/** The waiter's row from an earlier poll. */
function placeOf(tx: Kysely<Tables>, { firstRunId, retry }: Waiter): Promise<Place | undefined> {
  return tx.selectFrom('waiters').selectAll().where('first_run_id', '=', firstRunId).where('retry', '=', retry).executeTakeFirst()
}

/** The row's state, reset if the next hop has changed; a relay's connections do not adapt. */
function limiterState(
  row: Selectable<DestinationsTable>,
  key: LimiterKey,
  everything: Everything,
  isNew: boolean,
  now: number,
): LimiterState {
  const learnt = stateOf(row, everything)
  const state = isNew ? forgetNextHop(learnt, key.limits, now) : learnt
  return key.fixed ? { ...state, connections: key.limits.connections } : state
}

/**
 * Whether mail goes by another next hop than the one that taught the state. While that one still answers, both are in use, and share the state:
 * two settings must not undo each other's backoff.
 */
const isNewNextHop = (row: Selectable<DestinationsTable>, { nextHop }: LimiterKey, { probeIntervalMs }: AdmissionSettings, now: number) =>
  row.next_hop !== null && row.next_hop !== nextHop && now - (row.last_answer_at ?? 0) > 2 * probeIntervalMs

async function connectionsInUse(tx: Kysely<Tables>, waiter: Waiter, { name, needsConnection }: LimiterKey, now: number) {
  const leases = needsConnection ? await leasesOf(tx, name, now) : []
  const others = leases.filter(({ id }) => id !== waiter.leaseId)
  return {
    held: others.length,
    heldForMs: others.length === 0 ? 0 : now - Math.min(...others.map(({ since }) => since)),
    hasConnection: !needsConnection || (waiter.hasConnection && others.length < leases.length),
  }
}

/** Its reservation at this limiter: none yet if it waits at an earlier one; due now if it waits at a later one, having passed this. */
function reservationAt(
  place: Place,
  name: string,
  wanted: readonly LimiterKey[],
  { now, state }: { readonly now: number; readonly state: LimiterState },
): Reservation | null {
  const [here, waits] = [name, place.name].map((one) => wanted.findIndex((key) => key.name === one)) as [number, number]
  if (waits < here) return null
  if (waits > here) return { askedAt: place.asked_at, slotAt: now, allotted: false, epoch: state.epoch }
  return { askedAt: place.asked_at, slotAt: place.slot_at, allotted: place.allotted === 1, epoch: place.epoch }
}

function waitResult(
  { why, slotAt, askAgainAt }: Extract<Admission, { kind: 'wait' }>,
  name: string,
  now: number,
  state: DestinationStatus,
): Acquisition {
  const goesAt = slotAt === null ? null : new Date(slotAt)
  return { kind: 'wait', name, why, askAgainMs: Math.max(0, askAgainAt - now), goesAt, state }
}

/** Deletes the reservation of a message that needs no permit any more. */
export async function cancelReservation(db: Kysely<Tables>, { firstRunId, retry }: Pick<Waiter, 'firstRunId' | 'retry'>): Promise<void> {
  await db.deleteFrom('waiters').where('first_run_id', '=', firstRunId).where('retry', '=', retry).execute()
}

/** Locks the destinations' rows until the transaction ends; inserts new ones. */
export async function lockRows(tx: Kysely<Tables>, database: Database, wanted: readonly Pick<LimiterKey, 'name' | 'limits'>[]) {
  // in name order, so that two transactions that lock several rows cannot deadlock
  const names = wanted.map(({ name }) => name).sort()
  const read = () =>
    tx
      .selectFrom('destinations')
      .selectAll()
      .where('name', 'in', names)
      .orderBy('name')
      .$if(database.kind === 'postgres', (query) => query.forUpdate())
      .execute()
  let found = await read()
  if (found.length < names.length) {
    const now = await databaseNow(database, tx)
    const fresh = new Map(wanted.map(({ name, limits }) => [name, limits]))
    const values = names.map((name) => ({ name, ...columnsOf(newLimiterState(fresh.get(name) as Limits, now)) }))
    await tx
      .insertInto('destinations')
      .values(values)
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    found = await read()
  }
  // read after the rows are locked: after a wait, an earlier time would be stale
  const { now, ...everything } = await tx
    .selectNoFrom((eb) => {
      const row = eb.selectFrom('destinations').where('name', '=', EVERYTHING)
      return [nowExpression(database).as('now'), row.select('paused_since').as('paused_since'), row.select('paused_by').as('paused_by')]
    })
    .executeTakeFirstOrThrow()
  return { rows: new Map(found.map((row) => [row.name, row])), everything, now: Number(now) }
}

type Everything = Pick<DestinationsTable, 'paused_since' | 'paused_by'>

export const limitsWith = (limits: Limits, row: Pick<DestinationsTable, 'limited_rate' | 'limited_connections'>): Limits =>
  withManualLimits(limits, { rate: row.limited_rate, connections: row.limited_connections })

async function writeReservation(
  tx: Kysely<Tables>,
  { firstRunId, retry, workflowId }: Waiter,
  name: string,
  mine: Reservation,
  now: number,
  polls: number,
): Promise<void> {
  const row = {
    name,
    workflow_id: workflowId,
    asked_at: Math.round(mine.askedAt),
    slot_at: mine.slotAt,
    allotted: mine.allotted ? 1 : 0,
    epoch: mine.epoch,
    seen_at: Math.round(now),
    polls: polls,
  }
  await tx
    .insertInto('waiters')
    .values({ first_run_id: firstRunId, retry, ...row })
    .onConflict((conflict) => conflict.columns(['first_run_id', 'retry']).doUpdateSet(row))
    .execute()
}
