/**
 * Postmark's webhooks, which are not signed: they carry our secret as basic authentication (in their URL) or in a header.
 * https://postmarkapp.com/developer/webhooks/webhooks-overview, https://postmarkapp.com/developer/webhooks/bounce-webhook,
 * https://postmarkapp.com/developer/api/bounce-api#bounce-types, https://postmarkapp.com/developer/webhooks/smtp-api-error
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { readReported } from '../dsn/index.js'
import { meaningOf } from './event-types.js'
import {
  header,
  json,
  NotAuthentic,
  notSent,
  type ProviderEvent,
  type ProviderRequest,
  shaped,
  text,
  time,
  UnknownEvent,
  UnreadableWebhook,
  type Verified,
} from './provider.js'

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

/** Why Postmark did not try, by type. */
const NOT_TRIED: Readonly<Record<string, string>> = {
  ManuallyDeactivated: 'the address is deactivated at Postmark, which did not try: Suppressions of the message stream takes it off',
  SMTPApiError:
    'Postmark refused the message after its SMTP server had accepted it, since the address is on its list: Suppressions of the message stream takes it off',
  Unconfirmed: 'the recipient has not confirmed the subscription at Postmark, which did not try',
}

/** Parses a record. */
export function readPostmark(content: string): ProviderEvent[] {
  const event = shaped(Event, json(content))
  const { RecordType, Type, Details, Description } = event
  const meaning = meaningOf('postmark', RecordType, RecordType === 'Bounce' ? [Type] : [])
  if (meaning === null) throw new UnknownEvent('postmark', RecordType === 'Bounce' ? `${RecordType} ${Type}` : RecordType)
  if (meaning === 'nothing') return [{ recipient: null, why: `Postmark tells of ${Type ?? RecordType}` }]
  const recipient = event.Email ?? event.Recipient
  if (recipient === undefined) throw new UnreadableWebhook(`it is called ${Type ?? RecordType}, and names no recipient`)
  const at = time(event.BouncedAt ?? event.DeliveredAt)
  const about = {
    token: event.Metadata.softbounce,
    providerId: event.MessageID === NO_MESSAGE ? undefined : event.MessageID,
    recipient,
    at,
  }
  const diagnostic = Details ?? Description
  switch (meaning) {
    case 'delivered':
      return [{ ...about, reported: readReported({ recipient, action: 'delivered', status: '2.0.0', diagnostic: Details, at }) }]
    case 'complaint':
      return [{ ...about, complaint: 'abuse' }]
    case 'delayed':
    case 'failed':
      return [{ ...about, reported: readReported({ recipient, action: meaning, diagnostic, at }) }]
    case 'listed':
    case 'rejected': {
      const reason = NOT_TRIED[Type ?? ''] ?? 'Postmark did not send the message'
      const why = Details === undefined ? reason : `${reason} (${Details})`
      const unnamed = event.MessageID === NO_MESSAGE ? ({ isUnnamed: true } as const) : {}
      return [{ ...notSent(about, why), ...unnamed }]
    }
  }
}

/** Stands for the name of a message that Postmark has not stored. */
const NO_MESSAGE = '00000000-0000-0000-0000-000000000000'
