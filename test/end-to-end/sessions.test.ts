/** A receiving system that ends each session after some messages costs no message a retry, at whatever step it says so. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { yamlRoutes } from '../support/config.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const MESSAGES = 9
const PER_SESSION = 3
const ENOUGH = '421 4.4.5 Too many messages in this session, please reconnect'
let world: RealWorld
let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startRealWorld({ SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`), SOFTBOUNCE_THROTTLE_CONNECTION_LIMIT: '1' })
  await world.startWorker()
})
afterAll(async () => {
  await world.close()
  await system.close()
})

test.each(['mail', 'rcpt'] as const)('a 421 at %s after three messages of a session', { timeout: 120_000 }, async (step) => {
  const before = system.taken.length
  /** Messages accepted when each connection was opened. */
  const takenBefore = new Map<number, number>()
  system.say = {
    banner: ({ connection }) => {
      takenBefore.set(connection, system.taken.length)
      return undefined
    },
    [step]: ({ connection }: { connection: number }) =>
      system.taken.length - (takenBefore.get(connection) ?? 0) >= PER_SESSION ? ENOUGH : undefined,
  }
  const recipients = Array.from({ length: MESSAGES }, (_, i) => `${step}${i}@sessions.example`)
  const started = await Promise.all(
    recipients.map((recipient) =>
      world.client.retry(
        `From: shop@example.com\r\nMessage-ID: <${recipient}>\r\n\r\nhello\r\n`,
        { sender: 'bounces@example.com', recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
        { schedule: ['1s', '30d'] },
      ),
    ),
  )
  const results = await eventually(async () => Promise.all(started.map(({ result }) => result())), 90_000)
  expect(results.map(({ outcome, retries }) => [outcome, retries])).toEqual(recipients.map(() => ['delivered', 1]))
  expect(system.taken.length - before).toBe(MESSAGES)
})
