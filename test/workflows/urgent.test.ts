import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, test } from 'vitest'
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
afterAll(async () => {
  await world.close()
  await system.close()
  endpoint.closeAllConnections()
  endpoint.close()
})

test('the alternative channel is told of an urgent message at the start, signed, with what and whom, not the body', async () => {
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
  // the verifier's own clock is today's; the signature itself is what is checked
  const [id, timestamp] = [headers['webhook-id'] ?? '', headers['webhook-timestamp'] ?? '']
  expect(headers['webhook-signature']).toBe(new Webhook(SECRET).sign(id, new Date(Number(timestamp) * 1000), body))
  expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  expect(told).toHaveLength(1)
})

test('an endpoint that is down delays nothing and uses up no retry', async () => {
  answer = 503
  told.length = 0
  const input = { ...bounced(await world.currentTime(), { recipient: 'urgent2@example.org' }), urgent: true }
  const handle = await start(world, input)
  await eventually(async () => (await handle.query(progress)).state === 'waiting')
  expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  expect(told.length).toBeGreaterThan(1)
  expect(new Set(told.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  answer = 200
  // it goes on for a day, and the test server skips no time meanwhile
  await world.environment.client.workflow.getHandle(`event/${told[0]?.headers['webhook-id']}`).terminate('the test is over')
})

test('a message that is not urgent is told to nobody', async () => {
  told.length = 0
  const handle = await start(world, bounced(await world.currentTime(), { recipient: 'calm@example.org' }))
  expect(await handle.result()).toMatchObject({ outcome: 'delivered' })
  expect(told).toHaveLength(0)
})

test('by rule: a field of the header, the sender or the recipient makes a message urgent', async () => {
  const before = world.settings
  world.settings = deliverySettings({
    ...SETTINGS(),
    urgent: 'header X-Priority: 1*; sender *@billing.example; recipient vip-*@example.org',
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
    ['VIP-4@example.org', {}, true],
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

test('by setting each outcome of every message is told, once, and each fits its schema', async () => {
  const before = world.settings
  world.settings = deliverySettings({
    ...SETTINGS(),
    eventTypes: ['bounce.retrying', 'bounce.delivered', 'bounce.suppressed', 'bounce.rejected', 'bounce.expired'],
  })
  told.length = 0
  const at = await world.currentTime()
  const one = (recipient: string, more: object = {}) => start(world, bounced(at, { recipient, ...more }))
  try {
    await (await one('delivered@outcome.example')).result()
    system.say = { rcpt: () => '550 5.1.1 no such user' }
    await (await one('rejected@outcome.example')).result()
    system.say = { banner: () => '421 4.3.2 System not accepting network messages' }
    await (await one('suppressed@outcome.example', { schedule: ['1h'] })).result()
    await (await one('expired@outcome.example', { deliverBy: new Date(at.getTime() + 600_000).toISOString() })).result()
    const events = () => told.map(({ headers, body }) => ({ ...JSON.parse(body), id: headers['webhook-id'] }))
    await eventually(() => told.length >= 8)
    const ends = events().filter(({ type }) => type !== 'bounce.retrying')
    expect(ends.map(({ type, data }) => [type, data.recipient]).sort()).toEqual([
      ['bounce.delivered', 'delivered@outcome.example'],
      ['bounce.expired', 'expired@outcome.example'],
      ['bounce.rejected', 'rejected@outcome.example'],
      ['bounce.suppressed', 'suppressed@outcome.example'],
    ])
    expect(ends.find(({ type }) => type === 'bounce.suppressed')?.data).toMatchObject({
      ...{ retries: 1, status: '4.3.2', suppressedUntil: expect.any(String), destination: 'outcome.example' },
    })
    expect(new Set(events().map(({ id }) => id)).size).toBe(8)
    const schema = JSON.parse(readFileSync(new URL('../../docs/events.schema.json', import.meta.url), 'utf8'))
    const fits = new Ajv2020({ strict: true }).compile(schema)
    for (const { id: _, ...event } of events()) expect([fits(event), fits.errors]).toEqual([true, null])
    expect(fits({ type: 'bounce.delivered', timestamp: 'x', data: {} })).toBe(false)
  } finally {
    system.say = {}
    world.settings = before
  }
})
