/** Providers' webhooks in their documented shape, validly signed with test keys. */
import { createHmac, createSign, generateKeyPairSync, sign } from 'node:crypto'
import { Agent, createServer, type Server } from 'node:https'
import { connect } from 'node:tls'
import { Webhook } from 'standardwebhooks'
import type { Provider } from '../../src/providers/index.js'
import { makeCertificates } from './certificates.js'

function counter(): () => string {
  let n = 0
  return () => {
    n += 1
    return String(n)
  }
}

export interface SignedRequest {
  readonly headers: Record<string, string>
  readonly body: string
}

export const TOPIC = 'arn:aws:sns:eu-west-1:123456789012:bounces'
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const SENDGRID_KEY = publicKey.export({ format: 'der', type: 'spki' }).toString('base64')
export const MAILGUN_KEY = 'key-0123456789abcdef0123456789abcdef'
export const POSTMARK_SECRET = 'a-secret-of-the-tests-own'
export const RESEND_SECRET = `whsec_${Buffer.alloc(24, 9).toString('base64')}`

/** A fake Amazon SNS: its certificate, and the confirmation of a subscription. */
export interface Sns {
  readonly agent: Agent
  /** The requested paths. */
  readonly asked: string[]
  /** If true, every request fails. */
  down: boolean
  sign(message: object, more?: Record<string, string>): SignedRequest
  close(): Promise<void>
}

export async function startSns(): Promise<Sns> {
  const { ca, key, cert } = makeCertificates(['DNS:sns.eu-west-1.amazonaws.com'])
  const asked: string[] = []
  const sns = { asked, down: false } as unknown as Sns
  const server: Server = createServer({ key, cert }, (request, response) => {
    asked.push(request.url ?? '')
    if (sns.down) return void response.writeHead(503).end('not now')
    response.writeHead(200).end(request.url?.startsWith('/SimpleNotificationService-') ? cert : '<ConfirmSubscriptionResponse/>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  class ToTheTest extends Agent {
    override createConnection(options: object) {
      return connect({ ...options, host: '127.0.0.1', port, ca, servername: 'sns.eu-west-1.amazonaws.com' })
    }
  }
  const agent = new ToTheTest({ keepAlive: false })
  return Object.assign(sns, {
    agent,
    sign: (message: object, more: Record<string, string> = {}): SignedRequest => {
      const envelope: Record<string, string> = {
        Type: 'Notification',
        MessageId: `m-${Math.random()}`,
        TopicArn: TOPIC,
        Message: JSON.stringify(message),
        Timestamp: new Date().toISOString(),
        SignatureVersion: '2',
        SigningCertURL: `https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-${'a'.repeat(32)}.pem`,
        ...more,
      }
      const names =
        envelope.Type === 'Notification'
          ? ['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type']
          : ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type']
      const signer = createSign(envelope.SignatureVersion === '1' ? 'RSA-SHA1' : 'RSA-SHA256')
      for (const name of names) if (name in envelope) signer.update(`${name}\n${envelope[name]}\n`)
      const body = JSON.stringify({ ...envelope, Signature: signer.sign(key, 'base64') })
      return { headers: { 'content-type': 'text/plain; charset=UTF-8' }, body }
    },
    close: () => {
      server.closeAllConnections()
      return new Promise<void>((resolve) => server.close(() => resolve()))
    },
  })
}

export function signSendGrid(events: readonly object[], at = new Date()): SignedRequest {
  const body = JSON.stringify(events)
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const signature = sign('sha256', Buffer.from(timestamp + body), privateKey).toString('base64')
  return {
    headers: { 'x-twilio-email-event-webhook-signature': signature, 'x-twilio-email-event-webhook-timestamp': timestamp },
    body,
  }
}

const tokens = counter()
export function signMailgun(event: object, at = new Date(), token = tokens().padStart(50, '0')): SignedRequest {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const signature = createHmac('sha256', MAILGUN_KEY)
    .update(timestamp + token)
    .digest('hex')
  return {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ signature: { timestamp, token, signature }, 'event-data': event }),
  }
}

export const signPostmark = (record: object, secret = POSTMARK_SECRET): SignedRequest => ({
  headers: { authorization: `Basic ${Buffer.from(`softbounce:${secret}`).toString('base64')}` },
  body: JSON.stringify(record),
})

const ids = counter()
export function signResend(event: object, at = new Date(), id = `msg_${ids()}`): SignedRequest {
  const body = JSON.stringify(event)
  const signature = new Webhook(RESEND_SECRET).sign(id, at, body)
  return { headers: { 'svix-id': id, 'svix-timestamp': String(Math.floor(at.getTime() / 1000)), 'svix-signature': signature }, body }
}

