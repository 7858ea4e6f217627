// Chaos: retries run while receiving systems misbehave and workers, Temporal, the database and the network fail; then the audit.
//   npm run chaos -- --lives 1000 --seed 1 --database sqlite|postgres --temporal dev-server|cluster --skew 1500 --output chaos.json
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client, Connection } from '@temporalio/client'
import { routes } from '../bench/support/routes.mjs'
import { SoftbounceClient } from '../dist/client/index.js'
import { readSettings } from '../dist/config/config.js'
import { migrateToLatest, openDatabase } from '../dist/store/index.js'
import { audit } from './audit.mjs'
import { startFaults } from './faults.mjs'
import { randomOf } from './random.mjs'
import { SYSTEM_KINDS, startSystem } from './systems.mjs'
import { startTemporal } from './temporal.mjs'
import { ownFolder, startDatabase, startProxy, Worker } from './world.mjs'

const { values: args } = parseArgs({
  options: {
    lives: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    database: { type: 'string', default: 'sqlite' },
    temporal: { type: 'string', default: 'dev-server' },
    // clock skew of the workers, ms
    skew: { type: 'string', default: '1500' },
    output: { type: 'string' },
    quiet: { type: 'boolean', default: false },
  },
})
const LIVES = Number(args.lives)
const SEED = Number(args.seed)
const RATE = 20
const SKEW_MS = Number(args.skew)
const SCHEDULE_MS = [4000, 5000, 6000]
const CONFIRM_MS = 4000
/** Starts are spread out, so that some retries wait while others end. */
const STARTS_PER_SECOND = args.temporal === 'cluster' ? 3 : 10
const WORKERS = 3
const CALM_WITHIN_MS = 10 * 60_000

const say = (text) => args.quiet || process.stderr.write(`${new Date().toISOString().slice(11, 23)} ${text}\n`)
const random = randomOf(SEED)
const contacts = []
const faults = []
const log = (contact) => contacts.push(contact)

const folder = ownFolder(200)
const systems = []
for (const kind of SYSTEM_KINDS)
  for (let i = 0; i < 2; i += 1)
    systems.push(await startSystem(`${kind.replaceAll(' ', '-')}-${i}.example`, kind, randomOf(SEED * 1000 + systems.length), log))
