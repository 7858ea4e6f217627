/** The answers of attempts, and later reports on them. */
import { type Kysely, sql } from 'kysely'
import {
  type Answer,
  type AnsweredColumns,
  type AnsweredRow,
  type AttemptKey,
  type AttemptSubject,
  answered,
  byKey,
} from './attempt-rows.js'
import { rowOf } from './attempts.js'
import { givenRows } from './database.js'
import { Statement } from './statement.js'
import type { Tables } from './tables.js'

/** An answer that is to be recorded. */
export interface RecordRequest {
  readonly subject: AttemptSubject
  readonly answer: Answer
  /** Written only while this claim holds the row; null: in any case. */
  readonly claim: string | null
}

/**
 * Writes answers, unless the rows have one: the first answer is final. If a row is missing (the database was restored to a time before
 * the claim), inserts it again.
 * @param db the database, or a transaction on it.
 * @returns the rows' answers, in the order of the requests; null if the claim no longer holds the row.
 */
export async function recordAnswers(db: Kysely<Tables>, requests: readonly RecordRequest[]): Promise<(AnsweredRow | null)[]> {
  const rows = requests.map(({ subject, answer, claim }) => ({
    ...{ first_run_id: subject.firstRunId, retry: subject.retry, claim, ...columnsOf(answer) },
  }))
  const written = await answerRows.rows(db, { rows })
  const found: (AnsweredRow | null)[] = []
  for (const { subject, answer } of requests) {
    const row = written.find((one) => one.first_run_id === subject.firstRunId && one.retry === subject.retry)
    found.push(row === undefined ? await answerOf(db, subject, answer) : answered(row))
  }
  return found
}

/** The same for one. */
export async function recordAnswer(
  db: Kysely<Tables>,
  subject: AttemptSubject,
  answer: Answer,
  claim: string | null = null,
): Promise<AnsweredRow | null> {
  const [row] = await recordAnswers(db, [{ subject, answer, claim }])
  return row ?? null
}

/** Of a row that was not written: its earlier answer, null if another claim holds it; or inserts it. */
async function answerOf(db: Kysely<Tables>, subject: AttemptSubject, answer: Answer): Promise<AnsweredRow | null> {
  const row = await byKey(db, subject).executeTakeFirst()
  if (row !== undefined) return row.outcome === null ? null : answered(row)
  const made = await db
    .insertInto('attempts')
    .values({ ...rowOf(subject), begun_at: answer.at.getTime(), sends: 1, ...columnsOf(answer) })
    .returningAll()
    .executeTakeFirstOrThrow()
  return answered(made)
}

const columnsOf = (answer: Answer) => ({
  ...{ at: answer.at.getTime(), outcome: answer.outcome, status: answer.status, reply: answer.reply, stage: answer.stage },
  ...{ mail_server: answer.mailServer, maybe_delivered: answer.maybeDelivered ? 1 : 0, relayed: answer.relayed ? 1 : 0 },
})

const ANSWERED = {
  ...({ at: 'bigint', outcome: 'text', status: 'text', reply: 'text', stage: 'text', mail_server: 'text' } as const),
  ...({ maybe_delivered: 'bigint', relayed: 'bigint' } as const),
} as const

const ALL = [
  ...(['first_run_id', 'retry', 'via', 'at', 'outcome', 'status', 'reply', 'stage', 'mail_server', 'maybe_delivered', 'relayed'] as const),
  ...(['reported_at', 'reported_status', 'reported_reply'] as const),
]

const answerRows = new Statement<{ rows: readonly object[] }, AnsweredColumns>((db, value, { kind }) =>
  db
    .updateTable('attempts')
    .from(givenRows(kind, value('rows'), { first_run_id: 'text', retry: 'bigint', claim: 'text', ...ANSWERED }))
    .set({
      ...{ claim: null, claim_until: null },
      ...Object.fromEntries(Object.keys(ANSWERED).map((name) => [name, sql.ref(`given.${name}`)])),
    })
    .whereRef('attempts.first_run_id', '=', 'given.first_run_id')
    .whereRef('attempts.retry', '=', 'given.retry')
    .where('attempts.outcome', 'is', null)
    .where((eb) => eb.or([eb('given.claim', 'is', null), eb('attempts.claim', '=', eb.ref('given.claim'))]))
    // not all of the table `given` too, for which SQLite has no `attempts.*`
    .returning(ALL.map((name) => `attempts.${name}` as const)),
)

/** Records a report on a message that a relay had accepted. */
export async function recordReport(
  db: Kysely<Tables>,
  key: AttemptKey,
  report: { at: Date; status: string; reply: string | null },
): Promise<void> {
  await db
    .updateTable('attempts')
    .set({ reported_at: report.at.getTime(), reported_status: report.status, reported_reply: report.reply })
    .where('first_run_id', '=', key.firstRunId)
    .where('retry', '=', key.retry)
    .execute()
}
