/**
 * Postmark's webhooks, which are not signed: they carry our secret as basic authentication (in their URL) or in a header.
 * https://postmarkapp.com/developer/webhooks/webhooks-overview, https://postmarkapp.com/developer/webhooks/bounce-webhook,
 * https://postmarkapp.com/developer/api/bounce-api#bounce-types
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { readReported } from '../dsn/index.js'
import { header, json, NotAuthentic, type ProviderEvent, type ProviderRequest, shaped, text, time, type Verified } from './provider.js'

const Event = z.object({
  RecordType: z.string(),
  Type: text,
  MessageID: text,
  Email: text,
  Recipient: text,
  Details: text,
  Description: text,
  BouncedAt: text,
  DeliveredAt: text,
  Metadata: z.object({ softbounce: text }).catch({ softbounce: undefined }),
})

/** The header that carries the secret, if the URL does not. */
const SECRET_HEADER = 'x-softbounce-secret'

/** @throws NotAuthentic; UnreadableWebhook. */
export function verifyPostmark(request: ProviderRequest, secret: string): Verified {
  const basic = /^Basic ([A-Za-z0-9+/]{1,1000}={0,2})$/i.exec(header(request, 'authorization') ?? '')?.[1]
  const password = basic === undefined ? undefined : Buffer.from(basic, 'base64').toString().split(':').slice(1).join(':')
  const given = header(request, SECRET_HEADER) ?? password
  if (given === undefined) throw new NotAuthentic('it carries neither basic authentication nor the header X-Softbounce-Secret')
  const digest = (value: string) => createHash('sha256').update(value).digest()
  if (!timingSafeEqual(digest(given), digest(secret))) throw new NotAuthentic('its secret is not providers.postmark.webhookSecret')
  shaped(z.object({ RecordType: z.string() }), json(request.body))
  // only bounces have an ID, so the digest identifies every record
  const id = createHash('sha256').update(request.body).digest('hex')
  return { kind: 'notifications', kept: [{ id, content: request.body.toString() }] }
}

/** Bounce types that Postmark no longer retries; all others are still being retried, or are not delivery failures. */
const GAVE_UP = new Set(['HardBounce', 'SoftBounce', 'Blocked', 'BadEmailAddress', 'DMARCPolicy'])
const STILL_TRYING = new Set(['Transient', 'DnsError'])

/** Parses a record. */
export function readPostmark(content: string): ProviderEvent[] {
  const event = shaped(Event, json(content))
  const { RecordType, Type = '', Details, Description } = event
  const recipient = event.Email ?? event.Recipient
  if (recipient === undefined) return [{ recipient: null, why: `Postmark tells of ${RecordType}, and names no recipient` }]
  const at = time(event.BouncedAt ?? event.DeliveredAt)
  const about = { token: event.Metadata.softbounce, providerId: event.MessageID, recipient, at }
  if (RecordType === 'Delivery')
    return [{ ...about, reported: readReported({ recipient, action: 'delivered', status: '2.0.0', diagnostic: Details, at }) }]
  if (RecordType === 'SpamComplaint' || (RecordType === 'Bounce' && Type === 'SpamComplaint')) return [{ ...about, complaint: 'abuse' }]
  if (RecordType !== 'Bounce') return [{ recipient: null, why: `Postmark tells of ${RecordType}` }]
  if (Type === 'ManuallyDeactivated') {
    const why = 'the address is deactivated at Postmark, which did not try: Suppressions of the message stream takes it off'
    return [{ ...about, reported: readReported({ recipient, action: 'failed', status: '5.7.1', diagnostic: why, at }), why }]
  }
  if (GAVE_UP.has(Type))
    return [{ ...about, reported: readReported({ recipient, action: 'failed', diagnostic: Details ?? Description, at }) }]
  if (STILL_TRYING.has(Type))
    return [{ ...about, reported: readReported({ recipient, action: 'delayed', diagnostic: Details ?? Description, at }) }]
  return [{ recipient: null, why: `Postmark calls it ${Type}` }]
}
