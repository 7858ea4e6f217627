/** Opens the database that `database.url` names: a SQLite file, or PostgreSQL. */

import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  Kysely,
  PostgresAdapter,
  type RawBuilder,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type SqliteStatement,
  sql,
} from 'kysely'
import Libsql from 'libsql'
import { type DatabaseKind, databaseKind } from './database-kind.js'
import { postgresDialect, postgresPlace } from './postgres.js'
import type { Tables } from './tables.js'

const DEFAULT_SCHEMA = 'softbounce'

/** Where a database is. */
export interface DatabaseSettings {
  /** `file:/var/lib/softbounce/softbounce.db` or `postgres://user:password@host/name`. */
  readonly url: string
  /** PostgreSQL: the schema that holds the tables; default `softbounce`. */
  readonly schema?: string
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
  /** Overrides the database's clock. */
  readonly clock?: () => Date
  close(): Promise<void>
}

/** The database's clock, epoch ms, so that all workers share one. SQLite's is the machine's. */
export function nowExpression({ kind, clock }: Pick<Database, 'kind' | 'clock'>): RawBuilder<number> {
  if (clock !== undefined) return sql<number>`${sql.lit(clock().getTime())}`
  return kind === 'postgres'
    ? sql<number>`(extract(epoch from clock_timestamp()) * 1000)::double precision`
    : sql<number>`unixepoch('now', 'subsec') * 1000.0`
}

/** Kept short: libsql blocks the event loop while it waits, and with it this process's SMTP transactions. */
const BUSY_TIMEOUT_MS = 4_000
/** A command waits that long for another process's write. */
const LOCKED_FOR_MS = 60_000

/** Transactions take SQLite's write lock at once: one that reads first could not write if another process wrote in between. */
class ImmediateSqliteDriver extends SqliteDriver {
  constructor(
    config: ConstructorParameters<typeof SqliteDriver>[0],
    private readonly onLocked: (() => void) | null,
  ) {
    super(config)
  }

  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    for (const until = Date.now() + LOCKED_FOR_MS; ; )
      try {
        await connection.executeQuery(CompiledQuery.raw('begin immediate'))
        return
      } catch (error) {
        if (this.onLocked === null || !isLocked(error) || Date.now() > until) throw error
        this.onLocked()
      }
  }
}

const isLocked = (error: unknown): boolean =>
  /^SQLITE_(BUSY|LOCKED)/.test((error as { code?: string }).code ?? '') || /locked|in progress/.test((error as Error).message)

/**
 * In libsql, a statement that failed on a locked file stays in progress until it is garbage-collected: commits fail from then on, and
 * writes that seemed to succeed are lost. So this rolls back and reopens the connection.
 */
class ReopenedWhenBusy implements SqliteDatabase {
  #database: Libsql.Database
  #broken = false
  /** Prepared statements by text: preparing takes as long as running. */
  readonly #statements = new Map<string, SqliteStatement>()

  constructor(private readonly open: () => Libsql.Database) {
    this.#database = open()
  }

  prepare(text: string): SqliteStatement {
    if (this.#broken) {
      this.#leave()
      this.#database = this.open()
      this.#broken = false
      if (/^\s*rollback/i.test(text)) return NOTHING
    }
    const known = this.#statements.get(text)
    if (known !== undefined) return known
    const statement = this.#watch(() => this.#database.prepare(text))
    const watched = {
      reader: statement.reader,
      all: (parameters: readonly unknown[]) => this.#watch(() => statement.all(parameters)),
      run: (parameters: readonly unknown[]) => this.#watch(() => statement.run(parameters)),
      iterate: (parameters: readonly unknown[]) => statement.iterate(parameters),
    }
    // a pragma may take effect when it is prepared, so it is not cached
    if (this.#statements.size < MOST_STATEMENTS && REPEATED.test(text)) this.#statements.set(text, watched)
    return watched
  }

  close(): void {
    this.#statements.clear()
    this.#database.close()
  }

  /** libsql keeps a closed connection and its locks for as long as one of its statements is referenced. */
  #leave(): void {
    try {
      this.#database.exec('rollback')
    } catch {
      // no transaction is open
    }
    this.close()
  }

