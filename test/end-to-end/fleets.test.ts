/** Two fleets in one namespace and one database, each with its own task queue, schema and keys: neither sees the other's addresses. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { openRetriesOf } from '../../src/bounce/index.js'
import { SoftbounceClient } from '../../src/client/index.js'
import { readSettings } from '../../src/config/config.js'
import { migrateToLatest, openDatabase } from '../../src/store/index.js'
import { yamlRoutes } from '../support/config.js'
import { postgresDatabase, rowsWith, withoutPostgres } from '../support/databases.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { runHere } from '../support/run-here.js'
import { eventually } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'

const reason = withoutPostgres === null ? '' : ` (${withoutPostgres})`

describe.skipIf(withoutPostgres !== null).each([
  ['limits of their own', ''],
  ['shared limits', 'mail_limits'],
])(`two fleets with %s${reason}`, (_, throttleSchema) => {
  let world: RealWorld
  let system: ReceivingSystem
  let url: string
  let dropDatabase: () => Promise<void>
  const fleets = new Map<string, { env: Record<string, string>; client: SoftbounceClient }>()
  const fleet = (name: string) => fleets.get(name) as { env: Record<string, string>; client: SoftbounceClient }

  beforeAll(async () => {
    system = await startReceivingSystem()
    const database = await postgresDatabase(inject('postgres') as string)
    ;({ url, close: dropDatabase } = database)
    world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), SOFTBOUNCE_RETRY_SCHEDULE: '1h, 1h' }, url)
    for (const [i, name] of ['invoices', 'newsletters'].entries()) {
      const own = {
        SOFTBOUNCE_DATABASE_URL: url,
        SOFTBOUNCE_DATABASE_SCHEMA: name,
        SOFTBOUNCE_DATABASE_THROTTLE_SCHEMA: throttleSchema,
        SOFTBOUNCE_WORKER_TASK_QUEUE: name,
        SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, i + 1).toString('base64'),
        SOFTBOUNCE_ENCRYPTION_ID_KEY: '',
      }
      const settings = readSettings(own)
      const store = openDatabase(settings.database)
      await migrateToLatest(store)
      await store.close()
      fleets.set(name, { env: { ...world.env, ...own }, client: await SoftbounceClient.open(settings, { temporal: world.temporal }) })
      await world.startWorker(own)
    }
  })
  afterAll(async () => {
    for (const { client } of fleets.values()) await client.close()
    await world.close()
    await dropDatabase()
    await system.close()
  })

  const cli = (name: string, ...args: string[]) => runHere('/tmp', fleet(name).env, args)
  const start = (name: string, recipient: string, messageId: string) =>
    fleet(name).client.retry(`From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <${messageId}>\r\n\r\n${name}\r\n`, {
      ...{ sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
    })

  test('the same message and recipient are retried by each fleet on its own, with its own permits and suppressions', async () => {
    const [recipient, messageId] = [`p${randomUUID().slice(0, 8)}@example.org`, `${randomUUID()}@example.com`]
    const ids = []
    for (const name of fleets.keys()) ids.push((await start(name, recipient, messageId)).workflowId)
    expect(ids).toEqual([...fleets.keys()].map((name) => `bounce/@${name}/${recipient}/${messageId}`))
    for (const { client } of fleets.values())
      await eventually(async () => (await client.get(recipient, messageId))?.progress?.state === 'waiting', 30_000)
    await fleet('invoices').client.giveUp({ recipient, messageId })
    await eventually(async () => (await fleet('invoices').client.isSuppressed(recipient)) !== null, 30_000)
    expect(await fleet('newsletters').client.isSuppressed(recipient)).toBeNull()
    await fleet('invoices').client.destinations.pause('test', 'example.org')
    system.say = {}
    await fleet('newsletters').client.retryNow({ recipient, messageId })
    if (throttleSchema !== '') {
      await eventually(async () => (await cli('newsletters', 'destinations')).stdout.includes('paused'), 30_000)
      await fleet('newsletters').client.destinations.resume('example.org')
    }
    await eventually(async () => (await fleet('newsletters').client.get(recipient, messageId))?.result?.outcome === 'delivered', 30_000)
    expect(await fleet('invoices').client.get(recipient, messageId)).toMatchObject({ result: { outcome: 'suppressed', retries: 0 } })
    await fleet('invoices').client.destinations.resume('example.org')
  })

  test('neither sees the other’s addresses: in its commands, its lists and its tables', async () => {
    system.say = { rcpt: (address) => `${NOT_NOW} <${address}>` }
    const theirs = `their${randomUUID().slice(0, 8)}@example.net`
    const ours = `ours${randomUUID().slice(0, 8)}@example.net`
    const messageId = `${randomUUID()}@example.com`
    await start('newsletters', theirs, messageId)
    await start('invoices', ours, `${randomUUID()}@example.com`)
    await eventually(async () => (await cli('newsletters', 'status')).stdout.includes(theirs), 30_000)
    await eventually(async () => (await cli('invoices', 'status')).stdout.includes(ours), 30_000)
    for (const command of [['status'], ['status', theirs], ['history', theirs], ['destinations'], ['suppressions', 'list'], ['bounces']]) {
      const { stdout } = await cli('invoices', ...command)
      expect(stdout, command.join(' ')).not.toContain('bounce/@newsletters')
      // a command repeats the address that it was asked about
      if (!command.includes(theirs)) expect(stdout, command.join(' ')).not.toContain(theirs)
    }
    await fleet('newsletters').client.retryNow({ recipient: theirs, messageId })
    await eventually(async () => (await cli('newsletters', 'history', theirs)).stdout.includes('421 4.3.2'), 30_000)
    for (const name of fleets.keys()) expect((await world.temporal.workflow.count(openRetriesOf(name, 'example.net'))).count, name).toBe(1)
    expect(await fleet('invoices').client.cancelAll(theirs)).toBe(0)
    await fleet('invoices').client.forget(theirs)
    const listed = []
    for await (const one of fleet('newsletters').client.list(theirs)) listed.push(one)
    expect(listed).toMatchObject([{ status: 'RUNNING' }])
    expect(await rowsWith(url, 'invoices', theirs)).toEqual([])
    expect(await rowsWith(url, 'newsletters', ours)).toEqual([])
    if (throttleSchema !== '') expect(await rowsWith(url, throttleSchema, 'their')).toEqual([])
    expect((await rowsWith(url, 'newsletters', theirs)).length).toBeGreaterThan(0)
  })

  test('the doctor of one fleet does not take the other’s retries for lost ones, and each has schedules of its own', async () => {
    const { stdout } = await cli('invoices', 'doctor')
    expect(stdout).toContain('polls the task queue invoices')
    expect(stdout).not.toContain('wait on another task queue')
    const mixedUp = await runHere('/tmp', { ...fleet('invoices').env, SOFTBOUNCE_WORKER_TASK_QUEUE: 'softbounce' }, ['doctor'])
    expect(mixedUp.stdout).toContain('worker.taskQueue is softbounce in this command, and invoices in the worker on')
    await expect(fleet('invoices').client.giveUp({ workflowId: 'bounce/@newsletters/ann@example.org/m1@example.com' })).rejects.toThrow(
      'is no retry on the task queue invoices',
    )
    const schedules = []
    for await (const { scheduleId } of world.temporal.schedule.list()) schedules.push(scheduleId)
    expect(schedules.sort()).toEqual(expect.arrayContaining(['invoices-purge', 'newsletters-purge']))
  })
})
