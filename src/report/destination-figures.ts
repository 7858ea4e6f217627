/** Figures by destination, the worst first: answers, outages, mail servers, and refusals over time. */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import { count, DAY_MS, HOUR_MS, isOf, outcomeOf, percentile, retriesIn, saidNotNow, type Window } from './window.js'

/** Counts of answers by outcome. `notNow`: answers with 4.3.2. */
export interface Answers {
  readonly attempts: number
  readonly accepted: number
  readonly deferred: number
  readonly rejected: number
  readonly notNow: number
}

/** Outages that overlap the window; durations in ms, up to the window's end if an outage is still open. */
export interface OutageFigures {
  readonly outages: number
  readonly medianOutageMs: number | null
  readonly worstOutageMs: number | null
  /** Start of the open outage; null if there is none. */
  readonly failingSince: Date | null
  /** The same, if the destination counts as down; else null. */
  readonly downSince: Date | null
}

export interface DestinationFigures extends Answers, OutageFigures {
  readonly destination: string
  readonly mailServers: readonly (Answers & { readonly mailServer: string })[]
}

/** One outage, from the first refusal to the first acceptance. */
export interface Outage {
  readonly destination: string
  readonly beganAt: Date
  /** When it began to count as down; null if it never did. */
  readonly downAt: Date | null
  readonly endedAt: Date | null
  readonly refusals: number
  readonly status: string
  readonly reply: string
}

/** Destinations over time: retries answered per bucket, and how many of them were deferred (`refused`). */
export interface Heat {
  readonly from: Date
  readonly bucketMs: number
  readonly buckets: number
  readonly rows: readonly {
    readonly destination: string
    readonly attempts: readonly number[]
    readonly refused: readonly number[]
    readonly outages: readonly Outage[]
  }[]
}

const answers = [
  sql<number>`count(*)`.as('attempts'),
  count(sql`${outcomeOf} = 'accepted'`).as('accepted'),
  count(sql`${outcomeOf} = 'deferred'`).as('deferred'),
  count(sql`${outcomeOf} = 'rejected'`).as('rejected'),
  count(sql`${saidNotNow} = 1`).as('notNow'),
] as const

const numbers = (row: Answers): Answers => ({
  attempts: Number(row.attempts),
  accepted: Number(row.accepted),
  deferred: Number(row.deferred),
  rejected: Number(row.rejected),
  notNow: Number(row.notNow),
})

/** The destinations with the most deferrals, up to `limit`. */
export async function worstDestinations(database: Database, window: Window, limit: number): Promise<DestinationFigures[]> {
  const rows = await database.db
    .selectFrom('attempts')
    .select('destination')
    .select([...answers])
    .where(retriesIn(window))
    .groupBy('destination')
    .orderBy('deferred', 'desc')
    .orderBy('attempts', 'desc')
    .orderBy('destination')
    .limit(limit)
    .execute()
  const servers = await mailServers(
    database,
    window,
    rows.map(({ destination }) => destination),
  )
  const found: DestinationFigures[] = []
  for (const { destination, ...row } of rows)
    found.push({
      destination,
      ...numbers(row),
      ...(await outagesOf(database, window, destination)),
      mailServers: servers.get(destination) ?? [],
    })
  return found
}

/** How many destinations answered. */
export async function countDestinations({ db }: Database, window: Window): Promise<number> {
  const row = await db
    .selectFrom('attempts')
    .select(sql<number>`count(distinct destination)`.as('n'))
    .where(retriesIn(window))
    .executeTakeFirstOrThrow()
  return Number(row.n)
}

const MOST_SERVERS = 5

async function mailServers({ db }: Database, window: Window, destinations: readonly string[]) {
  const found = new Map<string, (Answers & { mailServer: string })[]>()
  if (destinations.length === 0) return found
  const rows = await db
    .selectFrom('attempts')
    .select(['destination', 'mail_server'])
    .select([...answers])
    .where(retriesIn(window))
    .where('destination', 'in', destinations)
    .where('mail_server', 'is not', null)
    .groupBy(['destination', 'mail_server'])
    .orderBy('deferred', 'desc')
    .orderBy('mail_server')
    .limit(destinations.length * 200)
    .execute()
  for (const { destination, mail_server, ...row } of rows) {
    const list = found.get(destination) ?? []
    if (list.length < MOST_SERVERS) list.push({ mailServer: mail_server as string, ...numbers(row) })
    found.set(destination, list)
  }
  return found
}

