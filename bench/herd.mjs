// The herd: thousands of bounced messages for one receiving system that is down and comes back, beside those for fifty others that are well.
// The schedule is shortened to minutes; rate limits keep their real values. The sink's own log shows how it was contacted.
//   BENCH_HERD=10000 BENCH_OTHERS=1000 BENCH_DATABASES=sqlite,postgres BENCH_HERD_SVG=docs/images/herd.svg npm run bench herd
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { SoftbounceClient } from '../dist/client/index.js'
import { readSettings } from '../dist/config/config.js'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { startDevServer } from '../dist-dev/dev-server/index.js'
import { herdPlot } from './support/herd-plot.mjs'
import { median } from './support/median.mjs'
import { startPostgres } from './support/postgres.mjs'
import { routes } from './support/routes.mjs'
import { mostIn, startSink } from './support/sink.mjs'

const HERD = Number(process.env.BENCH_HERD ?? 10_000)
const OTHERS = Number(process.env.BENCH_OTHERS ?? HERD / 10)
const DATABASES = (process.env.BENCH_DATABASES ?? 'sqlite,postgres').split(',')
const WORKERS = 3
const OTHER_DESTINATIONS = 50
const STARTS_PER_SECOND = 40
const FIRST_DELAY_MS = Number(process.env.BENCH_FIRST_DELAY_MS ?? 60_000)
const SCHEDULE = [`${FIRST_DELAY_MS / 1000}s`, '600s', '1200s', '2400s']
/** Downtime of the receiving system, as a share of the time over which the first retries are spread. */
const DOWN_SHARE = 0.4
/** Share of the other messages that the baseline run, without the herd, sends. */
const BASELINE_SHARE = 0.3
const RATE = 10
const CONNECTIONS = 3
const WINDOWS_MS = [1000, 5000, 10_000]
const NOT_NOW = '421 4.3.2 System not accepting network messages'
const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

async function startWorker(env) {
  const child = spawn(process.execPath, [CLI, 'worker'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const worker = { polls: [], log: '', stop: () => child.kill('SIGTERM') }
  let rest = ''
  await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`a worker ended with ${code}`)))
    child.stdout.on('data', (chunk) => {
      rest += chunk
      const lines = rest.split('\n')
      rest = lines.pop()
      for (const line of lines) {
        if (line.includes('the worker is ready')) resolve()
        if (!line.includes('a retry was answered')) continue
        const { destination, polls } = JSON.parse(line)
        worker.polls.push({ destination, polls })
      }
    })
  })
  worker.ended = new Promise((resolve) => child.once('exit', resolve))
  return worker
}

/** One run: the herd (or none), the others, and what the sinks logged. */
async function run(kind, herdSize) {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const postgres = kind === 'postgres' ? await startPostgres() : null
  if (kind === 'postgres' && postgres === null) return null
  const url = postgres?.url ?? `file:${join(folder, 'softbounce.db')}`
  const database = openDatabase({ url: url })
  await migrateToLatest(database)
  const server = await startDevServer({ say: () => {} })
  const [herdSink, othersSink] = [await startSink(), await startSink()]
  const connection = await Connection.connect({ address: server.address })
  const temporal = new Client({ connection })
  const client = await SoftbounceClient.open(readSettings({}), { temporal, database })
  const env = {
    ...process.env,
    TEMPORAL_ADDRESS: server.address,
    TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'),
    SOFTBOUNCE_DATABASE_URL: url,
    SOFTBOUNCE_ROUTES: routes({ 'herd.example': herdSink.port, '*': othersSink.port }),
    SOFTBOUNCE_THROTTLE_DESTINATIONS: JSON.stringify({ 'herd.example': { maxMessageRate: `${RATE}/s`, connectionLimit: CONNECTIONS } }),
    SOFTBOUNCE_RETRY_SCHEDULE: SCHEDULE.join(', '),
    SOFTBOUNCE_SMTP_EHLO_DOMAIN: 'softbounce.example.com',
    SOFTBOUNCE_THROTTLE_MAX_QUEUE_DELAY: process.env.BENCH_LONGEST_WAIT ?? '15min',
  }
  const workers = []
  for (let i = 0; i < WORKERS; i += 1) workers.push(await startWorker(env))
  const bounced = new Map()
  let down = true
  herdSink.how.banner = () => (down ? NOT_NOW : undefined)
  // the baseline measures the others' delay on a part of them
  const started = Math.floor((HERD + OTHERS) * (herdSize === 0 ? BASELINE_SHARE : 1))
  const others = herdSize === 0 ? Math.floor((started * OTHERS) / (HERD + OTHERS)) : OTHERS
  const total = herdSize + others
  const began = Date.now()
  const spreadMs = (total / STARTS_PER_SECOND) * 1000 + FIRST_DELAY_MS / 10
  const downUntil = began + FIRST_DELAY_MS + spreadMs * DOWN_SHARE
  const comeBack = setTimeout(() => {
    down = false
  }, downUntil - began)
  const pending = new Set()
  // the others are spread evenly among the herd, and start at the same times without it
  for (let i = 0; i < started; i += 1) {
    const isOther = Math.floor(((i + 1) * OTHERS) / (HERD + OTHERS)) > Math.floor((i * OTHERS) / (HERD + OTHERS))
    const dueAt = began + (i * 1000) / STARTS_PER_SECOND
    if (dueAt > Date.now()) await sleep(dueAt - Date.now())
    if (!isOther && herdSize === 0) continue
    const recipient = isOther ? `p${i}@d${i % OTHER_DESTINATIONS}.example` : `p${i}@herd.example`
    const id = `m${i}@example.com`
    const bouncedAt = new Date()
    bounced.set(recipient, bouncedAt.getTime())
    const message = `From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <${id}>\r\n\r\nhello ${i}\r\n`
    const starting = client
      .retry(message, { sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: bouncedAt.toISOString() })
      .finally(() => pending.delete(starting))
    pending.add(starting)
    if (pending.size > 50) await Promise.race(pending)
  }
  await Promise.all(pending)
  const until = Date.now() + FIRST_DELAY_MS + 3600_000
  let shown = Date.now()
  while (herdSink.taken.length + othersSink.taken.length < total && Date.now() < until) {
    await sleep(500)
    if (Date.now() - shown < 30_000) continue
    shown = Date.now()
    process.stderr.write(
      `herd bench (${kind}): after ${Math.round((shown - began) / 1000)} s: ${herdSink.taken.length} of ${herdSize} and ${othersSink.taken.length} of ${others}\n`,
    )
  }
  clearTimeout(comeBack)
  for (const worker of workers) worker.stop()
  await Promise.all(workers.map(({ ended }) => ended))
  const destinations = await database.db.selectFrom('destinations').selectAll().where('name', '=', 'herd.example').execute()
  await client.close()
  await connection.close()
  await server.stop()
  await database.close()
  await postgres?.remove()
  for (const sink of [herdSink, othersSink]) await sink.close()
  rmSync(folder, { recursive: true, force: true })
  return {
    kind,
    began,
    downUntil,
    bounced,
    herdSink,
    othersSink,
    herdSize,
    destinations,
    polls: workers.flatMap((worker) => worker.polls),
  }
}

