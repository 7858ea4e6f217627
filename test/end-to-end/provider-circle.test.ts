/** The full loop by a provider: our message through its relay, its webhook, the retry through the same relay, and its webhook. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromEnvironment, track } from '../../src/client/index.js'
import { readSettings } from '../../src/config/config.js'
import { verifyReturnPath } from '../../src/delivery/index.js'
import { EventReceiver, WebhookReceiver } from '../../src/intake/index.js'
import { createLogger } from '../../src/logger.js'
import { type Provider, SnsSignatures } from '../../src/providers/index.js'
import { serveHttp } from '../../src/report/http-server.js'
import { Metrics } from '../../src/report/metrics.js'
import { listBounces } from '../../src/store/index.js'
import {
  GIVEN_UP,
  MAILGUN_KEY,
  POSTMARK_SECRET,
  type SignedRequest,
  type Sns,
  sesMail,
  signMailgun,
  signPostmark,
  startSns,
  TOPIC,
} from '../support/providers.js'
import { type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem, type Taken } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

const KEY = Buffer.from('a key of more than sixteen bytes').toString('base64')
const RETURN_PATH = 'b+{token}@bounces.{domain}'
const field = ({ content }: Taken, name: string) => new RegExp(`^${name}: (.*)\r$`, 'im').exec(content.toString())?.[1]

/** A provider's relay: accepts everything, and returns a message ID in its reply, as SES does. */
async function startRelay(): Promise<ReceivingSystem & { readonly names: string[] }> {
  const names: string[] = []
  const relay = await startReceivingSystem({
    server: {
      onData: (stream, session, done) => {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', () => {
          const { mailFrom, rcptTo } = session.envelope
          relay.taken.push({
            at: Date.now(),
            from: mailFrom === false ? '' : mailFrom.address,
            to: rcptTo.map((r) => r.address),
            content: Buffer.concat(chunks),
          })
          names.push(`0102018d2e0f7c${String(relay.taken.length).padStart(2, '0')}-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901-000000`)
          done(null, `Ok ${names.at(-1)}`)
        })
      },
    },
  })
  return Object.assign(relay, { names })
}

