/**
 * Amazon SES, over Amazon SNS: both the notifications of an identity (`notificationType`) and event publishing (`eventType`).
 * https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html,
 * https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
 */
import { z } from 'zod'
import { readReported } from '../dsn/index.js'
import { meaningOf } from './event-types.js'
import {
  type EventIdentity,
  json,
  notSent,
  type ProviderEvent,
  shaped,
  text,
  time,
  UnknownEvent,
  UnreadableWebhook,
  withoutBrackets,
} from './provider.js'

const Recipient = z.object({ emailAddress: z.string(), action: text, status: text, diagnosticCode: text })
const Mail = z.object({
  messageId: text,
  source: text,
  destination: z.array(z.string()).catch([]),
  tags: z.record(z.string(), z.array(z.string())).catch({}),
  headers: z.array(z.object({ name: z.string(), value: z.string() })).catch([]),
  commonHeaders: z.object({ messageId: text }).catch({ messageId: undefined }),
})
const Named = z.object({ notificationType: text, eventType: text })
const Subtypes = z.object({
  bounce: z.object({ bounceType: text, bounceSubType: text }).optional(),
  complaint: z.object({ complaintSubType: text }).optional(),
})
const Event = z.object({
  mail: Mail,
  bounce: z.object({ bounceType: text, bouncedRecipients: z.array(Recipient), timestamp: text }).optional(),
  complaint: z
    .object({
      complainedRecipients: z.array(z.object({ emailAddress: z.string() })),
      complaintFeedbackType: text,
      timestamp: text,
    })
    .optional(),
  delivery: z.object({ recipients: z.array(z.string()), smtpResponse: text, timestamp: text }).optional(),
  deliveryDelay: z.object({ delayedRecipients: z.array(Recipient), expirationTime: text, timestamp: text }).optional(),
  reject: z.object({ reason: text }).optional(),
  failure: z.object({ errorMessage: text }).optional(),
})

/** Why Amazon SES attempted no delivery, by the bounce's subtype. */
const LISTED: Readonly<Record<string, string>> = {
  Suppressed: 'Amazon SES holds the address on its global suppression list, and did not try',
  OnAccountSuppressionList:
    "the address is on the account's suppression list at Amazon SES, which did not try: aws sesv2 delete-suppressed-destination --email-address ADDRESS takes it off",
  OnTenantSuppressionList: "the address is on the tenant's suppression list at Amazon SES, which did not try",
  EmailValidationSuppressed: "the address did not pass Amazon SES's validation, whose threshold you set, and it did not try",
  UnsubscribedRecipient: 'the recipient has unsubscribed from the contact list at Amazon SES, which did not try',
}

/** Amazon SES confirms by it that a topic is set up. */
const SET_UP = /^Successfully validated SNS topic for Amazon SES/

/** Parses the `Message` of a notification. */
export function readSes(content: string): ProviderEvent[] {
  if (SET_UP.test(content)) return [{ recipient: null, why: 'Amazon SES tells that the topic is set up' }]
  const parsed = json(content)
  const { eventType, notificationType } = shaped(Named, parsed)
  const type = eventType ?? notificationType ?? ''
  const { bounce, complaint } = shaped(Subtypes, parsed)
  const subtype = bounce?.bounceSubType ?? complaint?.complaintSubType
  const meaning = meaningOf('ses', type, [subtype])
  if (meaning === null && !isDeferral(parsed))
    throw new UnknownEvent('ses', [type, bounce?.bounceType, subtype].filter(Boolean).join(' ') || 'nothing')
  if (meaning === 'nothing') return [{ recipient: null, why: `Amazon SES tells of ${[type, subtype].filter(Boolean).join(' ')}` }]
  const event = shaped(Event, parsed)
  const { mail } = event
  const identity = {
    token: mail.tags.softbounce?.[0],
    returnPath: mail.source,
    providerId: mail.messageId,
    messageId: withoutBrackets(mail.headers.find(({ name }) => name.toLowerCase() === 'message-id')?.value ?? mail.commonHeaders.messageId),
  }
  switch (meaning) {
    case null:
    case 'failed':
    case 'listed':
      return bounced(identity, present(event.bounce, type), subtype ?? '')
    case 'complaint':
      return complained(identity, present(event.complaint, type))
    case 'delivered': {
      const { recipients, smtpResponse, timestamp } = present(event.delivery, type)
      const at = time(timestamp)
      return recipients.map((recipient) => ({
        ...identity,
        at,
        recipient,
        reported: readReported({ recipient, action: 'delivered', status: '2.0.0', diagnostic: smtpResponse, at }),
      }))
    }
    case 'delayed':
      return delayed(identity, present(event.deliveryDelay, type))
    case 'rejected': {
      const diagnostic = `Amazon SES refused the message itself: ${event.reject?.reason ?? event.failure?.errorMessage ?? 'no reason given'}`
      return mail.destination.map((recipient) => ({
        ...identity,
        recipient,
        reported: readReported({ recipient, action: 'failed', status: '5.7.1', diagnostic }),
      }))
    }
  }
}

