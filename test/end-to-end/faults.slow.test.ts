/** Crashes in real time: workers killed and frozen in each state, and the database away. */
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { openDatabase } from '../../src/store/index.js'
import { progress } from '../../src/workflows/retry-bounced-message.js'
import { closeAfterAll } from '../support/close-after.js'
import { yamlRoutes } from '../support/config.js'
import { administer, type Postgres, startPostgres, withoutPostgres } from '../support/databases.js'
import { startProxy } from '../support/proxy.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { polite, startReceivingSystem, startScript } from '../support/receiving-system.js'
import { eventually, MESSAGE } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const LONG = 180_000
const kept = closeAfterAll()

async function realWorld(env: Record<string, string>, databaseUrl?: string): Promise<RealWorld> {
  return kept(await startRealWorld(env, databaseUrl))
}

async function play(...args: Parameters<typeof startScript>) {
  return kept(await startScript(...args))
}

const retry = (world: RealWorld, schedule: string[], recipient = 'ann@example.org') =>
  world.client.retry(
    MESSAGE,
    {
      sender: 'bounces@example.com',
      recipient,
      status: '4.3.2',
      bouncedAt: new Date().toISOString(),
      diagnostic: NOT_NOW,
    },
    { schedule },
  )
const messages = (script: { heard: string[] }) => script.heard.filter((line) => line === 'Message-ID: <m1@example.com>').length
const standing = (world: RealWorld, workflowId: string) => world.temporal.workflow.getHandle(workflowId).query(progress)

describe.concurrent('promise 1: a worker that dies loses nothing', () => {
  test('SIGKILL while the retry waits loses nothing', { timeout: LONG }, async () => {
    const system = await startReceivingSystem()
    kept(system)
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
    const first = await world.startWorker()
    const { workflowId, result } = await retry(world, ['3s'])
    await eventually(async () => (await standing(world, workflowId)).state === 'waiting')
    first.signal('SIGKILL')
    await first.ended
    await world.startWorker()
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(system.taken).toHaveLength(1)
  })

  test('SIGKILL before the content: the message is sent once, without doubt', { timeout: LONG }, async () => {
    let killed = false
    const script = await play((line) => (line.startsWith('RCPT') && !killed ? undefined : polite(line)))
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`) })
    const first = await world.startWorker()
    const { result } = await retry(world, ['1s'])
    await eventually(() => script.heard.some((line) => line.startsWith('RCPT')))
    first.signal('SIGKILL')
    await first.ended
    killed = true
    await world.startWorker()
    const ended = await result()
    expect(ended).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
    expect(ended.attempts[0]?.maybeDelivered).toBeUndefined()
    expect(messages(script)).toBe(1)
  })

  test('SIGKILL with the reply in flight: the message is sent again, and marked as maybe delivered', { timeout: LONG }, async () => {
    let killed = false
    const script = await play((line) => (line === '.' && !killed ? undefined : polite(line)))
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`) })
    const first = await world.startWorker()
    const { result } = await retry(world, ['1s'])
    await eventually(() => script.heard.includes('.'))
    first.signal('SIGKILL')
    await first.ended
    killed = true
    await world.startWorker()
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1, attempts: [{ maybeDelivered: true }] })
    expect(messages(script)).toBe(2)
  })

  test('SIGSTOP during the transaction, continued later: the message is sent once', { timeout: LONG }, async () => {
    const held: (() => void)[] = []
    const script = await play((line, socket, connection) => {
      if (!line.startsWith('RCPT') || connection > 1) return polite(line)
      held.push(() => socket.write('250 2.1.5 Ok\r\n'))
      return undefined
    })
    // long enough that the transaction is still open when the worker continues
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`), SOFTBOUNCE_SMTP_TIMEOUTS_COMMAND: '10m' })
    // one slot: it must not poll for another activity and withhold it from the live worker
    const frozen = await world.startWorker({ SOFTBOUNCE_WORKER_MAX_CONCURRENT_SENDS: '1' })
    const { result } = await retry(world, ['1s'])
    await eventually(() => held.length === 1)
    frozen.signal('SIGSTOP')
    await world.startWorker()
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(messages(script)).toBe(1)
    // the reply has arrived when the worker continues
    held[0]?.()
    frozen.signal('SIGCONT')
    await new Promise((resolve) => setTimeout(resolve, 4000))
    expect(messages(script)).toBe(1)
    frozen.signal('SIGKILL')
  })

  test('SIGTERM lets the current transaction finish', { timeout: LONG }, async () => {
    const late: (() => void)[] = []
    const script = await play((line, socket) => {
      if (line !== '.') return polite(line)
      late.push(() => socket.write('250 2.0.0 taken\r\n'))
      return undefined
    })
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`), SOFTBOUNCE_WORKER_SHUTDOWN_GRACE: '20s' })
    const worker = await world.startWorker()
    const { result } = await retry(world, ['1s'])
    await eventually(() => late.length === 1)
    worker.signal('SIGTERM')
    await new Promise((resolve) => setTimeout(resolve, 1000))
    late[0]?.()
    expect(await worker.ended).toBe(0)
    expect(worker.log()).toContain('the worker has stopped')
    await world.startWorker()
    const ended = await result()
    expect(ended).toMatchObject({ outcome: 'delivered' })
    expect(ended.attempts[0]?.maybeDelivered).toBeUndefined()
    expect(messages(script)).toBe(1)
  })
})

