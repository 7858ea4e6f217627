/** The settings of providers of mail: how they notify us, and what is sent by them. */
import { z } from 'zod'
import { PROVIDERS, type Provider, type ProviderSecrets, sendGridKey } from '../providers/index.js'
import { parsed } from './parsers.js'
import type { Values } from './values.js'

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
} as const

/** Empty where every provider is off. */
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
 * Rates that the providers document for an account of which nothing else is known, in messages a second: SES in its sandbox
 * (https://docs.aws.amazon.com/ses/latest/dg/quotas.html), Resend for each team
 * (https://resend.com/docs/api-reference/rate-limit). The others name none.
 */
export const PRESET_RATES: Readonly<Partial<Record<Provider, number>>> = { ses: 1, resend: 5 }