function delays({ othersSink, bounced }) {
  return othersSink.taken.map(({ at, to }) => at - bounced.get(to))
}

function check(result) {
  const faults = []
  const all = [...result.herdSink.taken, ...result.othersSink.taken]
  const seen = new Set(all.map(({ to }) => to))
  if (seen.size !== result.bounced.size) faults.push(`${result.bounced.size - seen.size} lost`)
  if (all.length !== seen.size) faults.push(`${all.length - seen.size} sent twice`)
  const early = all.filter(({ at, to }) => at < result.bounced.get(to) + FIRST_DELAY_MS)
  if (early.length > 0) faults.push(`${early.length} early`)
  for (const ms of WINDOWS_MS)
    if (mostIn(result.herdSink.connections, ms) > (RATE * ms) / 1000 && mostIn(result.herdSink.mails, ms) > (RATE * ms) / 1000)
      faults.push(`${mostIn(result.herdSink.mails, ms)} messages in ${ms} ms`)
  if (result.herdSink.mostOpen > CONNECTIONS) faults.push(`${result.herdSink.mostOpen} connections at once`)
  return faults
}

export async function herd() {
  const rows = []
  for (const kind of DATABASES) {
    const alone = await run(kind, 0)
    if (alone === null) continue
    const result = await run(kind, HERD)
    const faults = check(result)
    const { herdSink } = result
    const firstTaken = Math.min(...herdSink.taken.map(({ at }) => at))
    const lastTaken = Math.max(...herdSink.taken.map(({ at }) => at))
    const [quiet, busy] = [median(delays(alone)), median(delays(result))]
    const late = (run) => median(delays(run).map((ms) => ms - FIRST_DELAY_MS))
    const herdLookUps = result.polls.filter(({ destination }) => destination === 'herd.example').map(({ polls }) => polls)
    rows.push({
      database: kind,
      herd: HERD,
      others: OTHERS,
      'lost, early, twice, above the setting': faults.join('; ') || 'none',
      ...Object.fromEntries(WINDOWS_MS.map((ms) => [`most in ${ms / 1000} s (${(RATE * ms) / 1000})`, mostIn(herdSink.mails, ms)])),
      [`most connections (${CONNECTIONS})`]: herdSink.mostOpen,
      'asked while down': herdSink.connections.filter((at) => at < result.downUntil).length,
      'look-ups a message': (herdLookUps.reduce((a, b) => a + b, 0) / HERD).toFixed(1),
      'time of the ideal': ((lastTaken - firstTaken) / ((HERD / RATE) * 1000)).toFixed(2),
      'others’ median delay, of that without the herd': (busy / quiet).toFixed(3),
      'beyond their time, s': `${(late(alone) / 1000).toFixed(1)} / ${(late(result) / 1000).toFixed(1)}`,
    })
    if (process.env.BENCH_HERD_SVG) writeFileSync(process.env.BENCH_HERD_SVG, herdPlot(result, { rate: RATE }))
  }
  return rows
}
