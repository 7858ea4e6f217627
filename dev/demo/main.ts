/**
 * The demo: an application's `sendMail` that is refused with 4.3.2, and three genuine Postfix reports of it, are retried, with an hour shortened to a second, on real parts: a Temporal dev server with
 * its Web UI, a worker process and SMTP servers. Exits with status 1 if an outcome is not the expected one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import type { RetryResult } from '../../dist/bounce/retry-result.js'
import { SoftbounceClient, type StartedRetry } from '../../dist/client/index.js'
import { parseReport } from '../../dist/dsn/index.js'
import { openDatabase } from '../../dist/store/index.js'
import { listSuppressions } from '../../dist/suppression/index.js'
import { type DevServer, startDevServer } from '../dev-server/index.js'
import { busy, comesBack, movedAway, type PlayedSystem, play, staysDown } from './receiving-systems.js'
import { refusedSend } from './refused-send.js'
import { bad, bold, dim, good, heading, print, soft, Timeline, table } from './timeline.js'

const CASES = [
  {
    file: 'invoice-4711.eml',
    system: 'comes-back.example',
    role: comesBack,
    outcome: 'delivered',
    retries: 3,
    tells: 'is down for two retries, then takes mail',
  },
  { file: 'invoice-4712.eml', system: 'stays-down.example', role: staysDown, outcome: 'suppressed', retries: 4, tells: 'never recovers' },
  {
    file: 'invoice-4713.eml',
    system: 'moved-away.example',
    role: movedAway,
    outcome: 'rejected',
    retries: 2,
    tells: 'says on the second try that there is no such user',
  },
] as const
const SENT = {
  system: 'busy.example',
  recipient: 'dora@busy.example',
  role: busy,
  outcome: 'delivered',
  retries: 1,
  tells: 'refuses sendMail once, then takes mail',
} as const
/** Signs the return paths of what the demo sends. */
const RETURN_PATH_KEY = Buffer.alloc(32, 1).toString('base64')
const SCHEDULE = ['1s', '4s', '12s', '24s']
const LOOK_EVERY_MS = 200
const END_WITHIN_MS = 80_000

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const keep = process.argv.includes('--keep')
const unknown = process.argv.slice(2).filter((argument) => argument !== '--keep')
if (unknown.length > 0) {
  process.stderr.write(`softbounce demo: ${unknown.join(' ')}: there is only --keep\n`)
  process.exit(2)
}

/** Stops everything that was started; run in reverse order. */
const started: (() => Promise<void> | void)[] = []
async function endAll(): Promise<void> {
  for (const end of started.splice(0).reverse()) await end()
}

const NOTHING_SEEN = { retriesSeen: 0, waitsSeen: 0, result: null }

interface Followed {
  readonly recipient: string
  readonly system: string
  readonly expected: (typeof CASES)[number] | typeof SENT
  readonly retry: StartedRetry
  retriesSeen: number
  waitsSeen: number
  result: RetryResult | null
}

async function main(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-demo-'))
  started.push(() => rmSync(folder, { recursive: true, force: true }))
  print(
    bold('softbounce demo') + dim('  a message that came back with 4.3.2 is retried after 1, 4, 12 and 24 hours; here an hour is a second'),
  )
  const systems = await startSystems()
  const temporal = await startDevServer({ webUi: true, say: print })
  started.push(() => temporal.stop())
  const databaseUrl = `file:${join(folder, 'softbounce.db')}`
  await startWorker(folder, temporal, databaseUrl, systems)
  const database = openDatabase({ url: databaseUrl })
  started.push(() => database.close())
  const connection = await Connection.connect({ address: temporal.address })
  started.push(() => connection.close())
  const client = await SoftbounceClient.connect({ temporal: new Client({ connection }), database: { url: databaseUrl } })

  heading('Four receiving systems')
  for (const { system, tells } of [SENT, ...CASES]) print(`  ${system.padEnd(20)} ${tells}`)
  print(dim(`\n  Web UI: ${temporal.webUi}/namespaces/default/workflows`))

  heading('1. An application sends, and is refused')
  const { port } = systems.get(SENT.system) as PlayedSystem
  const sent = await refusedSend(SENT.recipient, port, RETURN_PATH_KEY, databaseUrl, new Client({ connection }), SCHEDULE)
  heading('2. Three bounces come back, and all are retried')
  const followed = [{ ...sent, ...NOTHING_SEEN, system: SENT.system, expected: SENT }, ...(await bounceAll(client))]
  const ended = await follow(client, followed)
  const faults = await summary(followed, ended, database, temporal)
  if (keep) {
    print(
      `\nEverything is left up to look around: Web UI ${temporal.webUi}, SOFTBOUNCE_DATABASE_URL=${databaseUrl}, TEMPORAL_ADDRESS=${temporal.address}. Ctrl-C ends it.`,
    )
    await new Promise<void>((resolve) => {
      process.once('SIGINT', resolve)
      process.once('SIGTERM', resolve)
    })
  }
  return faults
}

