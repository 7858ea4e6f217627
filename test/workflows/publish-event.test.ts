/** publishEvent alone: each channel has a day, and none waits for the other. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { DAY, eventually, failureOf, type Settings, startWorld, type World } from '../support/skipping-time.js'

let world: World
let settings: Settings
let answer = 204
let told = 0
const endpoint = createServer((request, response) => {
  told += 1
  request.resume()
  response.writeHead(answer).end()
})
beforeAll(async () => {
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve))
  const { port } = endpoint.address() as { port: number }
  const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
  settings = { webhook: { url: `http://127.0.0.1:${port}/`, secret } }
  world = await startWorld({ settings })
})
afterAll(async () => {
  await world.close()
  endpoint.closeAllConnections()
  endpoint.close()
})
beforeEach(() => {
  answer = 204
  told = 0
})
const event = () => ({
  id: randomUUID(),
  type: 'bounce.delivered',
  timestamp: new Date().toISOString(),
  data: { recipient: 'ann@example.org' },
})
const start = (order: object, of = world) =>
  of.environment.client.workflow.start('publishEvent', {
    ...{ taskQueue: 'softbounce', workflowId: `event/${randomUUID()}`, args: [{ event: event(), ...order }] },
  })

test('without subscribers nothing is published', async () => {
  expect(await (await start({})).result()).toBeUndefined()
  expect(told).toBe(0)
})

test('a webhook must fail for a day before the workflow fails', async () => {
  answer = 503
  const began = (await world.currentTime()).getTime()
  expect(await failureOf(await start({ webhook: true }))).toMatchObject({ name: 'ActivityFailure' })
  expect(told).toBeGreaterThan(100)
  expect((await world.currentTime()).getTime() - began).toBeGreaterThan(DAY - 15 * 60_000)
})

test('a webhook gets the event once, whether or not a worker serves the other channel', async () => {
  // a separate world, as the test server waits for open workflows
  const own = await startWorld({ settings })
  try {
    const handle = await start({ webhook: true, taskQueue: 'nobody' }, own)
    await eventually(() => told === 1)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(told).toBe(1)
    expect(await handle.describe()).toMatchObject({ status: { name: 'RUNNING' } })
  } finally {
    await own.close()
  }
})
