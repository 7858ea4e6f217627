/** The rows of the attempt log, as the rest of the program sees them. */
import { type Kysely, type Selectable, sql } from 'kysely'
import type { Attempt, AttemptOutcome, Send, Stage, Via } from '../bounce/index.js'
import type { AttemptsTable, Tables } from './tables.js'

/** Which row: the workflow's first run ID and the retry's number over all runs. */
export interface AttemptKey {
  readonly firstRunId: string
  readonly retry: number
}

/** What a new row needs. */
export interface AttemptSubject extends AttemptKey, Via {
  readonly workflowId: string
  readonly messageId: string
  /** Folded for comparing. */
  readonly recipient: string
  readonly destination: string
}

/** The answer of an attempt. */
export interface Answer {
  readonly at: Date
  readonly outcome: AttemptOutcome
  readonly status: string
  readonly reply: string
  readonly stage: Stage
  readonly mailServer: string | null
  readonly maybeDelivered: boolean
  /** It is a relay's answer, not the receiving system's. */
  readonly relayed: boolean
}

export interface AnsweredRow extends Answer, Via {
  /** What a report told of it later, if a relay had taken it. */
  readonly reported: { readonly at: Date; readonly status: string; readonly reply: string | null } | null
  readonly firstRunId: string
}

export const byKey = (db: Kysely<Tables>, key: AttemptKey) =>
  db.selectFrom('attempts').selectAll().where('first_run_id', '=', key.firstRunId).where('retry', '=', key.retry)

/** The answered retries of a message for a recipient, over all runs, oldest first. */
export async function answeredAttempts(db: Kysely<Tables>, messageId: string, recipient: string): Promise<AnsweredRow[]> {
  const rows = await db
    .selectFrom('attempts')
    .selectAll()
    .where('message_id', '=', messageId)
    .where('recipient', '=', recipient)
    .where('outcome', 'is not', null)
    .orderBy('at')
    .orderBy('retry')
    .execute()
  return rows.map(answered)
}

/** When a send of a message for a recipient was last answered; null if it was not. The original's answer is not in the log. */
export async function sendAnsweredAt(db: Kysely<Tables>, messageId: string, recipient: string, send: Send): Promise<Date | null> {
  const row = await db
    .selectFrom('attempts')
    .select(sql<number | null>`max(at)`.as('at'))
    .where('message_id', '=', messageId)
    .where('recipient', '=', recipient)
    .where((eb) => (send === 'backup' ? eb('via', 'is not', null) : eb.and([eb('retry', '=', send), eb('via', 'is', null)])))
    .executeTakeFirst()
  return row?.at == null ? null : new Date(Number(row.at))
}

export function answered(row: Selectable<AttemptsTable>): AnsweredRow {
  return {
    firstRunId: row.first_run_id,
    retry: row.retry,
    ...(row.via === null ? {} : { via: row.via }),
    at: new Date(row.at as number),
    outcome: row.outcome as AttemptOutcome,
    status: row.status as string,
    reply: row.reply as string,
    stage: row.stage as Stage,
    mailServer: row.mail_server,
    maybeDelivered: row.maybe_delivered === 1,
    relayed: row.relayed === 1,
    reported:
      row.reported_at === null ? null : { at: new Date(row.reported_at), status: row.reported_status as string, reply: row.reported_reply },
  }
}

/** What a report's status class makes of a retry. */
export const REPORTED: Readonly<Record<string, AttemptOutcome>> = { 2: 'accepted', 5: 'rejected' }

/** The row as the result shows it. */
export function toAttempt(row: AnsweredRow): Attempt {
  const { reported } = row
  return {
    ...(row.via == null ? { retry: row.retry } : { retry: 0, via: row.via }),
    at: row.at.toISOString(),
    outcome: reported === null ? row.outcome : (REPORTED[reported.status.charAt(0)] ?? 'deferred'),
    status: reported?.status ?? row.status,
    reply: reported === null ? row.reply : (reported.reply ?? `a report said ${reported.status}`),
    ...(row.mailServer === null ? {} : { mailServer: row.mailServer }),
    ...(row.maybeDelivered ? { maybeDelivered: true } : {}),
  }
}
