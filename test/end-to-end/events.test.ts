/** Alternative channels: a Python receiver that verifies the webhook, and a Python worker that runs `notifyAlternative`. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { EVENT_TYPES, type SoftbounceEvent } from '../../src/bounce/index.js'
import { yamlRoutes } from '../support/config.js'
import { pythonWith } from '../support/python.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, eventually } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const SECRET = `whsec_${randomBytes(24).toString('base64')}`
const python = pythonWith('temporalio.client', 'standardwebhooks')

// the tests depend on each other, in this order: the receiver starts late
describe.skipIf(python === null)('events, told in Python', { shuffle: false }, () => {
  let world: RealWorld
  let system: ReceivingSystem
  const children: ChildProcess[] = []
  const run = (script: string, args: string[], env: Record<string, string>) => {
    const example = fileURLToPath(new URL(`../../examples/${script}`, import.meta.url))
    const child = spawn(python as string, [example, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    const events: SoftbounceEvent[] = []
    let rest = ''
    child.stdout.on('data', (chunk) => {
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop() as string
      for (const line of lines) events.push(JSON.parse(line))
    })
    return events
  }
  let port: number
  let byWebhook: SoftbounceEvent[] = []
  const told = (events: SoftbounceEvent[]) => events.map(({ type, data }) => `${type} ${data.recipient ?? data.destination}`).sort()
  beforeAll(async () => {
    system = await startReceivingSystem()
    port = await freePort()
    world = await startRealWorld({
      SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`),
      SOFTBOUNCE_EVENTS_WEBHOOK_URL: `http://127.0.0.1:${port}/`,
      SOFTBOUNCE_EVENTS_WEBHOOK_SECRET: SECRET,
      SOFTBOUNCE_EVENTS_PUBLISH: EVENT_TYPES.filter((type) => type !== 'bounce.retrying').join(', '),
      SOFTBOUNCE_EVENTS_TASK_QUEUE: 'sms',
      SOFTBOUNCE_EVENTS_URGENT_RULES: '[{ sender: "*@billing.example" }]',
      SOFTBOUNCE_THROTTLE_FAILURES_BEFORE_DOWN: '2',
    })
  })
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await world.close()
    await system.close()
  })
  const retry = (recipient: string, sender: string, schedule = ['1s', '2s', '2s', '30d'], more: object = {}) =>
    world.client.retry(
      `From: shop@example.com\r\nMessage-ID: <${recipient}@example.com>\r\n\r\nthe body\r\n`,
      { sender, recipient, status: '4.3.2', bouncedAt: new Date().toISOString() },
      { schedule, ...more },
    )

  test('events are verified, delivered once by each channel, and also to a receiver that starts late', {
    timeout: 240_000,
  }, async () => {
    await world.startWorker()
    // nothing listens yet: that must delay nothing
    const urgent = await retry('ann@first.example', 'bounces@billing.example')
    expect(await urgent.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    const calm = await retry('bob@first.example', 'bounces@example.com')
    expect(await calm.result()).toMatchObject({ outcome: 'delivered' })
    byWebhook = run('webhook_receiver.py', [String(port)], { SOFTBOUNCE_EVENTS_WEBHOOK_SECRET: SECRET })
    const byActivity = run('notify_alternative.py', ['sms'], {
      TEMPORAL_ADDRESS: world.env.TEMPORAL_ADDRESS as string,
      TEMPORAL_NAMESPACE: world.namespace,
    })
    const wanted = ['bounce.delivered ann@first.example', 'bounce.delivered bob@first.example', 'bounce.retrying ann@first.example']
    await eventually(() => byWebhook.length >= 3 && byActivity.length >= 3, 90_000)
    expect(told(byWebhook)).toEqual(wanted)
    expect(told(byActivity)).toEqual(wanted)
    expect(JSON.stringify([byWebhook, byActivity])).not.toContain('the body')
    // a destination goes down, and comes back
    system.say = { banner: () => NOT_NOW }
    const held = await retry('cem@second.example', 'bounces@example.com')
    await eventually(() => told(byWebhook).includes('destination.down second.example'), 60_000)
    system.say = {}
    await world.client.retryNow({ workflowId: held.workflowId })
    await eventually(() => told(byWebhook).includes('destination.up second.example'), 90_000)
    await eventually(() => told(byActivity).includes('destination.up second.example'), 30_000)
    await held.result()
    await eventually(() => told(byWebhook).length === 6, 30_000)
    expect(told(byWebhook)).toEqual(
      [...wanted, 'bounce.delivered cem@second.example', 'destination.down second.example', 'destination.up second.example'].sort(),
    )
    // outages not published because Temporal was away are found later; published ones are not repeated
    const { db } = world.database
    const row = await db.selectFrom('destinations').selectAll().where('name', '=', 'second.example').executeTakeFirstOrThrow()
    await db
      .insertInto('destinations')
      .values({ ...row, name: 'lost.example' })
      .execute()
    const outage = await db.selectFrom('outages').selectAll().where('destination', '=', 'second.example').executeTakeFirstOrThrow()
    await db
      .insertInto('outages')
      .values({ ...outage, destination: 'lost.example', published: null })
      .execute()
    await db.updateTable('outages').set({ published: null }).where('destination', '=', 'second.example').execute()
    await eventually(() => told(byWebhook).includes('destination.up lost.example'), 60_000)
    const ofSystems = () => told(byWebhook).filter((one) => one.startsWith('destination.'))
    await eventually(() => ofSystems().length >= 4, 60_000)
    const left = () => db.selectFrom('outages').select('destination').where('published', 'is', null).execute()
    await eventually(async () => (await left()).length === 0, 30_000)
    expect(ofSystems()).toEqual([
      ...['destination.down lost.example', 'destination.down second.example'],
      ...['destination.up lost.example', 'destination.up second.example'],
    ])
  })

  test('each outcome is published once, with the reply, and matches its schema', { timeout: 120_000 }, async () => {
    const outcomes = () => byWebhook.filter(({ data }) => String(data.recipient).endsWith('@outcome.example'))
    const sender = 'bounces@example.com'
    system.say = { rcpt: ({ address }) => (address?.startsWith('rejected') ? '550 5.1.1 no such user' : '450 4.3.2 not now') }
    await (await retry('rejected@outcome.example', sender, ['1s'])).result()
    await (await retry('suppressed@outcome.example', sender, ['1s'])).result()
    await (await retry('expired@outcome.example', sender, ['30d'], { deliverBy: new Date(Date.now() + 3000).toISOString() })).result()
    // a permanent bounce
    const gone = bounced(new Date(), {
      recipient: 'gone@outcome.example',
      bounce: { status: '5.7.1', bouncedAt: new Date().toISOString(), diagnostic: '550 5.7.1 no' },
    })
    const options = { taskQueue: 'softbounce', workflowId: `bounce/gone@outcome.example/${gone.messageId}`, args: [gone] }
    expect(await world.temporal.workflow.execute('retryBouncedMessage', options)).toMatchObject({ outcome: 'rejected' })
    await eventually(() => outcomes().length === 4, 30_000)
    expect(told(outcomes())).toEqual([
      'bounce.expired expired@outcome.example',
      'bounce.rejected gone@outcome.example',
      'bounce.rejected rejected@outcome.example',
      'bounce.suppressed suppressed@outcome.example',
    ])
    expect(outcomes().find(({ type }) => type === 'bounce.suppressed')?.data).toMatchObject({
      ...{ retries: 1, status: '4.3.2', reply: '450 4.3.2 not now', suppressedUntil: expect.any(String), destination: 'outcome.example' },
    })
    const schema = JSON.parse(readFileSync(new URL('../../docs/events.schema.json', import.meta.url), 'utf8'))
    const fits = new Ajv2020({ strict: true, strictTypes: false }).compile(schema)
    for (const event of byWebhook) expect([event.type, fits(event), fits.errors]).toEqual([event.type, true, null])
    expect(fits({ type: 'bounce.delivered', timestamp: 'x', data: {} })).toBe(false)
  })
})
