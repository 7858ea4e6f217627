/** Watches whether the database can be used and written: says so in the log, on `/healthz`, and to Prometheus. */
import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import type { Log } from '../logger.js'
import type { Database } from './database.js'
import { type DatabaseFault, databaseFault } from './database-fault.js'
import type { Tables } from './tables.js'

const LOOK_EVERY_MS = 5_000
/** A check within this long of the last one has its result. */
const SAME_MS = 1_000
const ANSWER_WITHIN_MS = 5_000
/** More than free space within a table's pages: on a full disk it cannot be written. */
const PROBE_BYTES = 128 * 1024
const PROBE_KEY = 'probe'

/** The last fault. */
interface Standing {
  readonly fault: DatabaseFault
  readonly since: number
}

export class DatabaseWatch {
  #database: Database | null = null
  #standing: Standing | null = null
  #timer: NodeJS.Timeout | undefined
  #checked: { readonly at: number; readonly result: Promise<string | null> } | null = null

  constructor(private readonly log: Log) {}

  /** To be called with each error of the database; errors of a statement alone are left out. */
  readonly failed = (error: unknown): void => {
    const fault = databaseFault(error)
    if (fault === null || fault.text === this.#standing?.fault.text) return
    this.log.warn({ error: (error as Error).message, action: fault.action }, `the database has a fault: ${fault.text}`)
    this.#standing = { fault, since: this.#standing?.since ?? Date.now() }
    this.#checked = null
    this.#timer ??= setInterval(() => void this.check(), LOOK_EVERY_MS).unref()
  }

  /** Starts to look again after a fault, until the database can be written. */
  start(database: Database): void {
    this.#database = database
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#database = null
  }

  /** What is wrong with the database now, or null. Never rejects; it takes 5 s at most. */
  check(): Promise<string | null> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(this.#standing?.fault.text ?? 'it does not answer'), ANSWER_WITHIN_MS)
    })
    return Promise.race([this.#result(), late]).finally(() => clearTimeout(timer))
  }

  #result(): Promise<string | null> {
    const at = Date.now()
    if (this.#checked === null || at - this.#checked.at > SAME_MS) {
      const result = this.#look()
      this.#checked = { at, result }
    }
    return this.#checked.result
  }

  async #look(): Promise<string | null> {
    if (this.#database === null) return null
    try {
      // a standby answers reads: only a write shows it
      if (this.#standing !== null || (await isReadOnly(this.#database))) await writeProbe(this.#database.db)
      else await this.#database.db.selectFrom('suppressions').select('address').limit(1).execute()
      this.#recovered()
      return null
    } catch (error) {
      return databaseFault(error)?.text ?? (error as Error).message
    }
  }

  #recovered(): void {
    if (this.#standing === null) return
    this.log.info({ afterMs: Date.now() - this.#standing.since }, 'the database can be used again')
    this.#standing = null
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

async function isReadOnly({ kind, db }: Database): Promise<boolean> {
  if (kind === 'sqlite') return false
  const { rows } = await sql<{ is: string }>`select current_setting('transaction_read_only') as is`.execute(db)
  return rows[0]?.is === 'on'
}

/** Writes as much as a mail, durably, and deletes it. */
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