/** What a notification is about. */
export interface About {
  readonly recipient: string
  readonly token?: string | undefined
  readonly returnPath?: string | undefined
  readonly providerId?: string | undefined
  readonly messageId?: string | undefined
}

const DOWN = '421 4.3.2 System not accepting network messages'

/** Each provider's bounce event after it gave up on 4.3.2. */
export const GIVEN_UP: Readonly<Record<Provider, (about: About, reply?: string) => object>> = {
  ses: (about, reply = `smtp; 550 4.4.7 Message expired: unable to deliver in 840 minutes.<${DOWN}>`) => ({
    notificationType: 'Bounce',
    bounce: {
      bounceType: 'Transient',
      bounceSubType: 'General',
      bouncedRecipients: [{ emailAddress: about.recipient, action: 'failed', status: '4.4.7', diagnosticCode: reply }],
      timestamp: new Date().toISOString(),
      feedbackId: `f-${Math.random()}`,
      reportingMTA: 'dns; a8-50.smtp-out.amazonses.com',
    },
    mail: sesMail(about),
  }),
  sendgrid: (about, reply = DOWN) => ({
    email: about.recipient,
    event: 'bounce',
    type: 'blocked',
    status: '4.0.0',
    reason: reply,
    timestamp: Math.floor(Date.now() / 1000),
    sg_event_id: `e-${Math.random()}`,
    ...(about.providerId === undefined ? {} : { sg_message_id: `${about.providerId}.recvd-5f54b5d587-pczjm-1-67BADEEA-6.0` }),
    ...(about.messageId === undefined ? {} : { 'smtp-id': `<${about.messageId}>` }),
    ...(about.token === undefined ? {} : { softbounce: about.token }),
  }),
  mailgun: (about, reply = '4.3.2 System not accepting network messages') => ({
    event: 'failed',
    severity: 'permanent',
    reason: 'old',
    id: `i-${Math.random()}`,
    timestamp: Date.now() / 1000,
    recipient: about.recipient,
    envelope: { sender: about.returnPath ?? 'shop@example.com', transport: 'smtp', targets: about.recipient },
    message: { headers: { 'message-id': about.messageId ?? 'unknown@example.com' }, attachments: [], size: 100 },
    'user-variables': about.token === undefined ? {} : { softbounce: about.token },
    'delivery-status': { 'attempt-no': 8, code: 421, message: reply, description: '', 'mx-host': 'mx.example.org' },
  }),
  postmark: (about, reply = `smtp;${DOWN}`) => ({
    RecordType: 'Bounce',
    ID: Math.floor(Math.random() * 1e9),
    Type: 'SoftBounce',
    TypeCode: 4096,
    Name: 'Soft bounce',
    MessageID: about.providerId ?? '00000000-0000-0000-0000-000000000000',
    Details: reply,
    Email: about.recipient,
    From: 'shop@example.com',
    BouncedAt: new Date().toISOString(),
    Inactive: false,
    CanActivate: true,
    Subject: 'Hello',
    Metadata: about.token === undefined ? {} : { softbounce: about.token },
    MessageStream: 'outbound',
  }),
  resend: (about, reply = `smtp; ${DOWN}`) => ({
    type: 'email.bounced',
    created_at: new Date().toISOString(),
    data: {
      email_id: about.providerId ?? '11111111-1111-4111-8111-111111111111',
      from: 'Shop <shop@example.com>',
      to: [about.recipient],
      subject: 'Hello',
      ...(about.token === undefined ? {} : { headers: [{ name: 'X-Softbounce-Token', value: about.token }] }),
      bounce: { type: 'Transient', subType: 'General', message: 'a general bounce', diagnosticCode: [reply] },
    },
  }),
}

export const sesMail = ({ recipient, token, returnPath, providerId, messageId }: About) => ({
  timestamp: new Date().toISOString(),
  messageId: providerId ?? '0102018d00000000-00000000-0000-0000-0000-000000000000-000000',
  source: returnPath ?? 'shop@example.com',
  destination: [recipient],
  ...(token === undefined ? {} : { tags: { softbounce: [token], 'ses:configuration-set': ['Set'] } }),
  ...(messageId === undefined
    ? {}
    : {
        headersTruncated: false,
        headers: [{ name: 'Message-ID', value: `<${messageId}>` }],
        commonHeaders: { messageId: `<${messageId}>` },
      }),
})
