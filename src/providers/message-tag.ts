/** Correlation with a provider: the token attached to a message, and the provider's message ID in its SMTP reply. */
import { headOf } from '../dsn/index.js'
import type { Provider } from './provider.js'
import { RESEND_FIELD } from './resend.js'

/** The header field through which each provider returns the token; `alone`: a message may have it only once. */
const FIELDS: Readonly<Record<Provider, (token: string) => { readonly name: string; readonly value: string; readonly alone: boolean }>> = {
  // https://docs.aws.amazon.com/ses/latest/dg/event-publishing-send-email.html
  ses: (token) => ({ name: 'X-SES-MESSAGE-TAGS', value: `softbounce=${token}`, alone: true }),
  // https://www.twilio.com/docs/sendgrid/for-developers/sending-email/building-an-x-smtpapi-header
  sendgrid: (token) => ({ name: 'X-SMTPAPI', value: JSON.stringify({ unique_args: { softbounce: token } }), alone: true }),
  // https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages (Attaching Metadata to Messages)
  mailgun: (token) => ({ name: 'X-Mailgun-Variables', value: JSON.stringify({ softbounce: token }), alone: false }),
  // https://postmarkapp.com/support/article/1125-custom-metadata-faq
  postmark: (token) => ({ name: 'X-PM-Metadata-softbounce', value: token, alone: true }),
  resend: (token) => ({ name: RESEND_FIELD, value: token, alone: true }),
}

/**
 * Adds the send's token in the field that the provider returns. A message that already has such a single-use field stays unchanged:
 * it is correlated by its return path, Message-ID or the provider's message ID.
 */
export function withToken(provider: Provider, content: Buffer, token: string): Buffer {
  const { name, value, alone } = FIELDS[provider](token)
  if (alone && headOf(content).first(name.toLowerCase()) !== undefined) return content
  return Buffer.concat([Buffer.from(`${name}: ${value}\r\n`), content])
}

/** The message ID in each provider's reply to the final dot. */
const IN_REPLY: Readonly<Record<Provider, RegExp>> = {
  // 250 Ok 0102018d…-000000
  ses: /^250[ -](?:2\.\d\.\d )?ok ([0-9a-f][0-9a-f-]{20,80})\b/i,
  // 250 Ok: queued as euo2iKxdSayPF4YE4--I7A
  sendgrid: /^250[ -](?:2\.\d\.\d )?ok: queued as ([A-Za-z0-9_-]{5,80})/i,
  mailgun: /^250[ -].{0,80}?<([^<>\s]{3,250})>/i,
  // a UUID anywhere in the text
  postmark: /^250[ -].{0,80}?\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/i,
  resend: /^250[ -].{0,80}?\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/i,
}

/** The provider's message ID; null if the reply has none. */
export const providerIdIn = (provider: Provider, reply: string): string | null => IN_REPLY[provider].exec(reply.trim())?.[1] ?? null
