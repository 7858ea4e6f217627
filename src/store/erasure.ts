/** Erases a recipient from all tables (GDPR Art. 17). Rows that statistics count are anonymized instead of deleted. */
import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.js'
import type { Tables } from './tables.js'

/** The number of rows changed or deleted, by table, and the recipient's first run IDs. */
export interface Forgotten {
  readonly tables: Readonly<Record<string, number>>
  readonly runs: readonly string[]
}

const like = (text: string) => text.replace(/[\\%_]/g, '\\$&')

/** Tests whether a text contains the address itself, not only a longer address that contains it. */
function standsIn(address: string): (text: string) => boolean {
  const literal = address.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const alone = new RegExp(`(?<![\\p{L}\\p{N}.!#$%&'*+/=?^_\`{|}~-])${literal}(?!-*[\\p{L}\\p{N}]|\\.[\\p{L}\\p{N}])`, 'iu')
  return (text) => alone.test(text)
}

/**
 * Erases a recipient from every table, in one transaction. Rows that statistics count stay, under random names; texts that contain the
 * address are emptied, in rows of others too. The recipient's suppression is deleted.
 * @param address folded.
 * @param prefix the common prefix of the recipient's workflow IDs.
 */
export async function forget({ db, kind }: Database, address: string, prefix: string): Promise<Forgotten> {
  const nobody = `forgotten-${randomBytes(12).toString('hex')}`
  const theirs = sql<boolean>`workflow_id like ${`${like(prefix)}%`} escape '\\'`
  const forgotten = await db.transaction().execute(async (tx) => {
    const tables: Record<string, number> = {}
    const note = (table: string, n: bigint | number) => {
      if (n > 0) tables[table] = (tables[table] ?? 0) + Number(n)
    }
    const sent = await tx.selectFrom('sent_messages').select(['id', 'message_key']).where('recipient', '=', address).execute()
    const subjects = sent.map(({ id }) => id)
    const started = await tx
      .selectFrom('runs')
      .select(['first_run_id', 'message_key'])
      .where((eb) => (subjects.length === 0 ? theirs : eb.or([theirs, eb('sent_id', 'in', subjects)])))
      .execute()
    const attempts = await tx.selectFrom('attempts').select('first_run_id').where('recipient', '=', address).distinct().execute()
    const ended = await tx.selectFrom('outcomes').select('first_run_id').where('recipient', '=', address).execute()
    const runs = [...new Set([...started, ...attempts, ...ended].map(({ first_run_id }) => first_run_id))]
    for (const { id } of sent) await tx.deleteFrom('provider_ids').where('sent_id', '=', id).execute()
    note('sent_messages', (await tx.deleteFrom('sent_messages').where('recipient', '=', address).executeTakeFirst()).numDeletedRows)
    note('waiters', (await tx.deleteFrom('waiters').where(theirs).executeTakeFirst()).numDeletedRows)
    note('message_holds', (await tx.deleteFrom('message_holds').where(theirs).executeTakeFirst()).numDeletedRows)
    const keys = [...started, ...sent].map(({ message_key }) => message_key)
    note('messages', await dropMessages(tx, keys))
    for (const [i, run] of runs.entries()) {
      const name = `${nobody}-${i}`
      const named = { first_run_id: name, workflow_id: nobody }
      const renamed = { ...named, sent_id: name }
      note('runs', (await tx.updateTable('runs').set(renamed).where('first_run_id', '=', run).executeTakeFirst()).numUpdatedRows)
      const row = await tx
        .updateTable('attempts')
        .set((eb) => ({
          ...named,
          ...{ recipient: nobody, message_id: nobody, reported_reply: null },
          reply: eb.case().when('reply', 'is', null).then(null).else('').end(),
        }))
        .where('first_run_id', '=', run)
        .where('recipient', '=', address)
        .executeTakeFirst()
      note('attempts', row.numUpdatedRows)
      const end = { ...named, message_id: name, recipient: nobody }
      const ends = tx.updateTable('outcomes').set(end).where('first_run_id', '=', run).where('recipient', '=', address)
      note('outcomes', (await ends.executeTakeFirst()).numUpdatedRows)
    }
    const bounces = await tx
      .updateTable('inbound')
      .set({ recipient: null, came_to: null, message_id: null, diagnostic: null, workflow_id: null, event: null, why: '' })
      .where((eb) => eb.or([eb('recipient', '=', address), theirs]))
      .executeTakeFirst()
    note('inbound', bounces.numUpdatedRows)
    note('suppressions', (await tx.deleteFrom('suppressions').where('address', '=', address).executeTakeFirst()).numDeletedRows)
    const history = await tx
      .updateTable('suppression_history')
      .set({ address: nobody, reply: null, by: nobody })
      .where('address', '=', address)
      .executeTakeFirst()
    note('suppression_history', history.numUpdatedRows)
    const stands = standsIn(address)
    for (const [table, column] of TEXTS) note(table, await emptyTexts(tx, table, column, address, stands))
    note('quarantine', await dropUnread(tx, stands))
    note('inbox', await dropWaitingReports(tx, stands))
    return { tables, runs }
  })
  // the WAL keeps older pages until it is truncated
  if (kind === 'sqlite') await sql`pragma wal_checkpoint(truncate)`.execute(db)
  return forgotten
}

