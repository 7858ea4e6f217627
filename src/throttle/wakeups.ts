/**
 * Messages that sleep until their moment at a receiving system: the engine holds them, and only their rows know of them. If there is
 * room for the next starts, those whose moment comes first are to be woken: by each acceptance, and every few seconds by whoever looks
 * (a wake that was lost, a worker that died over it, and messages that were cancelled break no chain). Whoever is not woken looks again by
 * himself.
 */
import type { Kysely, Selectable } from 'kysely'
import type { Tables, WaitersTable } from '../store/index.js'
import { type Database, databaseNow } from '../store/index.js'
import type { Limits } from './limits.js'
import { type LimiterState, MAX_IN_PLACE_WAIT_MS, stepOf } from './rate-limiter.js'

/** So much of what is to come is filled with messages. */
const AHEAD_MS = 2000
/** One acceptance wakes so many at the most; a look at all of a system so many. */
const MOST_AT_ONCE = 5
export const MOST_AT_A_LOOK = 50
/** One whose moment is this near comes by itself (MAX_IN_PLACE_WAIT_MS, and the tick of the engine's timers). */
const COMES_BY_ITSELF_MS = MAX_IN_PLACE_WAIT_MS + 3000
/** One whose moment lies this far back, and that was not seen since, sleeps all the same: its wake was lost, or it is gone. */
const LOST_MS = 5000
/** How many systems one look takes. */
const MOST_SYSTEMS = 1000

/** The workflows to wake after a system has taken a message: each gets its moment now. */
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
  // one that has its moment already is counted by the next start
  const coming = rows.filter((row) => row.slot_at <= near && row.allotted === 0 && !isLost(row)).length
  const woken = rows
    .filter((row) => row.workflow_id !== null && (row.slot_at > near || isLost(row)))
    .slice(0, Math.max(0, Math.min(room - coming, most)))
  if (woken.length === 0) return []
  await tx
    .updateTable('waiters')
    .set({ slot_at: now, allotted: 0, epoch: state.epoch })
    .where('name', '=', name)
    .where(
      'first_run_id',
      'in',
      woken.map(({ first_run_id }) => first_run_id),
    )
    .execute()
  return woken.map(({ workflow_id }) => workflow_id as string)
}

/** The systems and relays that somebody waits for; those that are down or paused are left out. */
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

/** The workflow has ended: it waits for no turn. */
export async function removeWaiters(db: Kysely<Tables>, workflowId: string): Promise<void> {
  await db.deleteFrom('waiters').where('workflow_id', '=', workflowId).execute()
}
