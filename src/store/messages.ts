/** Stored messages: the bytes that retries send, kept for as long as a workflow needs them, and for the retention time after. */
import { createHash } from 'node:crypto'
import { type Kysely, type RawBuilder, sql } from 'kysely'
import { Batcher } from './batcher.js'
import { among, type Database } from './database.js'
import { Statement } from './statement.js'
import type { Tables } from './tables.js'
import { all, transact } from './transaction.js'

/** The key of a message: `sha256-<hex>` of its bytes. */
export function messageKey(content: Uint8Array): string {
  return `sha256-${createHash('sha256').update(content).digest('hex')}`
}

/** Stores a message; the same bytes twice are one row, whose retention time begins anew. Returns its key. */
export async function storeMessage(db: Kysely<Tables>, content: Uint8Array, now: Date): Promise<string> {
  const key = messageKey(content)
  await store.run(db, { key, content, size: content.length, at: now.getTime() })
  return key
}

/** The same for a program that stores many: those of one moment share one transaction, and one wait for the disk. */
export function storeInGroup(database: Database, content: Uint8Array): Promise<string> {
  const group = groups.get(database.db) ?? new Batcher((contents: readonly Uint8Array[]) => storeAll(database, contents), MOST_IN_GROUP)
  groups.set(database.db, group)
  return group.add(content)
}

const MOST_IN_GROUP = 50
const groups = new WeakMap<Kysely<Tables>, Batcher<Uint8Array, string>>()

function storeAll(database: Database, contents: readonly Uint8Array[]): Promise<readonly string[]> {
  return transact(database, { durable: true }, (tx, commit) => commit(contents.map((content) => storeMessage(tx, content, new Date()))))
}

/** The same without restarting the retention time of a message that is stored already: it takes only the right to insert. */
export async function addMessage(db: Kysely<Tables>, content: Uint8Array, now: Date): Promise<string> {
  const key = messageKey(content)
  await add.run(db, { key, content, size: content.length, at: now.getTime() })
  return key
}

type MessageValues = { key: string; content: Uint8Array; size: number; at: number }

const insertMessage = (db: Kysely<Tables>, value: <Name extends keyof MessageValues>(name: Name) => RawBuilder<MessageValues[Name]>) =>
  db.insertInto('messages').values({
    ...{ key: value('key'), content: sql<Buffer>`${value('content')}`, size: value('size'), stored_at: value('at'), used_at: value('at') },
  })

const store = new Statement<MessageValues>((db, value) =>
  insertMessage(db, value).onConflict((conflict) => conflict.column('key').doUpdateSet({ used_at: sql.ref('excluded.used_at') })),
)

const add = new Statement<MessageValues>((db, value) => insertMessage(db, value).onConflict((conflict) => conflict.doNothing()))

/** The bytes of a message, or null if the store does not have it. */
export async function loadMessage(db: Kysely<Tables>, key: string): Promise<Buffer | null> {
  return (await loadMessages(db, [key])).get(key) ?? null
}

/** The bytes of several messages, by key; those that the store does not have are missing. */
export async function loadMessages(db: Kysely<Tables>, keys: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  const rows = await load.rows(db, { keys })
  return new Map(rows.map(({ key, content }) => [key, Buffer.from(content)]))
}

const load = new Statement<{ keys: readonly string[] }, { key: string; content: Uint8Array }>((db, value, { kind }) =>
  db
    .selectFrom('messages')
    .select(['key', 'content'])
    .where(among(kind, 'key', value('keys'))),
)

/** True if the store has the message. */
export async function hasMessage(db: Kysely<Tables>, key: string): Promise<boolean> {
  return (await db.selectFrom('messages').select('key').where('key', '=', key).executeTakeFirst()) !== undefined
}

/** Marks a message as used. False if it is not stored. */
export async function useMessage(db: Kysely<Tables>, key: string, now: Date): Promise<boolean> {
  const { numAffectedRows } = await use.run(db, { key, at: now.getTime() })
  return Number(numAffectedRows) > 0
}

const use = new Statement<{ key: string; at: number }>((db, value) =>
  db
    .updateTable('messages')
    .set({ used_at: value('at') })
    .where('key', '=', value('key')),
)

/** Keeps the message for this workflow until the hold is released. */
export async function holdMessage(db: Kysely<Tables>, held: { key: string; workflowId: string; firstRunId: string }): Promise<void> {
  await hold.run(db, held)
}

const hold = new Statement<{ key: string; workflowId: string; firstRunId: string }>((db, value) =>
  db
    .insertInto('message_holds')
    .values({ message_key: value('key'), first_run_id: value('firstRunId'), workflow_id: value('workflowId') })
    .onConflict((conflict) => conflict.doNothing()),
)

/** Releases the workflow's hold on its message. */
export async function releaseHolds(db: Kysely<Tables>, firstRunId: string): Promise<void> {
  await release.run(db, { firstRunId })
}

/** The same at the end of its retries: the retention time of the message begins now. */
export async function endHolds(db: Kysely<Tables>, firstRunId: string, now: Date): Promise<void> {
  await all([keepHeld.run(db, { firstRunId, at: now.getTime() }), release.run(db, { firstRunId })])
}

const keepHeld = new Statement<{ firstRunId: string; at: number }>((db, value) =>
  db
    .updateTable('messages')
    .set({ used_at: value('at') })
    .where('key', 'in', (eb) => eb.selectFrom('message_holds').select('message_key').where('first_run_id', '=', value('firstRunId'))),
)

const release = new Statement<{ firstRunId: string }>((db, value) =>
  db.deleteFrom('message_holds').where('first_run_id', '=', value('firstRunId')),
)

/** Deletes messages unused and not sent again since `before`, without a hold; returns how many. */
export async function purgeMessages(db: Kysely<Tables>, before: Date): Promise<number> {
  const gone = await db
    .deleteFrom('messages')
    .where('used_at', '<', before.getTime())
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom('message_holds').select('message_key').whereRef('message_holds.message_key', '=', 'messages.key'))),
    )
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('sent_messages')
            .select('id')
            .whereRef('sent_messages.message_key', '=', 'messages.key')
            .where('sent_messages.sent_at', '>=', before.getTime()),
        ),
      ),
    )
    .executeTakeFirst()
  return Number(gone.numDeletedRows)
}

/** A page, by first run ID, of the workflows that hold messages unused since `before`. */
export async function staleHolds(
  db: Kysely<Tables>,
  before: Date,
  after: string,
  limit: number,
): Promise<{ firstRunId: string; workflowId: string }[]> {
  return db
    .selectFrom('message_holds')
    .innerJoin('messages', 'messages.key', 'message_holds.message_key')
    .select(['message_holds.first_run_id as firstRunId', 'message_holds.workflow_id as workflowId'])
    .where('messages.used_at', '<', before.getTime())
    .where('message_holds.first_run_id', '>', after)
    .orderBy('message_holds.first_run_id')
    .limit(limit)
    .execute()
}
