/** Which of many addresses are suppressed now: one look-up for a batch. */
import { type RawBuilder, sql } from 'kysely'
import type { Database } from './database.js'

/** The keys of those addresses (folded) that are suppressed at `now`. */
export async function suppressedAmong({ db, kind }: Database, keys: readonly string[], now: Date): Promise<Set<string>> {
  // one parameter for the whole batch, so that the statement stays the same whatever the batch's size
  const given: RawBuilder<unknown> =
    kind === 'sqlite' ? sql`json_each(${JSON.stringify(keys)}) as given` : sql`unnest(${keys}::text[]) as given(value)`
  const { rows } = await sql<{ address: string }>`
    select s.address from ${given} join suppressions s on s.address = given.value
    where s.lifted_at is null and (s.until is null or s.until > ${now.getTime()})`.execute(db)
  return new Set(rows.map((row) => row.address))
}