async function startSystems(): Promise<Map<string, PlayedSystem>> {
  const systems = new Map<string, PlayedSystem>()
  for (const { system, role } of [SENT, ...CASES]) {
    const played = await play(system, role)
    started.push(() => played.close())
    systems.set(system, played)
  }
  return systems
}

/** Starts `softbounce worker`, and waits until it logs that it is ready. */
async function startWorker(folder: string, temporal: DevServer, databaseUrl: string, systems: Map<string, PlayedSystem>): Promise<void> {
  // keep out the caller's own Temporal profile and settings
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TEMPORAL|SOFTBOUNCE)/.test(name)))
  const worker: ChildProcess = spawn(process.execPath, [here('../../dist/cli/main.js'), 'worker'], {
    cwd: folder,
    env: {
      ...clean,
      TEMPORAL_CONFIG_FILE: join(folder, 'none.toml'),
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: 'default',
      SOFTBOUNCE_DATABASE_URL: databaseUrl,
      SOFTBOUNCE_ROUTES: JSON.stringify([...systems].map(([destination, { port }]) => ({ destination, host: '127.0.0.1', port }))),
      XDG_CONFIG_HOME: folder,
      SOFTBOUNCE_SMTP_EHLO_DOMAIN: 'softbounce.example.com',
      SOFTBOUNCE_RETURN_PATH_KEYS: RETURN_PATH_KEY,
      SOFTBOUNCE_LOG_LEVEL: 'info',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  started.push(async () => {
    worker.kill('SIGTERM')
    await ended
  })
  let said = ''
  await new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000)
      if (said.includes('the worker is ready')) resolve()
    }
    worker.stdout?.on('data', hear)
    worker.stderr?.on('data', hear)
    worker.once('exit', () => reject(new Error(`the worker ended: ${said}`)))
  })
}

/** Reads the reports as `softbounce retry` does, but dates the bounces now. */
async function bounceAll(client: SoftbounceClient): Promise<Followed[]> {
  const followed: Followed[] = []
  for (const expected of CASES) {
    const notification = await parseReport(readFileSync(here(`../../examples/${expected.file}`)))
    const reported = notification?.recipients[0]
    if (notification?.original === undefined || notification.sender === undefined || reported?.status === undefined)
      throw new Error(`examples/${expected.file} cannot be read as a notification`)
    const retry = await client.retry(
      notification.original,
      {
        sender: notification.sender,
        recipient: reported.recipient,
        status: reported.status,
        bouncedAt: new Date().toISOString(),
        ...(reported.diagnostic === undefined ? {} : { diagnostic: reported.diagnostic }),
      },
      { schedule: SCHEDULE },
    )
    followed.push({ recipient: reported.recipient, system: expected.system, expected, retry, ...NOTHING_SEEN })
  }
  return followed
}

