/** How far each mailbox has been read; one process at a time reads a mailbox. */
import { sql } from 'kysely'
import { type Database, nowExpression } from './database.js'

/** How far a mailbox has been read, by IMAP UID and UIDVALIDITY (RFC 9051 2.3.1.1). */
export interface ImapCursor {
  readonly uidValidity: string | null
  readonly lastUid: number
  /** Mail up to this UID has been flagged or moved. */
  readonly markedUid: number
  /** UIDs after `markedUid` whose mail could not be parsed. */
  readonly unreadable: readonly number[]
}

/** Acquires or renews the mailbox for `forMs`; null if another process holds it. */
export async function holdImapCursor(database: Database, name: string, holder: string, forMs: number): Promise<ImapCursor | null> {
  const { db } = database
  const now = nowExpression(database)
  await db
    .insertInto('imap_cursors')
    .values({ name, uid_validity: null, last_uid: 0, marked_uid: 0, unreadable: '[]', holder: null, held_until: 0 })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const held = await db
    .updateTable('imap_cursors')
    .set({ holder, held_until: sql<number>`${now} + ${forMs}` })
    .where('name', '=', name)
    .where((eb) => eb.or([eb('holder', 'is', null), eb('holder', '=', holder), eb('held_until', '<', now)]))
    .executeTakeFirst()
  if (Number(held.numUpdatedRows) === 0) return null
  const row = await db.selectFrom('imap_cursors').selectAll().where('name', '=', name).executeTakeFirstOrThrow()
  return {
    uidValidity: row.uid_validity,
    lastUid: Number(row.last_uid),
    markedUid: Number(row.marked_uid),
    unreadable: JSON.parse(row.unreadable) as number[],
  }
}

/** Saves the cursor. False if we no longer hold the mailbox. */
export async function advanceImapCursor({ db }: Database, name: string, holder: string, place: ImapCursor): Promise<boolean> {
  const done = await db
    .updateTable('imap_cursors')
    .set({
      uid_validity: place.uidValidity,
      last_uid: place.lastUid,
      marked_uid: place.markedUid,
      unreadable: JSON.stringify(place.unreadable),
    })
    .where('name', '=', name)
    .where('holder', '=', holder)
    .executeTakeFirst()
  return Number(done.numUpdatedRows) === 1
}

/** Releases the mailbox for other processes. */
export async function releaseImapCursor({ db }: Database, name: string, holder: string): Promise<void> {
  await db.updateTable('imap_cursors').set({ holder: null, held_until: 0 }).where('name', '=', name).where('holder', '=', holder).execute()
}
