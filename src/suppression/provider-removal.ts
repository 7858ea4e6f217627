/** Which addresses are to be removed from the provider's own suppression list. */
import type { Kysely } from 'kysely'
import type { Tables } from '../store/index.js'

/** Entries for unavailability that ended after `since` and are not yet removed at the provider, ordered by `until`. */
export async function endedSuppressions(
  db: Kysely<Tables>,
  since: Date,
  now: Date,
  most: number,
): Promise<{ readonly address: string; readonly since: Date }[]> {
  const rows = await db
    .selectFrom('suppressions')
    .select(['address', 'since'])
    .where('reason', '=', 'unavailable')
    .where('removed_at_provider', 'is', null)
    .where((eb) =>
      eb.or([
        eb.and([eb('lifted_at', 'is', null), eb('until', '<=', now.getTime()), eb('until', '>', since.getTime())]),
        eb('lifted_at', '>', since.getTime()),
      ]),
    )
    .orderBy('until')
    .limit(most)
    .execute()
  return rows.map((row) => ({ address: row.address, since: new Date(row.since) }))
}

/** Marks an entry as removed at the provider, unless the address has been suppressed anew meanwhile. */
export async function markRemovedAtProvider(db: Kysely<Tables>, address: string, since: Date, now: Date): Promise<void> {
  await db
    .updateTable('suppressions')
    .set({ removed_at_provider: now.getTime() })
    .where('address', '=', address)
    .where('since', '=', since.getTime())
    .execute()
}
