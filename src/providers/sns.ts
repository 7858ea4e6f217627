/**
 * Amazon SNS: the signed envelope in which notifications of Amazon SES come.
 * https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html,
 * https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
 */
import { type Agent, get } from 'node:https'
import SnsPayloadValidator from 'sns-payload-validator'
import { z } from 'zod'
import { header, json, NotAuthentic, type ProviderRequest, shaped, UnreadableWebhook, type Verified } from './provider.js'

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

/** A notification of Amazon SES without the envelope. */
const Raw = z
  .object({ Type: z.undefined().optional(), mail: z.object({}), notificationType: z.string().optional(), eventType: z.string().optional() })
  .refine(({ notificationType, eventType }) => notificationType !== undefined || eventType !== undefined)

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
  async verify(request: ProviderRequest, topics: readonly string[], now: Date): Promise<Verified> {
    const { body } = request
    if (header(request, 'x-amz-sns-rawdelivery') === 'true' || Raw.safeParse(json(body)).success)
      throw new UnreadableWebhook(
        'raw message delivery is on for this subscription of Amazon SNS, and without the envelope there is no signature to check: switch it off',
      )
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
