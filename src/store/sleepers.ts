/**
 * Messages that sleep until their moment at a receiving system: the engine holds them, and only their rows know of them. Where there is
 * room for the next starts, those whose moment comes first are to be woken; whoever is not woken looks again by himself.
 */
import type { Kysely } from 'kysely'
import { intervalOf, type Limits, PATIENCE_MS, rateOf, type SystemState } from '../politeness/index.js'
import type { Tables } from './tables.js'

/** So much of what is to come is filled with messages. */
const AHEAD_MS = 2000
/** One acceptance wakes so many at the most. */
const MOST_AT_ONCE = 5
/** One whose moment is this near comes by itself (PATIENCE_MS, and the tick of the engine's timers). */
const COMES_BY_ITSELF_MS = PATIENCE_MS + 3000
/** One whose moment lies this far back will not come. */
const GONE_MS = 5000
/** A person's change wakes the first of so many systems; their acceptances wake the others. */
const MOST_SYSTEMS = 200

/** The workflows to wake after a system has taken a message: each gets its moment now. */
export async function wakeNext(tx: Kysely<Tables>, name: string, state: SystemState, limits: Limits, now: number): Promise<string[]> {
  if (state.downSince !== null || state.pausedSince !== null || state.notBefore > now) return []
  const room = Math.ceil((AHEAD_MS - Math.max(0, state.nextAt - now)) / intervalOf(rateOf(state, limits)))
  if (room <= 0) return []
  const near = now + COMES_BY_ITSELF_MS
  const rows = await tx
    .selectFrom('turns')
    .select(['first_run_id', 'workflow_id', 'slot_at', 'allotted'])
    .where('name', '=', name)
    .where('slot_at', '>', now - GONE_MS)
    .orderBy('slot_at')
    .limit(room + MOST_AT_ONCE)
    .execute()
  // one that has its moment already is counted by the next start
  const coming = rows.filter(({ slot_at, allotted }) => slot_at <= near && allotted === 0).length
  const woken = rows
    .filter(({ slot_at, workflow_id }) => slot_at > near && workflow_id !== null)
    .slice(0, Math.max(0, Math.min(room - coming, MOST_AT_ONCE)))
  if (woken.length === 0) return []
  await tx
    .updateTable('turns')
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

/** The workflow that waits for its turn at a system, or at each of them, and whose moment comes first. */
export async function firstSleepers(db: Kysely<Tables>, name?: string): Promise<string[]> {
  const names = name === undefined ? await db.selectFrom('turns').select('name').distinct().limit(MOST_SYSTEMS).execute() : [{ name }]
  const found = await Promise.all(
    names.map((one) =>
      db
        .selectFrom('turns')
        .select('workflow_id')
        .where('name', '=', one.name)
        .where('workflow_id', 'is not', null)
        .orderBy('slot_at', 'desc')
        .limit(1)
        .executeTakeFirst(),
    ),
  )
  return found.flatMap((row) => (row?.workflow_id == null ? [] : [row.workflow_id]))
}
