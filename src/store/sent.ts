/** Sent messages, kept for as long as a bounce may arrive; a signed return path refers to one of them. */
import type { Kysely } from 'kysely'
import type { Database } from './database.js'
import { addMessage } from './messages.js'
import type { Tables } from './tables.js'

/** A message to one of its recipients. */
export interface Sent {
  /** Identifies message and recipient (delivery/return-path.ts). */
  readonly id: string
  readonly messageId: string
  /** Folded for comparing. */
  readonly recipient: string
  /** As in the envelope (RCPT TO). */
  readonly envelopeRecipient: string
  readonly sender: string
  readonly messageKey: string
  readonly sentAt: Date
  /** The sender's retry options, as JSON; null if none. */
  readonly options: string | null
}

const ROWS = 500

/** Stores a message and its recipients, in one transaction. Sending it again adds rows. It takes only the right to insert. */
export async function storeSent(
  database: Database,
  content: Uint8Array,
  sent: readonly Omit<Sent, 'messageKey' | 'sentAt'>[],
  now: Date,
): Promise<void> {
  await database.db.transaction().execute(async (tx) => {
    const key = await addMessage(tx, content, now)
    for (let i = 0; i < sent.length; i += ROWS)
      await tx
        .insertInto('sent_messages')
        .values(sent.slice(i, i + ROWS).map((one) => toRow({ ...one, messageKey: key, sentAt: now }, true)))
        .onConflict((conflict) => conflict.doNothing())
        .execute()
  })
}

/** Records a message that is retried but was not sent with `track`; if there is a row of it, it stays as it is. */
export async function recordSent(db: Kysely<Tables>, sent: Sent): Promise<void> {
  if ((await findSent(db, sent.id)) !== null) return
  await db
    .insertInto('sent_messages')
    .values(toRow(sent, false))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

const toRow = (sent: Sent, tracked: boolean) => ({
  id: sent.id,
  message_id: sent.messageId,
  recipient: sent.recipient,
  envelope_recipient: sent.envelopeRecipient,
  sender: sent.sender,
  message_key: sent.messageKey,
  sent_at: sent.sentAt.getTime(),
  options: sent.options,
  tracked: tracked ? 1 : 0,
})

/** The latest send of the message with this ID, or null. */
export async function findSent(db: Kysely<Tables>, id: string): Promise<Sent | null> {
  const row = await db.selectFrom('sent_messages').selectAll().where('id', '=', id).orderBy('sent_at', 'desc').limit(1).executeTakeFirst()
  if (row === undefined) return null
  return {
    id: row.id,
    messageId: row.message_id,
    recipient: row.recipient,
    envelopeRecipient: row.envelope_recipient,
    sender: row.sender,
    messageKey: row.message_key,
    sentAt: new Date(row.sent_at),
    options: row.options,
  }
}

/** True if the message was sent with signed return paths, to any recipient. */
export async function wasSent(db: Kysely<Tables>, messageId: string): Promise<boolean> {
  return (
    (await db
      .selectFrom('sent_messages')
      .select('id')
      .where('message_id', '=', messageId)
      .where('tracked', '=', 1)
      .limit(1)
      .executeTakeFirst()) !== undefined
  )
}

/** Deletes messages sent before then, unless retried since or still being retried; returns how many. */
export async function purgeSent(db: Kysely<Tables>, before: Date): Promise<number> {
  const gone = await db
    .deleteFrom('sent_messages')
    .where('sent_at', '<', before.getTime())
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(selectFrom('message_holds').select('message_key').whereRef('message_holds.message_key', '=', 'sent_messages.message_key')),
      ),
    )
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('attempts')
            .select('retry')
            .whereRef('attempts.message_id', '=', 'sent_messages.message_id')
            .whereRef('attempts.recipient', '=', 'sent_messages.recipient')
            .where('attempts.at', '>=', before.getTime()),
        ),
      ),
    )
    .executeTakeFirst()
  return Number(gone.numDeletedRows)
}
