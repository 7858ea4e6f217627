/**
 * Amazon SES, over Amazon SNS: both the notifications of an identity (`notificationType`) and event publishing (`eventType`).
 * https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html,
 * https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html,
 * https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
 */
import { type Agent, get } from 'node:https'
import SnsPayloadValidator from 'sns-payload-validator'
import { z } from 'zod'
import { readReported } from '../dsn/index.js'
import {
  json,
  NotAuthentic,
  type ProviderEvent,
  type ProviderRequest,
  shaped,
  text,
  time,
  UnreadableWebhook,
  type Verified,
} from './provider.js'

const Envelope = z.object({
  Type: z.enum(['Notification', 'SubscriptionConfirmation', 'UnsubscribeConfirmation']),
  MessageId: z.string().min(1).max(200),
  TopicArn: z.string(),
  Message: z.string(),
  Timestamp: z.string(),
  SignatureVersion: z.enum(['1', '2']),
  Signature: z.string(),
  SigningCertURL: z.string(),
  SubscribeURL: z.string().optional(),
  Subject: z.string().nullish(),
})

const WITHIN_MS = 10_000
/** Maximum age of a notification; IDs are remembered for longer (purge-expired.ts). */
const GOOD_FOR_MS = 36 * 3_600_000
/** URLs at which a subscription may be confirmed. */
const SUBSCRIBE_URL = /^https:\/\/sns\.[a-z0-9-]{3,40}\.amazonaws\.com(?:\.cn)?\/\?[\x21-\x7e]{1,2000}$/

/** Verifies SNS signatures, and caches the certificates. */
export class SnsSignatures {
  #validator: SnsPayloadValidator

  /** @param agent HTTPS agent for requests to SNS; Node's default if omitted. */
  constructor(private readonly agent?: Agent) {
    this.#validator = this.#fresh()
  }

  #fresh = () => new SnsPayloadValidator({ maxCerts: 20, ...(this.agent === undefined ? {} : { requestAgent: this.agent }) })

  /**
   * @param topics ARNs of the topics that are accepted.
   * @throws NotAuthentic; UnreadableWebhook.
   */
  async verify({ body }: ProviderRequest, topics: readonly string[], now: Date): Promise<Verified> {
    const envelope = shaped(Envelope, json(body))
    // check the topic before fetching anything
    if (!topics.includes(envelope.TopicArn)) throw new NotAuthentic(`the topic ${envelope.TopicArn} is not among providers.ses.topicArns`)
    try {
      await within(this.#validator.validate(body.toString()))
    } catch (error) {
      // drop the cache: it may hold something else than the certificate
      this.#validator = this.#fresh()
      throw new NotAuthentic(`SNS's signature is not good: ${(error as Error).message}`)
    }
    const { Type, MessageId, Message, SubscribeURL, Timestamp } = envelope
    // SNS retries for hours; a notification that comes again after days, when its ID is forgotten, is a replay
    const age = now.getTime() - new Date(Timestamp).getTime()
    if (!(Math.abs(age) <= GOOD_FOR_MS))
      throw new NotAuthentic(`the notification of Amazon SNS is of ${Timestamp.slice(0, 40)}, and too old`)
    if (Type === 'Notification') return { kind: 'notifications', kept: [{ id: MessageId, content: Message }] }
    if (Type === 'UnsubscribeConfirmation') return { kind: 'question', confirm: async () => {} }
    return { kind: 'question', confirm: () => this.#confirm(SubscribeURL ?? '') }
  }

  #confirm(url: string): Promise<void> {
    if (!SUBSCRIBE_URL.test(url)) throw new NotAuthentic('SubscribeURL is none of Amazon SNS')
    return new Promise((resolve, reject) => {
      const request = get(url, { ...(this.agent === undefined ? {} : { agent: this.agent }), timeout: WITHIN_MS }, (response) => {
        response.resume()
        if (response.statusCode === 200) resolve()
        else reject(new Error(`Amazon SNS answered the confirmation of the subscription with ${response.statusCode}`))
      })
      request.on('timeout', () => request.destroy(new Error('Amazon SNS did not answer the confirmation of the subscription')))
      request.on('error', reject)
    })
  }
}

function within<T>(step: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the certificate was not to be had in time')), WITHIN_MS)
  })
  return Promise.race([step, late]).finally(() => clearTimeout(timer))
}

const Recipient = z.object({ emailAddress: z.string(), action: text, status: text, diagnosticCode: text })
const Mail = z.object({
  messageId: text,
  source: text,
  destination: z.array(z.string()).catch([]),
  tags: z.record(z.string(), z.array(z.string())).catch({}),
  headers: z.array(z.object({ name: z.string(), value: z.string() })).catch([]),
  commonHeaders: z.object({ messageId: text }).catch({ messageId: undefined }),
})
const Event = z.object({
  notificationType: text,
  eventType: text,
  mail: Mail,
  bounce: z.object({ bounceType: text, bounceSubType: text, bouncedRecipients: z.array(Recipient), timestamp: text }).optional(),
  complaint: z
    .object({
      complainedRecipients: z.array(z.object({ emailAddress: z.string() })),
      complaintFeedbackType: text,
      complaintSubType: text,
      timestamp: text,
    })
    .optional(),
  delivery: z.object({ recipients: z.array(z.string()), smtpResponse: text, timestamp: text }).optional(),
  deliveryDelay: z.object({ delayedRecipients: z.array(Recipient), expirationTime: text, timestamp: text }).optional(),
  reject: z.object({ reason: text }).optional(),
})

