/** Settings of mail providers: their webhooks, and the APIs of their suppression lists. */
import { z } from 'zod'
import { type Provider, type ProviderApi, type ProviderSecrets, REMOVAL_APIS, sendGridKey } from '../providers/index.js'
import { isLoopback, matching, parsed, secret, section, setting } from './field.js'
import type { AddFault } from './wrong-settings.js'

const apiUrl = parsed((text) => {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'https:' && !isLoopback(url.hostname)) || url.username !== '' || url.search !== '')
    throw new Error('it must be an https URL, without a user or a query')
  return text.replace(/\/+$/, '')
})

const verificationKey = parsed((text) => {
  try {
    return sendGridKey(text)
  } catch {
    throw new Error('it must be the key as SendGrid shows it: base64 of a public key (MFkwEwYH…)')
  }
})

export const PROVIDER_SECTION = section('Mail providers, whose webhooks report bounces.', {
  ses: section('Amazon SES.', {
    topicArns: setting(
      'The Amazon SNS topics that report about your mail: with them, the intake accepts `/notifications/ses` on `http.port`. A subscription is confirmed only for them.',
      z
        .array(
          matching(
            /^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}$/,
            'the ARN of a topic, such as arn:aws:sns:eu-west-1:123456789012:bounces',
          ),
        )
        .prefault([]),
    ),
  }),
  sendgrid: section('SendGrid.', {
    verificationKey: setting(
      'The verification key of the signed Event Webhook, as SendGrid shows it: accepts `/notifications/sendgrid`.',
      verificationKey.optional(),
    ),
  }),
  mailgun: section('Mailgun.', {
    signingKey: secret(
      'The HTTP webhook signing key of the account: accepts `/notifications/mailgun`.',
      matching(/^[\x21-\x7e]{16,200}$/, 'at least 16 characters, as Mailgun shows it').optional(),
    ),
  }),
  postmark: section('Postmark.', {
    webhookSecret: secret(
      'A secret of your own (`openssl rand -hex 24`) that Postmark’s webhooks send, as the password of basic authentication or in the header `X-Softbounce-Secret`: accepts `/notifications/postmark`.',
      matching(/^[\x21-\x7e]{16,200}$/, 'at least 16 printable characters').optional(),
    ),
  }),
  resend: section('Resend.', {
    webhookSecret: secret(
      'The signing secret of the webhook (`whsec_…`): accepts `/notifications/resend`.',
      matching(/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/, 'whsec_ and base64, as Resend shows it').optional(),
    ),
  }),
  api: section(
    'The API of the provider’s suppression list: when a suppression for unavailability ends, the address is removed from the provider’s list too, if it is there for a bounce. Within 15 minutes.',
    {
      key: secret(
        'The key of the provider’s API; it turns the removal on. SendGrid’s or Mailgun’s API key, Postmark’s server token, or for SES `ACCESS_KEY_ID:SECRET_ACCESS_KEY` of a user that may `ses:GetSuppressedDestination` and `ses:DeleteSuppressedDestination`. The provider is `relay.provider`.',
        matching(/^[\x21-\x7e]{16,300}$/, 'at least 16 printable characters').optional(),
      ),
      url: setting(
        'Where the provider’s API is: for SES `https://email.eu-west-1.amazonaws.com` of your region, for Mailgun `https://api.mailgun.net/v3/mg.example.com` with your domain, both needed. Default for SendGrid `https://api.sendgrid.com`, for Postmark `https://api.postmarkapp.com/message-streams/outbound`.',
        apiUrl.optional(),
      ),
    },
  ),
})

type ProviderValues = z.output<typeof PROVIDER_SECTION>

const API_URLS: Readonly<Partial<Record<Provider, string>>> = {
  sendgrid: 'https://api.sendgrid.com',
  postmark: 'https://api.postmarkapp.com/message-streams/outbound',
}

/** The API to remove addresses with; null if it is off. */
export function removalApi({ api }: ProviderValues, configured: Provider | undefined, fault: AddFault): ProviderApi | null {
  const { key } = api
  if (key === undefined) {
    if (api.url !== undefined) fault('providers.api.url', 'it does nothing without providers.api.key')
    return null
  }
  const provider = REMOVAL_APIS.find((one) => one === configured)
  if (provider === undefined) {
    fault('providers.api.key', `it needs relay.provider to be one of ${REMOVAL_APIS.join(', ')}`)
    return null
  }
  if (provider === 'ses' && !/^[A-Z0-9]{16,128}:.{16,}$/.test(key))
    fault('providers.api.key', 'for SES it must be ACCESS_KEY_ID:SECRET_ACCESS_KEY')
  const url = api.url ?? API_URLS[provider]
  if (url === undefined) fault('providers.api.url', `it is needed for ${provider}`)
  return url === undefined ? null : { provider, url, key }
}

/** The secrets that are set, by provider. */
export function providerSecrets({ ses, sendgrid, mailgun, postmark, resend }: ProviderValues): ProviderSecrets {
  return {
    ...(ses.topicArns.length === 0 ? {} : { ses: ses.topicArns }),
    ...(sendgrid.verificationKey === undefined ? {} : { sendgrid: sendgrid.verificationKey }),
    ...(mailgun.signingKey === undefined ? {} : { mailgun: mailgun.signingKey }),
    ...(postmark.webhookSecret === undefined ? {} : { postmark: postmark.webhookSecret }),
    ...(resend.webhookSecret === undefined ? {} : { resend: resend.webhookSecret }),
  }
}