/** Prints what happens until all retries have ended; false if one takes too long. */
async function follow(client: SoftbounceClient, followed: Followed[]): Promise<boolean> {
  const timeline = new Timeline(followed.map((f) => f.recipient))
  for (const f of followed)
    timeline.say(
      f.recipient,
      soft(`${f.expected === SENT ? 'sendMail was refused' : 'came back'}: 421 4.3.2 System not accepting network messages`),
    )
  const until = Date.now() + END_WITHIN_MS
  while (followed.some((f) => f.result === null)) {
    if (Date.now() > until) return false
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
    for (const f of followed.filter((one) => one.result === null)) {
      const standing = await client.getById(f.retry.workflowId)
      if (standing === null) continue
      if (standing.status !== 'RUNNING' && standing.result === null) throw new Error(`${f.retry.workflowId} ended as ${standing.status}`)
      f.result = standing.result
      tell(timeline, f, standing)
    }
  }
  return true
}

function tell(timeline: Timeline, f: Followed, { progress, result }: NonNullable<Awaited<ReturnType<SoftbounceClient['getById']>>>): void {
  const attempts = result?.attempts ?? (progress?.lastAttempt ? [progress.lastAttempt] : [])
  for (const a of attempts.filter((one) => one.retry > f.retriesSeen)) {
    f.retriesSeen = a.retry
    const paint = a.outcome === 'accepted' ? good : a.outcome === 'rejected' ? bad : soft
    timeline.say(f.recipient, `retry ${a.retry}: ${paint(a.outcome)} ${dim(a.reply)}`)
  }
  if (result !== null) {
    const more = result.suppressedUntil === undefined ? '' : ` until ${result.suppressedUntil.slice(0, 16).replace('T', ' ')} UTC`
    timeline.say(f.recipient, bold(result.outcome === 'delivered' ? good(result.outcome) : bad(result.outcome)) + more)
  } else if (progress?.state === 'waiting' && progress.retry > f.waitsSeen) {
    f.waitsSeen = progress.retry
    timeline.say(
      f.recipient,
      dim(`waits ${Number.parseInt(SCHEDULE[progress.retry - 1] ?? '', 10)} h for retry ${progress.retry} of ${progress.of}`),
    )
  }
}

async function summary(
  followed: Followed[],
  ended: boolean,
  database: ReturnType<typeof openDatabase>,
  temporal: DevServer,
): Promise<number> {
  heading('How it ended')
  table([
    ['recipient', 'outcome', 'retries', 'last reply'],
    ...followed.map((f) => [
      f.recipient,
      f.result?.outcome ?? 'still open',
      String(f.result?.retries ?? ''),
      f.result?.attempts.at(-1)?.reply ?? '',
    ]),
  ])
  heading('Suppressed now')
  const rows: string[][] = []
  for await (const entry of listSuppressions(database.db, new Date()))
    rows.push([
      entry.address,
      entry.until === null ? 'until it is removed' : `until ${entry.until.toISOString()}, lapses by itself`,
      entry.reason,
    ])
  table([['address', 'until', 'reason'], ...rows])
  heading(`Each in the Web UI${keep ? '' : dim('  (npm run demo -- --keep leaves it up)')}`)
  for (const f of followed)
    print(`  ${temporal.webUi}/namespaces/default/workflows/${encodeURIComponent(f.retry.workflowId)}/${f.retry.runId}`)
  const wrong = followed.filter((f) => f.result?.outcome !== f.expected.outcome || f.result.retries !== f.expected.retries)
  const listed = rows
    .map(([address]) => address)
    .sort()
    .join(' ')
  const expected = followed
    .filter((f) => f.expected.outcome !== 'delivered')
    .map((f) => f.recipient)
    .sort()
    .join(' ')
  for (const f of wrong) print(bad(`  ${f.recipient} should have ended as ${f.expected.outcome} after ${f.expected.retries} retries`))
  if (listed !== expected) print(bad(`  suppressed should be: ${expected}`))
  return ended && wrong.length === 0 && listed === expected ? 0 : 1
}

if (!keep) process.once('SIGINT', () => endAll().finally(() => process.exit(130)))
try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`softbounce demo: ${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  await endAll()
}
