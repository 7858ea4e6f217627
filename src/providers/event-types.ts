/**
 * Every event type that the providers document, and what it means: docs/providers.md gives the sources. A type that is not here is not
 * guessed at: it is listed as unreadable, and never counts as a success.
 */
import type { Provider } from './provider.js'

/**
 * What an event says of a message, unless its details say otherwise (ses.ts, resend.ts):
 * - `failed`: the provider has given it up
 * - `delayed`: the provider still tries
 * - `listed`: the provider did not try, because of a list of its own
 * - `rejected`: the provider did not send it, for another reason
 * - `delivered`: the receiving system has it
 * - `complaint`: its recipient has complained
 * - `nothing`: nothing about its delivery
 */
export type EventMeaning = 'failed' | 'delayed' | 'delivered' | 'listed' | 'rejected' | 'complaint' | 'nothing'

/** By provider: the event's type, with its subtype after a slash where that decides. */
export const EVENT_TYPES = {
  ses: {
    'Bounce/Undetermined': 'failed',
    'Bounce/General': 'failed',
    'Bounce/NoEmail': 'failed',
    'Bounce/MailboxFull': 'failed',
    'Bounce/MessageTooLarge': 'failed',
    'Bounce/ContentRejected': 'failed',
    'Bounce/AttachmentRejected': 'failed',
    'Bounce/CustomTimeoutExceeded': 'failed',
    'Bounce/Suppressed': 'listed',
    'Bounce/OnAccountSuppressionList': 'listed',
    'Bounce/OnTenantSuppressionList': 'listed',
    'Bounce/EmailValidationSuppressed': 'listed',
    'Bounce/UnsubscribedRecipient': 'listed',
    Complaint: 'complaint',
    'Complaint/OnAccountSuppressionList': 'nothing',
    'Complaint/OnTenantSuppressionList': 'nothing',
    Delivery: 'delivered',
    DeliveryDelay: 'delayed',
    Reject: 'rejected',
    'Rendering Failure': 'rejected',
    Send: 'nothing',
    Open: 'nothing',
    Click: 'nothing',
    Subscription: 'nothing',
    Received: 'nothing',
    AmazonSnsSubscriptionSucceeded: 'nothing',
  },
  sendgrid: {
    bounce: 'failed',
    deferred: 'delayed',
    delivered: 'delivered',
    dropped: 'rejected',
    'dropped/bounced address': 'listed',
    'dropped/spam reporting address': 'listed',
    'dropped/unsubscribed address': 'listed',
    'dropped/invalid': 'listed',
    'dropped/invalid address': 'listed',
    spamreport: 'complaint',
    processed: 'nothing',
    open: 'nothing',
    click: 'nothing',
    unsubscribe: 'nothing',
    group_unsubscribe: 'nothing',
    group_resubscribe: 'nothing',
    account_status_change: 'nothing',
  },
  mailgun: {
    'failed/permanent': 'failed',
    'failed/temporary': 'delayed',
    'failed/old': 'failed',
    'failed/suppress-bounce': 'listed',
    'failed/suppress-complaint': 'listed',
    'failed/suppress-unsubscribe': 'listed',
    rejected: 'rejected',
    delivered: 'delivered',
    complained: 'complaint',
    accepted: 'nothing',
    opened: 'nothing',
    clicked: 'nothing',
    unsubscribed: 'nothing',
    stored: 'nothing',
    list_member_uploaded: 'nothing',
    list_member_upload_error: 'nothing',
    list_uploaded: 'nothing',
  },
  postmark: {
    'Bounce/HardBounce': 'failed',
    'Bounce/SoftBounce': 'failed',
    'Bounce/Blocked': 'failed',
    'Bounce/BadEmailAddress': 'failed',
    'Bounce/DMARCPolicy': 'failed',
    'Bounce/Transient': 'delayed',
    'Bounce/DnsError': 'delayed',
    'Bounce/ManuallyDeactivated': 'listed',
    'Bounce/SMTPApiError': 'listed',
    'Bounce/Unconfirmed': 'listed',
    'Bounce/TemplateRenderingFailed': 'rejected',
    'Bounce/SpamComplaint': 'complaint',
    'Bounce/Unsubscribe': 'nothing',
    'Bounce/Subscribe': 'nothing',
    'Bounce/AutoResponder': 'nothing',
    'Bounce/AddressChange': 'nothing',
    'Bounce/SpamNotification': 'nothing',
    'Bounce/OpenRelayTest': 'nothing',
    'Bounce/Unknown': 'nothing',
    'Bounce/VirusNotification': 'nothing',
    'Bounce/ChallengeVerification': 'nothing',
    'Bounce/InboundError': 'nothing',
    SpamComplaint: 'complaint',
    Delivery: 'delivered',
    Open: 'nothing',
    Click: 'nothing',
    SubscriptionChange: 'nothing',
    Inbound: 'nothing',
  },
  resend: {
    'email.bounced/Permanent': 'failed',
    'email.bounced/Transient': 'failed',
    'email.bounced/Undetermined': 'failed',
    'email.bounced/Suppressed': 'listed',
    'email.bounced/OnAccountSuppressionList': 'listed',
    'email.suppressed': 'listed',
    'email.failed': 'rejected',
    'email.delivery_delayed': 'delayed',
    'email.delivered': 'delivered',
    'email.complained': 'complaint',
    'email.sent': 'nothing',
    'email.scheduled': 'nothing',
    'email.opened': 'nothing',
    'email.clicked': 'nothing',
    'email.received': 'nothing',
    'domain.created': 'nothing',
    'domain.updated': 'nothing',
    'domain.deleted': 'nothing',
    'contact.created': 'nothing',
    'contact.updated': 'nothing',
    'contact.deleted': 'nothing',
    'suppression.added': 'nothing',
    'suppression.removed': 'nothing',
  },
} as const satisfies Readonly<Record<Provider, Readonly<Record<string, EventMeaning>>>>

/** Families of which every member says nothing about a delivery. */
const SAYS_NOTHING: Readonly<Partial<Record<Provider, RegExp>>> = { resend: /^inbox\./ }

/**
 * What an event means.
 * @param subtypes the first that is known decides; else the type alone.
 * @returns null if the type is unknown.
 */
export function meaningOf(provider: Provider, type: string, subtypes: readonly (string | undefined)[] = []): EventMeaning | null {
  const known: Readonly<Record<string, EventMeaning>> = EVENT_TYPES[provider]
  const names = [...subtypes.filter((one) => one !== undefined).map((one) => `${type}/${one}`), type]
  const name = names.find((one) => Object.hasOwn(known, one))
  if (name !== undefined) return known[name] as EventMeaning
  return SAYS_NOTHING[provider]?.test(type) ? 'nothing' : null
}
