/** Statistics of many recipients at once: one query per table for a batch. */
import { sql } from 'kysely'
import { type Database, type SuppressionReason, valuesTable } from '../store/index.js'

/** The statistics of a recipient; recipients without any are not in the map. */
export interface RecipientStats {
  readonly suppressed: {
    readonly reason: SuppressionReason
    readonly since: number
    readonly until: number | null
    readonly reply: string | null
  } | null
  /** Retries that were answered since then, and how many of them were deferred. */
  readonly answered: number
  readonly deferred: number
  /** How often it was suppressed for unavailability since then. */
  readonly timesSuppressed: number
  /** The destination of the latest attempt. */
  readonly system: string | null
}

/** @param keys folded addresses. @param since start of the period. */
export async function recipientStats(
  { db, kind }: Database,
  keys: readonly string[],
  since: Date,
  now: Date,
): Promise<Map<string, RecipientStats>> {
  const list = valuesTable(kind, keys)
  const suppressed = await sql<{ address: string; reason: SuppressionReason; since: number; until: number | null; reply: string | null }>`
    select s.address, s.reason, s.since, s.until, s.reply from ${list} join ${sql.table('suppressions')} s on s.address = given.value
    where s.lifted_at is null and (s.until is null or s.until > ${now.getTime()})`.execute(db)
  const attempts = await sql<{ recipient: string; destination: string; n: number; deferred: number; last: number }>`
    select a.recipient, a.destination, count(*) as n, sum(case when coalesce(a.reported_status, a.status) like '4%' then 1 else 0 end) as deferred, max(a.at) as last
    from ${list} join ${sql.table('attempts')} a on a.recipient = given.value where a.at >= ${since.getTime()} and a.outcome is not null and a.retry > 0
    group by a.recipient, a.destination order by last`.execute(db)
  const times = await sql<{ address: string; n: number }>`
    select h.address, count(*) as n from ${list} join ${sql.table('suppression_history')} h on h.address = given.value
    where h.at >= ${since.getTime()} and h.change = 'suppressed' and h.reason = 'unavailable' group by h.address`.execute(db)
  const nothing: RecipientStats = { suppressed: null, answered: 0, deferred: 0, timesSuppressed: 0, system: null }
  const known = new Map<string, RecipientStats>()
  const add = (key: string, more: (before: RecipientStats) => Partial<RecipientStats>) => {
    const before = known.get(key) ?? nothing
    known.set(key, { ...before, ...more(before) })
  }
  for (const { address, ...row } of suppressed.rows)
    add(address, () => ({ suppressed: { ...row, since: Number(row.since), until: row.until === null ? null : Number(row.until) } }))
  // the latest comes last
  for (const { recipient, destination, n, deferred } of attempts.rows)
    add(recipient, (before) => ({
      answered: before.answered + Number(n),
      deferred: before.deferred + Number(deferred),
      system: destination,
    }))
  for (const { address, n } of times.rows) add(address, () => ({ timesSuppressed: Number(n) }))
  return known
}

/** The destinations that are down, and since when (epoch ms). */
export async function destinationsDown({ db }: Database): Promise<Map<string, number>> {
  const rows = await db.selectFrom('destinations').select(['name', 'down_since']).where('down_since', 'is not', null).execute()
  return new Map(rows.map(({ name, down_since }) => [name, down_since as number]))
}