/** Bounce subtypes for SES's own suppression lists: it attempted no delivery. */
const LISTED: Readonly<Record<string, string>> = {
  Suppressed: 'Amazon SES holds the address on its global suppression list, and did not try',
  OnAccountSuppressionList:
    "the address is on the account's suppression list at Amazon SES, which did not try: aws sesv2 delete-suppressed-destination --email-address ADDRESS takes it off",
}

/** Parses the `Message` of a notification. */
export function readSes(content: string): ProviderEvent[] {
  const event = shaped(Event, json(content))
  const { mail } = event
  const identity = {
    token: mail.tags.softbounce?.[0],
    returnPath: mail.source,
    providerId: mail.messageId,
    messageId: bare(mail.headers.find(({ name }) => name.toLowerCase() === 'message-id')?.value ?? mail.commonHeaders.messageId),
  }
  const type = event.eventType ?? event.notificationType
  const missing = () => new UnreadableWebhook(`it is called ${type}, and has nothing of that kind`)
  switch (type) {
    case 'Bounce': {
      if (event.bounce === undefined) throw missing()
      const { bounceType, bounceSubType = '', bouncedRecipients, timestamp } = event.bounce
      const at = time(timestamp)
      const listed = LISTED[bounceSubType]
      return bouncedRecipients.map(({ emailAddress, action, status, diagnosticCode }) => {
        const about = { ...identity, at, recipient: emailAddress }
        if (listed !== undefined)
          return {
            ...about,
            reported: readReported({ recipient: emailAddress, action: 'failed', status: '5.7.1', diagnostic: listed }),
            why: listed,
          }
        // SES also reports automatic responses to delivered messages as bounces, without an action
        if (action === undefined || (status === undefined && diagnosticCode === undefined))
          return {
            recipient: null,
            why: `Amazon SES calls it ${bounceType}/${bounceSubType}, without the action and status of a delivery that failed`,
          }
        const known = action === 'delayed' ? 'delayed' : action === 'failed' ? 'failed' : null
        if (known === null) return { recipient: null, why: `Amazon SES tells of the action ${action}` }
        return { ...about, reported: readReported({ recipient: emailAddress, action: known, status, diagnostic: diagnosticCode, at }) }
      })
    }
    case 'Complaint': {
      if (event.complaint === undefined) throw missing()
      const { complainedRecipients, complaintFeedbackType = 'abuse', complaintSubType, timestamp } = event.complaint
      const [only, more] = complainedRecipients
      if (complaintSubType === 'OnAccountSuppressionList') return [{ recipient: null, why: LISTED.OnAccountSuppressionList as string }]
      // SES lists every recipient at the domain that complained, so with several it is unclear who did
      if (only === undefined || more !== undefined)
        return [{ recipient: null, why: `it names ${complainedRecipients.length} recipients who may have complained` }]
      return [{ ...identity, at: time(timestamp), recipient: only.emailAddress, complaint: complaintFeedbackType.toLowerCase() }]
    }
    case 'Delivery': {
      if (event.delivery === undefined) throw missing()
      const { recipients, smtpResponse, timestamp } = event.delivery
      const at = time(timestamp)
      return recipients.map((recipient) => ({
        ...identity,
        at,
        recipient,
        reported: readReported({ recipient, action: 'delivered', status: '2.0.0', diagnostic: smtpResponse, at }),
      }))
    }
    case 'DeliveryDelay': {
      if (event.deliveryDelay === undefined) throw missing()
      const { delayedRecipients, expirationTime, timestamp } = event.deliveryDelay
      const at = time(timestamp)
      return delayedRecipients.map(({ emailAddress, status, diagnosticCode }) => ({
        ...identity,
        at,
        recipient: emailAddress,
        reported: readReported({
          recipient: emailAddress,
          action: 'delayed',
          status,
          diagnostic: diagnosticCode,
          at,
          until: time(expirationTime),
        }),
      }))
    }
    case 'Reject': {
      const diagnostic = `Amazon SES refused the message itself: ${event.reject?.reason ?? 'no reason given'}`
      return mail.destination.map((recipient) => ({
        ...identity,
        recipient,
        reported: readReported({ recipient, action: 'failed', status: '5.7.1', diagnostic }),
      }))
    }
    default:
      return [{ recipient: null, why: `Amazon SES tells of ${type ?? 'something without a name'}` }]
  }
}

const bare = (id: string | undefined) => id?.trim().replace(/^<|>$/g, '')
