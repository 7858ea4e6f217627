/** Notifications of providers: kept as soon as they are known for theirs, worked on afterwards, and remembered so that none acts twice. */
import { type Kysely, sql } from 'kysely'
import { clockOf, type Database } from './database.js'
import type { Tables } from './tables.js'

export interface NewNotification {
  /** The provider's own identifier. */
  readonly id: string
  readonly content: string
}

/** One that is to be worked on, held for a while. */
export interface DueNotification extends NewNotification {
  readonly provider: string
  readonly tries: number
}

/**
 * Keeps them. What is kept already stays as it is.
 * @returns how many are new, and which were kept before with another content.
 */
export async function keepNotifications(
  { db }: Database,
  provider: string,
  notifications: readonly NewNotification[],
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
        .insertInto('notifications')
        .values(row)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow()
      if (Number(numInsertedOrUpdatedRows) > 0) {
        fresh += 1
        continue
      }
      const before = await tx
        .selectFrom('notifications')
        .select('digest')
        .where('provider', '=', provider)
        .where('id', '=', id)
        .executeTakeFirst()
      if (before !== undefined && before.digest !== digest) others.push(id)
    }
    return { fresh, others }
  })
}

/** The next of those that are due, held for so long: whoever dies with it lets another one have it. Null where none is due. */
export async function nextNotification(database: Database, holdMs: number): Promise<DueNotification | null> {
  const { db } = database
  const now = clockOf(database)
  for (;;) {
    const row = await db
      .selectFrom('notifications')
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
      .updateTable('notifications')
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
export async function notificationDone(db: Kysely<Tables>, { provider, id }: DueNotification, now: Date): Promise<void> {
  await db
    .updateTable('notifications')
    .set({ done_at: now.getTime(), content: '' })
    .where('provider', '=', provider)
    .where('id', '=', id)
    .execute()
}

/** It could not be worked on now. */
export async function notificationLater(database: Database, { provider, id }: DueNotification, afterMs: number): Promise<void> {
  await database.db
    .updateTable('notifications')
    .set({ next_at: sql<number>`${clockOf(database)} + ${afterMs}` })
    .where('provider', '=', provider)
    .where('id', '=', id)
    .where('done_at', 'is', null)
    .execute()
}

/** Forgets those that were worked on before that; returns how many. */
export async function purgeNotifications(db: Kysely<Tables>, before: Date): Promise<number> {
  const { numDeletedRows } = await db.deleteFrom('notifications').where('done_at', '<', before.getTime()).executeTakeFirst()
  return Number(numDeletedRows)
}
