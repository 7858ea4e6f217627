/** What all providers have in common: who they are, what a request of theirs is, and what an event of theirs says. */
import { z } from 'zod'
import { withoutControls } from '../bounce/index.js'
import type { ReportedRecipient } from '../dsn/index.js'

export const PROVIDERS = ['ses', 'sendgrid', 'mailgun', 'postmark', 'resend'] as const
export type Provider = (typeof PROVIDERS)[number]

/** Names as people know them. */
export const PROVIDER_NAMES: Readonly<Record<Provider, string>> = {
  ses: 'Amazon SES',
  sendgrid: 'SendGrid',
  mailgun: 'Mailgun',
  postmark: 'Postmark',
  resend: 'Resend',
}

/** A request as it came: the signature is over its very bytes. */
export interface ProviderRequest {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Buffer
}

/** One notification, as it is kept until it has been worked on. */
export interface Kept {
  /** The provider's own identifier: the same when it sends the same again. */
  readonly id: string
  /** JSON, as the provider wrote it. */
  readonly content: string
}

/** What a provider's signature proves; or a question of the provider's that is answered at once, and says nothing of mail. */
export type Verified =
  | {
      readonly kind: 'notifications'
      readonly kept: readonly Kept[]
      /** The signature does not cover the content: an identifier that comes again with another content is a replay. */
      readonly goodOnce?: true
    }
  | { readonly kind: 'question'; readonly confirm: () => Promise<void> }

/** The request is not the provider's, or not for us: 401. */
export class NotAuthentic extends Error {
  override name = 'NotAuthentic'
}

/** It is the provider's, but does not have the documented shape. */
export class UnreadableWebhook extends Error {
  override name = 'UnreadableWebhook'
}

/** Which message an event is about: whatever the provider gives back of it. */
export interface EventIdentity {
  /** What we had put into a tag, argument or field of metadata: the token of the send's return path. */
  readonly token?: string | undefined
  /** The envelope sender that we gave: our signed return path. */
  readonly returnPath?: string | undefined
  /** The provider's own identifier of the message, as its reply to the final dot names it. */
  readonly providerId?: string | undefined
  /** The Message-ID that the message had when we handed it over, without angle brackets. */
  readonly messageId?: string | undefined
}

/** An event about one recipient. */
export interface ProviderEvent extends EventIdentity {
  /** Null if it says nothing of mail that is acted on; `why` says so. */
  readonly recipient: string | null
  readonly at?: Date | undefined
  /** What happened to the message. */
  readonly reported?: ReportedRecipient
  /** The recipient has complained (RFC 5965's feedback type). */
  readonly complaint?: string
  /** Why it means what it means, for whoever reads the log. */
  readonly why?: string
}

/** A JSON body; the shape is the caller's to check. */
export function json(body: Buffer | string): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    throw new UnreadableWebhook('it is no JSON')
  }
}

/** Checks the documented shape; what else stands there is left alone. */
export function shaped<T extends z.ZodType>(shape: T, value: unknown): z.output<T> {
  const checked = shape.safeParse(value)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  throw new UnreadableWebhook(`it has not the documented shape: ${issue?.path.join('.') || 'it'}: ${issue?.message}`)
}

export const header = ({ headers }: ProviderRequest, name: string): string | null => {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}

/** A text that may be missing, null, or of another kind: then it is as if it were not there. */
export const text = z
  .string()
  .min(1)
  .optional()
  .catch(undefined)
  // what no database and no protocol takes
  .transform((value) => (value === undefined ? undefined : withoutControls(value).replace(/\p{Cs}/gu, '\ufffd')))

/** As it is kept. */
export function asText(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    // nested deeper than anybody means it
    throw new UnreadableWebhook((error as Error).message)
  }
}

/** A time in seconds since 1970 or in ISO 8601; undefined if it is none. */
export function time(value: unknown): Date | undefined {
  const at = typeof value === 'number' ? new Date(value * 1000) : typeof value === 'string' ? new Date(value) : null
  return at === null || Number.isNaN(at.getTime()) ? undefined : at
}
