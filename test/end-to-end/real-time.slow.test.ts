import { afterAll, beforeAll, expect, test } from 'vitest'
import { SEARCH_ATTRIBUTES } from '../../src/temporal/namespace.js'
import { yamlRoutes } from '../support/config.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, eventually, MESSAGE } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
let world: RealWorld
let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), SOFTBOUNCE_RETRY_SCHEDULE: '1s, 2s, 2s, 2s' })
  await world.startWorker()
})
afterAll(async () => {
  await world.close()
  await system.close()
})

test('a suppressed retry has at most 60 events and its search attributes, and is never early', async () => {
  system.say = { banner: () => NOT_NOW }
  const input = bounced(new Date(), { recipient: 'ann@example.org' })
  const { message: _, messageId, sender, recipient, bounce } = input
  const retry = await world.client.retry(MESSAGE, { messageId, sender, recipient, ...bounce })
  const result = await retry.result()
  expect(result).toMatchObject({ outcome: 'suppressed', retries: 4 })
  const times = [Date.parse(bounce.bouncedAt), ...system.connections]
  for (const [i, delay] of [1000, 2000, 2000, 2000].entries()) expect((times[i + 1] ?? 0) - (times[i] ?? 0)).toBeGreaterThanOrEqual(delay)
  const handle = world.temporal.workflow.getHandle(retry.workflowId)
  const { events } = await handle.fetchHistory()
  expect(events?.length).toBeLessThanOrEqual(60)
  const description = await handle.describe()
  const found = Object.fromEntries(SEARCH_ATTRIBUTES.map((name) => [name, description.searchAttributes[name]]))
  expect(found).toEqual({
    BounceRecipient: ['ann@example.org'],
    BounceDestination: ['example.org'],
    BounceStatus: ['4.3.2'],
    BounceOutcome: ['suppressed'],
  })
  expect(await description.staticSummary()).toBe('4.3.2 for ann@example.org')
  const listed = await eventually(async () => {
    const ids: string[] = []
    for await (const execution of world.temporal.workflow.list({
      query: "BounceOutcome = 'suppressed' AND BounceDestination = 'example.org'",
    }))
      ids.push(execution.workflowId)
    return ids.length > 0 && ids
  })
  expect(listed).toEqual([retry.workflowId])
  const summaries = (events ?? [])
    .map((event) => event.userMetadata?.summary?.data)
    .filter((data) => data != null)
    .map((data) => JSON.parse(Buffer.from(data).toString()))
  expect(summaries).toEqual(
    expect.arrayContaining(['retry 2, 2 s after retry 1', 'retry 2 of 4 to ann@example.org', 'suppress ann@example.org for a while']),
  )
})
