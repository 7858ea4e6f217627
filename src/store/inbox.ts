/**
 * The inbox: providers' events and refusals that an application hands over, stored before they are processed, and remembered so that none
 * acts twice.
 */
import { createHash } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { type Database, nowExpression } from './database.js'
import type { Tables } from './tables.js'

export interface NewInboxRow {
  /** The source's own identifier. */
  readonly id: string
  readonly content: string
  /** It can wait for others: it starts nothing, and suppresses nobody. */
  readonly isRoutine?: boolean
}

/** The source of refusals that applications hand over: in the inbox, and in `softbounce bounces`. */
export const APPLICATION = 'application'

/** A refusal that an application hands over: one recipient, refused by the server that its transporter sends to. */
export interface HandedOver {
  /** ID of the sent message, as in storeSent. */
  readonly sentId: string
  readonly recipient: string
  /** The token of the return path that was sent. */
  readonly token: string
  /** The status by which the application judged it: it has promised a retry. */
  readonly status: string
  /** The reply, or what happened instead. */
  readonly reply: string
  /** ISO 8601. */
  readonly at: string
}

/** A row that is being processed, held for a while. */
export interface InboxRow extends NewInboxRow {
  readonly source: string
  /** SHA-256 of the content, hex. */
  readonly digest: string
  readonly tries: number
}

/** How many rows are new, and the IDs that already exist with other content. */
export interface AddedRows {
  readonly fresh: number
  readonly conflicts: readonly string[]
}

/** Stores rows, due at once. An existing row stays as it is. */
export async function addToInbox(database: Database, source: string, rows: readonly NewInboxRow[], now: Date): Promise<AddedRows> {
  const [added] = await addAllToInbox(database, [{ source, rows }], now)
  return added as AddedRows
}

/** The same for several sets of rows, in one transaction; a result for each. */
export async function addAllToInbox(
  database: Database,
  sets: readonly { readonly source: string; readonly rows: readonly NewInboxRow[] }[],
  now: Date,
): Promise<AddedRows[]> {
  const at = now.getTime()
  return database.db.transaction().execute(async (tx) => {
    const added: AddedRows[] = []
    for (const { source, rows } of sets) {
      let fresh = 0
      const conflicts: string[] = []
      for (const { id, content, isRoutine } of rows) {
        const digest = digestOf(content)
        const row = {
          ...{ source, id, digest, content, at, tries: 0, done_at: null },
          ...{ is_routine: isRoutine ? 1 : 0, next_at: nowExpression(database) },
        }
        const { numInsertedOrUpdatedRows } = await tx
          .insertInto('inbox')
          .values(row)
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirstOrThrow()
        if (Number(numInsertedOrUpdatedRows) > 0) {
          fresh += 1
          continue
        }
        const before = await tx.selectFrom('inbox').select('digest').where('source', '=', source).where('id', '=', id).executeTakeFirst()
        if (before !== undefined && before.digest !== digest) conflicts.push(id)
      }
      added.push({ fresh, conflicts })
    }
    return added
  })
}

/** How many rows of these sources wait. */
export async function waitingInInbox(db: Kysely<Tables>, sources: readonly string[]): Promise<number> {
  const { n } = await db
    .selectFrom('inbox')
    .select(({ fn }) => fn.countAll<number>().as('n'))
    .where('done_at', 'is', null)
    .where('source', 'in', sources)
    .executeTakeFirstOrThrow()
  return Number(n)
}

const digestOf = (content: string): string => createHash('sha256').update(content).digest('hex')

/** Takes the next due row of these sources and holds it for `holdMs`: if this process dies, another gets it then. Null if none is due. */
export async function nextInboxRow(database: Database, sources: readonly string[], holdMs: number): Promise<InboxRow | null> {
  const { db } = database
  const now = nowExpression(database)
  for (;;) {
    const row = await db
      .selectFrom('inbox')
      .selectAll()
      .where('done_at', 'is', null)
      .where('source', 'in', sources)
      .where('next_at', '<=', now)
      .orderBy('is_routine')
      .orderBy('next_at')
      .limit(1)
      .executeTakeFirst()
    if (row === undefined) return null
    const { source, id, digest, content, tries } = row
    const held = await db
      .updateTable('inbox')
      .set({ next_at: sql<number>`${now} + ${holdMs}`, tries: tries + 1 })
      .where('source', '=', source)
      .where('id', '=', id)
      .where('done_at', 'is', null)
      .where('tries', '=', tries)
      .executeTakeFirst()
    if (Number(held.numUpdatedRows) === 1) return { source, id, digest, content, tries: tries + 1 }
  }
}

/** Marks a row as processed, and drops its content. */
export async function markInboxDone(db: Kysely<Tables>, { source, id }: InboxRow, now: Date): Promise<void> {
  await db.updateTable('inbox').set({ done_at: now.getTime(), content: '' }).where('source', '=', source).where('id', '=', id).execute()
}

/** Postpones a row that cannot be processed now. */
export async function postponeInboxRow(database: Database, { source, id }: InboxRow, afterMs: number): Promise<void> {
  await database.db
    .updateTable('inbox')
    .set({ next_at: sql<number>`${nowExpression(database)} + ${afterMs}` })
    .where('source', '=', source)
    .where('id', '=', id)
    .where('done_at', 'is', null)
    .execute()
}

/** Deletes rows that were processed before then; returns how many. */
export async function purgeInbox(db: Kysely<Tables>, before: Date): Promise<number> {
  const { numDeletedRows } = await db.deleteFrom('inbox').where('done_at', '<', before.getTime()).executeTakeFirst()
  return Number(numDeletedRows)
}