const touching = (window: Window) =>
  sql<boolean>`began_at < ${window.until.getTime()} and (ended_at is null or ended_at >= ${window.since.getTime()}) and ${isOf(window)}`
const lasted = ({ until }: Window) => sql<number>`coalesce(ended_at, ${sql.lit(until.getTime())}) - began_at`

async function outagesOf({ db }: Database, window: Window, destination: string): Promise<OutageFigures> {
  const of = db.selectFrom('outages').where('destination', '=', destination).where(touching(window))
  const { n, worst } = await of
    .select([sql<number>`count(*)`.as('n'), sql<number>`max(${lasted(window)})`.as('worst')])
    .executeTakeFirstOrThrow()
  const median = await percentile(Number(n), 0.5, async (offset) => {
    const row = await of.select(lasted(window).as('ms')).orderBy('ms').limit(1).offset(offset).executeTakeFirst()
    return row === undefined ? null : Number(row.ms)
  })
  const open = await db
    .selectFrom('outages')
    .select(['began_at', 'down_at'])
    .where('destination', '=', destination)
    .where('ended_at', 'is', null)
    .executeTakeFirst()
  return {
    outages: Number(n),
    medianOutageMs: median,
    worstOutageMs: n === 0 ? null : Number(worst),
    failingSince: open === undefined ? null : new Date(open.began_at),
    downSince: open?.down_at == null ? null : new Date(open.began_at),
  }
}

/** The longest outages, including open ones. */
export async function longestOutages({ db }: Database, window: Window, limit: number, destination?: string): Promise<Outage[]> {
  const rows = await db
    .selectFrom('outages')
    .selectAll()
    .where(touching(window))
    .$if(destination !== undefined, (query) => query.where('destination', '=', destination as string))
    .orderBy(lasted(window), 'desc')
    .limit(limit)
    .execute()
  return rows.map((row) => ({
    destination: row.destination,
    beganAt: new Date(row.began_at),
    downAt: row.down_at === null ? null : new Date(row.down_at),
    endedAt: row.ended_at === null ? null : new Date(row.ended_at),
    refusals: row.refusals,
    status: row.status,
    reply: row.reply,
  }))
}

const MOST_BUCKETS = 120
const BUCKETS_MS = [HOUR_MS, 2 * HOUR_MS, 4 * HOUR_MS, 6 * HOUR_MS, 12 * HOUR_MS, DAY_MS]
const OUTAGES_EACH = 20

/** Uses the smallest bucket that gives at most 120 of them: 1 hour for 5 days, 6 hours for 30. */
export async function heat(database: Database, window: Window, destinations: readonly string[]): Promise<Heat> {
  const span = window.until.getTime() - window.since.getTime()
  const bucketMs = BUCKETS_MS.find((ms) => span / ms <= MOST_BUCKETS) ?? Math.ceil(span / MOST_BUCKETS / DAY_MS) * DAY_MS
  const first = Math.floor(window.since.getTime() / bucketMs)
  const buckets = Math.max(1, Math.ceil(window.until.getTime() / bucketMs) - first)
  const rows = new Map(
    destinations.map((destination) => [
      destination,
      { attempts: new Array<number>(buckets).fill(0), refused: new Array<number>(buckets).fill(0) },
    ]),
  )
  if (destinations.length > 0) {
    const bucket = sql<number>`at / ${sql.lit(bucketMs)}`
    const found = await database.db
      .selectFrom('attempts')
      .select([
        'destination',
        bucket.as('bucket'),
        sql<number>`count(*)`.as('attempts'),
        count(sql`${outcomeOf} = 'deferred'`).as('refused'),
      ])
      .where(retriesIn(window))
      .where('destination', 'in', destinations)
      .groupBy(['destination', bucket])
      .execute()
    for (const row of found) {
      const at = Number(row.bucket) - first
      const of = rows.get(row.destination)
      if (of === undefined || at < 0 || at >= buckets) continue
      of.attempts[at] = Number(row.attempts)
      of.refused[at] = Number(row.refused)
    }
  }
  const made = []
  for (const [destination, row] of rows)
    made.push({ destination, ...row, outages: await longestOutages(database, window, OUTAGES_EACH, destination) })
  return { from: new Date(first * bucketMs), bucketMs, buckets, rows: made }
}
