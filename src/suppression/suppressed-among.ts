/** Which of many addresses are suppressed now: one look-up for a batch. */
import { sql } from 'kysely'
import { type Database, valuesTable } from '../store/index.js'

/** The keys of those addresses (folded) that are suppressed at `now`. */
export async function suppressedAmong({ db, kind }: Database, keys: readonly string[], now: Date): Promise<Set<string>> {
  const { rows } = await sql<{ address: string }>`
    select s.address from ${valuesTable(kind, keys)} join ${sql.table('suppressions')} s on s.address = given.value
    where s.lifted_at is null and (s.until is null or s.until > ${now.getTime()})`.execute(db)
  return new Set(rows.map((row) => row.address))
}
