import { createServer, type Server } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { urgentRule } from '../../src/bounce/index.js'
import { progress } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, deliverySettings, eventually, start, startWorld, type World } from '../support/skipping-time.js'

const SECRET = `whsec_${Buffer.from('a secret of the test').toString('base64')}`
let world: World
let hook: string
const SETTINGS = () => ({ routes: `*=127.0.0.1:${system.port}`, webhook: { url: hook, secret: SECRET } })
let system: ReceivingSystem
let endpoint: Server
let answer = 200
const told: { headers: Record<string, string>; body: string }[] = []
beforeAll(async () => {
  system = await startReceivingSystem()
  endpoint = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      told.push({ headers: request.headers as Record<string, string>, body })
      response.writeHead(answer).end()
    })
  })
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve))
  const { port } = endpoint.address() as { port: number }
  world = await startWorld()
  hook = `http://127.0.0.1:${port}/hook`
  world.settings = deliverySettings(SETTINGS())
})
beforeEach(() => {
  answer = 200
  told.length = 0
})
afterAll(async () => {
  await world.close()
  await system.close()
  endpoint.closeAllConnections()
  endpoint.close()
})

test('the alternative channel gets a signed event for an urgent message at the start, without the body', async () => {
  const input = { ...bounced(await world.currentTime(), { recipient: 'urgent@example.org' }), urgent: true }
  const handle = await start(world, input)
  await eventually(() => told.length === 1)
  const [{ headers, body }] = told as [(typeof told)[number]]
  expect(JSON.parse(body)).toMatchObject({
    type: 'bounce.retrying',
    data: {
      messageId: 'm1@example.com',
      recipient: 'urgent@example.org',
      destination: 'example.org',
      status: '4.3.2',
      workflowId: handle.workflowId,
    },
  })
  expect(body).not.toContain('Thank you')
  // the verifier uses the real clock; only the signature is checked
  const [id, timestamp] = [headers['webhook-id'] ?? '', headers['webhook-timestamp'] ?? '']
  expect(headers['webhook-signature']).toBe(new Webhook(SECRET).sign(id, new Date(Number(timestamp) * 1000), body))
  expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  expect(told).toHaveLength(1)
})

test('a message that is not urgent is not published', async () => {
  told.length = 0
  const handle = await start(world, bounced(await world.currentTime(), { recipient: 'calm@example.org' }))
  expect(await handle.result()).toMatchObject({ outcome: 'delivered' })
  expect(told).toHaveLength(0)
})

test('rules make a message urgent by header field, sender or recipient', async () => {
  const before = world.settings
  world.settings = deliverySettings({
    ...SETTINGS(),
    urgent: [
      urgentRule('header', '1*', 'X-Priority'),
      urgentRule('sender', '*@billing.example'),
      urgentRule('recipient', 'VIP-*@example.org'),
    ],
  })
  const cases = [
    [
      'p1@example.org',
      { message: { raw: 'From: a@example.com\r\nX-Priority: 1 (highest)\r\nMessage-ID: <m1@example.com>\r\n\r\nhi\r\n' } },
      true,
    ],
    [
      'p2@example.org',
      { message: { raw: 'From: a@example.com\r\nX-Priority: 3\r\nMessage-ID: <m1@example.com>\r\n\r\nX-Priority: 1\r\n' } },
      false,
    ],
    ['p3@example.org', { sender: 'Bounces@Billing.example' }, true],
    ['vip-4@example.org', {}, true],
  ] as const
  try {
    for (const [recipient, more, urgent] of cases) {
      told.length = 0
      const handle = await start(world, bounced(await world.currentTime(), { recipient, ...more }))
      await handle.result()
      if (urgent) await eventually(() => told.length === 1)
      expect(told.length, recipient).toBe(urgent ? 1 : 0)
    }
  } finally {
    world.settings = before
  }
})

test('an endpoint that is down delays nothing and uses up no retry', async () => {
  answer = 503
  // a separate world: its open workflow lasts a day, and meanwhile the test server skips no time
  const own = await startWorld()
  own.settings = deliverySettings(SETTINGS())
  try {
    const input = { ...bounced(await own.currentTime(), { recipient: 'urgent2@example.org' }), urgent: true }
    const handle = await start(own, input)
    await eventually(async () => (await handle.query(progress)).state === 'waiting')
    expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  } finally {
    await own.close()
  }
  expect(told.length).toBeGreaterThan(1)
  expect(new Set(told.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
})
