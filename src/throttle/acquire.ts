/**
 * The permit: may this message contact the destination now? The state is one row for each destination. A permit is granted, or a time
 * reserved, in one transaction that holds that row (PostgreSQL: `for update`; SQLite: the write lock), by the database's clock. So any
 * number of workers share a limit exactly. The decision itself is pure (rate-limiter.ts).
 */
import type { Kysely, Selectable } from 'kysely'
import type { DestinationsTable, Tables } from '../store/index.js'
import { asyncCommit, type Database, databaseNow, nowExpression } from '../store/index.js'
import { LEASE_MS, leasesOf } from './connection-leases.js'
import { columnsOf, type DestinationStatus, EVERYTHING, known, stateOf, writeStates } from './destination-row.js'
import { applyFeedback, type DestinationAnswer, type Feedback } from './feedback.js'
import { type AdmissionSettings, type Limits, withManualLimits } from './limits.js'
import { recordOutage } from './outages.js'
import { type Admission, admit, type LimiterState, newLimiterState, type Reservation, type WaitReason } from './rate-limiter.js'
import { MOST_AT_A_LOOK, selectWakeups } from './wakeups.js'

/** What a permit is for: the destination, or the relay that the message goes through. */
export interface LimiterKey {
  readonly name: string
  /** As configured; limits set by hand are applied here. */
  readonly limits: Limits
  /** False: it is contacted through a relay, whose connections count instead. */
  readonly needsConnection: boolean
  /** A relay's rate is fixed: it does not adapt. */
  readonly fixed: boolean
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

/** A permit (`polls`: how often it was asked for, this time included; `waitedMs`: since the first time), or when to ask again and why. */
export type Acquisition =
  | { readonly kind: 'taken'; readonly polls: number; readonly waitedMs: number }
  | {
      readonly kind: 'wait'
      readonly name: string
      readonly why: WaitReason
      /** How long until it asks again. */
      readonly askAgainMs: number
      /** When it goes, as far as is known now, by the database's clock. */
      readonly goesAt: Date | null
      readonly state: DestinationStatus
    }

/** A waiter that found no free connection within this time still wants one. */
const WANTED_WITHIN_MS = 2_000
const RESTORE_AGAIN_MS = 60_000

/** Acquires the permits of all of them, or reserves a time at the first that grants none. */
export async function acquire(
  database: Database,
  asker: Waiter,
  wanted: readonly LimiterKey[],
  settings: AdmissionSettings,
  random: () => number = Math.random,
): Promise<Acquisition> {
  return asyncCommit(database, async (tx) => {
    const { rows, everything, now } = await hold(tx, database, wanted)
    const reservation = await tx
      .selectFrom('waiters')
      .selectAll()
      .where('first_run_id', '=', asker.firstRunId)
      .where('retry', '=', asker.retry)
      .executeTakeFirst()
    const polls = (reservation?.polls ?? 0) + 1
    const at = wanted.findIndex(({ name }) => name === reservation?.name)
    const taken: { name: string; state: LimiterState }[] = []
    for (const [index, { name, limits, needsConnection, fixed }] of wanted.entries()) {
      const row = rows.get(name) as Selectable<DestinationsTable>
      const learnt = stateOf(row, everything)
      const state = fixed ? { ...learnt, connections: limits.connections } : learnt
      const leases = needsConnection ? await leasesOf(tx, name, now) : []
      const others = leases.filter(({ id }) => id !== asker.leaseId)
      const decision: Admission = admit(
        state,
        {
          mine: reservation === undefined || at < index ? null : reservationOf(reservation, at === index ? undefined : { now, state }),
          held: others.length,
          heldForMs: others.length === 0 ? 0 : now - Math.min(...others.map(({ since }) => since)),
          hasConnection: !needsConnection || (asker.hasConnection && others.length < leases.length),
          now,
          random: random(),
        },
        limitsWith(limits, row),
        settings,
      )
      if (decision.kind === 'go') {
        taken.push({ name, state: decision.state })
        continue
      }
      await writeStates(tx, [{ name, state: decision.state }])
      await writeReservation(tx, asker, name, decision.mine, now, polls)
      const { why, slotAt, askAgainAt } = decision
      return {
        kind: 'wait',
        name,
        why,
        askAgainMs: Math.max(0, askAgainAt - now),
        goesAt: slotAt === null ? null : new Date(slotAt),
        state: known(row, decision.state, everything),
      }
    }
    await writeStates(tx, taken)
    if (reservation !== undefined) await cancelReservation(tx, asker)
    for (const { name } of wanted.filter(({ needsConnection }) => needsConnection)) {
      const until = Math.ceil(now + LEASE_MS)
      await tx
        .insertInto('connection_leases')
        .values({ id: asker.leaseId, name, since: Math.round(now), until })
        .onConflict((conflict) => conflict.columns(['id', 'name']).doUpdateSet({ until }))
        .execute()
    }
    return { kind: 'taken', polls, waitedMs: reservation === undefined ? 0 : Math.max(0, now - reservation.asked_at) }
  })
}

/** The message needs no permit any more. */
export async function cancelReservation(db: Kysely<Tables>, { firstRunId, retry }: Pick<Waiter, 'firstRunId' | 'retry'>): Promise<void> {
  await db.deleteFrom('waiters').where('first_run_id', '=', firstRunId).where('retry', '=', retry).execute()
}

/** The outcome of an attempt, for a limiter that adapts. */
export interface Observation {
  readonly name: string
  readonly limits: Limits
  readonly lesson: Feedback
  readonly answer: DestinationAnswer & { readonly mailServer: string | null }
  /** How long the message took; null if unknown. */
  readonly tookMs: number | null
}

/** What an answer changed. */
export interface FeedbackResult {
  /** `down`: this answer opened the circuit. `up`: first acceptance after failures. */
  readonly change: 'down' | 'up' | null
  /** It accepts mail again, and the suppressions that it caused are still to be ended. */
  readonly restore: boolean
  /** It was down until this answer. */
  readonly wasDown: boolean
  readonly failingSince: Date | null
  readonly wanted: boolean
  /** Workflows that wait for a permit, and may come now. */
  readonly wake: readonly string[]
}

/** Writes what an answer changes. */
export async function writeFeedback(database: Database, observed: Observation, settings: AdmissionSettings): Promise<FeedbackResult> {
  return asyncCommit(database, async (tx) => {
    const { rows, everything, now } = await hold(tx, database, [observed])
    const row = rows.get(observed.name) as Selectable<DestinationsTable>
    const before = stateOf(row)
    const limits = limitsWith(observed.limits, row)
    const after = applyFeedback(before, observed.lesson, observed.tookMs, limits, settings, now)
    const { answer } = observed
    const up = before.failingSince !== null && after.failingSince === null
    // if the worker that did this died, a later acceptance does it
    const left = row.restore_due !== null && row.restore_due < now - RESTORE_AGAIN_MS && observed.lesson.kind === 'accepted'
    const said =
      observed.lesson.kind === 'nothing'
        ? {}
        : {
            last_answer_at: Math.round(now),
            last_answer_outcome: answer.outcome,
            last_answer_status: answer.status,
            last_answer_reply: answer.reply,
            last_answer_by: answer.mailServer,
          }
    await tx
      .updateTable('destinations')
      .set({ ...columnsOf(after), ...said, ...(up ? { restore_due: Math.round(now) } : {}) })
      .where('name', '=', observed.name)
      .execute()
    await recordOutage(tx, observed.name, before, after, answer, now)
    const standing = { ...after, pausedSince: stateOf(row, everything).pausedSince }
    const wake = observed.lesson.kind === 'accepted' ? await selectWakeups(tx, observed.name, standing, limits, now) : []
    return {
      change: before.downSince === null && after.downSince !== null ? 'down' : up ? 'up' : null,
      restore: up || left,
      wasDown: before.downSince !== null && after.downSince === null,
      failingSince: before.failingSince === null ? null : new Date(before.failingSince),
      wanted: before.starvedAt > now - WANTED_WITHIN_MS,
      wake,
    }
  })
}

/** The workflows that wait for this destination and may come now. */
export function nextWakeups(database: Database, name: string, limits: Limits): Promise<string[]> {
  return asyncCommit(database, async (tx) => {
    const { rows, everything, now } = await hold(tx, database, [{ name, limits }])
    const row = rows.get(name) as Selectable<DestinationsTable>
    return selectWakeups(tx, name, stateOf(row, everything), limitsWith(limits, row), now, MOST_AT_A_LOOK)
  })
}

/** The suppressions that it caused have been ended. */
export async function markRestored(db: Kysely<Tables>, name: string): Promise<void> {
  await db.updateTable('destinations').set({ restore_due: null }).where('name', '=', name).execute()
}

/** Locks the destinations' rows until the transaction ends; inserts new ones. */
async function hold(tx: Kysely<Tables>, database: Database, wanted: readonly Pick<LimiterKey, 'name' | 'limits'>[]) {
  // always in the order of names: two transactions that lock two rows each never wait for each other
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

const limitsWith = (limits: Limits, row: Pick<DestinationsTable, 'limited_rate' | 'limited_connections'>): Limits =>
  withManualLimits(limits, { rate: row.limited_rate, connections: row.limited_connections })

/** With `passed`: it waits at another limiter by now, and has passed this one. */
function reservationOf(
  row: { asked_at: number; slot_at: number; allotted: number; epoch: number },
  passed?: { readonly now: number; readonly state: LimiterState },
): Reservation {
  if (passed !== undefined) return { askedAt: row.asked_at, slotAt: passed.now, allotted: false, epoch: passed.state.epoch }
  return { askedAt: row.asked_at, slotAt: row.slot_at, allotted: row.allotted === 1, epoch: row.epoch }
}

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