describe('Amazon SES', () => {
  let world: RealWorld
  let relay: Awaited<ReturnType<typeof startRelay>>
  let sns: Sns
  let notifications: WebhookReceiver
  let server: Server
  const preset = {
    SOFTBOUNCE_RELAY_PROVIDER: 'ses',
    SOFTBOUNCE_RELAY_MAX_MESSAGE_RATE: '100/s',
    SOFTBOUNCE_RELAY_TLS: 'off',
    SOFTBOUNCE_RETURN_PATH_ADDRESS: RETURN_PATH,
    SOFTBOUNCE_RETURN_PATH_KEYS: KEY,
    SOFTBOUNCE_RETRY_SCHEDULE: '1s, 1s',
  }

  beforeAll(async () => {
    relay = await startRelay()
    sns = await startSns()
    world = await startRealWorld({ ...preset, SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${relay.port}` })
    const settings = readSettings({
      ...preset,
      SOFTBOUNCE_PROVIDERS_SES_TOPIC_ARNS: TOPIC,
      SOFTBOUNCE_PROVIDERS_POSTMARK_WEBHOOK_SECRET: POSTMARK_SECRET,
      SOFTBOUNCE_DATABASE_URL: world.env.SOFTBOUNCE_DATABASE_URL,
    })
    const { returnPaths, ownHosts, retryStatuses } = settings
    const intake = new EventReceiver({
      ...{ client: world.client, database: world.database, now: () => new Date() },
      settings: { returnPaths, ownHosts, retryStatuses, isTrusted: false, relayProvider: 'postmark' },
    })
    notifications = new WebhookReceiver(
      intake,
      world.database,
      { secrets: settings.providers, sns: new SnsSignatures(sns.agent) },
      createLogger('error'),
    )
    server = await serveHttp({
      ...{ port: 0, host: '127.0.0.1', databaseFault: async () => null, metrics: new Metrics() },
      state: () => ({ name: 'intake', is: 'RUNNING', good: true }),
      others: (request, response) => notifications.answer(request, response),
    })
    await world.startWorker()
  })
  afterAll(async () => {
    server?.close()
    await notifications?.close()
    await sns?.close()
    await world?.close()
    await relay?.close()
  })

  const notify = async ({ headers, body }: SignedRequest, provider = 'ses') => {
    const { port } = server.address() as AddressInfo
    const response = await fetch(`http://127.0.0.1:${port}/notifications/${provider}`, { method: 'POST', headers, body })
    expect(response.status).toBe(200)
  }
  async function sendThrough(to: string) {
    const transporter = track(
      nodemailer.createTransport({ host: '127.0.0.1', port: relay.port, secure: false, ignoreTLS: true }),
      fromEnvironment({ ...preset, SOFTBOUNCE_DATABASE_URL: world.env.SOFTBOUNCE_DATABASE_URL }),
    )
    const { messageId } = await transporter.sendMail({ from: 'shop@example.com', to, subject: 'Hello', text: 'Thank you.' })
    return { messageId: messageId.replace(/[<>]/g, ''), recipient: to }
  }
  const takenFor = (to: string) => relay.taken.filter((one) => one.to.includes(to))
  const tokenOf = (one: Taken) => /softbounce=([a-z2-7]{39})$/.exec(field(one, 'X-SES-MESSAGE-TAGS') ?? '')?.[1]

  test('a bounce notification starts a retry, and a delivery notification ends it as delivered', async () => {
    const one = await sendThrough('ann@example.org')
    const first = takenFor(one.recipient)[0] as Taken
    // SES replaces the Message-ID; it returns tags, envelope sender and its own message ID
    await notify(
      sns.sign(GIVEN_UP.ses({ recipient: one.recipient, token: tokenOf(first), returnPath: first.from, providerId: relay.names[0] })),
    )
    const second = await eventually(() => takenFor(one.recipient)[1])
    const returnPaths = { template: RETURN_PATH, keys: [Buffer.from(KEY, 'base64')], validDays: 30 }
    expect(verifyReturnPath(returnPaths, second.from, new Date())).toMatchObject({ send: 1 })
    expect(tokenOf(second)).toBe(/^b\+([a-z2-7]{39})@/.exec(second.from)?.[1])
    await eventually(async () => (await world.client.get(one.recipient, one.messageId))?.progress?.state === 'confirming')
    const delivery = { recipients: [one.recipient], smtpResponse: '250 2.0.0 OK', timestamp: new Date().toISOString() }
    await notify(sns.sign({ eventType: 'Delivery', mail: sesMail({ recipient: one.recipient, token: tokenOf(second) }), delivery }))
    const ended = await eventually(async () => {
      const standing = await world.client.get(one.recipient, one.messageId)
      return standing?.status === 'COMPLETED' ? standing : null
    })
    expect(ended.result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
    expect(takenFor(one.recipient)).toHaveLength(2)
  })

  test('a late delivery notification of an earlier send ends nothing', async () => {
    const one = await sendThrough('late@example.org')
    const first = takenFor(one.recipient)[0] as Taken
    const early = { recipients: [one.recipient], smtpResponse: '250 2.0.0 OK', timestamp: new Date(Date.now() - 60_000).toISOString() }
    await notify(sns.sign(GIVEN_UP.ses({ recipient: one.recipient, token: tokenOf(first) })))
    const second = await eventually(() => takenFor(one.recipient)[1])
    await eventually(async () => (await world.client.get(one.recipient, one.messageId))?.progress?.state === 'confirming')
    await notify(sns.sign({ eventType: 'Delivery', mail: sesMail({ recipient: one.recipient, token: tokenOf(first) }), delivery: early }))
    await notify(sns.sign(GIVEN_UP.ses({ recipient: one.recipient, token: tokenOf(second) })))
    await eventually(() => takenFor(one.recipient).length === 3)
  })

  test('the message ID in the reply suffices for correlation, of the original and of its retries', async () => {
    const one = await sendThrough('bob@example.org')
    const name = () => relay.names[relay.taken.indexOf(takenFor(one.recipient).at(-1) as Taken)]
    await notify(sns.sign(GIVEN_UP.ses({ recipient: one.recipient, providerId: name() })))
    await eventually(() => takenFor(one.recipient).length === 2)
    await eventually(async () => (await world.client.get(one.recipient, one.messageId))?.progress?.state === 'confirming')
    await notify(sns.sign(GIVEN_UP.ses({ recipient: one.recipient, providerId: name() })))
    await eventually(() => takenFor(one.recipient).length === 3)
    // on its own list: the retry that would say "delivered" by silence ends as what it is
    const bounce = {
      bounceType: 'Permanent',
      bounceSubType: 'OnAccountSuppressionList',
      bouncedRecipients: [{ emailAddress: one.recipient, action: 'failed', status: '5.1.1' }],
    }
    await eventually(async () => (await world.client.get(one.recipient, one.messageId))?.progress?.state === 'confirming')
    await notify(sns.sign({ eventType: 'Bounce', mail: sesMail({ recipient: one.recipient, providerId: name() }), bounce }))
    const ended = await eventually(async () => {
      const standing = await world.client.get(one.recipient, one.messageId)
      return standing?.status === 'COMPLETED' ? standing : null
    })
    expect(ended.result).toMatchObject({ outcome: 'rejected', retries: 2 })
    expect(ended.result?.attempts.at(-1)?.reply).toContain("account's suppression list at Amazon SES")
  })

  test.each([
    ['that names the message', 'eva@example.org', (token: string | undefined) => ({ Metadata: { softbounce: token } })],
    ['that names no message', 'uwe@example.org', () => ({ MessageID: '00000000-0000-0000-0000-000000000000', Metadata: {} })],
  ])("a refusal by a provider's API %s ends the retry that its SMTP server had accepted as rejected", async (_, recipient, naming) => {
    const one = await sendThrough(recipient)
    await notify(sns.sign(GIVEN_UP.ses({ recipient, token: tokenOf(takenFor(recipient)[0] as Taken) })))
    const second = await eventually(() => takenFor(recipient)[1])
    await eventually(async () => (await world.client.get(recipient, one.messageId))?.progress?.state === 'confirming')
    // the original was sent long before the retry
    await world.database.db
      .updateTable('sent_messages')
      .set({ sent_at: Date.now() - 2 * 3_600_000 })
      .where('recipient', '=', recipient)
      .execute()
    await notify(
      signPostmark({ RecordType: 'Bounce', Type: 'SMTPApiError', TypeCode: 100_007, Email: recipient, ...naming(tokenOf(second)) }),
      'postmark',
    )
    const ended = await eventually(async () => {
      const standing = await world.client.get(recipient, one.messageId)
      return standing?.status === 'COMPLETED' ? standing : null
    })
    expect(ended.result).toMatchObject({ outcome: 'rejected', retries: 1 })
    expect(ended.result?.attempts.at(-1)?.reply).toContain('Postmark refused the message after its SMTP server had accepted it')
  })

  test('an event of an unknown type does not confirm a retry', async () => {
    const recipient = 'ida@example.org'
    const one = await sendThrough(recipient)
    await notify(sns.sign(GIVEN_UP.ses({ recipient, token: tokenOf(takenFor(recipient)[0] as Taken) })))
    const second = await eventually(() => takenFor(recipient)[1])
    await eventually(async () => (await world.client.get(recipient, one.messageId))?.progress?.state === 'confirming')
    await notify(sns.sign({ eventType: 'Telepathy', mail: sesMail({ recipient, token: tokenOf(second) }) }))
    const listed = await eventually(async () => {
      for await (const bounce of listBounces(world.database.db, ['unreadable'], 10)) return bounce
      return null
    })
    expect(listed.why).toContain('Amazon SES calls it Telepathy, which is not among the event types that it documents; kept as')
    expect((await world.client.get(recipient, one.messageId))?.progress?.state).toBe('confirming')
  })
})

describe('softbounce intake', () => {
  let world: RealWorld
  let intake: WorkerProcess
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  beforeAll(async () => {
    world = await startRealWorld({ SOFTBOUNCE_HTTP_PORT: String(port), SOFTBOUNCE_LOG_LEVEL: 'info' })
    intake = await world.startIntake([], { SOFTBOUNCE_PROVIDERS_MAILGUN_SIGNING_KEY: MAILGUN_KEY })
  })
  afterAll(() => world.close())

  test('the intake accepts webhooks of the providers whose secret is set, on the same port as its other pages', async () => {
    expect(intake.log()).toContain('"notifications":["mailgun"]')
    const page = (path: string, request?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, request)
    const { headers, body } = signMailgun(GIVEN_UP.mailgun({ recipient: 'gone@example.org', messageId: 'x@example.com' }))
    expect((await page('/notifications/mailgun', { method: 'POST', headers, body })).status).toBe(200)
    expect((await page('/notifications/ses', { method: 'POST', body })).status).toBe(404)
    await eventually(() => intake.log().includes('"source":"mailgun"'))
    const metrics = await eventually(async () => {
      const text = await (await page('/metrics')).text()
      return text.includes('softbounce_intake_mails_total{source="mailgun",result="accepted"} 1') ? text : null
    })
    expect(metrics).toContain('softbounce_webhooks_total{provider="mailgun",result="kept"} 1')
  })

  test.each<[string, Record<string, string>, string]>([
    [
      'no port',
      { SOFTBOUNCE_HTTP_PORT: '', SOFTBOUNCE_PROVIDERS_POSTMARK_WEBHOOK_SECRET: 'x'.repeat(20) },
      'notifications of postmark come in by HTTP, and http.port is not set',
    ],
    ['nothing at all', {}, "set intake.listen or a provider's secret"],
    ['a key that is none', { SOFTBOUNCE_PROVIDERS_SENDGRID_VERIFICATION_KEY: 'x' }, 'it must be the key as SendGrid shows it'],
    ['a topic that is none', { SOFTBOUNCE_PROVIDERS_SES_TOPIC_ARNS: 'bounces' }, 'it must be the ARN of a topic, such as arn:aws:sns'],
    ['a provider that is not known', { SOFTBOUNCE_RELAY_PROVIDER: 'mandrill' }, 'it must be ses, sendgrid'],
  ])('%s is reported', async (_, env, expected) => {
    const { runCli } = await import('../support/real-time.js')
    const { status, stderr } = await runCli('.', { ...world.env, ...env }, ['intake'])
    expect(status).not.toBe(0)
    expect(stderr).toContain(expected)
  })
})

test.each<[Provider, number]>([
  ['ses', 1],
  ['resend', 5],
  ['sendgrid', 10_000],
])('relay.provider=%s sets the documented rate, unless relay.maxMessageRate overrides it', (provider, rate) => {
  const of = (more: object) =>
    readSettings({ SOFTBOUNCE_RELAY_PROVIDER: provider, SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1', ...more }).throttle.relay.maxMessageRate
  expect(of({})).toBe(rate)
  expect(of({ SOFTBOUNCE_RELAY_MAX_MESSAGE_RATE: '14/s' })).toBe(14)
})
