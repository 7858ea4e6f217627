/** Providers' webhooks: signed, forged, replayed, truncated, out of order; stored first, processed afterwards, applied once. */
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { DEFAULT_RETRY_STATUSES, parseRetryStatuses } from '../../src/bounce/index.js'
import { canonicalMessage, dayOf, type ReturnPaths, sentId, signReturnPath, signToken } from '../../src/delivery/index.js'
import { EventReceiver, WebhookReceiver } from '../../src/intake/index.js'
import { createLogger } from '../../src/logger.js'
import { type Provider, SnsSignatures, sendGridKey } from '../../src/providers/index.js'
import { serveHttp } from '../../src/report/http-server.js'
import { Metrics } from '../../src/report/metrics.js'
import { type InboundReport, listBounces, recordEnd, recordProviderId, storeSent } from '../../src/store/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { sqliteDatabase } from '../support/databases.js'
import {
  GIVEN_UP,
  MAILGUN_KEY,
  POSTMARK_SECRET,
  RESEND_SECRET,
  SENDGRID_KEY,
  type SignedRequest,
  type Sns,
  sesMail,
  signMailgun,
  signPostmark,
  signResend,
  signSendGrid,
  startSns,
  TOPIC,
} from '../support/providers.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { eventually, HOUR, MESSAGE } from '../support/skipping-time.js'

const returnPaths: ReturnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 7)], validDays: 28 }
const secrets = {
  ses: [TOPIC],
  sendgrid: sendGridKey(SENDGRID_KEY),
  mailgun: MAILGUN_KEY,
  postmark: POSTMARK_SECRET,
  resend: RESEND_SECRET,
}
const PROVIDERS = ['ses', 'sendgrid', 'mailgun', 'postmark', 'resend'] as const
const intakeSettings = { returnPaths, ownHosts: [], retryStatuses: parseRetryStatuses(DEFAULT_RETRY_STATUSES), isTrusted: false }
let world: RealWorld
let sns: Sns
let notifications: WebhookReceiver
let metrics: Metrics
let server: Server
let port: number
let clockMs = 0
beforeAll(async () => {
  world = await startRealWorld({})
  sns = await startSns()
  metrics = new Metrics()
  const now = () => new Date(Date.now() + clockMs)
  const intake = new EventReceiver({
    client: world.client,
    database: world.database,
    settings: intakeSettings,
    now: () => new Date(),
    metrics,
  })
  notifications = new WebhookReceiver(
    intake,
    world.database,
    { secrets, metrics, sns: new SnsSignatures(sns.agent), now },
    createLogger('error'),
  )
  const state = () => ({ name: 'intake', is: 'RUNNING', good: true })
  server = await serveHttp({
    ...{ port: 0, host: '127.0.0.1', databaseFault: async () => null, metrics, state },
    others: (request, response) => notifications.answer(request, response),
  })
  port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  server.close()
  await notifications.close()
  await sns.close()
  await world.close()
})
beforeEach(() => {
  clockMs = 0
  sns.down = false
})

let n = 0
/** Records a message as sent some hours ago; returns what its webhooks refer to. */
async function sent() {
  n += 1
  const messageId = `n${n}@example.com`
  const recipient = `n${n}@example.org`
  const at = new Date(Date.now() - 3 * HOUR)
  const id = sentId(messageId, recipient)
  const row = { id, messageId, recipient, envelopeRecipient: recipient, sender: 'shop@example.com', options: null }
  await storeSent(world.database, canonicalMessage(Buffer.from(MESSAGE)), [row], at)
  const token = { id, day: dayOf(at), send: 0 }
  return {
    ...{ id, messageId, recipient },
    token: signToken(returnPaths, token),
    returnPath: signReturnPath(returnPaths, token, 'shop@example.com'),
    workflowId: world.client.workflowId(recipient, messageId),
  }
}
type Sent = Awaited<ReturnType<typeof sent>>

function sign(provider: Provider, event: object): SignedRequest {
  if (provider === 'ses') return sns.sign(event)
  if (provider === 'sendgrid') return signSendGrid([event])
  if (provider === 'mailgun') return signMailgun(event)
  return provider === 'postmark' ? signPostmark(event) : signResend(event)
}
async function post(provider: string, { headers, body }: SignedRequest) {
  const response = await fetch(`http://127.0.0.1:${port}/notifications/${provider}`, { method: 'POST', headers, body })
  return { status: response.status, text: (await response.text()).trim() }
}
async function bouncesOf(recipient: string): Promise<InboundReport[]> {
  const found: InboundReport[] = []
  for await (const bounce of listBounces(world.database.db, null, 200)) if (bounce.recipient === recipient) found.push(bounce)
  return found.reverse()
}
/** Waits until every stored webhook is processed. */
const workedOn = () =>
  eventually(async () => {
    const left = await world.database.db.selectFrom('inbox').select('id').where('done_at', 'is', null).execute()
    return left.length === 0
  })
