/** Writes feedback to the limiter's row, and selects the waiters to wake. */
import type { Kysely } from 'kysely'
import type { Tables } from '../store/index.js'
import { all, asyncCommit, type Database, transact } from '../store/index.js'
import { columnsOf, stateOf } from './destination-row.js'
import { applyFeedback, type DestinationAnswer, type Feedback } from './feedback.js'
import type { AdmissionSettings, Limits } from './limits.js'
import { type DestinationRow, type LockedRows, limitsWith, lockRows, writeAnswered } from './locked-rows.js'
import { type OutageChange, outageChange, writeOutage } from './outages.js'
import { MOST_AT_A_LOOK, selectWakeups, waitedForAmong } from './select-wakeups.js'

/** A waiter that found no free connection this recently still wants one. */
export const WANTED_WITHIN_MS = 2_000

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
  /** `down`: this answer opened the circuit. `up`: first acceptance after failures; the suppressions that it caused must be made to expire. */
  readonly change: 'down' | 'up' | null
  /** It was down until this answer. */
  readonly wasDown: boolean
  readonly failingSince: Date | null
  readonly wanted: boolean
  /** The waiting workflows to wake. */
  readonly wake: readonly string[]
}

/** Applies an answer to the limiter's row, and to its outage. */
export function writeFeedback(database: Database, observed: Observation, settings: AdmissionSettings): Promise<FeedbackResult> {
  return transact(database, { durable: false }, async (tx, commit) => {
    const feedbacks = await Feedbacks.read(tx, database, [observed], settings)
    const result = await feedbacks.apply(tx, observed)
    await commit(feedbacks.write(tx))
    return result
  })
}

/** The feedback of one transaction: rows are read and locked at once, changed in memory, and written at once. */
export class Feedbacks {
  readonly #changed = new Set<DestinationRow>()
  readonly #outages: OutageChange[] = []

  private constructor(
    private readonly locked: LockedRows,
    private readonly waitedFor: ReadonlySet<string>,
    private readonly settings: AdmissionSettings,
    private readonly isShared: boolean,
  ) {}

  static async read(
    tx: Kysely<Tables>,
    database: Database,
    observed: readonly Pick<Observation, 'name' | 'limits' | 'lesson'>[],
    settings: AdmissionSettings,
  ): Promise<Feedbacks> {
    const accepting = observed.filter(({ lesson }) => lesson.kind === 'accepted').map(({ name }) => name)
    const [locked, waitedFor] = await all([
      lockRows(tx, database, observed),
      accepting.length === 0 ? [] : waitedForAmong(tx, [...new Set(accepting)]),
    ])
    return new Feedbacks(locked, new Set(waitedFor), settings, database.throttleSchema !== null)
  }

  /** Applies one answer. */
  async apply(tx: Kysely<Tables>, { name, limits: configured, lesson, answer, tookMs }: Observation): Promise<FeedbackResult> {
    const { now, everything, rows } = this.locked
    const row = rows.get(name) as DestinationRow
    const before = stateOf(row)
    const limits = limitsWith(configured, row)
    const after = applyFeedback(before, lesson, tookMs, limits, this.settings, now)
    const up = before.failingSince !== null && after.failingSince === null
    const change = outageChange(name, before, after, answer, now)
    if (change !== null) this.#outages.push(change)
    Object.assign(row, columnsOf(after), lesson.kind === 'nothing' ? {} : columnsOfAnswer(answer, now, this.isShared))
    this.#changed.add(row)
    const standing = stateOf(row, everything)
    const wake = lesson.kind === 'accepted' && this.waitedFor.has(name) ? await selectWakeups(tx, name, standing, limits, now) : []
    return {
      change: before.downSince === null && after.downSince !== null ? 'down' : up ? 'up' : null,
      wasDown: before.downSince !== null && after.downSince === null,
      failingSince: before.failingSince === null ? null : new Date(before.failingSince),
      wanted: before.starvedAt > now - WANTED_WITHIN_MS,
      wake,
    }
  }

  /** Writes all changes. */
  write(tx: Kysely<Tables>): Promise<unknown>[] {
    return [writeAnswered(tx, [...this.#changed]), ...this.#outages.map((change) => writeOutage(tx, change))]
  }
}

const columnsOfAnswer = ({ outcome, status, reply, mailServer }: Observation['answer'], now: number, isShared: boolean) => ({
  ...{ last_answer_at: Math.round(now), last_answer_outcome: outcome, last_answer_status: status },
  ...{ last_answer_reply: isShared ? withoutText(reply, status) : reply, last_answer_by: mailServer },
})

/** The codes of a reply: its text may quote an address, which another fleet must not see. */
const withoutText = (reply: string, status: string): string => `${/^\d{3}/.exec(reply)?.[0] ?? ''} ${status}`.trim()

/** The waiting workflows of this destination to wake now. */
export function nextWakeups(database: Database, name: string, limits: Limits): Promise<string[]> {
  return asyncCommit(database, async (tx) => {
    const { rows, everything, now } = await lockRows(tx, database, [{ name, limits }])
    const row = rows.get(name) as DestinationRow
    return selectWakeups(tx, name, stateOf(row, everything), limitsWith(limits, row), now, MOST_AT_A_LOOK)
  })
}
