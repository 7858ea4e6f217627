/** The answers of attempts, and later reports on them. */
import type { Kysely, RawBuilder, Selectable } from 'kysely'
import type { AttemptOutcome, Stage } from '../bounce/index.js'
import { type Answer, type AnsweredRow, type AttemptKey, type AttemptSubject, answered, byKey } from './attempt-rows.js'
import { rowOf } from './attempts.js'
import { Statement } from './statement.js'
import type { AttemptsTable, Tables } from './tables.js'

type Row = Selectable<AttemptsTable>

/**
 * Writes the answer, unless the row has one: the first answer is final. If the row is missing (the database was restored to a time before
 * the claim), inserts it again.
 * @param db the database, or a transaction on it.
 * @param claim if given, writes only while this claim holds the row.
 * @returns the row's answer; null if the claim no longer holds the row.
 */
export async function recordAnswer(
  db: Kysely<Tables>,
  subject: AttemptSubject,
  answer: Answer,
  claim: string | null = null,
): Promise<AnsweredRow | null> {
  const columns = {
    ...{ at: answer.at.getTime(), outcome: answer.outcome, status: answer.status, reply: answer.reply, stage: answer.stage },
    ...{ mail_server: answer.mailServer, maybe_delivered: answer.maybeDelivered ? 1 : 0, relayed: answer.relayed ? 1 : 0 },
  }
  const values = { ...columns, first_run_id: subject.firstRunId, retry: subject.retry }
  const [written] = claim === null ? await answerRow.rows(db, values) : await answerClaimedRow.rows(db, { ...values, claim })
  if (written !== undefined) return answered(written)
  const row = await byKey(db, subject).executeTakeFirst()
  if (row !== undefined) return row.outcome === null ? null : answered(row)
  const made = await db
    .insertInto('attempts')
    .values({ ...rowOf(subject), begun_at: answer.at.getTime(), sends: 1, ...columns })
    .returningAll()
    .executeTakeFirstOrThrow()
  return answered(made)
}

type AnswerValues = Pick<Row, 'first_run_id' | 'retry' | 'mail_server' | 'maybe_delivered' | 'relayed'> & {
  at: number
  outcome: AttemptOutcome
  status: string
  reply: string
  stage: Stage
}

const answerQuery = (db: Kysely<Tables>, value: <Name extends keyof AnswerValues>(name: Name) => RawBuilder<AnswerValues[Name]>) =>
  db
    .updateTable('attempts')
    .set({
      ...{ claim: null, claim_until: null, at: value('at'), outcome: value('outcome'), status: value('status'), reply: value('reply') },
      ...{ stage: value('stage'), mail_server: value('mail_server'), maybe_delivered: value('maybe_delivered'), relayed: value('relayed') },
    })
    .where('first_run_id', '=', value('first_run_id'))
    .where('retry', '=', value('retry'))
    .where('outcome', 'is', null)

const answerRow = new Statement<AnswerValues, Row>((db, value) => answerQuery(db, value).returningAll())

const answerClaimedRow = new Statement<AnswerValues & { claim: string }, Row>((db, value) =>
  answerQuery(db, value).where('claim', '=', value('claim')).returningAll(),
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