  #watch<T>(step: () => T): T {
    try {
      return step()
    } catch (error) {
      if (isLocked(error)) this.#broken = true
      throw error
    }
  }
}

const MOST_STATEMENTS = 500
const REPEATED = /^\s*(select|insert|update|delete|begin|commit|rollback)\b/i

const NOTHING: SqliteStatement = {
  reader: false,
  all: () => [],
  run: () => ({ changes: 0, lastInsertRowid: 0 }),
  iterate: () => [][Symbol.iterator](),
}

/** SQLite's DDL is transactional: a process migrates in one immediate transaction, and other processes wait for it. */
class TransactionalSqliteAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

function sqliteDialect(file: string, onLocked: (() => void) | null): Dialect {
  const config = {
    database: async () =>
      new ReopenedWhenBusy(() => {
        mkdirSync(dirname(resolve(file)), { recursive: true, mode: 0o700 })
        // several processes share the file: readers never wait for the writer (WAL), writers queue for each other (busy timeout)
        const database = new Libsql(file, { timeout: BUSY_TIMEOUT_MS })
        database.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`)
        database.exec('pragma journal_mode = wal')
        // a logged acceptance must survive a power cut: if it were lost, the message would be sent twice
        database.exec('pragma synchronous = full')
        // erased data must not remain readable in the file
        database.exec('pragma secure_delete = on')
        return database
      }),
  }
  return {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new ImmediateSqliteDriver(config, onLocked),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

/**
 * Opens the database; the first query connects.
 * @param onIdleError called when a PostgreSQL connection breaks; the pool opens new ones by itself.
 * @param onLocked called each time that another process's write held the SQLite file for 4 s; then it waits on, for a minute in all. Without
 *   it, such a transaction fails.
 * @throws Error if the URL is neither a file nor PostgreSQL.
 */
export function openDatabase(
  { url, schema = DEFAULT_SCHEMA }: DatabaseSettings,
  onIdleError: (error: Error) => void = () => {},
  onLocked: (() => void) | null = null,
): Database {
  const kind = databaseKind(url)
  if (kind === null) throw new Error('database.url must be file:PATH (SQLite) or postgres://… (PostgreSQL)')
  const file = kind === 'sqlite' ? url.slice('file:'.length) : null
  const db = new Kysely<Tables>({ dialect: file === null ? postgresDialect(url, schema, onIdleError) : sqliteDialect(file, onLocked) })
  const place = file === null ? postgresPlace(url, schema) : `file:${resolve(file)}`
  return { kind, db, place, file, schema: file === null ? schema : null, close: () => db.destroy() }
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

/**
 * A transaction whose commit does not wait for the disk: for permits and leases, which are worthless after a power cut. Its writes are
 * visible at once, and durable with the next synchronous commit. Not for answers of attempts: losing one would send a message twice.
 */
export function asyncCommit<T>(database: Database, step: (tx: Kysely<Tables>) => Promise<T>): Promise<T> {
  if (database.kind === 'postgres')
    return database.db.transaction().execute(async (tx) => {
      await sql`set local synchronous_commit = off`.execute(tx)
      return step(tx)
    })
  return database.db.connection().execute((connection) => whileNormal(connection, () => connection.transaction().execute(step)))
}

/** The same for one statement. PostgreSQL commits it synchronously: to avoid that would take three more statements. */
export function asyncCommitOne<T>(database: Database, statement: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
  if (database.kind === 'postgres') return statement(database.db)
  return database.db.connection().execute((connection) => whileNormal(connection, () => statement(connection)))
}

async function whileNormal<T>(connection: Kysely<Tables>, step: () => Promise<T>): Promise<T> {
  await sql`pragma synchronous = normal`.execute(connection)
  try {
    return await step()
  } finally {
    await sql`pragma synchronous = full`.execute(connection)
  }
}
