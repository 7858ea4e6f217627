/** Notifications of providers: stored as soon as they are known to be theirs, worked on afterwards, and remembered so that none acts twice. */
import { type Kysely, sql } from 'kysely'
import { type Database, nowExpression } from './database.js'
import type { Tables } from './tables.js'

export interface NewWebhook {
  /** The provider's own identifier. */
  readonly id: string
  readonly content: string
}

/** One that is to be worked on, held for a while. */
export interface DueWebhook extends NewWebhook {
  readonly provider: string
  readonly tries: number
}

/**
 * Keeps them. What is kept already stays as it is.
 * @returns how many are new, and which were kept before with another content.
 */
export async function storeWebhooks(
  { db }: Database,
  provider: string,
  notifications: readonly NewWebhook[],
  digestOf: (content: string) => string,
  now: Date,
): Promise<{ readonly fresh: number; readonly others: readonly string[] }> {
  const at = now.getTime()
  return db.transaction().execute(async (tx) => {
    let fresh = 0
    const others: string[] = []
    for (const { id, content } of notifications) {
      const digest = digestOf(content)
      const row = { provider, id, digest, content, at, next_at: at, tries: 0, done_at: null }
      const { numInsertedOrUpdatedRows } = await tx
        .insertInto('webhook_inbox')
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow()
      if (Number(numInsertedOrUpdatedRows) > 0) {
        fresh += 1
        continue
      }
      const before = await tx
        .selectFrom('webhook_inbox')
        .select('digest')
        .where('provider', '=', provider)
        .where('id', '=', id)
        .executeTakeFirst()
      if (before !== undefined && before.digest !== digest) others.push(id)
    }
    return { fresh, others }
  })
}

/** The next of those that are due, held for so long: if its worker dies, another one gets it. Null if none is due. */
export async function nextWebhook(database: Database, holdMs: number): Promise<DueWebhook | null> {
  const { db } = database
  const now = nowExpression(database)
  for (;;) {
    const row = await db
      .selectFrom('webhook_inbox')
      .selectAll()
      .where('done_at', 'is', null)
      .where('next_at', '<=', now)
      .orderBy('next_at')
      .orderBy('at')
      .limit(1)
      .executeTakeFirst()
    if (row === undefined) return null
    const { provider, id, content, tries } = row
    const held = await db
      .updateTable('webhook_inbox')
      .set({ next_at: sql<number>`${now} + ${holdMs}`, tries: tries + 1 })
      .where('provider', '=', provider)
      .where('id', '=', id)
      .where('done_at', 'is', null)
      .where('tries', '=', tries)
      .executeTakeFirst()
    if (Number(held.numUpdatedRows) === 1) return { provider, id, content, tries: tries + 1 }
  }
}

/** It has been worked on: what it said is not kept, only that it came. */
export async function markWebhookDone(db: Kysely<Tables>, { provider, id }: DueWebhook, now: Date): Promise<void> {
  await db
    .updateTable('webhook_inbox')
    .set({ done_at: now.getTime(), content: '' })
    .where('provider', '=', provider)
    .where('id', '=', id)
    .execute()
}

/** It could not be worked on now. */
export async function postponeWebhook(database: Database, { provider, id }: DueWebhook, afterMs: number): Promise<void> {
  await database.db
    .updateTable('webhook_inbox')
    .set({ next_at: sql<number>`${nowExpression(database)} + ${afterMs}` })
    .where('provider', '=', provider)
    .where('id', '=', id)
    .where('done_at', 'is', null)
    .execute()
}

/** Forgets those that were worked on before that; returns how many. */
export async function purgeWebhooks(db: Kysely<Tables>, before: Date): Promise<number> {
  const { numDeletedRows } = await db.deleteFrom('webhook_inbox').where('done_at', '<', before.getTime()).executeTakeFirst()
  return Number(numDeletedRows)
}