describe.skipIf(withoutPostgres !== null)(`the database${withoutPostgres === null ? '' : ` (skipped: ${withoutPostgres})`}`, () => {
  let postgres: Postgres
  beforeAll(async () => {
    postgres = await startPostgres()
  })
  afterEach(() => postgres.start().catch(() => {}))
  afterAll(() => postgres.remove())

  test('a database that stops during a transaction crashes no process', async () => {
    const broken: Error[] = []
    const database = openDatabase({ url: postgres.url }, { onError: (error) => broken.push(error as Error) })
    const transaction = database.db.transaction().execute(async (tx) => {
      await sql`select 1`.execute(tx)
      await postgres.stop()
      await new Promise((resolve) => setTimeout(resolve, 500))
      await sql`select 1`.execute(tx)
    })
    await expect(transaction).rejects.toThrow()
    expect(broken.length).toBeGreaterThan(0)
    await postgres.start()
    await sql`select 1`.execute(database.db)
    await database.close()
  })

  test('a failover: /healthz and the log say what is wrong, and the retry that was due is delivered', { timeout: LONG }, async () => {
    const system = await startReceivingSystem()
    const httpPort = await freePort()
    const standby = await startPostgres([], { standbyOf: postgres.url })
    const proxy = await startProxy(Number(new URL(postgres.url).port))
    const world = await realWorld(
      { SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), SOFTBOUNCE_HTTP_PORT: String(httpPort) },
      postgres.url.replace(/:\d+\//, `:${proxy.port}/`),
    )
    const worker = await world.startWorker()
    const health = async () => {
      const response = await fetch(`http://127.0.0.1:${httpPort}/healthz`)
      return { status: response.status, ...((await response.json()) as { database: string }) }
    }
    expect(await health()).toMatchObject({ status: 200, database: 'ok' })
    const { result } = await retry(world, ['2s'])
    // the address still leads to a server that is a standby by now
    const returned = await startPostgres([], { standbyOf: postgres.url })
    await postgres.stop()
    await administer(standby.url, 'select pg_promote()')
    proxy.leadTo(Number(new URL(returned.url).port))
    await eventually(async () => (await health()).database.startsWith('it accepts no writes'), 60_000)
    expect((await health()).status).toBe(503)
    expect(worker.log()).toContain('the database has a fault: it accepts no writes')
    proxy.leadTo(Number(new URL(standby.url).port))
    await eventually(async () => (await health()).status === 200, 30_000)
    expect(worker.log()).toContain('the database can be used again')
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(system.taken).toHaveLength(1)
    await worker.stop()
    await proxy.close()
    for (const server of [returned, standby]) await server.remove()
  })

  test('promise 3: a database outage delays everything, loses nothing, and uses up no retry', { timeout: LONG }, async () => {
    const system = await startReceivingSystem()
    kept(system)
    const world = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) }, postgres.url)
    await world.startWorker()
    const waiting = await retry(world, ['4s'])
    await eventually(async () => (await standing(world, waiting.workflowId)).state === 'waiting')
    await postgres.stop()
    // a retry started during the outage waits for the database, and shows why
    const input = {
      messageId: 'm2@example.com',
      sender: 'bounces@example.com',
      recipient: 'bob@example.org',
      message: { raw: MESSAGE },
      bounce: { status: '4.3.2', bouncedAt: new Date().toISOString() },
    }
    const started = await world.temporal.workflow.start('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: 'bounce/bob@example.org/m2@example.com',
      args: [{ ...input, schedule: ['1s'] }],
    })
    for (const id of [waiting.workflowId, started.workflowId]) {
      const trouble = await eventually(async () => (await world.client.getById(id))?.trouble, 60_000)
      expect(trouble.text).toMatch(/the database cannot be used: (it cannot be reached|a connection to it broke|the server is stopping)/)
    }
    expect(system.connections).toHaveLength(0)
    const events = (await started.fetchHistory()).events?.length
    await new Promise((resolve) => setTimeout(resolve, 6000))
    expect((await started.fetchHistory()).events?.length).toBe(events)
    await postgres.start()
    expect(await waiting.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(await started.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(system.taken).toHaveLength(2)
    // prepare ran as a regular activity, and still only the first event carries the message
    const history = (await started.fetchHistory()).events ?? []
    expect(history.some((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'prepare')).toBe(true)
    const carrying = history.filter((event) =>
      [...JSON.stringify(event).matchAll(/"data":"([^"]*)"/g)].some(([, data]) =>
        Buffer.from(data ?? '', 'base64')
          .toString()
          .includes('Thank you.'),
      ),
    )
    expect(carrying.map((event) => Number(event.eventId))).toEqual([1])
  })

  test('SIGKILL between reading and logging the reply: the message is not sent again', { timeout: LONG }, async () => {
    const world = { is: null as RealWorld | null }
    let unlock: () => void = () => {}
    const script = await play((line, socket) => {
      if (line !== '.') return polite(line)
      // from here on writes to the attempt log fail
      const database = world.is?.database as RealWorld['database']
      void database.db.transaction().execute(async (tx) => {
        await tx.selectFrom('attempts').selectAll().forUpdate().execute()
        socket.write('250 2.0.0 taken\r\n')
        await new Promise<void>((resolve) => {
          unlock = resolve
        })
      })
      return undefined
    })
    const real = await realWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${script.port}`) }, postgres.url)
    world.is = real
    const first = await real.startWorker()
    const { result } = await retry(real, ['1s'], 'joe@example.org')
    await eventually(() => script.heard.includes('.'))
    await new Promise((resolve) => setTimeout(resolve, 3000))
    first.signal('SIGKILL')
    await first.ended
    unlock()
    await real.startWorker()
    const ended = await result()
    expect(ended).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
    expect(ended.attempts[0]?.maybeDelivered).toBeUndefined()
    expect(messages(script)).toBe(1)
  })
})
