/** A refused `sendMail` becomes a retry: the application needs the database alone; workers and intakes start the workflow. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startDevServer } from '../../dev/dev-server/index.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { refusedSend, sendingTo } from '../support/refused-send.js'
import { eventually } from '../support/skipping-time.js'

let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
})
afterAll(() => system.close())

const stateOf = async (world: RealWorld, workflowId: string) => (await world.client.getById(workflowId))?.progress
const waiting = (world: RealWorld) => world.database.db.selectFrom('inbox').select('tries').where('done_at', 'is', null).execute()

test('a worker starts the retry within two seconds, and delivers the message', { timeout: 120_000 }, async () => {
  const world = await startRealWorld(sendingTo(system))
  await world.startWorker()
  const { workflowId, retryAt } = await refusedSend(world, system, 'ann@handed-over.example', ['3s', '30d'])
  const at = Date.now()
  await eventually(() => world.client.isOpen({ workflowId }), 10_000)
  expect(Date.now() - at).toBeLessThan(5000)
  system.say = {}
  const result = await world.temporal.workflow.getHandle(workflowId).result()
  expect(result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
  // never early
  expect(system.taken.at(-1)?.at).toBeGreaterThanOrEqual(Date.parse(retryAt))
  expect(system.taken.at(-1)?.content.toString()).toContain('Thank you.')
  expect((await world.cli('bounces', '--json', '--limit', '1')).stdout).toMatch(/"source":"application".*"disposition":"retry-started"/)
  expect(await waiting(world)).toEqual([])
  await world.close()
})

test('with nobody to process it the refusal waits, and the schedule still counts from the refusal', { timeout: 120_000 }, async () => {
  const world = await startRealWorld(sendingTo(system))
  const { workflowId, retryAt } = await refusedSend(world, system, 'bob@handed-over.example', ['1h', '4h'])
  expect(await waiting(world)).toHaveLength(1)
  // killed at once: whatever it held, another process takes
  const first = await world.startWorker()
  first.signal('SIGKILL')
  await first.ended
  await world.startIntake(['--lmtp', '127.0.0.1:0'])
  await eventually(() => world.client.isOpen({ workflowId }), 90_000)
  await world.startWorker()
  await eventually(async () => (await stateOf(world, workflowId))?.state === 'waiting', 30_000)
  const next = Date.parse((await stateOf(world, workflowId))?.nextRetryAt as string)
  expect(next).toBeGreaterThanOrEqual(Date.parse(retryAt))
  expect(next).toBeLessThan(Date.parse(retryAt) + 7 * 60_000)
  await world.close()
})

test('while Temporal is away the refusal waits; nothing is lost', { timeout: 180_000 }, async () => {
  const server = await startDevServer({})
  const world = await startRealWorld(sendingTo(system), undefined, server.address)
  const worker = await world.startWorker()
  await server.stop()
  await refusedSend(world, system, 'eve@handed-over.example', ['1h'])
  await eventually(() => worker.log().includes('a report cannot be processed now; it is kept, and tried again'), 60_000)
  expect((await waiting(world))[0]?.tries).toBeGreaterThanOrEqual(1)
  await world.close()
})
