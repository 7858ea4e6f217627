/**
 * Mailgun's webhooks. The signature covers a timestamp and a random token, not the event: so each signature is valid for one event only.
 * https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks,
 * https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-types
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { readReported } from '../dsn/index.js'
import { meaningOf } from './event-types.js'
import {
  asText,
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
  withoutBrackets,
} from './provider.js'

/** Mailgun retries a webhook for eight hours. */
const FRESH_MS = 9 * 60 * 60_000

const Signed = z.object({
  signature: z.object({
    // the signature covers timestamp and token without a separator, so both need a fixed form
    timestamp: z
      .union([z.string(), z.number()])
      .transform(String)
      .pipe(z.string().regex(/^\d{10}$/)),
    token: z.string().regex(/^[0-9A-Za-z]{50}$/),
    signature: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  'event-data': z.looseObject({ event: z.string() }),
})

const Event = z.object({
  event: z.string(),
  severity: text,
  reason: text,
  recipient: text,
  timestamp: z.coerce.number().optional().catch(undefined),
  envelope: z.object({ sender: text }).catch({ sender: undefined }),
  message: z
    .object({
      headers: z.object({ 'message-id': text }).catch({ 'message-id': undefined }),
      // `rejected` has no other recipient
      recipients: z.array(z.string()).catch([]),
    })
    .catch({ headers: { 'message-id': undefined }, recipients: [] }),
  'user-variables': z.object({ softbounce: text }).catch({ softbounce: undefined }),
  'delivery-status': z
    .object({
      code: z.union([z.number(), z.string()]).optional(),
      'enhanced-code': text,
      message: text,
      description: text,
      'mx-host': text,
    })
    .catch({ 'enhanced-code': undefined, message: undefined, description: undefined, 'mx-host': undefined }),
  reject: z.object({ reason: text, description: text }).catch({ reason: undefined, description: undefined }),
})

/** @throws NotAuthentic; UnreadableWebhook. */
export function verifyMailgun({ body }: ProviderRequest, key: string, now: Date): Verified {
  const { signature: signed, 'event-data': event } = shaped(Signed, json(body))
  const { token } = signed
  const expected = createHmac('sha256', key).update(`${signed.timestamp}${token}`).digest('hex')
  const given = Buffer.from(signed.signature)
  if (given.length !== expected.length || !timingSafeEqual(given, Buffer.from(expected)))
    throw new NotAuthentic("Mailgun's signature is not good")
  const at = time(Number(signed.timestamp))
  if (at === undefined || Math.abs(now.getTime() - at.getTime()) > FRESH_MS) throw new NotAuthentic("Mailgun's signature is too old")
  return { kind: 'notifications', kept: [{ id: signed.signature, content: asText(event) }], goodOnce: true }
}

/** Parses `event-data`. */
export function readMailgun(content: string): ProviderEvent[] {
  const event = shaped(Event, json(content))
  const { reason = '', severity, 'delivery-status': status } = event
  const meaning = meaningOf('mailgun', event.event, [reason, severity])
  if (meaning === null) throw new UnknownEvent('mailgun', [event.event, severity, reason].filter(Boolean).join(' '))
  if (meaning === 'nothing') return [{ recipient: null, why: `Mailgun tells of ${event.event}` }]
  const [only, more] = event.message.recipients
  const recipient = event.recipient ?? (more === undefined ? only : undefined)
  if (recipient === undefined) throw new UnreadableWebhook(`it is called ${event.event}, and does not name one recipient`)
  const at = time(event.timestamp)
  const about = {
    token: event['user-variables'].softbounce,
    returnPath: event.envelope.sender,
    messageId: withoutBrackets(event.message.headers['message-id']),
    recipient,
    at,
  }
  const reply = status.message ?? status.description
  // `code` is the SMTP reply's if it is 2xx, 4xx or 5xx; 6xx are Mailgun's own
  const diagnostic =
    reply !== undefined && /^[245]\d\d$/.test(`${status.code}`) && !/^\d{3}/.test(reply) ? `${status.code} ${reply}` : reply
  const remoteMta = status['mx-host']
  const failed = (action: 'failed' | 'delayed') =>
    readReported({
      recipient,
      action,
      status: status['enhanced-code'] ?? (reason === 'old' ? '4.4.7' : undefined),
      diagnostic,
      at,
      remoteMta,
    })
  switch (meaning) {
    case 'failed':
    case 'delayed':
      return [{ ...about, reported: failed(meaning) }]
    case 'delivered':
      return [{ ...about, reported: readReported({ recipient, action: 'delivered', status: '2.0.0', diagnostic, at, remoteMta }) }]
    case 'listed':
    case 'rejected': {
      const why =
        meaning === 'listed'
          ? `the address is on Mailgun's list of ${reason.slice('suppress-'.length)}s, and it did not try: Suppressions in its control panel takes it off`
          : `Mailgun refused the message itself: ${event.reject.reason ?? event.reject.description ?? 'no reason given'}`
      return [notSent(about, why)]
    }
    case 'complaint':
      return [{ ...about, complaint: 'abuse' }]
  }
}
