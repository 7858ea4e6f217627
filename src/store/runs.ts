/** Starts and outcomes of the retries of a message for a recipient, so that a later bounce finds that they have ended. */
import type { Kysely } from 'kysely'
import { endHolds, hasMessage } from './messages.js'
import type { OutcomesTable, Tables } from './tables.js'

export interface End {
  readonly messageId: string
  /** Folded for comparing. */
  readonly recipient: string
  readonly workflowId: string
  readonly firstRunId: string
  readonly outcome: OutcomesTable['outcome']
  readonly confirmed: boolean
  readonly suppressedUntil: Date | null
  readonly endedAt: Date
}

/** The start of the retries of a message for a recipient. */
export interface Start {
  readonly firstRunId: string
  readonly workflowId: string
  /** Identifies message and recipient (delivery/return-path.ts). */
  readonly sentId: string
  readonly destination: string
  readonly status: string
  readonly bouncedAt: Date
  readonly startedAt: Date
  readonly messageKey: string
}

/**
 * Finds the stored message for a recipient: by `sent_messages`, with its `sender`, or else by its latest run. Null if it is not stored.
 * @param subject the ID of message and recipient.
 */
export async function keptFor(
  db: Kysely<Tables>,
  subject: string,
): Promise<{ readonly key: string; readonly sender: string | null } | null> {
  const sent = await db
    .selectFrom('sent_messages')
    .select(['message_key', 'sender'])
    .where('id', '=', subject)
    .orderBy('sent_at', 'desc')
    .limit(1)
    .executeTakeFirst()
  const { message_key: key } =
    sent ??
    (await db
      .selectFrom('runs')
      .select('message_key')
      .where('sent_id', '=', subject)
      .orderBy('started_at', 'desc')
      .limit(1)
      .executeTakeFirst()) ??
    {}
  return key != null && (await hasMessage(db, key)) ? { key, sender: sent?.sender ?? null } : null
}

/**
 * Records the start of a run, once. Closes an earlier run that has no end: it was terminated, because a workflow ID runs once at a time.
 */
export async function recordStart(db: Kysely<Tables>, start: Start): Promise<void> {
  const at = start.startedAt.getTime()
  await db
    .updateTable('runs')
    .set({ ended_at: at })
    .where('sent_id', '=', start.sentId)
    .where('first_run_id', '!=', start.firstRunId)
    .where('ended_at', 'is', null)
    .execute()
  await db
    .insertInto('runs')
    .values({
      first_run_id: start.firstRunId,
      workflow_id: start.workflowId,
      sent_id: start.sentId,
      destination: start.destination,
      status: start.status,
      bounced_at: start.bouncedAt.getTime(),
      started_at: at,
      message_key: start.messageKey,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** All workflow IDs in the tables for a recipient (folded), including long ones, which do not begin with the recipient. */
export async function workflowIdsOf(db: Kysely<Tables>, recipient: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('attempts')
    .select('workflow_id')
    .where('recipient', '=', recipient)
    .union(db.selectFrom('outcomes').select('workflow_id').where('recipient', '=', recipient))
    .union(
      db
        .selectFrom('runs')
        .innerJoin('sent_messages', 'sent_messages.id', 'runs.sent_id')
        .select('runs.workflow_id')
        .where('recipient', '=', recipient),
    )
    .execute()
  return rows.map(({ workflow_id }) => workflow_id)
}

/** Writes the outcome, replacing an earlier one, and releases the message. Call it in the transaction that causes the end. */
export async function recordEnd(tx: Kysely<Tables>, end: End): Promise<void> {
  const row = {
    workflow_id: end.workflowId,
    first_run_id: end.firstRunId,
    outcome: end.outcome,
    confirmed: end.confirmed ? 1 : 0,
    suppressed_until: end.suppressedUntil?.getTime() ?? null,
    ended_at: end.endedAt.getTime(),
  }
  await Promise.all([
    tx
      .insertInto('outcomes')
      .values({ message_id: end.messageId, recipient: end.recipient, ...row })
      .onConflict((conflict) => conflict.columns(['message_id', 'recipient']).doUpdateSet(row))
      .execute(),
    tx.updateTable('runs').set({ ended_at: row.ended_at }).where('first_run_id', '=', end.firstRunId).execute(),
    endHolds(tx, end.firstRunId, end.endedAt),
  ])
}

/** The latest outcome of a message for a recipient, or null. */
export async function findEnd(db: Kysely<Tables>, messageId: string, recipient: string): Promise<End | null> {
  const row = await db
    .selectFrom('outcomes')
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
