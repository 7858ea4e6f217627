import { afterEach, beforeEach, expect, test } from 'vitest'
import { retryBouncedMessage } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, HOUR, startWorld, type World } from '../support/skipping-time.js'

let world: World
let system: ReceivingSystem
beforeEach(async () => {
  system = await startReceivingSystem({ banner: () => '421 4.3.2 System not accepting network messages' })
  world = await startWorld({ settings: { routes: `*=127.0.0.1:${system.port}` } })
})
afterEach(async () => {
  await world.close()
  await system.close()
})

test('promise 2: retries go 1 h, 4 h, 12 h and 24 h after the one before, never early and at most 15 minutes late', async () => {
  const began = await world.currentTime()
  const result = await world.environment.client.workflow.execute(retryBouncedMessage, {
    taskQueue: 'softbounce',
    workflowId: 'bounce/ann@example.org/m1@example.com',
    args: [bounced(began)],
  })
  expect(result.outcome).toBe('suppressed')
  let before = began.getTime()
  for (const [i, hours] of [1, 4, 12, 24].entries()) {
    const at = Date.parse(result.attempts[i]?.at ?? '')
    expect(at - before).toBeGreaterThanOrEqual(hours * HOUR)
    expect(at - before).toBeLessThan(hours * HOUR + Math.min(hours * HOUR * 0.1, HOUR / 4) + 5000)
    before = at
  }
})
