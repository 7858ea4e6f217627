/** Processes the rows of the inbox, with retries until that succeeds: providers' events, and refusals that an application hands over. */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoff } from '../backoff.js'
import type { Log } from '../logger.js'
import type { Metrics } from '../report/metrics.js'
import { type Database, type InboxRow, markInboxDone, nextInboxRow, postponeInboxRow } from '../store/index.js'
import type { IntakeResult } from './apply.js'
import { causeOf, logTaken } from './lmtp.js'

/** Lease on a row: when it expires, its process has died, and another one takes over. */
const HOLD_MS = 60_000
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 10 * 60_000

export interface InboxOptions {
  readonly logger: Log
  readonly pollEveryMs: number
  readonly metrics?: Metrics
  readonly now?: () => Date
}

/** Processes a row. @throws Error if Temporal or the database is away: the row is tried again. */
export type InboxHandler = (row: InboxRow) => Promise<readonly IntakeResult[]>

export class InboxLoop {
  readonly #stopping = new AbortController()
  #wake: () => void = () => {}
  readonly #running: Promise<void>

  /** @param handlers by source; rows of other sources stay for other processes. */
  constructor(
    private readonly database: Database,
    private readonly handlers: Readonly<Record<string, InboxHandler>>,
    private readonly options: InboxOptions,
  ) {
    this.#running = this.#run()
  }

  /** Looks at once instead of at the next poll. */
  wake(): void {
    this.#wake()
  }

  /** Finishes the current row; the others stay stored. */
  async close(): Promise<void> {
    this.#stopping.abort()
    this.#wake()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    let failures = 0
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      try {
        while (!signal.aborted && (await this.#processNext())) {}
        failures = 0
      } catch (error) {
        failures += 1
        // while the database is away, each try fails
        if (failures === 1) this.options.logger.warn({ error: causeOf(error) }, 'the inbox cannot be read now')
      }
      const polled = new AbortController()
      await Promise.race([woken, sleep(this.options.pollEveryMs, undefined, { signal: polled.signal }).catch(() => {})])
      polled.abort()
    }
  }

  /** @returns false if no row is due. */
  async #processNext(): Promise<boolean> {
    const { metrics, logger, now = () => new Date() } = this.options
    const row = await nextInboxRow(this.database, Object.keys(this.handlers), HOLD_MS)
    if (row === null) return false
    const { source } = row
    try {
      const taken = await (this.handlers[source] as InboxHandler)(row)
      await markInboxDone(this.database.db, row, now())
      metrics?.mailCame(source, 'accepted')
      if (taken.length > 0) logTaken(logger, taken, source)
    } catch (error) {
      metrics?.mailCame(source, 'failed')
      const againInMs = backoff(row.tries, FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
      logger.warn({ source, id: row.id, error: causeOf(error), againInMs }, 'a report cannot be processed now; it is kept, and tried again')
      await postponeInboxRow(this.database, row, againInMs)
    }
    return true
  }
}
