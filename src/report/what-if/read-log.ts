/** Reads the log that schedules are tried on: what bounced, and when each destination refused or accepted. */
import { sql } from 'kysely'
import type { Database } from '../../store/index.js'
import { isOf, outcomeOf, type Window } from '../window.js'
import { Availability, type Evidence } from './availability.js'
import type { Bounced, Log } from './replay.js'

/** A refusal for reasons of a system or the network, not of a mailbox (RFC 3463, sections 3.4 and 3.5). */
const status = sql<string>`coalesce(reported_status, status)`
const isOfSystem = sql<boolean>`(${status} like '4.3.%' or ${status} like '4.4.%')`
const answeredAt = sql<number>`coalesce(reported_at, at)`
/** More messages than these are thinned out evenly. */
const MOST_MESSAGES = 200_000

export async function readLog(database: Database, window: Window): Promise<Log> {
  const availability = await availabilities(database, window)
  const messages = await bounced(database, window)
  return { messages: messages.filter((message) => availability.has(message.destination)), availability }
}

/** The evidence where it changes from refusals to acceptances or back; the rest between says nothing more. */
async function availabilities({ db }: Database, window: Window): Promise<Map<string, Availability>> {
  const [from, to] = [window.since.getTime(), window.until.getTime()]
  const { rows } = await sql<{ destination: string; seen_at: number; refusal: number }>`
    select destination, seen_at, refusal from (
      select destination, seen_at, refusal,
        lag(refusal) over in_time as before_it, lead(refusal) over in_time as after_it
      from (
        select destination, bounced_at as seen_at, 1 as refusal from ${sql.table('runs')}
          where bounced_at >= ${from} and bounced_at < ${to} and ${isOf(window)}
        union all
        select destination, ${answeredAt} as seen_at, case when ${outcomeOf} = 'deferred' then 1 else 0 end as refusal from ${sql.table('attempts')}
          where at >= ${from} and at < ${to} and ${isOf(window)} and via is null and outcome is not null and (${outcomeOf} <> 'deferred' or ${isOfSystem})
      ) as seen
      window in_time as (partition by destination order by seen_at, refusal)
    ) as compared
    where before_it is null or after_it is null or before_it <> refusal or after_it <> refusal
    order by destination, seen_at, refusal`.execute(db)
  const found = new Map<string, Availability>()
  let evidence: Evidence[] = []
  for (const [i, row] of rows.entries()) {
    evidence.push({ at: Number(row.seen_at), isRefusal: Number(row.refusal) === 1 })
    if (rows[i + 1]?.destination === row.destination) continue
    found.set(row.destination, new Availability(evidence, to))
    evidence = []
  }
  return found
}

async function bounced({ db }: Database, window: Window): Promise<Bounced[]> {
  const [from, to] = [window.since.getTime(), window.until.getTime()]
  const runs = db.selectFrom('runs').where('bounced_at', '>=', from).where('bounced_at', '<', to).where(isOf(window))
  const { n } = await runs.select(sql<number>`count(*)`.as('n')).executeTakeFirstOrThrow()
  const every = Math.max(1, Math.ceil(Number(n) / MOST_MESSAGES))
  const numbered = runs
    .select(['first_run_id', 'destination', 'bounced_at', 'started_at'])
    .select(sql<number>`row_number() over (order by bounced_at, first_run_id)`.as('place'))
    .as('numbered')
  const rows = await db
    .selectFrom(numbered)
    .leftJoin('attempts', (join) =>
      join
        .onRef('attempts.first_run_id', '=', 'numbered.first_run_id')
        .on('attempts.outcome', 'is not', null)
        .on('attempts.via', 'is', null),
    )
    .select(['numbered.destination', 'numbered.bounced_at', 'numbered.started_at'])
    .select([
      sql<number | null>`max(case when ${outcomeOf} = 'deferred' then ${answeredAt} end)`.as('last_refused_at'),
      sql<number>`max(case when ${outcomeOf} = 'rejected' then 1 else 0 end)`.as('is_rejected'),
    ])
    .where(sql<boolean>`numbered.place % ${sql.lit(every)} = 0`)
    .groupBy(['numbered.first_run_id', 'numbered.destination', 'numbered.bounced_at', 'numbered.started_at'])
    .orderBy('numbered.bounced_at')
    .execute()
  return rows.map((row) => ({
    ...{ destination: row.destination, bouncedAt: Number(row.bounced_at), startedAt: Number(row.started_at) },
    lastRefusedAt: row.last_refused_at === null ? null : Number(row.last_refused_at),
    isRejected: Number(row.is_rejected) === 1,
  }))
}
