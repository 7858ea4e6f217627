/** When the retries of a message for a recipient began, and how they ended, so that a bounce that comes later finds them ended. */
import type { Kysely } from 'kysely'
import { type Database, oneAtATime } from './database.js'
import { hasMessage, releaseHolds } from './messages.js'
import type { EndsTable, Tables } from './tables.js'

export interface End {
  readonly messageId: string
  /** Folded for comparing. */
  readonly recipient: string
  readonly workflowId: string
  readonly firstRunId: string
  readonly outcome: EndsTable['outcome']
  readonly confirmed: boolean
  readonly suppressedUntil: Date | null
  readonly endedAt: Date
}

/** The retries of a message for a recipient, as they begin. */
export interface Start {
  readonly firstRunId: string
  readonly workflowId: string
  /** Of message and recipient. */
  readonly subject: string
  readonly destination: string
  readonly status: string
  readonly bouncedAt: Date
  readonly startedAt: Date
  readonly messageKey: string
}

/**
 * The message that was sent to a recipient (with `track`), or retried for it, while it is kept; `sender` where it was sent. Null where it is not.
 * @param subject what stands for message and recipient.
 */
export async function keptFor(
  db: Kysely<Tables>,
  subject: string,
): Promise<{ readonly key: string; readonly sender: string | null } | null> {
  const sent = await db.selectFrom('sent').select(['message_key', 'sender']).where('id', '=', subject).executeTakeFirst()
  const { message_key: key } =
    sent ??
    (await db
      .selectFrom('started')
      .select('message_key')
      .where('subject', '=', subject)
      .orderBy('started_at', 'desc')
      .limit(1)
      .executeTakeFirst()) ??
    {}
  return key != null && (await hasMessage(db, key)) ? { key, sender: sent?.sender ?? null } : null
}

/**
 * Writes that the retries of a message for a recipient began, once for each run, unless others of the same are open under another workflow ID
 * (keys of the encryption change them).
 * @returns those others: nothing is written where there are any.
 */
export async function recordStart({ db }: Database, start: Start): Promise<readonly string[]> {
  return db.transaction().execute(async (tx) => {
    await oneAtATime(tx, start.subject)
    const others = (await openOf(tx, start.subject)).filter((id) => id !== start.workflowId)
    if (others.length > 0) return others
    await tx
      .insertInto('started')
      .values({
        first_run_id: start.firstRunId,
        workflow_id: start.workflowId,
        subject: start.subject,
        destination: start.destination,
        status: start.status,
        bounced_at: start.bouncedAt.getTime(),
        started_at: start.startedAt.getTime(),
        message_key: start.messageKey,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
    return []
  })
}

/** Under which workflow IDs the retries of a message for a recipient are open, or were terminated. */
export async function openOf(db: Kysely<Tables>, subject: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('started')
    .select('workflow_id')
    .where('subject', '=', subject)
    .where('ended_at', 'is', null)
    .distinct()
    .execute()
  return rows.map(({ workflow_id }) => workflow_id)
}

/** Those under this workflow ID were terminated: nobody wrote their end. */
export async function noteTerminated(db: Kysely<Tables>, workflowId: string, now: Date): Promise<void> {
  await db
    .updateTable('started')
    .set({ ended_at: now.getTime() })
    .where('workflow_id', '=', workflowId)
    .where('ended_at', 'is', null)
    .execute()
}

/** Every workflow ID that the tables have for a recipient (folded), whatever key it was made with. */
export async function workflowIdsOf(db: Kysely<Tables>, recipient: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('attempts')
    .select('workflow_id')
    .where('recipient', '=', recipient)
    .union(db.selectFrom('ends').select('workflow_id').where('recipient', '=', recipient))
    .union(
      db
        .selectFrom('started')
        .innerJoin('sent', 'sent.id', 'started.subject')
        .select('started.workflow_id')
        .where('recipient', '=', recipient),
    )
    .execute()
  return rows.map(({ workflow_id }) => workflow_id)
}

/** Writes the end, in place of an earlier one, and lets the message go. Call it in the transaction that it belongs to. */
export async function recordEnd(tx: Kysely<Tables>, end: End): Promise<void> {
  const row = {
    workflow_id: end.workflowId,
    first_run_id: end.firstRunId,
    outcome: end.outcome,
    confirmed: end.confirmed ? 1 : 0,
    suppressed_until: end.suppressedUntil?.getTime() ?? null,
    ended_at: end.endedAt.getTime(),
  }
  await tx
    .insertInto('ends')
    .values({ message_id: end.messageId, recipient: end.recipient, ...row })
    .onConflict((conflict) => conflict.columns(['message_id', 'recipient']).doUpdateSet(row))
    .execute()
  await tx.updateTable('started').set({ ended_at: row.ended_at }).where('first_run_id', '=', end.firstRunId).execute()
  await releaseHolds(tx, end.firstRunId)
}

/** The last end of a message for a recipient, or null. */
export async function findEnd(db: Kysely<Tables>, messageId: string, recipient: string): Promise<End | null> {
  const row = await db
    .selectFrom('ends')
    .selectAll()
    .where('message_id', '=', messageId)
    .where('recipient', '=', recipient)
    .executeTakeFirst()
  if (row === undefined) return null
  return {
    messageId: row.message_id,
    recipient: row.recipient,
    workflowId: row.workflow_id,
    firstRunId: row.first_run_id,
    outcome: row.outcome,
    confirmed: row.confirmed === 1,
    suppressedUntil: row.suppressed_until === null ? null : new Date(row.suppressed_until),
    endedAt: new Date(row.ended_at),
  }
}
