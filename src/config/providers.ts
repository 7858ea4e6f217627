/** Settings of mail providers: the relay's preset, webhooks, and suppression-list APIs. */
import { z } from 'zod'
import { PROVIDERS, type Provider, type ProviderApi, type ProviderSecrets, REMOVAL_APIS, sendGridKey } from '../providers/index.js'
import { flag, isLoopback, parsed } from './parsers.js'
import type { Values } from './setting.js'

const secret = (doc: string, pattern: RegExp, form: string) =>
  ({
    default: '',
    doc,
    schema: parsed((text) => {
      if (text !== '' && !pattern.test(text)) throw new Error(`it must be ${form}`)
      return text === '' ? null : text
    }),
    secret: true,
  }) as const

export const PROVIDER_SETTINGS = {
  RELAY_PRESET: {
    default: '',
    doc: 'The provider that `RELAY_URL` (and a tracked transporter) is: `ses`, `sendgrid`, `mailgun`, `postmark` or `resend`. Its notifications then name the send that they are about, and its documented rate is kept where `RELAY_RATE` says none ([providers](providers.md)).',
    schema: z
      .enum(['', ...PROVIDERS], { error: `it must be one of ${PROVIDERS.join(', ')}` })
      .transform((name): Provider | null => (name === '' ? null : name)),
  },
  SES_TOPIC_ARNS: {
    default: '',
    doc: 'The Amazon SNS topics that tell of our mail, separated by commas: turns `/notifications/ses` on. A subscription is confirmed only for them.',
    schema: parsed((text) => {
      const arns = text.split(/[\s,]+/).filter((arn) => arn !== '')
      const wrong = arns.find((arn) => !/^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}$/.test(arn))
      if (wrong !== undefined) throw new Error(`"${wrong}" is no topic such as arn:aws:sns:eu-west-1:123456789012:bounces`)
      return arns
    }),
  },
  SENDGRID_VERIFICATION_KEY: {
    default: '',
    doc: 'The verification key of SendGrid’s signed Event Webhook, as its app shows it: turns `/notifications/sendgrid` on.',
    schema: parsed((text) => {
      if (text === '') return null
      try {
        return sendGridKey(text)
      } catch {
        throw new Error('it must be the key as SendGrid shows it: base64 of a public key (MFkwEwYH…)')
      }
    }),
  },
  MAILGUN_SIGNING_KEY: secret(
    'The HTTP webhook signing key of the Mailgun account: turns `/notifications/mailgun` on.',
    /^[\x21-\x7e]{16,200}$/,
    'at least 16 characters, as Mailgun shows it',
  ),
  POSTMARK_WEBHOOK_SECRET: secret(
    'A secret of your own (`openssl rand -hex 24`) that Postmark’s webhooks carry, as the password of basic authentication or in the header `X-Softbounce-Secret`: turns `/notifications/postmark` on.',
    /^[\x21-\x7e]{16,200}$/,
    'at least 16 printable characters',
  ),
  RESEND_WEBHOOK_SECRET: secret(
    'The signing secret of the Resend webhook (`whsec_…`): turns `/notifications/resend` on.',
    /^whsec_[A-Za-z0-9+/]{16,}={0,2}$/,
    'whsec_ and base64, as Resend shows it',
  ),
  UNLIST_AT_PROVIDER: {
    default: 'false',
    doc: 'When a suppression for unavailability ends, the address is taken off the suppression list of the provider (`RELAY_PRESET`) too, where it stands there for a bounce. Within 15 minutes; needs `PROVIDER_API_KEY`.',
    schema: flag,
  },
  PROVIDER_API_KEY: secret(
    'What the provider’s API knows us by: SendGrid’s or Mailgun’s API key, Postmark’s server token, or for SES `ACCESS_KEY_ID:SECRET_ACCESS_KEY` of a user that may `ses:GetSuppressedDestination` and `ses:DeleteSuppressedDestination`.',
    /^[\x21-\x7e]{16,300}$/,
    'at least 16 printable characters',
  ),
  PROVIDER_API_URL: {
    default: '',
    doc: 'Where the provider’s API is: for SES `https://email.eu-west-1.amazonaws.com` of your region, for Mailgun `https://api.mailgun.net/v3/mg.example.com` with your domain, both needed. Default for SendGrid `https://api.sendgrid.com`, for Postmark `https://api.postmarkapp.com/message-streams/outbound`.',
    schema: parsed((text) => {
      if (text === '') return null
      const url = URL.canParse(text) ? new URL(text) : null
      if (url === null || (url.protocol !== 'https:' && !isLoopback(url.hostname)) || url.username !== '' || url.search !== '')
        throw new Error('it must be an https URL, without a user or a question')
      return text.replace(/\/+$/, '')
    }),
  },
} as const

const API_URLS = { sendgrid: 'https://api.sendgrid.com', postmark: 'https://api.postmarkapp.com/message-streams/outbound' } as const

/** The API to remove addresses with; null if it is off. Adds what is wrong to `faults`. */
export function unlistBy(v: Values<typeof PROVIDER_SETTINGS>, faults: string[]): ProviderApi | null {
  if (!v.UNLIST_AT_PROVIDER) return null
  const provider = REMOVAL_APIS.find((one) => one === v.RELAY_PRESET)
  if (provider === undefined) {
    faults.push(`UNLIST_AT_PROVIDER: RELAY_PRESET must be one of ${REMOVAL_APIS.join(', ')}`)
    return null
  }
  const url = v.PROVIDER_API_URL ?? (provider === 'sendgrid' || provider === 'postmark' ? API_URLS[provider] : null)
  const key = v.PROVIDER_API_KEY
  if (key === null) faults.push('UNLIST_AT_PROVIDER: PROVIDER_API_KEY is not set')
  else if (provider === 'ses' && !/^[A-Z0-9]{16,128}:.{16,}$/.test(key))
    faults.push('PROVIDER_API_KEY: for SES it must be ACCESS_KEY_ID:SECRET_ACCESS_KEY')
  if (url === null) faults.push(`UNLIST_AT_PROVIDER: PROVIDER_API_URL is needed for ${provider}`)
  return key === null || url === null ? null : { provider, url, key }
}

/** The secrets that are set, by provider. */
export function providerSecrets(v: Values<typeof PROVIDER_SETTINGS>): ProviderSecrets {
  return {
    ...(v.SES_TOPIC_ARNS.length === 0 ? {} : { ses: v.SES_TOPIC_ARNS }),
    ...(v.SENDGRID_VERIFICATION_KEY === null ? {} : { sendgrid: v.SENDGRID_VERIFICATION_KEY }),
    ...(v.MAILGUN_SIGNING_KEY === null ? {} : { mailgun: v.MAILGUN_SIGNING_KEY }),
    ...(v.POSTMARK_WEBHOOK_SECRET === null ? {} : { postmark: v.POSTMARK_WEBHOOK_SECRET }),
    ...(v.RESEND_WEBHOOK_SECRET === null ? {} : { resend: v.RESEND_WEBHOOK_SECRET }),
  }
}

/**
 * Default rates that the providers document, in messages a second: SES in its sandbox
 * (https://docs.aws.amazon.com/ses/latest/dg/quotas.html), Resend for each team
 * (https://resend.com/docs/api-reference/rate-limit). The others name none.
 */
export const PRESET_RATES: Readonly<Partial<Record<Provider, number>>> = { ses: 1, resend: 5 }
