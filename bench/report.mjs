// The report over a million attempts: time for the figures and the HTML, and memory, on both databases.
//   BENCH_REPORT_ATTEMPTS=1000000 BENCH_DATABASES=sqlite,postgres npm run bench report
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { figures } from '../dist/report/figures.js'
import { htmlReport } from '../dist/report/html.js'
import { textReport } from '../dist/report/text.js'
import { whatIf } from '../dist/report/what-if/index.js'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { startPostgres } from './support/postgres.mjs'

const ATTEMPTS = Number(process.env.BENCH_REPORT_ATTEMPTS ?? 1_000_000)
const DESTINATIONS = 10_000
const DATABASES = (process.env.BENCH_DATABASES ?? 'sqlite,postgres').split(',')
const DAY = 24 * 3_600_000
const DAYS = 30

/** Thirty days of attempts, generated in SQL: a few large destinations that are down at times, thousands of small ones. */
async function fill({ db, kind }, from) {
  const numbers =
    kind === 'sqlite'
      ? sql`(with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ${sql.lit(ATTEMPTS)}) select i from n) as n`
      : sql`generate_series(0, ${sql.lit(ATTEMPTS - 1)}) as n(i)`
  const hashed = (factor, size) => sql.raw(`((cast(n.i as bigint) * ${factor} + n.i / 7) % ${size})`)
  const destination = sql`case when ${hashed(7919, 10)} < 4 then ${hashed(104_729, 12)} else ${hashed(15_485_863, DESTINATIONS)} end`
  const at = sql`${sql.lit(from)} + cast(n.i as bigint) * ${sql.lit(Math.floor((DAYS * DAY) / ATTEMPTS))}`
  // a system is down for some hours of some days
  const hour = sql`((${at}) / 3600000)`
  const down = sql`((${hour} / 5 + (${destination})) % 7 = 0 or (${destination}) % 997 = 3)`
  await sql`insert into attempts (first_run_id, retry, workflow_id, message_id, recipient, destination, begun_at, sends, maybe_delivered, relayed, at, outcome, status, reply, stage, mail_server)
    select 'run' || n.i, 1 + ${hashed(31, 10)} / 4 + n.i % 2, 'bounce/x/' || n.i, 'm' || n.i, 'p' || n.i || '@example.org',
      'system' || (${destination}) || '.example', ${at}, 1, 0, 0, ${at},
      case when ${down} then 'deferred' when n.i % 50 = 0 then 'rejected' else 'accepted' end,
      case when ${down} then '4.3.2' when n.i % 50 = 0 then '5.1.1' else '2.0.0' end, '-', 'banner', 'mx' || n.i % 3 || '.system' || (${destination}) || '.example'
    from ${numbers}`.execute(db)
  await sql`insert into runs (first_run_id, workflow_id, sent_id, destination, status, message_key, ended_at, bounced_at, started_at)
    select first_run_id, workflow_id, message_id, destination, '4.3.2', 'key', case when at > ${sql.lit(from + (DAYS - 1) * DAY)} then null else at end, at - 3600000 * (1 + retry * retry), at - 3600000 * (1 + retry * retry) from attempts`.execute(
    db,
  )
  await sql`insert into outcomes (message_id, recipient, workflow_id, first_run_id, outcome, confirmed, ended_at)
    select message_id, recipient, workflow_id, first_run_id, case outcome when 'accepted' then 'delivered' when 'rejected' then 'rejected' else 'suppressed' end,
      case outcome when 'accepted' then 1 else 0 end, at from attempts`.execute(db)
  await sql`insert into outages (destination, began_at, down_at, ended_at, refusals, status, reply)
    select destination, min(at), min(at), case when destination = 'system3.example' and at / 18000000 >= ${sql.lit(Math.floor((from + (DAYS - 1) * DAY) / 18_000_000))} then null else max(at) end,
      count(*), '4.3.2', '421 4.3.2 System not accepting network messages' from attempts where outcome = 'deferred' group by destination, at / 18000000`.execute(
    db,
  )
  await sql`insert into suppression_history (address, at, change, reason, by)
    select recipient, at, 'suppressed', 'unavailable', workflow_id from attempts where outcome = 'deferred' and retry = 3`.execute(db)
  await sql`insert into destinations (name, next_start_at, reserved_until, overflow_until, rate, connections, service_ms, failures, failing_since, down_since, next_probe_at, not_before, epoch, starved_at)
    select destination, 0, 0, 0, 1, 1, 0, 0, case when count(*) % 5 = 0 then max(at) else null end, null, 0, 0, 0, 0 from attempts group by destination`.execute(
    db,
  )
  if (kind === 'postgres') await sql`analyze`.execute(db)
}

export async function report() {
  const rows = []
  for (const kind of DATABASES) {
    const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
    const postgres = kind === 'postgres' ? await startPostgres() : null
    if (kind === 'postgres' && postgres === null) continue
    const database = openDatabase({ url: postgres?.url ?? `file:${join(folder, 'softbounce.db')}` })
    await migrateToLatest(database)
    const until = new Date()
    const since = new Date(until.getTime() - DAYS * DAY)
    await fill(database, since.getTime())
    const heap = process.memoryUsage().rss
    const began = performance.now()
    const found = await figures(database, { since, until })
    const counted = performance.now()
    const page = htmlReport(found)
    const drawn = performance.now()
    const text = textReport(found)
    const trying = performance.now()
    const hours = (list) => list.map((n) => n * 3_600_000)
    const tried = await whatIf(
      database,
      { since, until },
      { currentMs: hours([1, 4, 12, 24]), schedulesMs: [hours([0.5, 2, 8, 24])], suggest: 4 },
    )
    const suggested = performance.now()
    rows.push({
      database: kind,
      attempts: found.answers.attempts,
      systems: found.systems,
      'figures, s': ((counted - began) / 1000).toFixed(1),
      'HTML, s': ((drawn - counted) / 1000).toFixed(1),
      'schedules tried and suggested, s': ((suggested - trying) / 1000).toFixed(1),
      'messages tried': tried.messages,
      'HTML, KiB': Math.round(page.length / 1024),
      'memory more, MiB': Math.round((process.memoryUsage().rss - heap) / 1024 / 1024),
    })
    if (process.env.BENCH_REPORT_HTML) writeFileSync(process.env.BENCH_REPORT_HTML, page)
    if (process.env.BENCH_REPORT_TEXT) writeFileSync(process.env.BENCH_REPORT_TEXT, text)
    await database.close()
    await postgres?.remove()
    rmSync(folder, { recursive: true, force: true })
  }
  return rows
}
