/**
 * Email providers (Amazon SES, SendGrid, Mailgun, Postmark, Resend): verifies and parses their webhooks. The only decision made here is
 * whether a provider has given a message up; docs/providers.md cites the sources.
 */
import type { KeyObject } from 'node:crypto'
import { readMailgun, verifyMailgun } from './mailgun.js'
import { readPostmark, verifyPostmark } from './postmark.js'
import type { Provider, ProviderEvent, ProviderRequest, Verified } from './provider.js'
import { readResend, verifyResend } from './resend.js'
import { readSendGrid, verifySendGrid } from './sendgrid.js'
import { readSes } from './ses.js'
import type { SnsSignatures } from './sns.js'

export { EVENT_TYPES, type EventMeaning } from './event-types.js'
export { providerIdIn, withToken } from './message-tag.js'
export * from './provider.js'
export { sendGridKey } from './sendgrid.js'
export { SnsSignatures } from './sns.js'
export { type ProviderApi, REMOVAL_APIS, RemovalFailed, type RemovalResult, unlist } from './suppression-list.js'

/** What verifies each provider's webhooks; a provider without an entry is disabled. */
export interface ProviderSecrets {
  /** ARNs of our SNS topics. */
  readonly ses?: readonly string[]
  readonly sendgrid?: KeyObject
  readonly mailgun?: string
  readonly postmark?: string
  readonly resend?: string
}

/**
 * Verifies a webhook request; null if the provider is disabled.
 * @throws NotAuthentic; UnreadableWebhook.
 */
export async function verifyRequest(
  provider: Provider,
  request: ProviderRequest,
  secrets: ProviderSecrets,
  sns: SnsSignatures,
  now: Date,
): Promise<Verified | null> {
  switch (provider) {
    case 'ses':
      return secrets.ses === undefined ? null : sns.verify(request, secrets.ses, now)
    case 'sendgrid':
      return secrets.sendgrid === undefined ? null : verifySendGrid(request, secrets.sendgrid, now)
    case 'mailgun':
      return secrets.mailgun === undefined ? null : verifyMailgun(request, secrets.mailgun, now)
    case 'postmark':
      return secrets.postmark === undefined ? null : verifyPostmark(request, secrets.postmark)
    case 'resend':
      return secrets.resend === undefined ? null : verifyResend(request, secrets.resend)
  }
}

const PARSERS: Readonly<Record<Provider, (content: string) => ProviderEvent[]>> = {
  ses: readSes,
  sendgrid: readSendGrid,
  mailgun: readMailgun,
  postmark: readPostmark,
  resend: readResend,
}

/**
 * Parses a stored webhook into its events, one per recipient.
 * @throws UnreadableWebhook.
 */
export const parseWebhook = (provider: Provider, content: string): ProviderEvent[] => PARSERS[provider](content)
