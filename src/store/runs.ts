/** Starts and outcomes of the retries of a message for a recipient, so that a later bounce finds that they have ended. */
import type { Kysely } from 'kysely'
import type { Database } from './database.js'
import { endHolds, hasMessage, holdMessage, storeMessage, useMessage } from './messages.js'
import { Statement } from './statement.js'
import type { OutcomesTable, Tables } from './tables.js'
import { all, transact } from './transaction.js'

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
  /** The delays of its schedule, ms, joined by commas; null if the message brought one along. */
  readonly schedule: string | null
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
 * Begins the retries of a message, in one transaction: stores or finds the message, holds it, and records the start, once. Closes an earlier
 * run that has no end: it was terminated, because a workflow ID runs once at a time.
 * @param content stored under `messageKey`; null if it is stored already.
 * @returns false if it is not stored: then nothing is written.
 */
export function beginRun(database: Database, start: Start, content: Uint8Array | null): Promise<boolean> {
  const { messageKey: key, workflowId, firstRunId, startedAt } = start
  return transact(database, { durable: true }, async (tx, commit) => {
    const isStored = content === null ? await useMessage(tx, key, startedAt) : true
    const writes: Promise<unknown>[] = content === null ? [] : [storeMessage(tx, content, startedAt)]
    if (isStored) writes.push(holdMessage(tx, { key, workflowId, firstRunId }), recordStart(tx, start))
    await commit(writes)
    return isStored
  })
}

async function recordStart(tx: Kysely<Tables>, start: Start): Promise<void> {
  const values = { ...start, bouncedAt: start.bouncedAt.getTime(), startedAt: start.startedAt.getTime() }
  await all([closeEarlier.run(tx, values), insertRun.run(tx, values)])
}

type StartValues = Omit<Start, 'bouncedAt' | 'startedAt'> & { bouncedAt: number; startedAt: number }

const closeEarlier = new Statement<StartValues>((db, value) =>
  db
    .updateTable('runs')
    .set({ ended_at: value('startedAt') })
    .where('sent_id', '=', value('sentId'))
    .where('first_run_id', '!=', value('firstRunId'))
    .where('ended_at', 'is', null),
)

const insertRun = new Statement<StartValues>((db, value) =>
  db
    .insertInto('runs')
    .values({
      ...{
        first_run_id: value('firstRunId'),
        workflow_id: value('workflowId'),
        sent_id: value('sentId'),
        destination: value('destination'),
      },
      ...{ status: value('status'), bounced_at: value('bouncedAt'), started_at: value('startedAt'), message_key: value('messageKey') },
      schedule: value('schedule'),
    })
    .onConflict((conflict) => conflict.doNothing()),
)

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
  const { messageId, recipient, workflowId, firstRunId, outcome, endedAt } = end
  const values = {
    ...{ messageId, recipient, workflowId, firstRunId, outcome, confirmed: end.confirmed ? 1 : 0 },
    ...{ suppressedUntil: end.suppressedUntil?.getTime() ?? null, endedAt: endedAt.getTime() },
  }
  await all([writeOutcome.run(tx, values), closeRun.run(tx, values), endHolds(tx, firstRunId, endedAt)])
}

type EndValues = Omit<End, 'confirmed' | 'suppressedUntil' | 'endedAt'> & {
  confirmed: number
  suppressedUntil: number | null
  endedAt: number
}

const writeOutcome = new Statement<EndValues>((db, value) => {
  const row = {
    ...{ workflow_id: value('workflowId'), first_run_id: value('firstRunId'), outcome: value('outcome') },
    ...{ confirmed: value('confirmed'), suppressed_until: value('suppressedUntil'), ended_at: value('endedAt') },
  }
  return db
    .insertInto('outcomes')
    .values({ message_id: value('messageId'), recipient: value('recipient'), ...row })
    .onConflict((conflict) => conflict.columns(['message_id', 'recipient']).doUpdateSet(row))
})

const closeRun = new Statement<EndValues>((db, value) =>
  db
    .updateTable('runs')
    .set({ ended_at: value('endedAt') })
    .where('first_run_id', '=', value('firstRunId')),
)

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
