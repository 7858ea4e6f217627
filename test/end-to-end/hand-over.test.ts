/** A refused `sendMail` becomes a retry: the application needs the database alone; workers and intakes start the workflow. */
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startDevServer } from '../../dev/dev-server/index.js'
import { fromEnvironment, track } from '../../src/client/index.js'
import { yamlRoutes } from '../support/config.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const ENV = { SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 3).toString('base64') }
let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
})
afterAll(() => system.close())

/** Sends one message to a recipient who is refused for now. @returns its retry. */
async function refused(world: RealWorld, recipient: string, schedule: string[]) {
  system.say = { rcpt: () => NOT_NOW }
  const transporter = track(
    nodemailer.createTransport({ host: '127.0.0.1', port: system.port, ignoreTLS: true }),
    fromEnvironment(world.env),
  )
  const info = await transporter.sendMail({
    ...{ from: 'shop@example.com', to: recipient, subject: 'Invoice', text: 'Thank you.', softbounce: { schedule } },
    messageId: `<${recipient}>`,
  })
  expect(info.pending).toEqual([recipient])
  return info.retries?.[0] as { workflowId: string; retryAt: string }
}
const stateOf = async (world: RealWorld, workflowId: string) => (await world.client.getById(workflowId))?.progress
const waiting = (world: RealWorld) => world.database.db.selectFrom('inbox').select('tries').where('done_at', 'is', null).execute()

test('a worker starts the retry within two seconds, and delivers the message', { timeout: 120_000 }, async () => {
  const world = await startRealWorld({ ...ENV, SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  await world.startWorker()
  const { workflowId, retryAt } = await refused(world, 'ann@handed-over.example', ['3s', '30d'])
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
  const world = await startRealWorld({ ...ENV, SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) })
  const { workflowId, retryAt } = await refused(world, 'bob@handed-over.example', ['1h', '4h'])
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
  const world = await startRealWorld({ ...ENV, SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`) }, undefined, server.address)
  const worker = await world.startWorker()
  await server.stop()
  await refused(world, 'eve@handed-over.example', ['1h'])
  await eventually(() => worker.log().includes('a report cannot be processed now; it is kept, and tried again'), 60_000)
  expect((await waiting(world))[0]?.tries).toBeGreaterThanOrEqual(1)
  await world.close()
})
