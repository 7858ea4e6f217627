/**
 * Turns: who may meet a receiving system now. The state stands in one row for each system; a turn is taken, or a moment reserved, in one
 * transaction that holds that row (PostgreSQL: `for update`; SQLite: the write lock), and by the database's clock. So any number of workers
 * share a limit exactly, whatever their clocks say. What is decided is pure (src/politeness).
 */
import { type Kysely, type Selectable, sql } from 'kysely'
import {
  type Decision,
  type Lesson,
  type Limits,
  learn,
  limitsByHand,
  newState,
  type Reservation,
  type SystemAnswer,
  type SystemState,
  type TurnSettings,
  takeTurn,
  type WaitReason,
} from '../politeness/index.js'
import { clockOf, type Database, timeOf, withoutWaiting } from './database.js'
import { noteOutage } from './outages.js'
import { MOST_AT_A_LOOK, wakeNext } from './sleepers.js'
import type { DestinationsTable, Tables } from './tables.js'

/** Whose turn is needed: the receiving system's, and where it goes through one, the relay's. */
export interface TurnOf {
  readonly name: string
  /** As the settings say; what a person has set by hand is added here. */
  readonly limits: Limits
  /** False: it is met over a relay, whose connections count instead. */
  readonly needsConnection: boolean
  /** A relay's rate is fixed: it is not learnt. */
  readonly fixed: boolean
}

export interface Asker {
  readonly firstRunId: string
  readonly retry: number
  /** Whom to wake. */
  readonly workflowId: string
  /** The lease that it will hold; or holds already, with an open connection. */
  readonly leaseId: string
  readonly hasConnection: boolean
}

/** A turn was taken (`lookUps`: how often it was asked for, this time included; `waitedMs`: since the first time), or when to ask again and why. */
export type Turn =
  | { readonly kind: 'taken'; readonly lookUps: number; readonly waitedMs: number }
  | {
      readonly kind: 'wait'
      readonly name: string
      readonly why: WaitReason
      /** How long until it is to be asked again. */
      readonly askAgainMs: number
      /** When it goes, as far as is known now; by the database's clock. */
      readonly goesAt: Date | null
      readonly state: KnownSystem
    }

/** What is known of a system, as a person reads it. */
export interface KnownSystem extends SystemState {
  readonly name: string
  readonly pausedBy: string | null
  readonly limited: { readonly rate: number | null; readonly connections: number | null; readonly by: string } | null
  readonly said: {
    readonly at: Date
    readonly outcome: string
    readonly status: string
    readonly reply: string
    readonly by: string | null
  } | null
}

/** The name of the row that stands for every system. */
export const EVERYTHING = '*'
/** A connection counts for this long beyond the last word of its worker. */
export const LEASE_MS = 30_000
/** An asker is waiting for a connection, where one found none within this. */
const WANTED_WITHIN_MS = 2_000
const RESTORE_AGAIN_MS = 60_000

