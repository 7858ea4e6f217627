/** How an address got on the suppression list, and off it. */
import type { Kysely } from 'kysely'
import type { Tables } from '../store/index.js'

/** What happened to an address, oldest first. */
export async function suppressionHistory(db: Kysely<Tables>, address: string) {
  const rows = await db.selectFrom('suppression_history').selectAll().where('address', '=', address).orderBy('id').execute()
  return rows.map((row) => ({
    at: new Date(row.at),
    change: row.change,
    reason: row.reason,
    until: row.until === null ? null : new Date(row.until),
    status: row.status,
    reply: row.reply,
    by: row.by,
  }))
}