/** Empties unprocessed reports that contain the address, which would store it again; their rows stay, marked as done. */
async function dropWaitingReports(tx: Kysely<Tables>, stands: (text: string) => boolean): Promise<number> {
  const waiting = await tx.selectFrom('inbox').select(['source', 'id', 'content']).where('done_at', 'is', null).execute()
  const theirs = waiting.filter(({ content }) => stands(content))
  for (const { source, id } of theirs)
    await tx
      .updateTable('inbox')
      .set((eb) => ({ content: '', done_at: eb.ref('at') }))
      .where('source', '=', source)
      .where('id', '=', id)
      .execute()
  return theirs.length
}

/** Columns with texts of other systems, which may contain anybody's address. */
const TEXTS = [
  ['inbound', 'diagnostic'],
  ['inbound', 'why'],
  ['attempts', 'reply'],
  ['attempts', 'reported_reply'],
  ['suppressions', 'reply'],
  ['suppression_history', 'reply'],
  ['outages', 'reply'],
  ['destinations', 'last_answer_reply'],
] as const

/** Empties the texts of a column that contain the address. */
async function emptyTexts(
  tx: Kysely<Tables>,
  table: (typeof TEXTS)[number][0],
  column: (typeof TEXTS)[number][1],
  address: string,
  stands: (text: string) => boolean,
): Promise<number> {
  const [name, text] = [sql.table(table), sql.ref(column)]
  const { rows } = await sql<{ text: string }>`
    select distinct ${text} as text from ${name} where lower(${text}) like ${`%${like(address)}%`} escape '\\'`.execute(tx)
  let changed = 0
  for (const row of rows.filter((one) => stands(one.text))) {
    const done = await sql`update ${name} set ${text} = '' where ${text} = ${row.text}`.execute(tx)
    changed += Number(done.numAffectedRows)
  }
  return changed
}

/** Deletes stored messages that were sent to nobody else and that no retry needs. */
async function dropMessages(tx: Kysely<Tables>, keys: readonly string[]): Promise<bigint> {
  let dropped = 0n
  for (const key of new Set(keys)) {
    const others = await tx.selectFrom('sent_messages').select('id').where('message_key', '=', key).limit(1).executeTakeFirst()
    const held = await tx.selectFrom('message_holds').select('first_run_id').where('message_key', '=', key).limit(1).executeTakeFirst()
    if (others === undefined && held === undefined)
      dropped += (await tx.deleteFrom('messages').where('key', '=', key).executeTakeFirst()).numDeletedRows
  }
  return dropped
}

const A_PAGE = 100

/** Deletes quarantined mail that contains the address, literally or encoded as quoted-printable or base64. */
async function dropUnread(tx: Kysely<Tables>, stands: (text: string) => boolean): Promise<number> {
  let dropped = 0
  for (let after = ''; ; ) {
    const rows = await tx
      .selectFrom('quarantine')
      .select(['digest', 'content'])
      .where('digest', '>', after)
      .orderBy('digest')
      .limit(A_PAGE)
      .execute()
    for (const { digest, content } of rows) {
      after = digest
      if (!readings(Buffer.from(content)).some(stands)) continue
      await tx.deleteFrom('quarantine').where('digest', '=', digest).execute()
      dropped += 1
    }
    if (rows.length < A_PAGE) return dropped
  }
}

function readings(content: Buffer): string[] {
  const text = content.toString('utf8')
  const quoted = text.replace(/=\r?\n/g, '').replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const encoded = [...text.matchAll(/(?:^[A-Za-z0-9+/]{20,}={0,2}\r?\n?)+/gm)].map(([block]) =>
    Buffer.from(block, 'base64').toString('utf8'),
  )
  return [text, quoted, ...encoded]
}
