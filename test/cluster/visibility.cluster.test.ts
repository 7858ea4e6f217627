/** Search attributes, list filters, batch and schedules on a cluster whose visibility store is PostgreSQL. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { findProgram, TEMPORAL_CLI } from '../../dev/dev-server/index.js'
import { yamlRoutes } from '../support/config.js'
import { newNamespace } from '../support/namespaces.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, eventually } from '../support/skipping-time.js'

const run = promisify(execFile)
let world: RealWorld
let system: ReceivingSystem
let temporal: (...args: string[]) => Promise<string>

beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  await world.startWorker()
  const cli = await findProgram(TEMPORAL_CLI, () => {})
  temporal = async (...args) =>
    (await run(cli, [...args, '--address', inject('devServer'), '--namespace', world.namespace, '--output', 'json'])).stdout
})
afterAll(async () => {
  await world.close()
  await system.close()
})

const start = (recipient: string, schedule: readonly string[]) =>
  world.temporal.workflow.start('retryBouncedMessage', {
    ...{ taskQueue: 'softbounce', workflowId: `bounce/${recipient}/m1@example.com` },
    args: [{ ...bounced(new Date(), { recipient }), schedule }],
  })
const count = async (query: string) => (await world.temporal.workflow.count(query)).count

test('lists are filtered by each search attribute, and updated when the retries end', async () => {
  const domain = `d${randomUUID().slice(0, 8)}.example`
  const [open, done] = [await start(`open@${domain}`, ['1h']), await start(`done@${domain}`, ['1s'])]
  expect(await done.result()).toMatchObject({ outcome: 'delivered' })
  await eventually(async () => (await count(`BounceDestination = '${domain}' AND BounceOutcome = 'delivered'`)) === 1, 30_000)
  expect(await count(`BounceDestination = '${domain}'`)).toBe(2)
  expect(await count(`BounceRecipient = 'open@${domain}' AND ExecutionStatus = 'Running' AND BounceStatus = '4.3.2'`)).toBe(1)
  expect(await count(`WorkflowId STARTS_WITH 'bounce/open@${domain}/'`)).toBe(1)
  await open.cancel()
})

test('all open retries of a destination are ended by a batch', async () => {
  const domain = `d${randomUUID().slice(0, 8)}.example`
  for (let i = 0; i < 5; i += 1) await start(`p${i}@${domain}`, ['1h'])
  const query = `BounceDestination = '${domain}' AND ExecutionStatus = 'Running'`
  await eventually(async () => (await count(query)) === 5, 30_000)
  await temporal('workflow', 'cancel', '--query', query, '--reason', 'test', '--yes')
  await eventually(async () => (await count(`BounceDestination = '${domain}' AND ExecutionStatus = 'Canceled'`)) === 5, 60_000)
})

test('the schedules of the maintenance are there, and run when they are triggered', async () => {
  const listed = JSON.parse(await temporal('schedule', 'list')) as { scheduleId: string }[]
  expect(listed.map(({ scheduleId }) => scheduleId)).toEqual(expect.arrayContaining(['softbounce-purge']))
  await temporal('schedule', 'trigger', '--schedule-id', 'softbounce-purge')
  await eventually(async () => (await count("WorkflowType = 'purgeKeptMessages' AND ExecutionStatus = 'Completed'")) === 1, 30_000)
})

test('a namespace without room for four more Keyword attributes gets none, and the retries work without', async () => {
  const { connection } = world.temporal
  const namespace = await newNamespace(connection as never)
  const names = Array.from({ length: 8 }, (_, i) => `Theirs${i}`)
  // INDEXED_VALUE_TYPE_KEYWORD
  await connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(names.map((name) => [name, 2])),
  })
  const worker = await world.startWorker({ TEMPORAL_NAMESPACE: namespace })
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
  const bounceNames = Object.keys(customAttributes ?? {}).filter((name) => name.startsWith('Bounce'))
  expect(worker.log()).toMatch(/search attribute/i)
  expect(bounceNames.length).toBeLessThan(4)
})