/** Takes the turn of all of them, or reserves a moment at the first that is not free. */
export async function askTurn(
  database: Database,
  asker: Asker,
  wanted: readonly TurnOf[],
  settings: TurnSettings,
  random: () => number = Math.random,
): Promise<Turn> {
  return withoutWaiting(database, async (tx) => {
    const { rows, everything, now } = await hold(tx, database, wanted)
    const reservation = await tx
      .selectFrom('turns')
      .selectAll()
      .where('first_run_id', '=', asker.firstRunId)
      .where('retry', '=', asker.retry)
      .executeTakeFirst()
    const lookUps = (reservation?.look_ups ?? 0) + 1
    const at = wanted.findIndex(({ name }) => name === reservation?.name)
    const taken: { name: string; state: SystemState }[] = []
    for (const [index, { name, limits, needsConnection, fixed }] of wanted.entries()) {
      const row = rows.get(name) as Selectable<DestinationsTable>
      const learnt = stateOf(row, everything)
      const state = fixed ? { ...learnt, connections: limits.connections } : learnt
      const leases = needsConnection ? await leasesOf(tx, name, now) : []
      const others = leases.filter(({ id }) => id !== asker.leaseId)
      const decision: Decision = takeTurn(
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
      await writeReservation(tx, asker, name, decision.mine, now, lookUps)
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
    if (reservation !== undefined) await forgetTurn(tx, asker)
    for (const { name } of wanted.filter(({ needsConnection }) => needsConnection)) {
      const until = Math.ceil(now + LEASE_MS)
      await tx
        .insertInto('leases')
        .values({ id: asker.leaseId, name, since: Math.round(now), until })
        .onConflict((conflict) => conflict.columns(['id', 'name']).doUpdateSet({ until }))
        .execute()
    }
    return { kind: 'taken', lookUps, waitedMs: reservation === undefined ? 0 : Math.max(0, now - reservation.asked_at) }
  })
}

/** The message needs no turn any more. */
export async function forgetTurn(db: Kysely<Tables>, { firstRunId, retry }: Pick<Asker, 'firstRunId' | 'retry'>): Promise<void> {
  await db.deleteFrom('turns').where('first_run_id', '=', firstRunId).where('retry', '=', retry).execute()
}

/** The connection is still open. False where its lease has run out: others may have taken its place, and it must be closed. */
export async function renewLease(database: Database, leaseId: string): Promise<boolean> {
  const now = clockOf(database)
  const done = await withoutWaiting(database, (tx) =>
    tx
      .updateTable('leases')
      .set({ until: sql<number>`cast(${now} + ${sql.lit(LEASE_MS)} as bigint)` })
      .where('id', '=', leaseId)
      .where('until', '>', sql<number>`${now}`)
      .executeTakeFirst(),
  )
  return Number(done.numUpdatedRows) > 0
}

/** A content is begun only with this much of the lease left: by then it has been renewed, or it was about to run out. */
const LEFT_FOR_CONTENT_MS = LEASE_MS / 3

/** The lease, while it holds for long enough to begin a content. */
export const leaseThatHolds = (database: Database, leaseId: string) =>
  database.db
    .selectFrom('leases')
    .select('id')
    .where('id', '=', leaseId)
    .where('until', '>', sql<number>`${clockOf(database)} + ${sql.lit(LEFT_FOR_CONTENT_MS)}`)

/** The connection is closed. */
export async function releaseLease(database: Database, leaseId: string): Promise<void> {
  await withoutWaiting(database, (tx) => tx.deleteFrom('leases').where('id', '=', leaseId).execute())
}

/** What came of a turn, for a system that learns. */
export interface Met {
  readonly name: string
  readonly limits: Limits
  readonly lesson: Lesson
  readonly answer: SystemAnswer & { readonly mailServer: string | null }
  /** How long the message took; null where that is not known. */
  readonly tookMs: number | null
}

/** What has changed by an answer. */
export interface Learnt {
  /** It went down by this answer; or takes messages again, that were refused (since when). */
  readonly change: 'down' | 'up' | null
  /** It takes messages again, and what follows from that has not been done: the suppressions that it caused are to lapse. */
  readonly restore: boolean
  /** It was down, until this answer. */
  readonly wasDown: boolean
  readonly failingSince: Date | null
  readonly wanted: boolean
  /** Workflows that wait for their turn, and may come now. */
  readonly wake: readonly string[]
}

/** Writes what an answer teaches. */
export async function learnFrom(database: Database, met: Met, settings: TurnSettings): Promise<Learnt> {
  return withoutWaiting(database, async (tx) => {
    const { rows, everything, now } = await hold(tx, database, [met])
    const row = rows.get(met.name) as Selectable<DestinationsTable>
    const before = stateOf(row)
    const limits = limitsWith(met.limits, row)
    const after = learn(before, met.lesson, met.tookMs, limits, settings, now)
    const { answer } = met
    const up = before.failingSince !== null && after.failingSince === null
    // one whose worker died over it is taken up by a later acceptance
    const left = row.restore_due !== null && row.restore_due < now - RESTORE_AGAIN_MS && met.lesson.kind === 'accepted'
    const said =
      met.lesson.kind === 'nothing'
        ? {}
        : {
            said_at: Math.round(now),
            said_outcome: answer.outcome,
            said_status: answer.status,
            said_reply: answer.reply,
            said_by: answer.mailServer,
          }
    await tx
      .updateTable('destinations')
      .set({ ...columnsOf(after), ...said, ...(up ? { restore_due: Math.round(now) } : {}) })
      .where('name', '=', met.name)
      .execute()
    await noteOutage(tx, met.name, before, after, answer, now)
    const standing = { ...after, pausedSince: stateOf(row, everything).pausedSince }
    const wake = met.lesson.kind === 'accepted' ? await wakeNext(tx, met.name, standing, limits, now) : []
    return {
      change: before.downSince === null && after.downSince !== null ? 'down' : up ? 'up' : null,
      restore: up || left,
      wasDown: before.downSince !== null && after.downSince === null,
      failingSince: before.failingSince === null ? null : new Date(before.failingSince),
      wanted: before.wantedAt > now - WANTED_WITHIN_MS,
      wake,
    }
  })
}

/** The workflows that wait for this system's turn and may come now, whoever else has come or not. */
export function wakeWaitingFor(database: Database, name: string, limits: Limits): Promise<string[]> {
  return withoutWaiting(database, async (tx) => {
    const { rows, everything, now } = await hold(tx, database, [{ name, limits }])
    const row = rows.get(name) as Selectable<DestinationsTable>
    return wakeNext(tx, name, stateOf(row, everything), limitsWith(limits, row), now, MOST_AT_A_LOOK)
  })
}

/** The suppressions that it caused have been made to lapse. */
export async function noteRestored(db: Kysely<Tables>, name: string): Promise<void> {
  await db.updateTable('destinations').set({ restore_due: null }).where('name', '=', name).execute()
}

/** Holds the systems' rows until the transaction ends; makes those that are new. */
async function hold(tx: Kysely<Tables>, database: Database, wanted: readonly Pick<TurnOf, 'name' | 'limits'>[]) {
  // always in the order of their names: two that hold two each never wait for each other
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
    const now = await timeOf(database, tx)
    const fresh = new Map(wanted.map(({ name, limits }) => [name, limits]))
    const values = names.map((name) => ({ name, ...columnsOf(newState(fresh.get(name) as Limits, now)) }))
    await tx
      .insertInto('destinations')
      .values(values)
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    found = await read()
  }
  // asked after the rows are held: whoever waited for them must not go by a clock from before
  const { now, ...everything } = await tx
    .selectNoFrom((eb) => {
      const row = eb.selectFrom('destinations').where('name', '=', EVERYTHING)
      return [clockOf(database).as('now'), row.select('paused_since').as('paused_since'), row.select('paused_by').as('paused_by')]
    })
    .executeTakeFirstOrThrow()
  return { rows: new Map(found.map((row) => [row.name, row])), everything, now: Number(now) }
}

async function leasesOf(tx: Kysely<Tables>, name: string, now: number) {
  const rows = await tx.selectFrom('leases').select(['id', 'since', 'until']).where('name', '=', name).execute()
  if (rows.some(({ until }) => until <= now))
    await tx.deleteFrom('leases').where('name', '=', name).where('until', '<=', Math.floor(now)).execute()
  return rows.filter(({ until }) => until > now)
}

const limitsWith = (limits: Limits, row: Pick<DestinationsTable, 'limited_rate' | 'limited_connections'>): Limits =>
  limitsByHand(limits, { rate: row.limited_rate, connections: row.limited_connections })

export function stateOf(row: Selectable<DestinationsTable>, everything?: Pick<DestinationsTable, 'paused_since'>): SystemState {
  return {
    nextAt: row.next_at,
    frontier: row.frontier,
    lateFrontier: row.late_frontier,
    rate: row.rate,
    connections: row.connections,
    serviceMs: row.service_ms,
    failures: row.failures,
    failingSince: row.failing_since,
    downSince: row.down_since,
    askAt: row.ask_at,
    notBefore: row.not_before,
    pausedSince: everything?.paused_since ?? row.paused_since,
    epoch: row.epoch,
    wantedAt: row.wanted_at,
  }
}

/** What turns and answers change; pauses and limits are a person's. */
export function columnsOf(state: SystemState) {
  return {
    next_at: state.nextAt,
    frontier: state.frontier,
    late_frontier: state.lateFrontier,
    rate: state.rate,
    connections: state.connections,
    service_ms: state.serviceMs,
    failures: state.failures,
    failing_since: whole(state.failingSince),
    down_since: whole(state.downSince),
    ask_at: state.askAt,
    not_before: Math.round(state.notBefore),
    epoch: state.epoch,
    wanted_at: Math.round(state.wantedAt),
  }
}

const whole = (ms: number | null) => (ms === null ? null : Math.round(ms))

/** Of rows that are held: all in one statement. */
async function writeStates(tx: Kysely<Tables>, written: readonly { readonly name: string; readonly state: SystemState }[]): Promise<void> {
  await tx
    .insertInto('destinations')
    .values(written.map(({ name, state }) => ({ name, ...columnsOf(state) })))
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({
        next_at: eb.ref('excluded.next_at'),
        frontier: eb.ref('excluded.frontier'),
        late_frontier: eb.ref('excluded.late_frontier'),
        rate: eb.ref('excluded.rate'),
        connections: eb.ref('excluded.connections'),
        service_ms: eb.ref('excluded.service_ms'),
        failures: eb.ref('excluded.failures'),
        failing_since: eb.ref('excluded.failing_since'),
        down_since: eb.ref('excluded.down_since'),
        ask_at: eb.ref('excluded.ask_at'),
        not_before: eb.ref('excluded.not_before'),
        epoch: eb.ref('excluded.epoch'),
        wanted_at: eb.ref('excluded.wanted_at'),
      })),
    )
    .execute()
}

