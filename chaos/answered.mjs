// Compares what was answered before a power cut with what the database knows after it.
import { sql } from 'kysely'

/** The names of what the number i stands for. */
export const recipientOf = (i) => `r${i}@example${i % 20}.org`
export const goneAddressOf = (i) => `gone${i}@example.org`
export const eventOf = (i) => `event-${i}`
export const runOf = (i) => `run-${i}`

/**
 * @param said `{ stored, answered, kept, suppressed }`: pairs of number and key, and numbers.
 * @returns a sentence for each answer that is forgotten.
 */
export async function forgotten({ db, kind }, said) {
  const found = []
  if (kind === 'sqlite') {
    const { rows } = await sql`pragma integrity_check`.execute(db)
    if (rows[0]?.integrity_check !== 'ok') found.push(`the file is damaged: ${JSON.stringify(rows[0])}`)
  }
  const missing = async (what, ids, query) => {
    for (let at = 0; at < ids.length; at += 500) {
      const some = ids.slice(at, at + 500)
      const known = new Set((await query(some).execute()).map((row) => Object.values(row)[0]))
      for (const id of some) if (!known.has(id)) found.push(`${what} ${id} was answered, and is forgotten`)
    }
  }
  const select = (table, column) => (ids) => db.selectFrom(table).select(column).where(column, 'in', ids)
  await missing(
    'the message',
    said.stored.map(([, key]) => key),
    select('messages', 'key'),
  )
  await missing(
    'the attempt of',
    said.answered.map(([i]) => runOf(i)),
    (ids) => select('attempts', 'first_run_id')(ids).where('outcome', '=', 'accepted'),
  )
  await missing(
    'the webhook',
    said.kept.map((i) => eventOf(i)),
    select('inbox', 'id'),
  )
  await missing(
    'the suppression of',
    said.suppressed.map((i) => goneAddressOf(i)),
    select('suppressions', 'address'),
  )
  return found
}