const signals = async (workflowId: string) =>
  ((await world.temporal.workflow.getHandle(workflowId).fetchHistory()).events ?? []).filter(
    (event) => event.workflowExecutionSignaledEventAttributes != null,
  ).length
const counted = async (provider: string, result: string) =>
  Number(
    new RegExp(`softbounce_webhooks_total\\{provider="${provider}",result="${result}"\\} (\\d+)`).exec(
      await metrics.registry.metrics(),
    )?.[1] ?? 0,
  )

describe.each(PROVIDERS)('%s', (provider) => {
  const givenUp = GIVEN_UP[provider]

  test('a bounce is matched by the token sent with the message, and retried', async () => {
    const one = await sent()
    expect(await post(provider, sign(provider, givenUp({ recipient: one.recipient, token: one.token })))).toEqual({
      status: 200,
      text: 'kept',
    })
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([
      { disposition: 'retry-started', source: provider, messageId: one.messageId, workflowId: one.workflowId, status: '4.3.2' },
    ])
    expect(await world.client.isOpen(one)).toBe(true)
  })

  test('a repeated webhook acts once', async () => {
    const one = await sent()
    const request = sign(provider, givenUp({ recipient: one.recipient, token: one.token }))
    const before = await counted(provider, 'repeated')
    expect((await Promise.all([post(provider, request), post(provider, request)])).map(({ status }) => status)).toEqual([200, 200])
    expect(await post(provider, request)).toMatchObject({ status: 200 })
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([{ disposition: 'retry-started' }])
    expect(await signals(one.workflowId)).toBe(1)
    expect(await counted(provider, 'repeated')).toBe(before + 2)
  })

  test('an event repeated with a new signature acts once', async () => {
    const one = await sent()
    const event = givenUp({ recipient: one.recipient, token: one.token })
    await post(provider, sign(provider, { ...event, sg_event_id: 'anew-1', ID: 1 }))
    await post(provider, sign(provider, { ...event, sg_event_id: `anew-2`, ID: 2 }))
    await workedOn()
    expect((await bouncesOf(one.recipient)).map(({ disposition }) => disposition)).toEqual(['retry-started', 'ignored'])
    expect(await signals(one.workflowId)).toBe(1)
    await world.database.db.deleteFrom('inbox').where('id', 'like', 'anew%').execute()
  })

  test('forged, truncated and unsigned webhooks are refused, counted, and not stored', async () => {
    const one = await sent()
    const good = sign(provider, givenUp({ recipient: one.recipient, token: one.token }))
    const before = await counted(provider, 'refused')
    const forged: SignedRequest[] =
      provider === 'mailgun'
        ? [{ ...good, body: good.body.replace(/"signature":"[0-9a-f]{4}/, '"signature":"0000') }]
        : provider === 'postmark'
          ? [signPostmark(givenUp(one), 'another-secret-of-somebody'), { headers: {}, body: good.body }]
          : [{ ...good, body: good.body.replaceAll(one.recipient, 'eve@example.org') }]
    for (const request of forged) expect((await post(provider, request)).status).toBe(401)
    expect(await counted(provider, 'refused')).toBe(before + forged.length)
    // a truncated body fails its signature, or, if that does not cover the body, is invalid JSON
    const truncated = await post(provider, { ...good, body: good.body.slice(0, good.body.length / 2) })
    expect([400, 401]).toContain(truncated.status)
    expect(await bouncesOf(one.recipient)).toEqual([])
    expect(await bouncesOf('eve@example.org')).toEqual([])
    expect(await post(provider, good)).toMatchObject({ status: 200 })
    await workedOn()
    expect(await bouncesOf(one.recipient)).toHaveLength(1)
  })

  test('a nonexistent recipient is suppressed, even for an unknown message', async () => {
    const stranger = {
      recipient: `stranger-${provider}@example.org`,
      messageId: `x-${provider}@elsewhere.example`,
      providerId: `x-${provider}`,
    }
    const event = JSON.stringify(givenUp(stranger, provider === 'mailgun' ? '5.1.1 user unknown' : 'smtp; 550 5.1.1 user unknown'))
    await post(
      provider,
      sign(provider, JSON.parse(event.replace('"status":"4.4.7"', '"status":"5.1.1"').replace('"code":421', '"code":550'))),
    )
    await workedOn()
    expect(await findSuppression(world.database.db, stranger.recipient, new Date())).toMatchObject({ reason: 'rejected', until: null })
    expect(await bouncesOf(stranger.recipient)).toMatchObject([{ disposition: 'suppressed' }])
  })
})

describe('identity', () => {
  test.each<[string, Provider, (one: Sent) => object]>([
    ['the envelope sender that SES tells', 'ses', ({ recipient, returnPath }) => ({ recipient, returnPath })],
    ['the envelope sender that Mailgun tells', 'mailgun', ({ recipient, returnPath }) => ({ recipient, returnPath })],
    ['the Message-ID within the headers that SES sends along', 'ses', ({ recipient, messageId }) => ({ recipient, messageId })],
    ['smtp-id, of SendGrid', 'sendgrid', ({ recipient, messageId }) => ({ recipient, messageId })],
    ['message-id, of Mailgun', 'mailgun', ({ recipient, messageId }) => ({ recipient, messageId })],
  ])('%s', async (_, provider, of) => {
    const one = await sent()
    await post(provider, sign(provider, GIVEN_UP[provider](of(one) as { recipient: string })))
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([{ disposition: 'retry-started', workflowId: one.workflowId }])
  })

  test.each(['ses', 'sendgrid', 'postmark', 'resend'] as const)('the message ID in a reply of %s is matched', async (provider) => {
    const one = await sent()
    const providerId = `${provider}-name-${one.id}`
    await recordProviderId(world.database.db, provider, providerId, { sentId: one.id, send: 0 }, new Date())
    await post(provider, sign(provider, GIVEN_UP[provider]({ recipient: one.recipient, providerId })))
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([{ disposition: 'retry-started', workflowId: one.workflowId }])
  })

  test('an invalid token is ignored', async () => {
    const one = await sent()
    const token = signToken({ ...returnPaths, keys: [Buffer.alloc(32, 8)] }, { id: one.id, day: dayOf(new Date()), send: 0 })
    await post('sendgrid', signSendGrid([GIVEN_UP.sendgrid({ recipient: one.recipient, token })]))
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([{ disposition: 'ignored', why: 'it does not name the message that it is about' }])
  })
})

describe('webhooks out of order, or without a retry', () => {
  test('delays and deliveries of a message without open retries leave no row', async () => {
    const one = await sent()
    const mail = sesMail(one)
    await post(
      'ses',
      sns.sign({
        eventType: 'DeliveryDelay',
        mail,
        deliveryDelay: { delayedRecipients: [{ emailAddress: one.recipient, status: '4.3.2' }] },
      }),
    )
    const delivery = { recipients: [one.recipient], smtpResponse: '250 OK' }
    expect(await post('ses', sns.sign({ eventType: 'Delivery', mail, delivery }))).toEqual({ status: 200, text: 'nothing to do' })
    expect(await post('ses', sns.sign({ eventType: 'Open', mail }))).toEqual({ status: 200, text: 'nothing to do' })
    await workedOn()
    expect(await bouncesOf(one.recipient)).toEqual([])
  })

  test('a delay that arrives after the bounce changes nothing', async () => {
    const one = await sent()
    await post('ses', sns.sign(GIVEN_UP.ses(one)))
    await post(
      'ses',
      sns.sign({
        eventType: 'DeliveryDelay',
        mail: sesMail(one),
        deliveryDelay: { delayedRecipients: [{ emailAddress: one.recipient, status: '4.3.2' }] },
      }),
    )
    await workedOn()
    expect((await bouncesOf(one.recipient)).map(({ disposition }) => disposition)).toEqual(['retry-started'])
  })

  test('a bounce after a confirmed delivery restarts nothing', async () => {
    const one = await sent()
    const end = {
      messageId: one.messageId,
      recipient: one.recipient,
      workflowId: one.workflowId,
      firstRunId: `r-${one.id}`,
      outcome: 'delivered',
      confirmed: true,
      suppressedUntil: null,
      endedAt: new Date(),
    } as const
    await world.database.db.transaction().execute((tx) => recordEnd(tx, end))
    await post('postmark', signPostmark(GIVEN_UP.postmark(one)))
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([
      { disposition: 'ignored', why: expect.stringContaining('ended before, as delivered') },
    ])
  })

  test("an entry on the provider's own suppression list is reported with its remedy; nobody is suppressed here", async () => {
    const one = await sent()
    const bounce = {
      bounceType: 'Permanent',
      bounceSubType: 'OnAccountSuppressionList',
      bouncedRecipients: [{ emailAddress: one.recipient, action: 'failed', status: '5.1.1' }],
    }
    await post('ses', sns.sign({ eventType: 'Bounce', mail: sesMail(one), bounce }))
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([
      { disposition: 'ignored', why: expect.stringContaining('aws sesv2 delete-suppressed-destination') },
    ])
    expect(await findSuppression(world.database.db, one.recipient, new Date())).toBeNull()
  })

  test('a complaint suppresses the recipient', async () => {
    const one = await sent()
    await post('sendgrid', signSendGrid([{ event: 'spamreport', email: one.recipient, sg_event_id: `c-${one.id}`, softbounce: one.token }]))
    await workedOn()
    expect(await findSuppression(world.database.db, one.recipient, new Date())).toMatchObject({ reason: 'complaint' })
    const stranger = { event: 'spamreport', email: 'complains@example.org', sg_event_id: 'c-2', 'smtp-id': '<n@elsewhere.example>' }
    await post('sendgrid', signSendGrid([stranger]))
    await workedOn()
    expect(await bouncesOf('complains@example.org')).toMatchObject([{ disposition: 'suppressed', why: 'a complaint' }])
  })
})

describe('the endpoint', () => {
  test('signatures that are too old or in the future are refused', async () => {
    const event = { event: 'processed', email: 'a@example.org', sg_event_id: 'old' }
    const at = (minutes: number) => new Date(Date.now() + minutes * 60_000)
    expect((await post('sendgrid', signSendGrid([event], at(-26 * 60)))).status).toBe(401)
    expect((await post('sendgrid', signSendGrid([event], at(26 * 60)))).status).toBe(401)
    expect((await post('resend', signResend({ type: 'email.sent', data: {} }, at(-6)))).status).toBe(401)
    expect((await post('mailgun', signMailgun({ event: 'accepted' }, at(-10 * 60)))).status).toBe(401)
    // Mailgun retries for eight hours
    expect((await post('mailgun', signMailgun({ event: 'accepted' }, at(-8 * 60)))).status).toBe(200)
  })

  test("Mailgun's signature does not cover the content, so it is valid for one event only", async () => {
    const one = await sent()
    const token = 'f'.repeat(50)
    const at = new Date()
    expect((await post('mailgun', signMailgun({ event: 'opened', recipient: 'a@example.org' }, at, token))).status).toBe(200)
    expect(await post('mailgun', signMailgun(GIVEN_UP.mailgun({ ...one }), at, token))).toMatchObject({
      status: 401,
      text: expect.stringContaining('replay'),
    })
    await workedOn()
    expect(await bouncesOf(one.recipient)).toEqual([])
  })

  test("characters cannot move between Mailgun's timestamp and token, as each has a strict format", async () => {
    const { body } = signMailgun({ event: 'opened', recipient: 'a@example.org' }, new Date(), `e0${'a'.repeat(48)}`)
    const request = JSON.parse(body)
    request.signature.timestamp += 'e0'
    request.signature.token = request.signature.token.slice(2)
    request['event-data'] = GIVEN_UP.mailgun({ recipient: 'victim@example.org', messageId: 'x@example.com' })
    expect((await post('mailgun', { headers: {}, body: JSON.stringify(request) })).status).toBe(400)
    expect((await post('mailgun', { headers: {}, body })).status).toBe(200)
  })

  test('an event with an invalid identifier does not block the others of its batch', async () => {
    const one = await sent()
    const odd: unknown[] = [{ event: 'open', email: 'a@example.org' }, { ...GIVEN_UP.sendgrid(one), sg_event_id: 'x'.repeat(600) }, 5]
    expect((await post('sendgrid', signSendGrid(odd as object[]))).status).toBe(200)
    await workedOn()
    expect(await bouncesOf(one.recipient)).toMatchObject([{ disposition: 'retry-started' }])
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    const nested = { ...signSendGrid([]), body: deep }
    expect((await post('sendgrid', nested)).status).toBe(401)
  })

  test('a NUL or lone surrogate in a reply blocks nothing', async () => {
    const one = await sent()
    const reason = '550 5.1.1 no such user \u0000 here \ud800'
    await post(
      'sendgrid',
      signSendGrid([
        { ...GIVEN_UP.sendgrid(one, reason), status: '5.1.1', sg_message_id: 'a\u0000b.c', 'smtp-id': '<\ud800@example.com>' },
      ]),
    )
    await workedOn()
    expect(await findSuppression(world.database.db, one.recipient, new Date())).toMatchObject({ reply: expect.not.stringContaining('\0') })
  })

  test('a subscription is confirmed only for the configured topic, and only at Amazon', async () => {
    const confirmation = (more: Record<string, string>) =>
      sns.sign(
        {},
        {
          Type: 'SubscriptionConfirmation',
          Token: 'tok',
          Message: 'You have chosen to subscribe',
          SubscribeURL: `https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${TOPIC}&Token=tok`,
          ...more,
        },
      )
    sns.asked.length = 0
    expect(await post('ses', confirmation({}))).toEqual({ status: 200, text: 'done' })
    expect(sns.asked).toContainEqual(expect.stringContaining('Action=ConfirmSubscription'))
    sns.asked.length = 0
    const other = 'arn:aws:sns:eu-west-1:999999999999:somebody'
    expect(await post('ses', confirmation({ TopicArn: other }))).toMatchObject({
      status: 401,
      text: expect.stringContaining('providers.ses.topicArns'),
    })
    expect((await post('ses', confirmation({ SubscribeURL: 'https://evil.example/?Action=ConfirmSubscription' }))).status).toBe(401)
    expect((await post('ses', confirmation({ SubscribeURL: 'https://sns.eu-west-1.amazonaws.com.evil.example/?x' }))).status).toBe(401)
    expect(sns.asked.filter((path) => path.includes('ConfirmSubscription'))).toEqual([])
  })

  test('an Amazon SNS message replayed after days is refused in spite of its valid signature', async () => {
    const one = await sent()
    const old = sns.sign(GIVEN_UP.ses(one), { Timestamp: new Date(Date.now() - 2 * 24 * 3_600_000).toISOString() })
    expect(await post('ses', old)).toMatchObject({ status: 401, text: expect.stringContaining('too old') })
    expect((await post('ses', sns.sign(GIVEN_UP.ses(one), { Timestamp: 'never' }))).status).toBe(401)
  })

  test('a certificate of a foreign host is not fetched; a failed fetch is repeated', async () => {
    const one = await sent()
    sns.asked.length = 0
    const elsewhere = sns.sign(GIVEN_UP.ses(one), {
      SigningCertURL: `https://evil.example/SimpleNotificationService-${'a'.repeat(32)}.pem`,
    })
    expect(await post('ses', elsewhere)).toMatchObject({ status: 401, text: expect.stringContaining('SigningCertURL') })
    expect(sns.asked).toEqual([])
    sns.down = true
    const request = sns.sign(GIVEN_UP.ses(one), { SignatureVersion: '1' })
    expect((await post('ses', request)).status).toBe(401)
    sns.down = false
    expect((await post('ses', request)).status).toBe(200)
  })

  test('oversized bodies, other methods and disabled providers are refused', async () => {
    expect((await post('postmark', { ...signPostmark({}), body: `{"RecordType":"Open","x":"${'a'.repeat(1024 * 1024)}"}` })).status).toBe(
      413,
    )
    expect((await fetch(`http://127.0.0.1:${port}/notifications/postmark`)).status).toBe(405)
    expect(await post('mandrill', signPostmark({}))).toEqual({
      status: 404,
      text: 'there is no such page: webhooks go to /notifications/PROVIDER, and PROVIDER is ses, sendgrid, mailgun, postmark, resend',
    })
    expect((await post('postmark/..', signPostmark({}))).status).toBe(404)
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  })

  test('beyond the limit of waiting webhooks the provider is asked to send again', async () => {
    const full = new WebhookReceiver(
      new EventReceiver({ client: world.client, database: world.database, settings: intakeSettings, now: () => new Date() }),
      world.database,
      { secrets, maxWaiting: 1 },
      createLogger('error'),
    )
    // it waits until then
    await world.database.db
      .insertInto('inbox')
      .values({
        ...{ source: 'postmark', id: 'waits', digest: '', content: '', at: 0, is_routine: 0 },
        ...{ next_at: Date.now() + HOUR, tries: 0, done_at: null },
      })
      .execute()
    const busy = createServer((request, response) => void full.answer(request, response)).listen(0, '127.0.0.1')
    await new Promise((resolve) => busy.once('listening', resolve))
    const at = (busy.address() as AddressInfo).port
    const { headers, body } = signPostmark(GIVEN_UP.postmark(await sent()))
    const response = await fetch(`http://127.0.0.1:${at}/notifications/postmark`, { method: 'POST', headers, body })
    expect([response.status, await response.text()]).toEqual([503, 'too many wait; send it again\n'])
    await world.database.db.deleteFrom('inbox').where('id', '=', 'waits').execute()
    busy.close()
    await full.close()
  })

  test('a slash at the end is no other page', async () => {
    const one = await sent()
    expect((await post('ses/', sns.sign(GIVEN_UP.ses(one)))).status).toBe(200)
  })

  test('raw message delivery of Amazon SNS is named', async () => {
    const body = JSON.stringify(GIVEN_UP.ses(await sent()))
    // a proxy may drop the header
    for (const headers of [{ 'x-amz-sns-rawdelivery': 'true' }, {} as Record<string, string>])
      expect(await post('ses', { headers, body })).toMatchObject({
        status: 400,
        text: expect.stringContaining('raw message delivery is on for this subscription'),
      })
  })

  test('an event of an unknown type is listed as unreadable with its type, and counted', async () => {
    await post('resend', signResend({ type: 'email.telepathy', created_at: new Date().toISOString(), data: { to: ['a@example.org'] } }))
    await workedOn()
    for await (const bounce of listBounces(world.database.db, ['unreadable'], 1))
      expect(bounce.why).toMatch(/^a notification of Resend: Resend calls it email.telepathy, .*; kept as [0-9a-f]{64}$/)
    expect(await metrics.registry.metrics()).toContain('softbounce_provider_unknown_events_total{provider="resend"} 1')
  })

  test('aborted and silent connections do no harm', async () => {
    for (const half of [
      'POST /notifications/postmark HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"ReportMatch',
      'POST /notifications/ses HTTP/1.1\r\n',
    ]) {
      const socket = connect(port, '127.0.0.1')
      await new Promise<void>((resolve) => socket.write(half, () => resolve()))
      socket.destroy()
    }
    expect((await post('postmark', signPostmark({ RecordType: 'Open', Recipient: 'a@example.org' }))).status).toBe(200)
  })

  test('an unreadable webhook is quarantined and reported', async () => {
    await post('postmark', signPostmark({ RecordType: 'Bounce', Type: 5, Email: 7, Metadata: 'x' }))
    await post('ses', sns.sign({ notificationType: 'Bounce', mail: {} }))
    await workedOn()
    const found: InboundReport[] = []
    for await (const bounce of listBounces(world.database.db, ['unreadable'], 1)) found.push(bounce)
    expect(found).toMatchObject([{ source: 'ses', why: expect.stringMatching(/a notification of Amazon SES: .*; kept as [0-9a-f]{64}/) }])
  })

  test('while the database is away, the provider gets an error and retries', async () => {
    const away = await sqliteDatabase()
    await away.close()
    const refusing = new WebhookReceiver({} as EventReceiver, away.database, { secrets, metrics }, createLogger('error'))
    const page = createServer((request, response) => refusing.answer(request, response))
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
    const { headers, body } = signPostmark({ RecordType: 'Open' })
    const url = `http://127.0.0.1:${(page.address() as AddressInfo).port}/notifications/postmark`
    expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(503)
    page.close()
    await refusing.close()
  })

  test('while Temporal fails, the webhook is kept and retried', async () => {
    const one = await sent()
    const { client } = world
    const start = client.retryStored.bind(client)
    let refused = 0
    client.retryStored = async (...args) => {
      // other webhooks may be retried meanwhile
      if (args[1].messageId !== one.messageId) return start(...args)
      refused += 1
      if (refused <= 2) throw new Error('Temporal is away')
      return start(...args)
    }
    try {
      expect((await post('postmark', signPostmark(GIVEN_UP.postmark(one)))).status).toBe(200)
      await eventually(() => world.client.isOpen(one), 20_000)
    } finally {
      client.retryStored = start
    }
    expect(refused).toBe(3)
    // recorded only after the start
    await eventually(async () => (await bouncesOf(one.recipient)).length > 0)
    expect(await bouncesOf(one.recipient)).toMatchObject([{ disposition: 'retry-started' }])
  })
})
