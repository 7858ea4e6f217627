/** Opens the database that `database.url` names: a SQLite file, or PostgreSQL. */

import { resolve } from 'node:path'
import { Kysely, PostgresAdapter, type RawBuilder, type SqlBool, sql } from 'kysely'
import { type DatabaseKind, databaseKind } from './database-kind.js'
import { postgresDialect, postgresPlace } from './postgres.js'
import { sqliteDialect } from './sqlite.js'
import type { Tables } from './tables.js'

const DEFAULT_SCHEMA = 'softbounce'

/** Where a database is. */
export interface DatabaseSettings {
  /** `file:/var/lib/softbounce/softbounce.db` or `postgres://user:password@host/name`. */
  readonly url: string
  /** PostgreSQL: the schema that holds the tables; default `softbounce`. */
  readonly schema?: string
  /** PostgreSQL: the schema that holds the state of destinations, if fleets share it; else null. */
  readonly throttleSchema?: string | null
}

/** An open database. */
export interface Database {
  readonly kind: DatabaseKind
  readonly db: Kysely<Tables>
  /** Where it is, for messages: without a login. */
  readonly place: string
  /** The SQLite file; null for PostgreSQL. */
  readonly file: string | null
  /** The PostgreSQL schema that holds the tables; null for SQLite. */
  readonly schema: string | null
  /** The PostgreSQL schema of the state of destinations that this fleet shares with others; null if it shares none. */
  readonly throttleSchema: string | null
  /** Overrides the database's clock. */
  readonly clock?: () => Date
  close(): Promise<void>
}

export interface DatabaseListeners {
  /** Called for each error of a statement or a connection; the pool of PostgreSQL connections opens new ones by itself. */
  readonly onError?: (error: unknown) => void
  /**
   * Called each time that another process's write held the SQLite file for 4 s; then it waits on, for a minute in all. Without it, such a
   * transaction fails.
   */
  readonly onLocked?: (() => void) | null
}

/** The database's clock, epoch ms, so that all workers share one. SQLite's is the machine's. */
export function nowExpression({
  kind,
  clock,
}: {
  readonly kind: DatabaseKind
  readonly clock?: (() => Date) | undefined
}): RawBuilder<number> {
  if (clock !== undefined) return sql<number>`${sql.lit(clock().getTime())}`
  return kind === 'postgres'
    ? sql<number>`(extract(epoch from clock_timestamp()) * 1000)::double precision`
    : sql<number>`unixepoch('now', 'subsec') * 1000.0`
}

/**
 * Opens the database; the first query connects.
 * @throws Error if the URL is neither a file nor PostgreSQL.
 */
export function openDatabase(
  { url, schema = DEFAULT_SCHEMA, throttleSchema: given = null }: DatabaseSettings,
  { onError = () => {}, onLocked = null }: DatabaseListeners = {},
): Database {
  const kind = databaseKind(url)
  if (kind === null) throw new Error('database.url must be file:PATH (SQLite) or postgres://… (PostgreSQL)')
  const file = kind === 'sqlite' ? url.slice('file:'.length) : null
  const throttleSchema = file === null ? given : null
  const schemas = { own: schema, throttle: throttleSchema ?? schema }
  const db = new Kysely<Tables>({
    dialect: file === null ? postgresDialect(url, schemas, onError) : sqliteDialect(file, onLocked, onError),
  })
  const place = file === null ? postgresPlace(url, schemas) : `file:${resolve(file)}`
  return { kind, db, place, file, schema: file === null ? schema : null, throttleSchema, close: () => db.destroy() }
}

/**
 * Holds a lock until the transaction ends: others that lock the same key wait. SQLite needs none: its transactions run one after another.
 * @param what the key, such as an address; it needs no row.
 */
export async function advisoryLock(tx: Kysely<Tables>, what: string): Promise<void> {
  if (tx.getExecutor().adapter instanceof PostgresAdapter) await sql`select pg_advisory_xact_lock(hashtextextended(${what}, 0))`.execute(tx)
}

/** Many values as a table `valuesTable(value)`, bound as one parameter, so that the statement's text does not depend on their number. */
export function valuesTable(kind: DatabaseKind, values: readonly string[]): RawBuilder<unknown> {
  return kind === 'sqlite' ? sql`json_each(${JSON.stringify(values)}) as given` : sql`unnest(${values}::text[]) as given(value)`
}

/** The current time by nowExpression, epoch ms. */
export async function databaseNow(database: Database, db: Kysely<Tables> = database.db): Promise<number> {
  const { now } = await db.selectNoFrom(nowExpression(database).as('now')).executeTakeFirstOrThrow()
  return Number(now)
}

/** For a Statement: `column` is one of a list that is bound as one value, so that the text does not depend on its length. */
export function among(kind: DatabaseKind, column: string, list: RawBuilder<unknown>): RawBuilder<SqlBool> {
  const ref = sql.ref(column)
  return kind === 'sqlite' ? sql`${ref} in (select value from json_each(${list}))` : sql`${ref} = any(${list}::text[])`
}

/** The types of the columns of `givenRows`, as both databases name them. */
type ColumnTypes = Readonly<Record<string, 'text' | 'bigint' | 'double precision'>>

/** For a Statement: rows that are bound as one value, as a table `given` with these columns. */
export function givenRows<Types extends ColumnTypes>(kind: DatabaseKind, rows: RawBuilder<unknown>, types: Types) {
  const names = Object.keys(types)
  const table =
    kind === 'sqlite'
      ? sql`(select ${sql.raw(names.map((name) => `json_extract(value, '$.${name}') as ${name}`).join(', '))} from json_each(${rows}))`
      : sql`(select * from json_to_recordset(${rows}::json) as r(${sql.raw(names.map((name) => `${name} ${types[name]}`).join(', '))}))`
  type Given = { [Name in keyof Types]: Types[Name] extends 'text' ? string : number }
  return (table as RawBuilder<Given>).as('given')
}
