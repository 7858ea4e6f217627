/** Transactions in as few round trips as they need: what is sent without waiting travels together. */
import { type DatabaseConnection, type Dialect, DummyDriver, Kysely, type KyselyProps, sql } from 'kysely'
import type { Database } from './database.js'
import { BEGIN, isUnprepared } from './prepared-names.js'
import type { Tables } from './tables.js'

/**
 * Commits once the writes are done; in PostgreSQL, the commit travels with them, and undoes everything if one of them fails.
 * @returns their results.
 */
export type Commit = <T extends readonly unknown[]>(writes: { readonly [K in keyof T]: Promise<T[K]> }) => Promise<T>

/** `durable`: the commit waits for the disk. */
export interface TransactionOptions {
  readonly durable: boolean
}

/** While it locks rows, a process that is frozen must not stop all others; ms. */
const MOST_IDLE_MS = 10_000
const MOST_LOCKED_MS = 3_000

/**
 * Runs a transaction. Statements that the step does not wait for one by one (`Promise.all`) take one round trip; so do the last ones and
 * the commit, if the step passes them to `commit`. Without that call, it is committed when the step ends.
 */
export async function transact<T>(
  database: Database,
  options: TransactionOptions,
  step: (tx: Kysely<Tables>, commit: Commit) => Promise<T>,
): Promise<T> {
  const run = database.kind === 'postgres' ? inPostgres : inSqlite
  try {
    return await run(database, options, step)
  } catch (error) {
    // nothing of it was done: once more, and unprepared from now on
    if (isUnprepared(error)) return run(database, options, step)
    throw error
  }
}

function inPostgres<T>(
  { db }: Database,
  { durable }: TransactionOptions,
  step: (tx: Kysely<Tables>, commit: Commit) => Promise<T>,
): Promise<T> {
  const limits = `set local idle_in_transaction_session_timeout = ${MOST_IDLE_MS}; set local lock_timeout = ${MOST_LOCKED_MS}`
  const begin = `${BEGIN} ${limits}${durable ? '' : '; set local synchronous_commit = off'}`
  return db.getExecutor().provideConnection(async (held) => {
    const { tx, leave } = pipelined(db, held)
    const begun = sql.raw(begin).execute(tx)
    // the first statement fails too, and says why
    begun.catch(() => {})
    let isOver = false
    const commit: Commit = async (writes) => {
      isOver = true
      return (await all([...writes, sql.raw('commit').execute(tx)])).slice(0, -1) as never
    }
    try {
      const result = await step(tx, commit)
      if (!isOver) await commit([])
      return result
    } catch (error) {
      if (!isOver)
        await sql
          .raw('rollback')
          .execute(tx)
          .catch(() => {})
      throw error
    } finally {
      leave()
    }
  })
}

/** The database on one connection, whose statements do not wait for each other: Kysely's own `connection()` lets one begin when the last has ended. */
function pipelined(db: Kysely<Tables>, held: DatabaseConnection): { readonly tx: Kysely<Tables>; readonly leave: () => void } {
  let isHeld = true
  const executor = db.getExecutor().withConnectionProvider({
    provideConnection: async (use) => {
      if (!isHeld) throw new Error('the transaction is over')
      return use(held)
    },
  })
  // only the executor runs statements; the rest would begin transactions, and close the database
  const unused = new DummyDriver()
  const dialect = { createDriver: () => unused } as unknown as Dialect
  const tx = new Kysely<Tables>({ config: { dialect }, dialect, driver: unused as unknown as KyselyProps['driver'], executor })
  return {
    tx,
    leave: () => {
      isHeld = false
    },
  }
}

function inSqlite<T>(
  { db }: Database,
  { durable }: TransactionOptions,
  step: (tx: Kysely<Tables>, commit: Commit) => Promise<T>,
): Promise<T> {
  const run = (on: Kysely<Tables>) => on.transaction().execute((tx) => step(tx, async (writes) => (await all([...writes])) as never))
  return durable ? run(db) : db.connection().execute((connection) => withoutSync(connection, () => run(connection)))
}

/** SQLite: commits in this step do not wait for the disk. */
async function withoutSync<T>(connection: Kysely<Tables>, step: () => Promise<T>): Promise<T> {
  await sql`pragma synchronous = normal`.execute(connection)
  try {
    return await step()
  } finally {
    await sql`pragma synchronous = full`.execute(connection)
  }
}

/**
 * `Promise.all` for statements of a transaction: waits for all of them, also if one fails; none may run on when the transaction is over.
 * @throws the first failure.
 */
export async function all<T extends readonly unknown[]>(steps: { readonly [K in keyof T]: T[K] | Promise<T[K]> }): Promise<T> {
  const ended = await Promise.allSettled(steps as readonly unknown[])
  const failed = ended.find((one) => one.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return ended.map((one) => (one as PromiseFulfilledResult<unknown>).value) as unknown as T
}

/**
 * A transaction whose commit does not wait for the disk: for permits and leases, which are worthless after a power cut. Its writes are
 * visible at once, and durable with the next synchronous commit. Not for answers of attempts: losing one would send a message twice.
 */
export const asyncCommit = <T>(database: Database, step: (tx: Kysely<Tables>) => Promise<T>): Promise<T> =>
  transact(database, { durable: false }, step)

/** The same for one statement. PostgreSQL commits it synchronously: to avoid that would take three more statements. */
export function asyncCommitOne<T>(database: Database, statement: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
  if (database.kind === 'postgres') return statement(database.db)
  return database.db.connection().execute((connection) => withoutSync(connection, () => statement(connection)))
}
