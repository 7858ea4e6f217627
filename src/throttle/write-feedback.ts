/** Writes feedback to the limiter's row, and selects the waiters to wake. */
import type { Kysely, Selectable } from 'kysely'
import type { DestinationsTable, Tables } from '../store/index.js'
import { asyncCommit, type Database } from '../store/index.js'
import { limitsWith, lockRows } from './acquire.js'
import { columnsOf, stateOf } from './destination-row.js'
import { applyFeedback, type DestinationAnswer, type Feedback } from './feedback.js'
import type { AdmissionSettings, Limits } from './limits.js'
import { recordOutage } from './outages.js'
import { MOST_AT_A_LOOK, selectWakeups } from './select-wakeups.js'

/** A waiter that found no free connection this recently still wants one. */
export const WANTED_WITHIN_MS = 2_000

export const RESTORE_AGAIN_MS = 60_000

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
  /** It accepts mail again, and the suppressions that it caused must be made to expire. */
  readonly restore: boolean
  /** It was down until this answer. */
  readonly wasDown: boolean
  readonly failingSince: Date | null
  readonly wanted: boolean
  /** The waiting workflows to wake. */
  readonly wake: readonly string[]
}

/** Applies an answer to the limiter's row, and to its outage. */
export async function writeFeedback(database: Database, observed: Observation, settings: AdmissionSettings): Promise<FeedbackResult> {
  return asyncCommit(database, async (tx) => {
    const { rows, everything, now } = await lockRows(tx, database, [observed])
    const row = rows.get(observed.name) as Selectable<DestinationsTable>
    const before = stateOf(row)
    const limits = limitsWith(observed.limits, row)
    const after = applyFeedback(before, observed.lesson, observed.tookMs, limits, settings, now)
    const { answer } = observed
    const up = before.failingSince !== null && after.failingSince === null
    // the worker that was to expire the suppressions died: a later acceptance takes over
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

/** The waiting workflows of this destination to wake now. */
export function nextWakeups(database: Database, name: string, limits: Limits): Promise<string[]> {
  return asyncCommit(database, async (tx) => {
    const { rows, everything, now } = await lockRows(tx, database, [{ name, limits }])
    const row = rows.get(name) as Selectable<DestinationsTable>
    return selectWakeups(tx, name, stateOf(row, everything), limitsWith(limits, row), now, MOST_AT_A_LOOK)
  })
}

/** Records that the suppressions it caused have been made to expire. */
export async function markRestored(db: Kysely<Tables>, name: string): Promise<void> {
  await db.updateTable('destinations').set({ restore_due: null }).where('name', '=', name).execute()
}
