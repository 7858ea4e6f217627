/** Leases: which connections count, and until when, by the database's clock. */
import { type Kysely, sql } from 'kysely'
import type { Tables } from '../store/index.js'
import { asyncCommit, type Database, nowExpression } from '../store/index.js'

/** A connection counts for this long after its worker last renewed it. */
export const LEASE_MS = 30_000

/** Renews the lease of an open connection. False if it has expired: another connection may have its place, and this one must be closed. */
export async function renewLease(database: Database, leaseId: string): Promise<boolean> {
  const now = nowExpression(database)
  const done = await asyncCommit(database, (tx) =>
    tx
      .updateTable('connection_leases')
      .set({ until: sql<number>`cast(${now} + ${sql.lit(LEASE_MS)} as bigint)` })
      .where('id', '=', leaseId)
      .where('until', '>', sql<number>`${now}`)
      .executeTakeFirst(),
  )
  return Number(done.numUpdatedRows) > 0
}

/** Content begins only if the lease lasts at least this long. */
const LEFT_FOR_CONTENT_MS = LEASE_MS / 3

/** Selects the lease if it lasts long enough to begin sending content. */
export const leaseThatHolds = (database: Database, leaseId: string) =>
  database.db
    .selectFrom('connection_leases')
    .select('id')
    .where('id', '=', leaseId)
    .where('until', '>', sql<number>`${nowExpression(database)} + ${sql.lit(LEFT_FOR_CONTENT_MS)}`)

/** Deletes the lease of a closed connection. */
export async function releaseLease(database: Database, leaseId: string): Promise<void> {
  await asyncCommit(database, (tx) => tx.deleteFrom('connection_leases').where('id', '=', leaseId).execute())
}

/** Creates or extends a lease. */
export async function writeLease(tx: Kysely<Tables>, id: string, name: string, now: number): Promise<void> {
  const until = Math.ceil(now + LEASE_MS)
  await tx
    .insertInto('connection_leases')
    .values({ id, name, since: Math.round(now), until })
    .onConflict((conflict) => conflict.columns(['id', 'name']).doUpdateSet({ until }))
    .execute()
}

/** The valid leases of a destination; expired ones are deleted. */
export async function leasesOf(tx: Kysely<Tables>, name: string, now: number) {
  const rows = await tx.selectFrom('connection_leases').select(['id', 'since', 'until']).where('name', '=', name).execute()
  if (rows.some(({ until }) => until <= now))
    await tx.deleteFrom('connection_leases').where('name', '=', name).where('until', '<=', Math.floor(now)).execute()
  return rows.filter(({ until }) => until > now)
}