const Deferral = z.object({
  bounce: z.object({
    bouncedRecipients: z
      .array(z.object({ action: z.literal('failed'), status: z.string().regex(/^4\./), diagnosticCode: z.string().regex(/\b4\d\d[ -]/) }))
      .min(1),
  }),
})

/** Whether a bounce of an unknown subtype quotes a temporary refusal of the receiving system. Then it is read as that. */
const isDeferral = (event: unknown): boolean => Deferral.safeParse(event).success

function present<T>(part: T | undefined, type: string): T {
  if (part === undefined) throw new UnreadableWebhook(`it is called ${type}, and has nothing of that kind`)
  return part
}

type Part<Name extends 'bounce' | 'complaint' | 'deliveryDelay'> = NonNullable<z.output<typeof Event>[Name]>

function bounced(identity: EventIdentity, { bounceType, bouncedRecipients, timestamp }: Part<'bounce'>, subtype: string): ProviderEvent[] {
  const at = time(timestamp)
  const listed = LISTED[subtype]
  return bouncedRecipients.map(({ emailAddress, action, status, diagnosticCode }) => {
    const about = { ...identity, at, recipient: emailAddress }
    if (listed !== undefined) return notSent(about, listed)
    if (subtype === 'CustomTimeoutExceeded')
      return {
        ...about,
        reported: readReported({ recipient: emailAddress, action: 'failed', status: status ?? '4.4.7', diagnostic: diagnosticCode, at }),
      }
    // SES also reports automatic responses to delivered messages as bounces, without an action
    if (action === undefined || (status === undefined && diagnosticCode === undefined))
      return {
        recipient: null,
        why: `Amazon SES calls it ${bounceType}/${subtype}, without the action and status of a delivery that failed`,
      }
    const known = action === 'delayed' ? 'delayed' : action === 'failed' ? 'failed' : null
    if (known === null) return { recipient: null, why: `Amazon SES tells of the action ${action}` }
    return { ...about, reported: readReported({ recipient: emailAddress, action: known, status, diagnostic: diagnosticCode, at }) }
  })
}

function complained(
  identity: EventIdentity,
  { complainedRecipients, complaintFeedbackType, timestamp }: Part<'complaint'>,
): ProviderEvent[] {
  const [only, more] = complainedRecipients
  // SES lists every recipient at the domain that complained, so with several it is unclear who did
  if (only === undefined || more !== undefined)
    return [{ recipient: null, why: `it names ${complainedRecipients.length} recipients who may have complained` }]
  return [{ ...identity, at: time(timestamp), recipient: only.emailAddress, complaint: (complaintFeedbackType ?? 'abuse').toLowerCase() }]
}

function delayed(identity: EventIdentity, { delayedRecipients, expirationTime, timestamp }: Part<'deliveryDelay'>): ProviderEvent[] {
  const at = time(timestamp)
  return delayedRecipients.map(({ emailAddress, status, diagnosticCode }) => ({
    ...identity,
    at,
    recipient: emailAddress,
    reported: readReported({
      ...{ recipient: emailAddress, action: 'delayed', status, diagnostic: diagnosticCode, at, until: time(expirationTime) },
    }),
  }))
}
