/** A team in a namespace of its own starts and steers retries through a Nexus endpoint. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Client, WorkflowFailedError } from '@temporalio/client'
import type { DataConverter } from '@temporalio/common'
import proto from '@temporalio/proto'
import { NativeConnection, Worker } from '@temporalio/worker'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { findProgram, TEMPORAL_CLI } from '../../dev/dev-server/index.js'
import { EncryptionCodec } from '../../src/encryption/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { yamlKeys, yamlRoutes } from '../support/config.js'
import { temporaryFolder } from '../support/databases.js'
import { newNamespace } from '../support/namespaces.js'
import { pythonWith } from '../support/python.js'
import { encrypted, type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, eventually, quietRuntime } from '../support/skipping-time.js'

const run = promisify(execFile)
const NOT_NOW = '421 4.3.2 System not accepting network messages'
const python = pythonWith('temporalio.client', 'nexusrpc')
const folder = temporaryFolder()
const endpoint = `softbounce-${randomUUID().slice(0, 8)}`
let world: RealWorld
let system: ReceivingSystem
let callers: Client
let worker: Worker
let running: Promise<void>
let native: NativeConnection

beforeAll(async () => {
  quietRuntime()
  system = await startReceivingSystem()
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), SOFTBOUNCE_WORKER_NEXUS: 'true' })
  await world.startWorker()
  await createEndpoint(endpoint, world.namespace)
  callers = new Client({ connection: world.temporal.connection, namespace: await newNamespace(world.temporal.connection as never) })
  native = await NativeConnection.connect({ address: inject('devServer') })
  worker = await callerWorker('orders-typescript')
  running = worker.run()
})
afterAll(async () => {
  worker.shutdown()
  await running
  await native.close()
  await world.close()
  await system.close()
  folder.remove()
})

async function createEndpoint(name: string, namespace: string) {
  const cli = await findProgram(TEMPORAL_CLI, () => {})
  await run(cli, [
    ...['operator', 'nexus', 'endpoint', 'create', '--address', inject('devServer'), '--name', name],
    ...['--target-namespace', namespace, '--target-task-queue', 'softbounce'],
  ])
}

const callerWorker = (taskQueue: string, dataConverter: DataConverter = {}) =>
  Worker.create({
    ...{ connection: native, namespace: callers.options.namespace, taskQueue, dataConverter },
    workflowsPath: fileURLToPath(new URL('../support/nexus-caller.ts', import.meta.url)),
    bundlerOptions: {
      webpackConfigHook: (config) => ({ ...config, resolve: { ...config.resolve, extensionAlias: { '.js': ['.ts', '.js'] } } }),
    },
  })

const person = () => `p${randomUUID().slice(0, 8)}@example.org`
const order = (recipient: string, more: object = {}) => ({ ...bounced(new Date(), { recipient }), schedule: ['1s', '1s'], ...more })
const start = (type: 'retryOrder' | 'steerOrder', ...args: unknown[]) =>
  callers.workflow.start(type, { taskQueue: 'orders-typescript', workflowId: `order-${randomUUID()}`, args: [endpoint, ...args] })
const steer = async (operation: string, input: object) => (await start('steerOrder', operation, input)).result()
const reason = (step: Promise<unknown>) =>
  step.then(
    () => 'it did not fail',
    (error: WorkflowFailedError) => {
      let text = ''
      for (let cause: Error | undefined = error; cause !== undefined; cause = cause.cause as Error | undefined) text += `${cause.message}; `
      return text
    },
  )

test('the operation completes with the result of the retries, in the caller’s own history', async () => {
  const recipient = person()
  system.say = {}
  const caller = await start('retryOrder', order(recipient))
  expect(await caller.result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
  const types = (await caller.fetchHistory()).events?.map(({ eventType }) => eventType) ?? []
  // EVENT_TYPE_NEXUS_OPERATION_STARTED and _COMPLETED
  expect(types).toEqual(expect.arrayContaining([49, 50]))
})

test('a second caller waits for the same retries; progress, retryNow and giveUp steer them', async () => {
  const recipient = person()
  const message = order(recipient, { schedule: ['1h', '1h'] })
  const reference = { recipient, messageId: message.messageId }
  system.say = { rcpt: () => NOT_NOW }
  const one = await start('retryOrder', message)
  await eventually(async () => (await world.client.get(recipient, message.messageId))?.progress?.state === 'waiting', 30_000)
  const other = await start('retryOrder', message)
  expect(await steer('progress', reference)).toMatchObject({ retry: 1, of: 2, state: 'waiting' })
  expect(await steer('retryNow', { ...reference, retry: 1 })).toMatchObject({ of: 2 })
  await eventually(async () => (await world.client.get(recipient, message.messageId))?.progress?.retry === 2, 30_000)
  expect(await reason(steer('retryNow', { ...reference, retry: 1 }))).toContain('retry')
  await steer('giveUp', reference)
  for (const caller of [one, other]) expect(await caller.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
  expect(await findSuppression(world.database.db, recipient, new Date())).not.toBeNull()
})

test('a cancelled caller cancels the retries, which suppresses no address', async () => {
  const recipient = person()
  const message = order(recipient, { schedule: ['1h'] })
  const caller = await start('retryOrder', message)
  await eventually(async () => (await world.client.get(recipient, message.messageId))?.progress?.state === 'waiting', 30_000)
  await caller.cancel()
  await expect(caller.result()).rejects.toThrow(WorkflowFailedError)
  await eventually(async () => (await world.client.get(recipient, message.messageId))?.status === 'CANCELLED', 30_000)
  expect(await findSuppression(world.database.db, recipient, new Date())).toBeNull()
})

test('bad input and unknown retries fail at once, with the reason', async () => {
  const faulty = await reason((await start('retryOrder', order(person(), { sender: '', schedule: ['soon'] }))).result())
  expect(faulty).toMatch(/sender/)
  expect(faulty).toMatch(/schedule/)
  expect(await reason(steer('progress', { recipient: person(), messageId: 'none@example.com' }))).toContain('there are no such retries')
  expect(await reason(steer('giveUp', {}))).toContain('messageId')
  expect(await reason(steer('giveUp', { recipient: 'not an address', messageId: 'm1@example.com' }))).toContain('not an address')
  expect(await reason(steer('retryNow', { recipient: person(), messageId: 'm1@example.com', retry: 'first' as never }))).toContain(
    'number of a retry',
  )
  // neither another fleet's retries nor other workflows of the namespace
  for (const workflowId of ['bounce/@invoices/ann@example.org/m1@example.com', 'order-4711'])
    expect(await reason(steer('giveUp', { workflowId }))).toContain('is no retry on the task queue softbounce')
})

test.skipIf(python === null)('a workflow in Python has a message retried', async () => {
  const recipient = person()
  system.say = {}
  const file = join(folder.path, 'message.eml')
  writeFileSync(file, `From: shop@example.com\r\nTo: ${recipient}\r\nMessage-ID: <py.${randomUUID()}@example.com>\r\n\r\nhello\r\n`)
  const script = fileURLToPath(new URL('../../examples/nexus_caller.py', import.meta.url))
  const env = { ...world.env, TEMPORAL_NAMESPACE: callers.options.namespace, SCHEDULE: '1s' }
  const { stdout } = await run(python as string, [script, endpoint, file, recipient, 'bounces@example.com'], { env })
  expect(stdout.trim()).toBe('delivered')
})

test('with encrypted payloads the caller needs the keys: nothing is readable in its history or in that of the retries', async () => {
  const key = `k1:${Buffer.alloc(32, 3).toString('base64')}`
  const hidden = await startRealWorld({
    ...{
      SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`),
      SOFTBOUNCE_WORKER_NEXUS: 'true',
      SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(key),
    },
  })
  await hidden.startWorker()
  const name = `softbounce-${randomUUID().slice(0, 8)}`
  await createEndpoint(name, hidden.namespace)
  const dataConverter = { payloadCodecs: [new EncryptionCodec(encrypted(yamlKeys(key)).encryption.keys)] }
  const own = await callerWorker('orders-encrypted', dataConverter)
  const recipient = person()
  const message = order(recipient)
  system.say = {}
  const client = new Client({ connection: callers.connection, namespace: callers.options.namespace, dataConverter })
  const caller = await client.workflow.start('retryOrder', {
    ...{ taskQueue: 'orders-encrypted', workflowId: `order-${randomUUID()}`, args: [name, message] },
  })
  expect(await own.runUntil(caller.result())).toMatchObject({ outcome: 'delivered' })
  const retries = hidden.temporal.workflow.getHandle(hidden.client.workflowId(recipient, message.messageId))
  for (const handle of [caller, retries]) {
    const history = Buffer.from(proto.temporal.api.history.v1.History.encode(await handle.fetchHistory()).finish())
    expect(history.length).toBeGreaterThan(1000)
    expect(history.includes(recipient)).toBe(false)
  }
  await hidden.close()
})
