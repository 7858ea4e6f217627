/** SQLite by libsql: one writer at a time among processes that share the file, durable at each commit. */
import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type SqliteStatement,
} from 'kysely'
import Libsql from 'libsql'

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

  constructor(
    private readonly open: () => Libsql.Database,
    private readonly onError: (error: unknown) => void,
  ) {
    this.#database = this.#watch(open)
  }

  prepare(text: string): SqliteStatement {
    if (this.#broken) {
      this.#leave()
      this.#database = this.#watch(this.open)
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
      this.onError(error)
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

export function sqliteDialect(file: string, onLocked: (() => void) | null, onError: (error: unknown) => void): Dialect {
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
      }, onError),
  }
  return {
    createAdapter: () => new TransactionalSqliteAdapter(),
    createDriver: () => new ImmediateSqliteDriver(config, onLocked),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}
