/**
 * Selects the waiting messages to wake, earliest first, if there is room for more starts: at each acceptance, and every few seconds in each
 * worker. They wait in Temporal; only their rows show that they do. A lost wake-up only costs latency: waiters also poll.
 */
import type { Kysely, Selectable } from 'kysely'
import { among, type Database, databaseNow, Statement, type Tables, type WaitersTable } from '../store/index.js'
import type { Limits } from './limits.js'
import { type LimiterState, MAX_IN_PLACE_WAIT_MS, stepOf } from './rate-limiter.js'

/** Waiters are woken to fill the starts of this time ahead. */
const AHEAD_MS = 2000
/** Most wake-ups for one acceptance, and for one periodic check. */
const MOST_AT_ONCE = 5
export const MOST_AT_A_LOOK = 50
/** A waiter whose time is this near polls without a wake-up (MAX_IN_PLACE_WAIT_MS, plus a tick of Temporal's timers). */
const COMES_BY_ITSELF_MS = MAX_IN_PLACE_WAIT_MS + 3000
/** A waiter that has not polled this long after its time: its wake-up was lost, or it is gone. */
const LOST_MS = 5000
/** Most destinations in one periodic check. */
const MOST_SYSTEMS = 1000

/** Selects the workflows to wake, and sets their start times to now. */
export async function selectWakeups(
  tx: Kysely<Tables>,
  name: string,
  state: LimiterState,
  limits: Limits,
  now: number,
  most = MOST_AT_ONCE,
): Promise<string[]> {
  if (state.downSince !== null || state.pausedSince !== null || state.notBefore > now) return []
  const room = Math.ceil((AHEAD_MS - Math.max(0, state.nextStartAt - now)) / stepOf(state, limits))
  if (room <= 0) return []
  const near = now + COMES_BY_ITSELF_MS
  const rows = await tx
    .selectFrom('waiters')
    .select(['first_run_id', 'workflow_id', 'slot_at', 'allotted', 'seen_at'])
    .where('name', '=', name)
    .orderBy('slot_at')
    .limit(room + most + MOST_AT_ONCE)
    .execute()
  const isLost = ({ slot_at, seen_at }: Pick<Selectable<WaitersTable>, 'slot_at' | 'seen_at'>) =>
    slot_at < now - LOST_MS && seen_at < now - LOST_MS
  // a waiter that already has its start time is counted by the next start
  const coming = rows.filter((row) => row.slot_at <= near && row.allotted === 0 && !isLost(row)).length
  const woken = rows
    .filter((row) => row.workflow_id !== null && (row.slot_at > near || isLost(row)))
    .slice(0, Math.max(0, Math.min(room - coming, most)))
  if (woken.length === 0) return []
  const runs = woken.map(({ first_run_id }) => first_run_id)
  await tx
    .updateTable('waiters')
    .set({ slot_at: now, allotted: 0, epoch: state.epoch })
    .where('name', '=', name)
    .where('first_run_id', 'in', runs)
    .execute()
  return woken.map(({ workflow_id }) => workflow_id as string)
}

/** Those of the destinations that a message waits for. */
export async function waitedForAmong(tx: Kysely<Tables>, names: readonly string[]): Promise<string[]> {
  const rows = await waitedFor.rows(tx, { names: names })
  return rows.map(({ name }) => name)
}

const waitedFor = new Statement<{ names: readonly string[] }, { name: string }>((db, value, { kind }) =>
  db
    .selectFrom('destinations')
    .select('name')
    .where(among(kind, 'name', value('names')))
    .where(({ exists, selectFrom }) => exists(selectFrom('waiters').select('retry').whereRef('waiters.name', '=', 'destinations.name'))),
)

/** The destinations and relays with waiters, without those that are down or paused. */
export async function destinationsWithWaiters(database: Database): Promise<string[]> {
  const now = await databaseNow(database)
  const rows = await database.db
    .selectFrom('waiters')
    .innerJoin('destinations', 'destinations.name', 'waiters.name')
    .select('waiters.name')
    .where('destinations.down_since', 'is', null)
    .where('destinations.paused_since', 'is', null)
    .where('destinations.not_before', '<=', Math.floor(now))
    .where((eb) => eb.or([eb('waiters.slot_at', '>', now + COMES_BY_ITSELF_MS), eb('waiters.slot_at', '<', now - LOST_MS)]))
    .distinct()
    .limit(MOST_SYSTEMS)
    .execute()
  return rows.map(({ name }) => name)
}

/** Deletes the rows of a workflow that has ended. */
export async function removeWaiters(db: Kysely<Tables>, workflowId: string): Promise<void> {
  await db.deleteFrom('waiters').where('workflow_id', '=', workflowId).execute()
}
