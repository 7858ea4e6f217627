/** Reading the suppression list. */
import { type Kysely, type Selectable, sql } from 'kysely'

export type { SuppressionReason } from '../store/index.js'

import type { SuppressionReason, SuppressionsTable, Tables } from '../store/index.js'
import { among, type Database, Statement, valuesTable } from '../store/index.js'

/** A suppression entry. */
export interface Suppression {
  /** Folded for comparing. */
  readonly address: string
  readonly reason: SuppressionReason
  readonly status: string | null
  readonly reply: string | null
  readonly causedBy: string
  readonly destination: string | null
  readonly step: number
  readonly since: Date
  /** Null: it lasts until it is lifted. */
  readonly until: Date | null
}

/** The row of an address. */
export const entryOf = new Statement<{ address: string }, Selectable<SuppressionsTable>>((db, value) =>
  db.selectFrom('suppressions').selectAll().where('address', '=', value('address')),
)

export const isActive = (row: Pick<SuppressionsTable, 'until' | 'lifted_at'>, now: Date) =>
  row.lifted_at === null && (row.until === null || row.until > now.getTime())

/** The active entry of an address, or null: one look-up by primary key. */
export async function findSuppression(db: Kysely<Tables>, address: string, now: Date): Promise<Suppression | null> {
  const [row] = await entryOf.rows(db, { address })
  return row === undefined || !isActive(row, now) ? null : toSuppression(row)
}

/** The entries among these addresses (folded) that last until they are lifted, by address. */
export async function lastingSuppressions(tx: Kysely<Tables>, addresses: readonly string[]): Promise<ReadonlyMap<string, Suppression>> {
  const rows = await findLasting.rows(tx, { addresses })
  return new Map(rows.map((row) => [row.address, toSuppression(row)]))
}

const findLasting = new Statement<{ addresses: readonly string[] }, Selectable<SuppressionsTable>>((db, value, { kind }) =>
  db
    .selectFrom('suppressions')
    .selectAll()
    .where(among(kind, 'address', value('addresses')))
    .where('until', 'is', null)
    .where('lifted_at', 'is', null),
)

/** The active entries among many addresses (folded), in one look-up. */
export async function activeSuppressions({ db, kind }: Database, keys: readonly string[], now: Date): Promise<Suppression[]> {
  const rows = await db
    .selectFrom('suppressions')
    .selectAll()
    .where('address', 'in', sql<string>`(select value from ${valuesTable(kind, keys)})`)
    .execute()
  return rows.filter((row) => isActive(row, now)).map(toSuppression)
}

/** The active entries, ordered by address, page by page in constant memory. */
export async function* listSuppressions(db: Kysely<Tables>, now: Date, pageSize = 1000): AsyncGenerator<Suppression> {
  let after = ''
  for (;;) {
    const rows = await db
      .selectFrom('suppressions')
      .selectAll()
      .where('address', '>', after)
      .where('lifted_at', 'is', null)
      .where((eb) => eb.or([eb('until', 'is', null), eb('until', '>', now.getTime())]))
      .orderBy('address')
      .limit(pageSize)
      .execute()
    for (const row of rows) yield toSuppression(row)
    if (rows.length < pageSize) return
    after = rows.at(-1)?.address as string
  }
}

function toSuppression(row: Selectable<SuppressionsTable>): Suppression {
  return {
    address: row.address,
    reason: row.reason,
    status: row.status,
    reply: row.reply,
    causedBy: row.caused_by,
    destination: row.destination,
    step: row.step,
    since: new Date(row.since),
    until: row.until === null ? null : new Date(row.until),
  }
}
