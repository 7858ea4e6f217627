/**
 * SendGrid's Event Webhook, signed.
 * https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event,
 * https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { z } from 'zod'
import { readReported } from '../dsn/index.js'
import { meaningOf } from './event-types.js'
import {
  asText,
  header,
  json,
  type Kept,
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

/** Maximum age of a signature: SendGrid retries for 24 hours, and does not document whether it signs each retry anew. */
const FRESH_MS = 25 * 60 * 60_000

/** Reads the verification key from SendGrid's settings: a SubjectPublicKeyInfo in base64. @throws Error if it is invalid. */
export function sendGridKey(base64: string): KeyObject {
  const key = createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' })
  if (key.asymmetricKeyType !== 'ec') throw new Error('it is no key of elliptic curves')
  return key
}

const Event = z.looseObject({
  event: z.string(),
  email: text,
  timestamp: z.coerce.number().optional().catch(undefined),
  softbounce: text,
  sg_message_id: text,
  'smtp-id': text,
  type: text,
  status: text,
  reason: text,
  response: text,
})

/** @throws NotAuthentic; UnreadableWebhook. */
export function verifySendGrid(request: ProviderRequest, key: KeyObject, now: Date): Verified {
  const signature = header(request, 'x-twilio-email-event-webhook-signature')
  const timestamp = header(request, 'x-twilio-email-event-webhook-timestamp')
  if (signature === null || timestamp === null) throw new NotAuthentic('it carries no signature of SendGrid')
  // ECDSA over timestamp and body, in ASN.1
  if (!verify('sha256', Buffer.concat([Buffer.from(timestamp), request.body]), key, Buffer.from(signature, 'base64')))
    throw new NotAuthentic("SendGrid's signature is not good")
  const at = time(Number(timestamp))
  if (at === undefined || Math.abs(now.getTime() - at.getTime()) > FRESH_MS) throw new NotAuthentic("SendGrid's signature is too old")
  const events = shaped(z.array(z.unknown()), json(request.body))
  return { kind: 'notifications', kept: events.map(kept) }
}

const Named = z.object({ sg_event_id: z.string().regex(/^[\x21-\x7e]{1,500}$/) })

/** An event without a valid ID is identified by its digest, so that it does not block the rest of its batch. */
function kept(event: unknown): Kept {
  const content = asText(event)
  const named = Named.safeParse(event)
  return { id: named.success ? named.data.sg_event_id : createHash('sha256').update(content).digest('hex'), content }
}

/** Reasons of `dropped` that name one of SendGrid's suppression lists. */
const LISTS: Readonly<Record<string, string>> = {
  'bounced address': 'bounces',
  'spam reporting address': 'spam reports',
  'unsubscribed address': 'unsubscribes',
  invalid: 'invalid addresses',
  'invalid address': 'invalid addresses',
}

/** Parses one event. */
export function readSendGrid(content: string): ProviderEvent[] {
  const event = shaped(Event, json(content))
  const reason = (event.reason ?? '').trim().toLowerCase()
  const meaning = meaningOf('sendgrid', event.event, [reason])
  if (meaning === null) throw new UnknownEvent('sendgrid', event.event)
  if (meaning === 'nothing') return [{ recipient: null, why: `SendGrid tells of ${event.event}` }]
  const recipient = event.email
  if (recipient === undefined) throw new UnreadableWebhook(`it is called ${event.event}, and names no recipient`)
  const at = time(event.timestamp)
  const about = {
    token: event.softbounce,
    // the part after the first dot is SendGrid's internal routing
    providerId: event.sg_message_id?.split('.')[0],
    messageId: withoutBrackets(event['smtp-id']),
    recipient,
    at,
  }
  switch (meaning) {
    case 'failed':
      return [{ ...about, reported: readReported({ recipient, action: 'failed', status: event.status, diagnostic: event.reason, at }) }]
    case 'delayed':
      return [{ ...about, reported: readReported({ recipient, action: 'delayed', diagnostic: event.response ?? event.reason, at }) }]
    case 'delivered':
      return [{ ...about, reported: readReported({ recipient, action: 'delivered', status: '2.0.0', diagnostic: event.response, at }) }]
    case 'listed':
    case 'rejected': {
      const why =
        meaning === 'rejected'
          ? `SendGrid dropped the message itself: ${event.reason ?? 'no reason given'}`
          : `the address is on SendGrid's list of ${LISTS[reason]}, and it did not try: Suppressions in its app takes it off`
      return [notSent(about, why)]
    }
    case 'complaint':
      return [{ ...about, complaint: 'abuse' }]
  }
}
