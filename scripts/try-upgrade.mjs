// An upgrade as it happens: workers of earlier versions, built from their own commits, begin lives; today's worker starts beside them, brings
// the database up to date under them, and goes on alone when they have ended. Nothing may be lost, doubled or early.
//   npm run try-upgrade [-- COMMIT…]          without one: that of each earlier version
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import { startPostgres } from '../bench/support/postgres.mjs'
import { startSink } from '../bench/support/sink.mjs'
import { openDatabase } from '../dist/store/index.js'
import { suppressedAmong } from '../dist/suppression/index.js'
import { startDevServer } from '../dist-dev/dev-server/index.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const TODAY = join(root, 'dist/cli/main.js')
/** Where each earlier version was whole: the last commit before work on the next began. */
const EARLIER = ['4e9c00c', 'd166a84', 'd89744c']
const LIVES = 40
const REFUSALS = 2
const SCHEDULE = ['3s', '8s', '8s']
const DELAYS_MS = [3000, 8000, 8000]
/** The old worker and today's run side by side for so long. */
const BESIDE_MS = 8000
const LEAST_BESIDE = 5
const OLD = 'old.example.com'
const NEW = 'today.example.com'
const END_WITHIN_MS = 120_000

Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: 'ERROR', forward: {} } } })
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref())
const say = (text) => console.log(text)
const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()

function build(commit, folder) {
  git('worktree', 'add', '--detach', '--force', folder, commit)
  // npm ci builds it (prepare)
  execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--prefer-offline'], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  return execFileSync(process.execPath, ['dist/cli/main.js', '--version'], { cwd: folder, encoding: 'utf8' }).trim()
}

async function startWorker(program, env, cwd) {
  const child = spawn(process.execPath, [program, 'worker'], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)))
  await new Promise((resolve, reject) => {
    const hear = (chunk) => {
      log += chunk
      if (log.includes('the worker is ready')) resolve()
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    ended.then((code) => reject(new Error(`a worker ended with ${code}: ${log}`)))
  })
  return {
    stop: async () => {
      child.kill('SIGTERM')
      return ended
    },
  }
}

/** One life by plain Temporal, as the contract says: every version takes it. */
function start(client, n) {
  const stays = n % 4 === 0
  const recipient = `${stays ? 'stays-down' : 'comes-back'}@system${n}.example`
  const bouncedAt = new Date()
  const message = {
    messageId: `m${n}@example.com`,
    sender: 'shop@example.com',
    recipient,
    message: { raw: `From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <m${n}@example.com>\r\n\r\nhello\r\n` },
    bounce: { status: '4.3.2', bouncedAt: bouncedAt.toISOString(), diagnostic: '421 4.3.2 System not accepting network messages' },
    schedule: SCHEDULE,
  }
  const options = { taskQueue: 'softbounce', workflowId: `bounce/${recipient}/${message.messageId}`, args: [message] }
  return client.workflow.start('retryBouncedMessage', options).then((handle) => ({ handle, recipient, bouncedAt, stays }))
}

/** Its result; where it does not end, an error that says what holds it. */
async function within(ms, { handle }) {
  const result = await Promise.race([handle.result(), sleep(ms)])
  if (result !== undefined) return result
  const { raw } = await handle.describe()
  const held = (raw.pendingActivities ?? []).map(({ activityType, lastFailure }) => `${activityType?.name}: ${lastFailure?.message}`)
  throw new Error(`${handle.workflowId} did not end: ${held.join('; ') || 'no activity holds it'}`)
}

/** @returns what is wrong with how a life ended; nothing where it is right. */
function faultsOf({ recipient, bouncedAt, stays }, result, attempts, taken) {
  const faults = []
  const wanted = stays ? { outcome: 'suppressed', taken: 0 } : { outcome: 'delivered', taken: 1 }
  if (result.outcome !== wanted.outcome || attempts.length !== DELAYS_MS.length)
    faults.push(`${recipient} ended ${result.outcome} after ${attempts.length} retries`)
  if (taken !== wanted.taken) faults.push(`${recipient} was taken ${taken} times`)
  let from = bouncedAt.getTime()
  for (const [i, at] of attempts.entries()) {
    if (at - from < DELAYS_MS[i]) faults.push(`retry ${i + 1} for ${recipient} was ${DELAYS_MS[i] - (at - from)} ms early`)
    from = at
  }
  return faults
}

