/** Message IDs at a provider, from its reply to the final dot. */
import type { Kysely } from 'kysely'
import { type Send, sendCode, sendFromCode } from '../bounce/index.js'
import type { Tables } from './tables.js'

/** The send that a provider's ID identifies. */
export interface SentAs {
  /** Identifies message and recipient (delivery/return-path.ts). */
  readonly sentId: string
  readonly send: Send
}

export async function recordProviderId(
  db: Kysely<Tables>,
  provider: string,
  id: string,
  { sentId, send }: SentAs,
  now: Date,
): Promise<void> {
  await db
    .insertInto('provider_ids')
    .values({ provider, id, sent_id: sentId, send: sendCode(send), at: now.getTime() })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export async function findProviderId(db: Kysely<Tables>, provider: string, id: string): Promise<SentAs | null> {
  const row = await db
    .selectFrom('provider_ids')
    .select(['sent_id', 'send'])
    .where('provider', '=', provider)
    .where('id', '=', id)
    .executeTakeFirst()
  return row === undefined ? null : { sentId: row.sent_id, send: sendFromCode(row.send) }
}

/** Deletes IDs recorded before then. */
export async function purgeProviderIds(db: Kysely<Tables>, before: Date): Promise<void> {
  await db.deleteFrom('provider_ids').where('at', '<', before.getTime()).execute()
}
