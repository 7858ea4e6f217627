/** Gauges from the database: read once for all gauges of a scrape, and at most every 5 seconds. */
import { type RawBuilder, sql } from 'kysely'
import type { Database, SuppressionChange, SuppressionReason } from '../store/index.js'
import { STILL_WAITS_MS } from '../throttle/index.js'
import { endedIn } from './ends.js'

const LOOK_EVERY_MS = 5000
export const MOST_DESTINATIONS = 200
const DAY_MS = 24 * 3_600_000
const MONTH_MS = 30 * DAY_MS
/** Older runs without an end are taken as terminated. */
const OPEN_FOR_MS = 60 * 24 * 3_600_000

export interface GaugeSnapshot {
  /** Open retries by destination, the largest first; the rest together as `other`. */
  readonly open: ReadonlyMap<string, number>
  readonly waitingForPermit: number
  readonly oldestDueMs: number
  /** Destinations in an outage, including those that are down. */
  readonly failing: number
  readonly down: number
  /** Destinations that bounce more than usual. */
  readonly degrading: number
  /** By destination, ms since the outage began; only the down ones with the most open messages. */
  readonly longestDown: ReadonlyMap<string, number>
  readonly suppressed: ReadonlyMap<SuppressionReason, number>
  /** Messages that ended in the last 24 hours, by outcome. */
  readonly ended: Readonly<Record<string, number>>
}

export class DatabaseGauges {
  #looked: { readonly at: number; readonly stand: Promise<GaugeSnapshot> } | null = null
  /** The last ID seen, by table. */
  readonly #seen = new Map<string, number>()

  constructor(
    private readonly database: Database,
    private readonly now: () => Date,
  ) {}

  look(): Promise<GaugeSnapshot> {
    const at = Date.now()
    if (this.#looked === null || at - this.#looked.at > LOOK_EVERY_MS) this.#looked = { at, stand: this.#look() }
    return this.#looked.stand
  }

  async #look(): Promise<GaugeSnapshot> {
    const { db } = this.database
    const now = this.now().getTime()
    const open = await db
      .selectFrom('runs')
      .select(['destination', sql<number>`count(*)`.as('n')])
      .where('ended_at', 'is', null)
      .where('started_at', '>', now - OPEN_FOR_MS)
      .groupBy('destination')
      .orderBy('n', 'desc')
      .execute()
    const byName = new Map(open.slice(0, MOST_DESTINATIONS).map(({ destination, n }) => [destination, Number(n)]))
    const rest = open.slice(MOST_DESTINATIONS).reduce((sum, { n }) => sum + Number(n), 0)
    if (rest > 0) byName.set('other', rest)
    const waiters = await db
      .selectFrom('waiters')
      .select([sql<number>`count(*)`.as('n'), sql<number | null>`min(asked_at)`.as('oldest')])
      .where('seen_at', '>', now - STILL_WAITS_MS)
      .executeTakeFirstOrThrow()
    const unanswered = await db
      .selectFrom('attempts')
      .innerJoin('runs', 'runs.first_run_id', 'attempts.first_run_id')
      .select(sql<number | null>`min(attempts.begun_at)`.as('oldest'))
      .where('attempts.outcome', 'is', null)
      .where('attempts.via', 'is', null)
      .where('attempts.begun_at', '>', now - OPEN_FOR_MS)
      .where('runs.ended_at', 'is', null)
      .executeTakeFirstOrThrow()
    const oldest = Math.min(...[waiters.oldest, unanswered.oldest].map((at) => (at === null ? now : Number(at))))
    const outages = await db
      .selectFrom('outages')
      .select(['destination', 'began_at', 'down_at'])
      .where('ended_at', 'is', null)
      .orderBy('began_at')
      .execute()
    const degrading = await db
      .selectFrom('degradations')
      .select(sql<number>`count(*)`.as('n'))
      .where('ended_at', 'is', null)
      .executeTakeFirstOrThrow()
    const suppressed = await db
      .selectFrom('suppressions')
      .select(['reason', sql<number>`count(*)`.as('n')])
      .where('lifted_at', 'is', null)
      .where((eb) => eb.or([eb('until', 'is', null), eb('until', '>', now)]))
      .groupBy('reason')
      .execute()
    const down = outages.filter(({ down_at }) => down_at !== null)
    const waits = new Map(open.map(({ destination, n }) => [destination, Number(n)]))
    return {
      open: byName,
      waitingForPermit: Number(waiters.n),
      oldestDueMs: Math.max(0, now - oldest),
      failing: outages.length,
      down: down.length,
      degrading: Number(degrading.n),
      longestDown: new Map(
        down
          .sort((a, b) => (waits.get(b.destination) ?? 0) - (waits.get(a.destination) ?? 0))
          .slice(0, MOST_DESTINATIONS)
          .map(({ destination, began_at }) => [destination, now - began_at]),
      ),
      ended: await endedIn(this.database, { since: new Date(now - DAY_MS), until: new Date(now + 1) }),
      suppressed: new Map(suppressed.map(({ reason, n }) => [reason, Number(n)])),
    }
  }

  /** The destinations that answered 4.3.2 most in the last 30 days. */
  async saidNotNowMost(limit: number): Promise<readonly string[]> {
    const rows = await this.database.db
      .selectFrom('attempts')
      .select(['destination', sql<number>`count(*)`.as('n')])
      .where('at', '>', this.now().getTime() - MONTH_MS)
      .where('status', '=', '4.3.2')
      .where('via', 'is', null)
      .groupBy('destination')
      .orderBy('n', 'desc')
      .limit(limit)
      .execute()
    return rows.map(({ destination }) => destination)
  }

  /** Bounces since the last call; none at the first. */
  async newBounces(): Promise<readonly { readonly status: string | null; readonly disposition: string; readonly n: number }[]> {
    const fresh = await this.#fresh('inbound')
    if (fresh === null) return []
    const rows = await this.database.db
      .selectFrom('inbound')
      .select(['status', 'disposition', sql<number>`count(*)`.as('n')])
      .where(fresh)
      .groupBy(['status', 'disposition'])
      .execute()
    return rows.map((row) => ({ ...row, n: Number(row.n) }))
  }

  /** Changes of the suppression list since the last call; none at the first. */
  async newSuppressions(): Promise<
    readonly { readonly reason: SuppressionReason; readonly change: SuppressionChange; readonly n: number }[]
  > {
    const fresh = await this.#fresh('suppression_history')
    if (fresh === null) return []
    const rows = await this.database.db
      .selectFrom('suppression_history')
      .select(['reason', 'change', sql<number>`count(*)`.as('n')])
      .where(fresh)
      .groupBy(['reason', 'change'])
      .execute()
    return rows.map((row) => ({ ...row, n: Number(row.n) }))
  }

  /** Matches the rows written to a table since the last call; null if there are none, and at the first call. */
  async #fresh(table: 'inbound' | 'suppression_history'): Promise<RawBuilder<boolean> | null> {
    const { last } = await this.database.db.selectFrom(table).select(sql<number | null>`max(id)`.as('last')).executeTakeFirstOrThrow()
    const from = this.#seen.get(table)
    const to = Math.max(Number(last ?? 0), from ?? 0)
    this.#seen.set(table, to)
    return from === undefined || to === from ? null : sql<boolean>`id > ${from} and id <= ${to}`
  }
}
