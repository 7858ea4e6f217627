// A whole life with all that it costs: a real worker, real SMTP, a real database and a real Temporal (a dev server; with
// BENCH_TEMPORAL=cluster, a cluster), beside a bare workflow with timers and nodemailer in the same run. CPU of the worker, of Temporal
// and of PostgreSQL; statements of PostgreSQL; events and bytes of the history.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { bundleWorkflowCode } from '@temporalio/worker'
import pg from 'pg'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { cpuMsOf } from '../dist-dev/process-cpu.js'
import { historyOf } from './support/life.mjs'
import { median } from './support/median.mjs'
import { startPostgres } from './support/postgres.mjs'
import { countRoundTrips } from './support/round-trips.mjs'
import { routes } from './support/routes.mjs'
import { startSink } from './support/sink.mjs'
import { IS_CLUSTER, startTemporal } from './support/temporal.mjs'
import { LIVES, repliesOf } from './support/whole-lives.mjs'

const COUNT = Number(process.env.BENCH_WHOLE_LIVES ?? 150)
/** A folder for V8's profiles of the workers (open them in Chromium's developer tools). */
const PROFILED = process.env.BENCH_PROFILE === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`]
const WARM_UP_LIVES = Number(process.env.BENCH_WHOLE_WARM_UP ?? 600)
/** Processes of softbounce's worker that share the work. */
const WORKERS = Number(process.env.BENCH_WHOLE_WORKERS ?? 1)
const ROUNDS = Number(process.env.BENCH_WHOLE_ROUNDS ?? 3)
/** Names of lives, or their beginnings. */
const KINDS = Object.keys(LIVES).filter((name) =>
  (process.env.BENCH_WHOLE_KINDS ?? '').split(',').some((wanted) => name.startsWith(wanted)),
)
/** A steady stream: bounces come one after another, and their retries are spread. A cluster on two cores carries four a second. */
const STARTS_PER_SECOND = Number(process.env.BENCH_WHOLE_RATE ?? (IS_CLUSTER ? 3 : 25))
const DATABASES = (process.env.BENCH_DATABASES ?? 'sqlite,postgres').split(',')
const path = (name) => fileURLToPath(new URL(name, import.meta.url))
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, log() {} }

function startProcess(args, env) {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const ready = new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      if (/^ready|the worker is ready/m.test(chunk.toString())) resolve()
    })
    ended.then((code) => reject(new Error(`the worker ended with ${code}`)))
  })
  return {
    pid: child.pid,
    ready,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

export async function whole() {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-bench-'))
  const bundle = join(folder, 'bare.js')
  const { code } = await bundleWorkflowCode({ workflowsPath: path('./support/bare-lives.mjs'), logger: quiet })
  writeFileSync(bundle, code)
  const postgres = await startPostgres(['shared_preload_libraries=pg_stat_statements'])
  const databases = DATABASES.includes('sqlite') ? [['SQLite', `file:${join(folder, 'softbounce.db')}`]] : []
  if (postgres !== null && DATABASES.includes('postgres')) databases.push(['PostgreSQL', postgres.url])
  const rows = []
  try {
    for (const kind of KINDS)
      for (const [name, url] of databases) rows.push(...(await compared(kind, name, url, { folder, bundle, postgres })))
    return rows
  } finally {
    await postgres?.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Alternating rounds of softbounce and of the bare life; the medians, and their ratios. */
async function compared(kind, name, url, { folder, bundle, postgres }) {
  const server = await startTemporal()
  const connection = await Connection.connect({ address: server.address })
  const client = new Client({ connection })
  const life = LIVES[kind]
  const sink = await startSink({ rcpt: repliesOf(life) })
  const context = { client, sink, url }
  const store = openDatabase({ url })
  await migrateToLatest(store)
  const statements = name === 'PostgreSQL' ? await countStatements(url) : null
  const counted = name === 'PostgreSQL' ? await countRoundTrips(url) : null
  const env = {
    ...{ TEMPORAL_ADDRESS: server.address, TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'), SOFTBOUNCE_DATABASE_URL: counted?.url ?? url },
    ...(life.env?.(context) ?? {}),
    ...(kind.includes('relay') ? {} : { SOFTBOUNCE_ROUTES: routes({ '*': sink.port }) }),
    SOFTBOUNCE_LOG_LEVEL: 'info',
    ...{ SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: '1000/s', SOFTBOUNCE_THROTTLE_MAX_MESSAGE_RATE: '1000/s' },
    ...{ SOFTBOUNCE_THROTTLE_FAILURES_BEFORE_DOWN: '100' },
  }
  const workers = {
    softbounce: Array.from({ length: WORKERS }, () => startProcess([...PROFILED, path('../dist/cli/main.js'), 'worker'], env)),
    bare: [
      startProcess(
        [...PROFILED, path('./support/bare-worker.mjs'), JSON.stringify({ address: server.address, bundle, port: sink.port })],
        {},
      ),
    ],
  }
  const runs = { softbounce: [], bare: [] }
  try {
    await Promise.all(Object.values(workers).flatMap((processes) => processes.map(({ ready }) => ready)))
    for (let round = 0; round <= ROUNDS; round += 1)
      for (const who of ['softbounce', 'bare']) {
        const before = await usage(workers[who], server, postgres, statements, counted)
        const began = performance.now()
        const handles = []
        // the first round warms V8 up: a worker runs for weeks
        const lives = round === 0 ? WARM_UP_LIVES : COUNT
        for (let i = 0; i < lives; i += 1) {
          handles.push(life[who](context, i, `${kind.replace(/\W+/g, '')}${name}${round}`.toLowerCase()))
          await sleep(1000 / (round === 0 ? 2 * STARTS_PER_SECOND : STARTS_PER_SECOND))
        }
        await Promise.all(handles)
        const results = await Promise.all(handles.map(async (handle) => (await handle).result()))
        const seconds = (performance.now() - began) / 1000
        await sleep(500)
        const after = await usage(workers[who], server, postgres, statements, counted)
        const wrong = results.find(({ outcome }) => outcome !== life.outcome)
        if (wrong !== undefined) throw new Error(`${who}: a life ended as ${wrong.outcome}, not as ${life.outcome}`)
        if (round === 0) continue
        const each = Object.fromEntries(Object.keys(after).map((figure) => [figure, (after[figure] - before[figure]) / COUNT]))
        runs[who].push({ ...each, seconds, ...(await historyOf(client, (await handles[0]).workflowId)) })
      }
  } finally {
    for (const worker of Object.values(workers).flat()) await worker.stop()
    context.pool?.close()
    context.tracked?.close()
    await statements?.close()
    counted?.close()
    await sink.close()
    await store.close()
    await connection.close()
    await server.stop()
  }
  return ['softbounce', 'bare'].map((who) => row(kind, name, who, runs))
}

function row(kind, name, who, runs) {
  const of = (one, figure) => median(runs[one].map((run) => run[figure]))
  const all = (one) => of(one, 'worker') + of(one, 'temporal') + of(one, 'temporalDatabase') + of(one, 'postgres')
  const spread = (figure) =>
    `${Math.min(...runs[who].map((run) => run[figure])).toFixed(0)}–${Math.max(...runs[who].map((run) => run[figure])).toFixed(0)}`
  const figures = { life: kind, database: name, what: who, 'worker, ms': `${of(who, 'worker').toFixed(1)} (${spread('worker')})` }
  Object.assign(figures, {
    'Temporal, ms': of(who, 'temporal').toFixed(1),
    ...(IS_CLUSTER ? { 'Temporal’s PostgreSQL, ms': of(who, 'temporalDatabase').toFixed(1) } : {}),
    'PostgreSQL, ms': of(who, 'postgres').toFixed(1),
    'all, ms': all(who).toFixed(1),
  })
  Object.assign(figures, {
    statements: of(who, 'statements').toFixed(0),
    'round trips': of(who, 'trips').toFixed(1),
    events: of(who, 'events'),
    bytes: of(who, 'bytes'),
  })
  if (who === 'bare') return figures
  const ratio = (a, b) => (a / b).toFixed(2)
  return { ...figures, 'worker to bare': ratio(of(who, 'worker'), of('bare', 'worker')), 'all to bare': ratio(all(who), all('bare')) }
}

async function usage(workers, server, postgres, statements, counted) {
  return {
    worker: workers.reduce((sum, { pid }) => sum + cpuMsOf(pid), 0),
    temporal: server.cpuMs(),
    temporalDatabase: server.databaseCpuMs(),
    postgres: postgres === null ? 0 : postgres.cpuMs(),
    statements: statements === null ? 0 : await statements.calls(),
    trips: counted?.trips ?? 0,
  }
}

/** Statements that PostgreSQL has run for our role, begin and commit too. */
async function countStatements(url) {
  const client = new pg.Client(url)
  await client.connect()
  await client.query('create extension if not exists pg_stat_statements')
  return {
    calls: async () => Number((await client.query('select sum(calls) as calls from pg_stat_statements')).rows[0].calls),
    close: () => client.end(),
  }
}