/** With `passed`: it waits elsewhere by now, and has had its moment here. */
function reservationOf(
  row: { asked_at: number; slot_at: number; allotted: number; epoch: number },
  passed?: { readonly now: number; readonly state: SystemState },
): Reservation {
  if (passed !== undefined) return { askedAt: row.asked_at, slotAt: passed.now, allotted: false, epoch: passed.state.epoch }
  return { askedAt: row.asked_at, slotAt: row.slot_at, allotted: row.allotted === 1, epoch: row.epoch }
}

async function writeReservation(
  tx: Kysely<Tables>,
  { firstRunId, retry, workflowId }: Asker,
  name: string,
  mine: Reservation,
  now: number,
  lookUps: number,
): Promise<void> {
  const row = {
    name,
    workflow_id: workflowId,
    asked_at: Math.round(mine.askedAt),
    slot_at: mine.slotAt,
    allotted: mine.allotted ? 1 : 0,
    epoch: mine.epoch,
    seen_at: Math.round(now),
    look_ups: lookUps,
  }
  await tx
    .insertInto('turns')
    .values({ first_run_id: firstRunId, retry, ...row })
    .onConflict((conflict) => conflict.columns(['first_run_id', 'retry']).doUpdateSet(row))
    .execute()
}

/** The row as a person reads it. */
export function known(
  row: Selectable<DestinationsTable>,
  state: SystemState = stateOf(row),
  everything?: Pick<DestinationsTable, 'paused_since' | 'paused_by'>,
): KnownSystem {
  return {
    ...state,
    name: row.name,
    pausedBy: everything?.paused_since == null ? row.paused_by : everything.paused_by,
    limited: row.limited_by === null ? null : { rate: row.limited_rate, connections: row.limited_connections, by: row.limited_by },
    said:
      row.said_at === null
        ? null
        : {
            at: new Date(row.said_at),
            outcome: row.said_outcome as string,
            status: row.said_status as string,
            reply: row.said_reply as string,
            by: row.said_by,
          },
  }
}
