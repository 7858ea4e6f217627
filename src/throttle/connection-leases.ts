/** Leases: which connections count, and until when, by the database's clock. */
import { type Kysely, sql } from 'kysely'
import type { ConnectionLeasesTable, Tables } from '../store/index.js'
import { among, asyncCommit, type Database, givenRows, nowExpression, Statement, transact } from '../store/index.js'

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

/** The condition under which content may begin: this lease lasts long enough. */
export const leaseThatHolds = (leaseId: string) => ({ id: leaseId, leftMs: LEFT_FOR_CONTENT_MS })

/** Deletes the leases of closed connections. */
export async function releaseLeases(database: Database, leaseIds: readonly string[]): Promise<void> {
  const ids = leaseIds
  await transact(database, { durable: false }, (tx, commit) => commit([release.run(tx, { ids })]))
}

const release = new Statement<{ ids: readonly string[] }>((db, value, { kind }) =>
  db.deleteFrom('connection_leases').where(among(kind, 'id', value('ids'))),
)

export type Lease = Pick<ConnectionLeasesTable, 'id' | 'since' | 'until'>

/** The leases of some destinations: read at once, changed in memory, written at once. */
export class Leases {
  readonly #held = new Map<string, ConnectionLeasesTable>()

  private constructor(
    private readonly known: Map<string, Lease[]>,
    private readonly released: readonly string[],
  ) {}

  /** @param released leases that are given up in the same transaction. */
  static async read(tx: Kysely<Tables>, names: readonly string[], released: readonly string[] = []): Promise<Leases> {
    const rows = names.length === 0 ? [] : await find.rows(tx, { names: names })
    const known = new Map<string, Lease[]>(names.map((name) => [name, []]))
    for (const { name, ...lease } of rows) if (!released.includes(lease.id)) known.get(name)?.push(lease)
    return new Leases(known, released)
  }

  /** The valid leases of a destination. */
  of(name: string, now: number): Lease[] {
    return (this.known.get(name) ?? []).filter(({ until }) => until > now)
  }

  /** Creates or extends a lease. */
  hold(id: string, name: string, now: number): void {
    const leases = this.known.get(name) ?? []
    const lease = { id, since: Math.round(now), until: Math.ceil(now + LEASE_MS) }
    const known = leases.find((one) => one.id === id)
    if (known === undefined) leases.push(lease)
    else known.until = lease.until
    this.#held.set(`${id} ${name}`, { ...lease, name })
  }

  /** Writes what is held now, and deletes those that expired or are released. */
  write(tx: Kysely<Tables>, now: number): Promise<unknown>[] {
    const expired = [...this.known].filter(([, leases]) => leases.some(({ until }) => until <= now)).map(([name]) => name)
    return [
      ...(this.released.length === 0 ? [] : [release.run(tx, { ids: this.released })]),
      ...expired.map((name) => expire.run(tx, { name, now: Math.floor(now) })),
      ...(this.#held.size === 0 ? [] : [hold.run(tx, { leases: [...this.#held.values()] })]),
    ]
  }
}

const find = new Statement<{ names: readonly string[] }, Lease & { name: string }>((db, value, { kind }) =>
  db
    .selectFrom('connection_leases')
    .select(['id', 'name', 'since', 'until'])
    .where(among(kind, 'name', value('names'))),
)

const expire = new Statement<{ name: string; now: number }>((db, value) =>
  db.deleteFrom('connection_leases').where('name', '=', value('name')).where('until', '<=', value('now')),
)

const hold = new Statement<{ leases: readonly ConnectionLeasesTable[] }>((db, value, { kind }) =>
  db
    .insertInto('connection_leases')
    .columns(['id', 'name', 'since', 'until'])
    .expression((eb) =>
      eb
        .selectFrom(givenRows(kind, value('leases'), { id: 'text', name: 'text', since: 'bigint', until: 'bigint' }))
        .select(['given.id', 'given.name', 'given.since', 'given.until'])
        // otherwise SQLite takes the conflict clause for a join's
        .where(sql.lit(true)),
    )
    .onConflict((conflict) => conflict.columns(['id', 'name']).doUpdateSet({ until: sql.ref('excluded.until') })),
)