const relay = await startSystem('relay.example', 'well', random, log)
const database = await startDatabase(args.database, folder)
if (database === null) {
  process.stderr.write('PostgreSQL (initdb) is not installed\n')
  process.exit(2)
}
const temporal = await startTemporal(args.temporal, folder)
if (temporal === null) {
  await database.remove()
  folder.remove()
  process.exit(2)
}
const proxies = {
  temporal: await startProxy(temporal.port),
  ...(database.port === null ? {} : { database: await startProxy(database.port) }),
}
const databaseUrl = database.port === null ? database.url : database.url.replace(`:${database.port}/`, `:${proxies.database.port}/`)
const env = {
  ...process.env,
  TEMPORAL_ADDRESS: `127.0.0.1:${proxies.temporal.port}`,
  TEMPORAL_CONFIG_FILE: join(folder.path, 'none.toml'),
  SOFTBOUNCE_DATABASE_URL: databaseUrl,
  SOFTBOUNCE_ROUTES: routes(Object.fromEntries(systems.map(({ name, port }) => [name, port]))),
  SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${relay.port}`,
  SOFTBOUNCE_RELAY_TLS: 'off',
  SOFTBOUNCE_RETRY_SCHEDULE: SCHEDULE_MS.map((ms) => `${ms / 1000}s`).join(', '),
  SOFTBOUNCE_RELAY_CONFIRM_WITHIN: `${CONFIRM_MS / 1000}s`,
  SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: `${RATE}/s`,
  SOFTBOUNCE_THROTTLE_MAX_MESSAGE_RATE: `${RATE}/s`,
  SOFTBOUNCE_THROTTLE_FAILURES_BEFORE_DOWN: '20',
  SOFTBOUNCE_THROTTLE_PROBE_INTERVAL: '1s',
  SOFTBOUNCE_THROTTLE_MAX_QUEUE_DELAY: '3s',
  ...Object.fromEntries(['CONNECT', 'COMMAND', 'DATA', 'FINAL_DOT'].map((step) => [`SOFTBOUNCE_SMTP_TIMEOUTS_${step}`, '2s'])),
  SOFTBOUNCE_WORKER_SHUTDOWN_GRACE: '5s',
  SOFTBOUNCE_LOG_LEVEL: 'info',
}
const store = openDatabase({ url: database.url })
await migrateToLatest(store)
// clock skew: one ahead, one behind
const workers = Array.from({ length: WORKERS }, (_, i) => new Worker(`worker-${i}.example`, env, [0, SKEW_MS, -SKEW_MS][i % 3]))
/** Ends what the run started, however it ends. */
async function tearDown() {
  for (const worker of workers) worker.signal('SIGKILL')
  for (const step of [
    () => client?.close(),
    () => connection?.close(),
    () => temporal.stop(),
    () => store.close(),
    () => database.remove(),
    ...[...systems, relay].map((system) => () => system.close()),
    ...Object.values(proxies).map((proxy) => () => proxy.close()),
    () => folder.remove(),
  ])
    try {
      await step()
    } catch (error) {
      process.stderr.write(`chaos: ${error.message}\n`)
    }
}
let isEnding = false
for (const event of ['SIGINT', 'SIGTERM', 'uncaughtException', 'unhandledRejection'])
  process.on(event, async (error) => {
    if (isEnding) return
    isEnding = true
    process.stderr.write(`chaos: ${error?.stack ?? event}\n`)
    await tearDown()
    process.exit(1)
  })
let connection
let client
for (const worker of workers) worker.start()
while (!workers.every(({ ready }) => ready)) await sleep(100)
const skewMs = Math.max(...workers.map((worker) => Math.abs(worker.skewMs)))

/** Retries the step until it succeeds, as servers may be away. */
async function stubborn(what, step) {
  for (let tries = 1; ; tries += 1)
    try {
      return await step()
    } catch (error) {
      if (tries >= 300) throw new Error(`${what}: ${error.message}`)
      await sleep(500)
    }
}
const connected = () =>
  stubborn('Temporal', async () => {
    connection = await Connection.connect({ address: temporal.address, connectTimeout: 2000 })
    client = await SoftbounceClient.open(readSettings({}), { temporal: new Client({ connection }), database: store })
  })
await connected()

say(
  `${LIVES} lives, seed ${SEED}, ${args.database}, ${args.temporal}, ${WORKERS} workers, clocks up to ${skewMs} ms apart${folder.canBeFilled ? '' : '; the disk is not filled up (no mount)'}`,
)
const began = Date.now()
const chaos = startFaults({ random, workers, temporal, database, proxies, folder, relay, say }, faults)
const lives = []
for (let i = 0; i < LIVES; i += 1) {
  const system = random.chance(0.1) ? relay : random.pick(systems)
  const recipient = `p${i}@${system === relay ? 'by-relay.example' : system.name}`
  const life = {
    id: `m${i}@example.com`,
    recipient,
    system: system.name,
    kind: system === relay ? 'relay' : system.kind,
    delaysMs: SCHEDULE_MS,
    bouncedAt: Date.now(),
  }
  lives.push(life)
  const message = `From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <${life.id}>\r\nSubject: ${i}\r\n\r\nhello ${i}\r\n`
  const bounce = { sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date(life.bouncedAt).toISOString() }
  await stubborn(recipient, () => client.retry(message, bounce))
  const dueAt = began + ((i + 1) * 1000) / STARTS_PER_SECOND
  if (dueAt > Date.now()) await sleep(dueAt - Date.now())
}
const open = () =>
  stubborn(
    'the count',
    async () =>
      (await new Client({ connection }).workflow.count("WorkflowType = 'retryBouncedMessage' AND ExecutionStatus = 'Running'")).count,
  )
// faults stop after twice the schedule's length; the rest of the run is undisturbed
const troubledUntil = Date.now() + SCHEDULE_MS.reduce((a, b) => a + b) * 2
while (Date.now() < troubledUntil && (await open()) > 0) await sleep(1000)
await chaos.end()
say(`calm; ${await open()} are open`)
const until = Date.now() + CALM_WITHIN_MS
for (let shown = 0; Date.now() < until; ) {
  const n = await open()
  if (n === 0) break
  if (Date.now() - shown > 15_000) {
    say(`${n} are open`)
    shown = Date.now()
  }
  await sleep(1000)
}
const results = new Map()
for (const { recipient, id } of lives) results.set(recipient, await stubborn(recipient, () => client.get(recipient, id)))
const attempts = await store.db.selectFrom('attempts').selectAll().where('outcome', 'is not', null).orderBy('at').execute()
const suppressions = await store.db.selectFrom('suppressions').selectAll().where('lifted_at', 'is', null).execute()
for (const worker of workers) worker.signal('SIGTERM')
await Promise.all(workers.map((worker) => Promise.race([worker.ended, sleep(10_000).then(() => worker.signal('SIGKILL'))])))
const run = { lives, contacts, results, attempts, suppressions, faults, settings: { rate: RATE, skewMs, relay: relay.name } }
const { findings, explained, outcomes } = audit(run)
const seconds = Math.round((Date.now() - began) / 1000)
const summary = {
  seed: SEED,
  database: args.database,
  temporal: args.temporal,
  lives: LIVES,
  seconds,
  outcomes,
  faults: Object.fromEntries(
    [...new Set(faults.map(({ kind }) => kind))].map((kind) => [kind, faults.filter((one) => one.kind === kind).length]),
  ),
  contacts: contacts.length,
  attempts: attempts.length,
  ...Object.fromEntries(Object.entries(findings).map(([of, list]) => [of, list.length])),
  'sent twice, explained': explained.length,
}
process.stdout.write(`${JSON.stringify(summary, null, 2)}\n`)
for (const [of, list] of Object.entries(findings)) for (const text of list.slice(0, 20)) process.stdout.write(`${of}: ${text}\n`)
for (const text of explained) process.stdout.write(`explained: ${text}\n`)
if (args.output !== undefined)
  writeFileSync(
    args.output,
    JSON.stringify(
      { summary, ...run, results: [...results], explained, findings, logs: workers.map(({ name, log }) => [name, log]) },
      null,
      1,
    ),
  )
await tearDown()
process.exitCode = Object.values(findings).some((list) => list.length > 0) ? 1 : 0
