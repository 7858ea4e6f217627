/**
 * Removes an address from a provider's own suppression list if a bounce put it there. Entries from complaints, and those made by
 * hand, stay.
 * https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_DeleteSuppressedDestination.html,
 * https://www.twilio.com/docs/sendgrid/api-reference/bounces-api, https://www.twilio.com/docs/sendgrid/api-reference/blocks-api,
 * https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/bounces,
 * https://postmarkapp.com/developer/api/suppressions-api
 */
import { AwsClient } from 'aws4fetch'
import { z } from 'zod'
import { PROVIDER_NAMES, type Provider } from './provider.js'

/** Providers with an API for this. Resend documents none. */
export const REMOVAL_APIS = ['ses', 'sendgrid', 'mailgun', 'postmark'] as const satisfies readonly Provider[]

/** A provider's API, and our credentials for it. */
export interface ProviderApi {
  readonly provider: (typeof REMOVAL_APIS)[number]
  /** Without a trailing slash. Mailgun's ends with the domain, Postmark's with the message stream. */
  readonly url: string
  /** SES: `ACCESS_KEY_ID:SECRET`. */
  readonly key: string
}

/** `kept`: listed for a reason other than a bounce. */
export type RemovalResult = 'removed' | 'not listed' | 'kept'

/** The provider is unavailable, or refused the request. */
export class RemovalFailed extends Error {
  override name = 'RemovalFailed'
}

const WITHIN_MS = 10_000

/** @throws RemovalFailed with the provider's response. */
export async function unlist(api: ProviderApi, address: string): Promise<RemovalResult> {
  const of = encodeURIComponent(address)
  switch (api.provider) {
    case 'ses': {
      const entry = await ask(api, 'GET', `/v2/email/suppression/addresses/${of}`)
      if (entry === null) return 'not listed'
      const { SuppressedDestination } = SesEntry.parse(entry)
      if (SuppressedDestination.Reason !== 'BOUNCE') return 'kept'
      return (await ask(api, 'DELETE', `/v2/email/suppression/addresses/${of}`)) === null ? 'not listed' : 'removed'
    }
    case 'sendgrid': {
      const bounce = await ask(api, 'DELETE', `/v3/suppression/bounces/${of}`)
      const block = await ask(api, 'DELETE', `/v3/suppression/blocks/${of}`)
      return bounce === null && block === null ? 'not listed' : 'removed'
    }
    case 'mailgun':
      return (await ask(api, 'DELETE', `/bounces/${of}`)) === null ? 'not listed' : 'removed'
    case 'postmark': {
      const { Suppressions: found } = PostmarkList.parse(await ask(api, 'GET', `/suppressions/dump?emailaddress=${of}`))
      const [entry] = found.filter(({ EmailAddress }) => EmailAddress.toLowerCase() === address.toLowerCase())
      if (entry === undefined) return 'not listed'
      if (entry.SuppressionReason !== 'HardBounce') return 'kept'
      const { Suppressions: done } = PostmarkDeleted.parse(
        await ask(api, 'POST', '/suppressions/delete', { Suppressions: [{ EmailAddress: address }] }),
      )
      if (done[0]?.Status !== 'Deleted')
        throw new RemovalFailed(`Postmark did not delete the suppression: ${done[0]?.Message ?? 'no reason given'}`)
      return 'removed'
    }
  }
}

const SesEntry = z.object({ SuppressedDestination: z.object({ Reason: z.string() }) })
const PostmarkList = z.object({ Suppressions: z.array(z.object({ EmailAddress: z.string(), SuppressionReason: z.string() })) })
const PostmarkDeleted = z.object({ Suppressions: z.array(z.object({ Status: z.string(), Message: z.string().nullish() })) })

/** The response's JSON; null on 404. */
async function ask({ provider, url, key }: ProviderApi, method: string, path: string, body?: object): Promise<unknown> {
  const name = PROVIDER_NAMES[provider]
  const headers: Record<string, string> = {
    accept: 'application/json',
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  if (provider === 'sendgrid') headers.authorization = `Bearer ${key}`
  if (provider === 'mailgun') headers.authorization = `Basic ${Buffer.from(`api:${key}`).toString('base64')}`
  if (provider === 'postmark') headers['x-postmark-server-token'] = key
  const request = new Request(`${url}${path}`, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  let response: Response
  try {
    const signed = provider === 'ses' ? await signedForAws(request, url, key) : request
    response = await fetch(signed, { redirect: 'error', signal: AbortSignal.timeout(WITHIN_MS) })
  } catch (error) {
    throw new RemovalFailed(`${name} did not answer: ${((error as Error).cause as Error | undefined)?.message ?? (error as Error).message}`)
  }
  const text = await response.text()
  if (response.status === 404) return null
  if (!response.ok) throw new RemovalFailed(`${name} answered ${response.status}: ${text.replace(/\s+/g, ' ').slice(0, 200)}`)
  try {
    return text === '' ? {} : JSON.parse(text)
  } catch {
    throw new RemovalFailed(`${name} answered something that is no JSON`)
  }
}

/** AWS Signature Version 4; the region comes from the host name. */
function signedForAws(request: Request, url: string, key: string): Promise<Request> {
  const [accessKeyId = '', secretAccessKey = ''] = key.split(/:(.*)/s)
  const region = /^email(?:-fips)?\.([a-z0-9-]+)\.amazonaws\./.exec(new URL(url).hostname)?.[1] ?? 'us-east-1'
  return new AwsClient({ accessKeyId, secretAccessKey, service: 'ses', region }).sign(request)
}
