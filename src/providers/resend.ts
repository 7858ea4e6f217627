/**
 * Resend's webhooks, signed as Standard Webhooks, with Svix's header names.
 * https://resend.com/docs/webhooks/event-types, https://resend.com/docs/webhooks/emails/bounced,
 * https://resend.com/docs/webhooks/verify-webhooks-requests
 */
import { Webhook, WebhookVerificationError } from 'standardwebhooks'
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
  type Verified,
  withoutBrackets,
} from './provider.js'

const Bounce = z.object({ type: text, subType: text, message: text, diagnosticCode: z.array(z.string()).catch([]) })
const Event = z.object({
  type: z.string(),
  created_at: text,
  data: z.object({
    email_id: text,
    message_id: text,
    to: z.union([z.array(z.string()), z.string().transform((one) => [one])]).catch([]),
    headers: z.array(z.object({ name: z.string(), value: z.string() })).catch([]),
    bounce: Bounce.optional(),
    failed: z.object({ reason: text }).optional(),
  }),
})

/** The field that carries the token through Resend. */
export const RESEND_FIELD = 'X-Softbounce-Token'

/** @throws NotAuthentic; UnreadableWebhook. */
export function verifyResend(request: ProviderRequest, secret: string): Verified {
  const named = ['id', 'timestamp', 'signature'].map((name) => [`webhook-${name}`, header(request, `svix-${name}`) ?? ''] as const)
  try {
    new Webhook(secret).verify(request.body.toString(), Object.fromEntries(named), { jsonParse: false })
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error
    throw new NotAuthentic(`Resend's signature is not good: ${error.message}`)
  }
  shaped(z.object({ type: z.string() }), json(request.body))
  return { kind: 'notifications', kept: [{ id: header(request, 'svix-id') as string, content: request.body.toString() }] }
}

/** Statuses of temporary bounces whose reply Resend does not pass on. `General` is missing: it may be an automatic response. */
const STATUS_OF: Readonly<Record<string, string>> = {
  MailboxFull: '4.2.2',
  MessageTooLarge: '4.3.4',
  ContentRejected: '4.7.1',
  AttachmentRejected: '4.7.1',
}

/** Parses an event. */
export function readResend(content: string): ProviderEvent[] {
  const { type, created_at: createdAt, data } = shaped(Event, json(content))
  const { type: kind, subType } = data.bounce ?? {}
  const meaning = meaningOf('resend', type, [subType, kind])
  if (meaning === null) throw new UnknownEvent('resend', [type, kind, subType].filter(Boolean).join(' '))
  if (meaning === 'nothing') return [{ recipient: null, why: `Resend tells of ${type}` }]
  const at = time(createdAt)
  const [only, more] = data.to.map(addressIn)
  const identity = {
    token: data.headers.find(({ name }) => name.toLowerCase() === RESEND_FIELD.toLowerCase())?.value.trim(),
    providerId: data.email_id,
    messageId: withoutBrackets(data.message_id),
    at,
  }
  // the event lists all recipients of the message, so with several it is unclear which one it is about
  if (only === undefined || more !== undefined)
    return [{ recipient: null, why: `Resend tells of ${type}, and names ${data.to.length} recipients` }]
  const about = { ...identity, recipient: only }
  switch (meaning) {
    case 'failed': {
      const { message, diagnosticCode = [] } = data.bounce ?? {}
      const [reply] = diagnosticCode
      const status = reply === undefined && kind === 'Transient' ? STATUS_OF[subType ?? ''] : undefined
      // without the receiving system's reply, it may be an automatic response to a delivered message
      if (reply === undefined && kind !== 'Permanent' && status === undefined)
        return [{ recipient: null, why: `Resend calls it ${kind}/${subType ?? ''}, without the reply of a delivery that failed` }]
      return [{ ...about, reported: readReported({ recipient: only, action: 'failed', status, diagnostic: reply ?? message, at }) }]
    }
    case 'listed':
      return [notSent(about, "the address is on Resend's suppression list, and it did not try: Suppressions in its dashboard takes it off")]
    case 'rejected':
      return [notSent(about, `Resend did not send the message: ${data.failed?.reason ?? 'no reason given'}`)]
    case 'delayed':
      return [{ ...about, reported: readReported({ recipient: only, action: 'delayed', at }) }]
    case 'delivered':
      return [{ ...about, reported: readReported({ recipient: only, action: 'delivered', status: '2.0.0', at }) }]
    case 'complaint':
      return [{ ...about, complaint: 'abuse' }]
  }
}

/** `Ann <ann@example.org>`, or the address alone. */
const addressIn = (to: string): string => /<([^<>]{3,320})>\s*$/.exec(to)?.[1] ?? to.trim()
