/** What cannot work is one clear line when a process starts, and in `softbounce doctor`: never a silent wait. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { runHere } from '../support/run-here.js'
import { bounced, eventually } from '../support/skipping-time.js'

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
let relay: ReceivingSystem
let world: RealWorld
const KEY = Buffer.alloc(32, 5).toString('base64')
beforeAll(async () => {
  relay = await startReceivingSystem()
  world = await startRealWorld({
    ...{ SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${relay.port}`, SOFTBOUNCE_RELAY_TLS: 'off', SOFTBOUNCE_LOG_LEVEL: 'info' },
    ...{ SOFTBOUNCE_RETURN_PATH_KEYS: KEY, SOFTBOUNCE_ENCRYPTION_ID_KEY: '' },
  })
})
afterAll(async () => {
  await world.close()
  await relay.close()
})

interface Line {
  readonly message: string
  readonly check?: string
  readonly action?: string
}
const warned = (log: string): Line[] =>
  log
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ check }) => check !== undefined)
async function doctor(env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await runHere('/tmp', { ...world.env, ...env }, ['doctor'])
  return stdout
}
/** Starts a worker, and waits for its warning; the doctor must say the same. */
async function bothSay(text: RegExp, env: Record<string, string> = {}): Promise<Line> {
  const worker = await world.startWorker(env)
  const line = await eventually(() => warned(worker.log()).find(({ message }) => message.match(text)), 20_000).catch((error: Error) => {
    throw new Error(`${error.message}: ${worker.log()}`)
  })
  expect(line.action?.length).toBeGreaterThan(20)
  expect(await doctor(env)).toMatch(text)
  await worker.stop()
  return line
}

test('no worker: the intake says so', async () => {
  const intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
  const line = await eventually(
    () => warned(intake.log()).find(({ message }) => /^no worker polls the task queue softbounce in namespace t-/.test(message)),
    20_000,
  )
  expect(await doctor()).toContain(line.message)
  await intake.stop()
})

test('an installation that fits together warns of nothing', async () => {
  const worker = await world.startWorker()
  const intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
  await new Promise((resolve) => setTimeout(resolve, 1500))
  expect(warned(worker.log())).toEqual([])
  expect(warned(intake.log())).toEqual([])
  await worker.stop()
  await intake.stop()
})

test.each([
  ['worker', ['worker']],
  ['intake', ['intake', '--lmtp', '127.0.0.1:0']],
  ['status', ['status', 'bounce/x/y']],
])('a namespace that does not exist ends softbounce %s', async (_, args) => {
  const env = { ...world.env, TEMPORAL_NAMESPACE: 'no-such-namespace' }
  // in a process of its own: Temporal's runtime can be installed once in each
  const { status, stderr } = await new Promise<{ status: number; stderr: string }>((resolve) =>
    execFile(process.execPath, [CLI, ...args], { env, cwd: tmpdir() }, (error, _, text) =>
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, stderr: text }),
    ),
  )
  expect(status).not.toBe(0)
  expect(stderr).toContain('the Temporal namespace no-such-namespace does not exist at ')
  expect(stderr).toContain('temporal operator namespace create --namespace no-such-namespace')
  expect(await doctor({ TEMPORAL_NAMESPACE: 'no-such-namespace' })).toContain('no-such-namespace')
})

test('a retry that was started on another task queue', async () => {
  const handle = await world.temporal.workflow.start('retryBouncedMessage', {
    taskQueue: 'default',
    workflowId: 'bounce/queue@example.org/m1@example.com',
    args: [bounced(new Date(), { recipient: 'queue@example.org' })],
  })
  await eventually(async () => (await doctor()).includes('another task queue'), 20_000)
  await bothSay(/^.*a retry waits? on another task queue \(default\), .* the first is bounce\/queue@example\.org\/m1@example\.com/m)
  await handle.terminate()
})

test('a retention that is shorter than the schedule', async () => {
  const line = await bothSay(/keeps ended workflows for 30 d, and a schedule lasts 40 d/, { SOFTBOUNCE_RETRY_SCHEDULE: '10d, 10d, 20d' })
  expect(line.action).toContain('--retention 80d')
})

test.each([
  ['another version', { version: '0.9.0' }, /processes of several versions use this database: 1\.0\.0, 0\.9\.0/],
  [
    'other keys of return paths',
    { return_path_keys: 'another' },
    /returnPath\.keys differ between this (process|command) and the (worker|intake) on other\.example/,
  ],
  [
    'other keys of payloads',
    { encryption_keys: 'another' },
    /encryption\.keys or encryption\.idKey differ between this (process|command) and the (worker|intake) on other\.example/,
  ],
])('a worker of %s beside this one', async (_, columns, text) => {
  await world.database.db.deleteFrom('processes').where('id', '=', 'other').execute()
  const [own] = await (async () => {
    const worker = await world.startWorker()
    const rows = await eventually(async () => {
      const found = await world.database.db.selectFrom('processes').selectAll().execute()
      return found.length > 0 ? found : null
    }, 20_000)
    await worker.stop()
    return rows
  })()
  await world.database.db
    .insertInto('processes')
    .values({ ...(own as NonNullable<typeof own>), ...columns, id: 'other', host: 'other.example', seen_at: Date.now() })
    .execute()
  await bothSay(text)
  await world.database.db.deleteFrom('processes').where('id', '=', 'other').execute()
})

const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1'].find(
  existsSync,
)

test.skipIf(FAKETIME === undefined && process.env.CI !== 'true')('a clock that is minutes behind', async () => {
  const running = await world.startWorker()
  const intake = await world.startIntake(['--lmtp', '127.0.0.1:0'], {
    ...{ LD_PRELOAD: FAKETIME as string, FAKETIME: '-5m', FAKETIME_DONT_FAKE_MONOTONIC: '1' },
  })
  const line = await eventually(() => warned(intake.log()).find(({ check }) => check === 'clock'), 20_000)
  expect(line.message).toMatch(/Temporal's clock is at least (29\d|30\d) s ahead of this machine's/)
  await running.stop()
  await intake.stop()
})
