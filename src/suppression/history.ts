/** How an address got on the suppression list, and off it. */
import type { Kysely } from 'kysely'
import type { SuppressionChange, SuppressionReason, Tables } from '../store/index.js'

/** One change of an entry. */
export interface SuppressionEvent {
  readonly at: Date
  readonly change: SuppressionChange
  readonly reason: SuppressionReason
  readonly until: Date | null
  readonly status: string | null
  readonly reply: string | null
  readonly by: string
}

/** What happened to an address, oldest first. */
export async function suppressionHistory(db: Kysely<Tables>, address: string): Promise<SuppressionEvent[]> {
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
