/** When the retries of a message for a recipient began, and how they ended, so that a bounce that comes later finds them ended. */
import type { Kysely } from 'kysely'
import { releaseHolds } from './messages.js'
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

/** Writes that the retries of a message for a recipient began; once for each run. */
export async function recordStart(
  db: Kysely<Tables>,
  start: {
    readonly firstRunId: string
    readonly workflowId: string
    readonly destination: string
    readonly status: string
    readonly bouncedAt: Date
    readonly startedAt: Date
    readonly messageKey: string
  },
): Promise<void> {
  await db
    .insertInto('started')
    .values({
      first_run_id: start.firstRunId,
      workflow_id: start.workflowId,
      destination: start.destination,
      status: start.status,
      bounced_at: start.bouncedAt.getTime(),
      started_at: start.startedAt.getTime(),
      message_key: start.messageKey,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** Which of these workflow IDs have retries that are open, or were terminated. */
export async function openAmong(db: Kysely<Tables>, workflowIds: readonly string[]): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('started')
    .select('workflow_id')
    .where('workflow_id', 'in', workflowIds)
    .where('ended_at', 'is', null)
    .distinct()
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
