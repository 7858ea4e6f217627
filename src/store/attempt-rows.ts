/** Types and queries for rows of the attempt log. */
import { type Kysely, type Selectable, sql } from 'kysely'
import type { Attempt, AttemptOutcome, Send, Stage, Via } from '../bounce/index.js'
import type { AttemptsTable, Tables } from './tables.js'

/** Primary key of an attempt: the workflow's first run ID, and the retry's number counted over all runs. */
export interface AttemptKey {
  readonly firstRunId: string
  readonly retry: number
}

/** The columns of a new row, before its claim and answer. */
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
  /** True if the answer came from a relay, not from the destination. */
  readonly relayed: boolean
}

export interface AnsweredRow extends Answer, Via {
  /** A later report on a message that a relay had accepted; null without one. */
  readonly reported: { readonly at: Date; readonly status: string; readonly reply: string | null } | null
  readonly firstRunId: string
}

export const byKey = (db: Kysely<Tables>, key: AttemptKey) =>
  db.selectFrom('attempts').selectAll().where('first_run_id', '=', key.firstRunId).where('retry', '=', key.retry)

/** The answered attempts of a message for a recipient, over all runs, oldest first. */
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

/** Those of the recipients to whom a retry was ever begun. */
export async function recipientsWithAttempts(db: Kysely<Tables>, recipients: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await db.selectFrom('attempts').select('recipient').distinct().where('recipient', 'in', recipients).execute()
  return new Set(rows.map(({ recipient }) => recipient))
}

/** How many attempts of a message for a recipient have an answer, and how many have none yet. */
export async function countAttempts(db: Kysely<Tables>, messageId: string, recipient: string): Promise<{ answered: number; open: number }> {
  const rows = await db
    .selectFrom('attempts')
    .select('outcome')
    .where('message_id', '=', messageId)
    .where('recipient', '=', recipient)
    .execute()
  const answered = rows.filter(({ outcome }) => outcome !== null).length
  return { answered, open: rows.length - answered }
}

/** When a send was last answered; null if it was not, and always for the original, which is not in the log. */
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

/** What a report that names no message can be about, by its recipient. */
export type SoleSend =
  | { readonly kind: 'only'; readonly messageId: string; readonly send: Send }
  /** Nothing, or one of several sends. */
  | { readonly kind: 'unclear' }
  /** A send has begun, and has no answer yet. */
  | { readonly kind: 'pending' }

/** The one send to a recipient since then, if it is a retry that a relay accepted, and of which no report came yet. */
export async function findSoleSend(db: Kysely<Tables>, recipient: string, since: Date): Promise<SoleSend> {
  const originals = db.selectFrom('sent_messages').select('id').where('recipient', '=', recipient).where('tracked', '=', 1)
  if ((await originals.where('sent_at', '>=', since.getTime()).limit(1).executeTakeFirst()) !== undefined) return { kind: 'unclear' }
  const rows = await db
    .selectFrom('attempts')
    .select(['message_id', 'retry', 'via', 'outcome', 'relayed', 'reported_at'])
    .where('recipient', '=', recipient)
    .where('begun_at', '>=', since.getTime())
    .limit(20)
    .execute()
  if (rows.some(({ outcome }) => outcome === null)) return { kind: 'pending' }
  const [row, more] = rows.filter(({ outcome, relayed }) => outcome === 'accepted' && relayed === 1)
  if (row === undefined || more !== undefined || row.reported_at !== null) return { kind: 'unclear' }
  return { kind: 'only', messageId: row.message_id, send: row.via === null ? row.retry : 'backup' }
}

/** The columns of an answered row that say what the answer was. */
export type AnsweredColumns = Pick<
  Selectable<AttemptsTable>,
  | ('first_run_id' | 'retry' | 'via' | 'at' | 'outcome' | 'status' | 'reply' | 'stage' | 'mail_server' | 'maybe_delivered' | 'relayed')
  | ('reported_at' | 'reported_status' | 'reported_reply')
>

export function answered(row: AnsweredColumns): AnsweredRow {
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

/** The outcome that a report's status class means; any other class is `deferred`. */
export const REPORTED: Readonly<Record<string, AttemptOutcome>> = { 2: 'accepted', 5: 'rejected' }

/** The row as an attempt in the workflow's result. */
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
