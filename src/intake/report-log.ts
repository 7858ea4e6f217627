/** The log of reports: what comes at the same moment is recorded in one transaction, and the quota is kept. */
import { asyncCommit, Batcher, type Database, type InboundReport, recordInbound, trimInbound } from '../store/index.js'

/** Sets of reports that are recorded in one transaction, and after how many reports the quota is looked at. */
const MAX_BATCH = 200
const TRIM_AFTER = 1_000

type RecordRows = (rows: readonly InboundReport[]) => Promise<void>

export class ReportLog {
  readonly #ours: Batcher<readonly InboundReport[], undefined>
  /** Unauthenticated reports: their transactions do not wait for the disk, since nothing depends on them after a power cut. */
  readonly #unauthenticated: Batcher<readonly InboundReport[], undefined>
  #untilTrim = TRIM_AFTER

  /** @param limit reports that are kept; null: no limit. */
  constructor(
    private readonly database: Database,
    private readonly limit: number | null,
  ) {
    this.#ours = this.#batcher((rows) => recordInbound(database.db, rows))
    this.#unauthenticated = this.#batcher((rows) => asyncCommit(database, (tx) => recordInbound(tx, rows)))
  }

  /** Records the reports of one mail or webhook. @throws Error if they cannot be recorded. */
  async add(reports: readonly InboundReport[]): Promise<void> {
    const batcher = reports.every(({ disposition }) => disposition === 'unauthenticated') ? this.#unauthenticated : this.#ours
    await batcher.add(reports)
  }

  #batcher(record: RecordRows): Batcher<readonly InboundReport[], undefined> {
    return new Batcher(async (sets) => {
      const rows = sets.flat()
      await record(rows)
      await this.#trim(rows.length)
      return sets.map(() => undefined)
    }, MAX_BATCH)
  }

  async #trim(added: number): Promise<void> {
    this.#untilTrim -= added
    if (this.#untilTrim > 0 || this.limit === null) return
    this.#untilTrim = TRIM_AFTER
    // the reports are recorded already; what could not be trimmed is trimmed next time
    await trimInbound(this.database, this.limit).catch(() => {})
  }
}
