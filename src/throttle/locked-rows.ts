/** The rows of destinations and relays, locked until the transaction ends, by the database's clock. */
import { type Kysely, type Selectable, sql } from 'kysely'
import type { DestinationsTable, Tables } from '../store/index.js'
import { all, among, type Database, databaseNow, givenRows, nowExpression, Statement } from '../store/index.js'
import { columnsOf, EVERYTHING } from './destination-row.js'
import { type Limits, withManualLimits } from './limits.js'
import { newLimiterState } from './rate-limiter.js'

export type DestinationRow = Selectable<DestinationsTable>

/** The pause of everything. */
export type Everything = Pick<DestinationsTable, 'paused_since' | 'paused_by'>

export interface LockedRows {
  /** Some were inserted: what was read beside them was read before they were locked. */
  readonly isNew: boolean
  readonly rows: ReadonlyMap<string, DestinationRow>
  readonly everything: Everything
  /** Read after the rows were locked: after a wait, an earlier time would be stale. */
  readonly now: number
}

/** Locks the rows; inserts those that are missing. @param wanted may name a row several times. */
export async function lockRows(
  tx: Kysely<Tables>,
  database: Database,
  wanted: readonly { readonly name: string; readonly limits: Limits }[],
): Promise<LockedRows> {
  const limits = new Map(wanted.map((one) => [one.name, one.limits]))
  const names = [...limits.keys()]
  const given = { names: names }
  const read = () => all([lock.rows(tx, given), readClock.rows(tx, {}, database.clock)])
  let [rows, clock] = await read()
  const isNew = rows.length < names.length
  if (isNew) {
    await insertRows(tx, limits, await databaseNow(database, tx))
    ;[rows, clock] = await read()
  }
  const [{ now, ...everything }] = clock as [Everything & { now: number }]
  return { isNew, rows: new Map(rows.map((row) => [row.name, row])), everything, now: Number(now) }
}

const lock = new Statement<{ names: readonly string[] }, DestinationRow>((db, value, { kind }) =>
  db
    .selectFrom('destinations')
    .selectAll()
    .where(among(kind, 'name', value('names')))
    // always in this order, so that two transactions that lock several rows cannot deadlock
    .orderBy('name')
    .$if(kind === 'postgres', (query) => query.forUpdate()),
)

const readClock = new Statement<object, Everything & { now: number }>((db, _value, database) =>
  db.selectNoFrom((eb) => {
    const row = eb.selectFrom('destinations').where('name', '=', EVERYTHING)
    return [nowExpression(database).as('now'), row.select('paused_since').as('paused_since'), row.select('paused_by').as('paused_by')]
  }),
)

async function insertRows(tx: Kysely<Tables>, limits: ReadonlyMap<string, Limits>, now: number): Promise<void> {
  // in name order too
  const fresh = [...limits].sort(([a], [b]) => (a < b ? -1 : 1))
  await tx
    .insertInto('destinations')
    .values(fresh.map(([name, own]) => ({ name, ...columnsOf(newLimiterState(own, now)) })))
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

export const limitsWith = (limits: Limits, row: Pick<DestinationsTable, 'limited_rate' | 'limited_connections'>): Limits =>
  withManualLimits(limits, { rate: row.limited_rate, connections: row.limited_connections })

/** Writes what permits change of locked rows. */
export const writeStates = (tx: Kysely<Tables>, rows: readonly DestinationRow[]): Promise<unknown> => updateStates.run(tx, { rows })

/** Writes what answers change of locked rows. */
export const writeAnswered = (tx: Kysely<Tables>, rows: readonly DestinationRow[]): Promise<unknown> => updateAnswered.run(tx, { rows })

const OF_STATE = {
  ...({ next_hop: 'text', next_start_at: 'double precision', reserved_until: 'double precision' } as const),
  ...({ overflow_until: 'double precision', rate: 'double precision', connections: 'double precision' } as const),
  ...({ service_ms: 'double precision', failures: 'bigint', failing_since: 'bigint', down_since: 'bigint' } as const),
  ...({ next_probe_at: 'double precision', not_before: 'bigint', epoch: 'bigint', starved_at: 'bigint' } as const),
} as const
const OF_ANSWER = {
  ...({ last_answer_at: 'bigint', last_answer_outcome: 'text' } as const),
  ...({ last_answer_status: 'text', last_answer_reply: 'text', last_answer_by: 'text' } as const),
} as const

const updateOf = (columns: Readonly<Record<string, 'text' | 'bigint' | 'double precision'>>) =>
  new Statement<{ rows: readonly DestinationRow[] }>((db, value, { kind }) =>
    db
      .updateTable('destinations')
      .from(givenRows(kind, value('rows'), { name: 'text', ...columns }))
      .set(Object.fromEntries(Object.keys(columns).map((column) => [column, sql.ref(`given.${column}`)])))
      .whereRef('destinations.name', '=', sql.ref('given.name')),
  )
const updateStates = updateOf(OF_STATE)
const updateAnswered = updateOf({ ...OF_STATE, ...OF_ANSWER })
