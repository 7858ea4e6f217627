/** Watches whether the database can be used and written: says so in the log, on `/healthz`, and to Prometheus. */
import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.js'
import { type DatabaseFault, databaseFault } from './database-fault.js'
import type { Tables } from './tables.js'

const LOOK_EVERY_MS = 5_000
/** A look within this long of the last one has its result. */
const CHECK_CACHE_MS = 1_000
const ANSWER_WITHIN_MS = 5_000
/** The same fault is said again only after this. */
const SAY_AGAIN_MS = 60_000
/** More than free space within a table's pages: on a full disk it cannot be written. */
const PROBE_BYTES = 128 * 1024
const PROBE_KEY = 'probe'

/** The fault that the database has now. */
interface CurrentFault {
  readonly fault: DatabaseFault
  readonly since: number
}

/** What the watch needs of a logger. */
interface WatchLog {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
}

export class DatabaseWatch {
  #database: Database | null = null
  #current: CurrentFault | null = null
  #timer: NodeJS.Timeout | undefined
  #looked: { readonly at: number; readonly result: string | null } | null = null
  /** One at a time: on a locked table each would hold a connection. */
  #looking: Promise<string | null> | null = null
  /** Text of a fault -> when it was said. */
  readonly #said = new Map<string, number>()

  constructor(private readonly log: WatchLog) {}

  /** To be called with each error of the database; errors of a statement alone are left out. */
  readonly onError = (error: unknown): void => {
    const fault = databaseFault(error)
    if (fault === null || fault.text === this.#current?.fault.text) return
    const now = Date.now()
    if (now - (this.#said.get(fault.text) ?? 0) > SAY_AGAIN_MS) {
      this.#said.set(fault.text, now)
      this.log.warn({ error: (error as Error).message, action: fault.action }, `the database has a fault: ${fault.text}`)
    }
    this.#current = { fault, since: this.#current?.since ?? now }
    this.#looked = null
    this.#timer ??= setInterval(() => void this.check(), LOOK_EVERY_MS).unref()
  }

  /** Sets the database to look at; after a fault it is looked at every 5 s, until it can be written. */
  start(database: Database): void {
    this.#database = database
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#database = null
  }

  /** What is wrong with the database now, or null. Never rejects; it takes 5 s at most. */
  check(): Promise<string | null> {
    if (this.#looked !== null && Date.now() - this.#looked.at < CHECK_CACHE_MS) return Promise.resolve(this.#looked.result)
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(this.#current?.fault.text ?? 'it does not answer'), ANSWER_WITHIN_MS)
    })
    return Promise.race([this.#looking, late]).finally(() => clearTimeout(timer))
  }

  async #look(): Promise<string | null> {
    const database = this.#database
    if (database === null) return null
    const before = this.#current
    let result: string | null
    try {
      const isReadOnly = await database.db.transaction().execute((tx) => look(database, tx))
      // committed row by row: a row that is deleted in its own transaction may never reach a full disk
      if (before !== null || isReadOnly) await writeProbe(database.db)
      if (this.#current === before) this.#recovered()
      result = this.#current?.fault.text ?? null
    } catch (error) {
      if (databaseFault(error) === null) this.log.warn({ error: (error as Error).message }, 'the database could not be checked')
      result = databaseFault(error)?.text ?? 'it could not be checked'
    }
    this.#looked = { at: Date.now(), result }
    return result
  }

  #recovered(): void {
    if (this.#current === null) return
    this.log.info({ afterMs: Date.now() - this.#current.since }, 'the database can be used again')
    this.#current = null
    this.#said.clear()
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

/** Reads. @returns whether the database accepts no writes: a standby answers reads. */
async function look({ kind }: Database, tx: Kysely<Tables>): Promise<boolean> {
  if (kind === 'postgres') await sql`set local statement_timeout = ${sql.lit(ANSWER_WITHIN_MS)}`.execute(tx)
  await tx.selectFrom('suppressions').select('address').limit(1).execute()
  if (kind === 'sqlite') return false
  const { rows } = await sql<{ is: string }>`select current_setting('transaction_read_only') as is`.execute(tx)
  return rows[0]?.is === 'on'
}

/** Writes as much as a mail, and deletes it. */
export async function writeProbe(db: Kysely<Tables>): Promise<void> {
  const content = randomBytes(PROBE_BYTES)
  const row = { key: PROBE_KEY, content, size: PROBE_BYTES, stored_at: Date.now(), used_at: Date.now() }
  await db
    .insertInto('messages')
    .values(row)
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ content }))
    .execute()
  await db.deleteFrom('messages').where('key', '=', PROBE_KEY).execute()
}