async function upgrade(version, folder, kind) {
  const closers = []
  const own = mkdtempSync(join(tmpdir(), 'softbounce-upgrade-'))
  closers.push(() => rmSync(own, { recursive: true, force: true }))
  try {
    const postgres = kind === 'PostgreSQL' ? await startPostgres() : null
    if (kind === 'PostgreSQL' && postgres === null) {
      say('PostgreSQL is not installed: not tried')
      return null
    }
    if (postgres !== null) closers.push(() => postgres.remove())
    const url = postgres?.url ?? `file:${join(own, 'softbounce.db')}`
    const met = new Map()
    /** How many attempts each worker made, by what it calls itself. */
    const by = { [OLD]: 0, [NEW]: 0 }
    const sink = await startSink({
      rcpt: (address, client) => {
        const times = [...(met.get(address) ?? []), Date.now()]
        met.set(address, times)
        by[client] = (by[client] ?? 0) + 1
        return address.startsWith('stays') || times.length <= REFUSALS ? '451 4.3.2 not now' : undefined
      },
    })
    closers.push(() => sink.close())
    const server = await startDevServer({ say })
    closers.push(() => server.stop())
    const connection = await Connection.connect({ address: server.address })
    closers.push(() => connection.close())
    const client = new Client({ connection })
    const env = {
      ...{ ...process.env, TEMPORAL_ADDRESS: server.address, TEMPORAL_CONFIG_FILE: join(own, 'none.toml'), DATABASE_URL: url },
      ROUTES: `*=127.0.0.1:${sink.port}`,
    }
    const old = await startWorker(join(folder, 'dist/cli/main.js'), { ...env, EHLO_NAME: OLD }, own)
    closers.push(() => old.stop())
    const lives = []
    // so that the change finds them asleep, about to send, and sending
    for (let n = 0; n < LIVES; n += 1) {
      lives.push(await start(client, n))
      await sleep(100)
    }
    const today = await startWorker(TODAY, { ...env, EHLO_NAME: NEW }, own)
    const byOldAlone = by[OLD]
    closers.push(() => today.stop())
    await sleep(BESIDE_MS)
    const beside = by[OLD] - byOldAlone
    const faults = []
    // on the database as it is now it works as before
    if (beside < LEAST_BESIDE) faults.push(`the old worker made ${beside} attempts beside today's; ${LEAST_BESIDE} at least were expected`)
    const status = await old.stop()
    if (status !== 0) faults.push(`the old worker ended with ${status}`)
    for (const life of lives) {
      const result = await within(END_WITHIN_MS, life)
      const taken = sink.taken.filter(({ to }) => to === life.recipient).length
      faults.push(...faultsOf(life, result, met.get(life.recipient) ?? [], taken))
    }
    const workflowBundle = { codePath: join(root, 'dist/workflow-bundle.js') }
    const dataConverter = {
      payloadConverterPath: join(root, 'dist/workflows/payload-converter.js'),
      failureConverterPath: join(root, 'dist/workflows/failure-converter.js'),
    }
    for (const { handle } of lives)
      await Worker.runReplayHistory({ workflowBundle, dataConverter }, await handle.fetchHistory(), handle.workflowId)
    const database = openDatabase(url)
    const recipients = lives.map(({ recipient }) => recipient)
    const listed = await suppressedAmong(database, recipients, new Date())
    await database.close()
    for (const { recipient, stays } of lives)
      if (listed.has(recipient) !== stays) faults.push(`${recipient} is ${stays ? 'not ' : ''}on the suppression list`)
    if (faults.length > 0) throw new Error(`from ${version} on ${kind}:\n${faults.join('\n')}`)
    const attempts = { 'by the old alone': byOldAlone, 'by the old beside': beside, 'by today’s': by[NEW] }
    return { from: version, database: kind, lives: LIVES, ...attempts, lost: 0, twice: 0, early: 0 }
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

const commits = process.argv.length > 2 ? process.argv.slice(2) : EARLIER
const rows = []
for (const commit of commits) {
  const folder = mkdtempSync(join(tmpdir(), 'softbounce-earlier-'))
  try {
    say(`building ${commit} …`)
    const version = build(commit, folder)
    for (const kind of ['SQLite', 'PostgreSQL']) {
      const row = await upgrade(`${version} (${commit})`, folder, kind)
      if (row !== null) rows.push(row)
      console.table(rows)
    }
  } finally {
    git('worktree', 'remove', '--force', folder)
  }
}
