/** What all providers share: their names, webhook requests, events, and helpers to parse them. */
import { z } from 'zod'
import { withoutControls } from '../bounce/index.js'
import { type ReportedRecipient, readReported } from '../dsn/index.js'

export const PROVIDERS = ['ses', 'sendgrid', 'mailgun', 'postmark', 'resend'] as const
export type Provider = (typeof PROVIDERS)[number]

/** Display names. */
export const PROVIDER_NAMES: Readonly<Record<Provider, string>> = {
  ses: 'Amazon SES',
  sendgrid: 'SendGrid',
  mailgun: 'Mailgun',
  postmark: 'Postmark',
  resend: 'Resend',
}

/** A request as received: the signature covers its exact bytes. */
export interface ProviderRequest {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Buffer
}

/** One notification, as stored until it is processed. */
export interface Kept {
  /** Stays the same when the provider sends the notification again. */
  readonly id: string
  /** The notification's JSON. */
  readonly content: string
}

/** A verified request: notifications to store, or a subscription handshake that is confirmed at once and carries no events. */
export type Verified =
  | {
      readonly kind: 'notifications'
      readonly kept: readonly Kept[]
      /** The signature does not cover the content: the same ID with other content is a replay. */
      readonly goodOnce?: true
    }
  | { readonly kind: 'question'; readonly confirm: () => Promise<void> }

/** The request is not from the provider, or not for us; answered with 401. */
export class NotAuthentic extends Error {
  override name = 'NotAuthentic'
}

/** The request or notification does not have the documented shape. */
export class UnreadableWebhook extends Error {
  override name = 'UnreadableWebhook'
}

/** The provider has not documented an event of this type: what it means is unknown. */
export class UnknownEvent extends UnreadableWebhook {
  override name = 'UnknownEvent'
  constructor(provider: Provider, type: string) {
    super(
      `${PROVIDER_NAMES[provider]} calls it ${withoutControls(type).slice(0, 200)}, which is not among the event types that it documents`,
    )
  }
}

/** Identifies the message of an event, by the identifiers that the provider returns. */
export interface EventIdentity {
  /** The token of the send's return path, which we attached as a tag, argument or metadata field. */
  readonly token?: string | undefined
  /** The envelope sender: our signed return path. */
  readonly returnPath?: string | undefined
  /** The provider's message ID, as in its reply to the final dot. */
  readonly providerId?: string | undefined
  /** The Message-ID that the message had when we handed it over, without angle brackets. */
  readonly messageId?: string | undefined
}

/** An event about one recipient. */
export interface ProviderEvent extends EventIdentity {
  /** Null if the event needs no action; `why` gives the reason. */
  readonly recipient: string | null
  readonly at?: Date | undefined
  /** What happened to the message. */
  readonly reported?: ReportedRecipient
  /** The recipient has complained (RFC 5965's feedback type). */
  readonly complaint?: string
  /** Explanation for the log. */
  readonly why?: string
  /** The provider refused the message before it gave it a name. */
  readonly isUnnamed?: true
}

/** Parses a JSON body; the caller checks its shape. */
export function json(body: Buffer | string): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    throw new UnreadableWebhook('it is no JSON')
  }
}

/** Checks the documented shape; other fields are allowed. */
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

/** An optional string; anything else (null, empty, another type) counts as missing. */
export const text = z
  .string()
  .min(1)
  .optional()
  .catch(undefined)
  // control characters and lone surrogates, which databases and protocols reject
  .transform((value) => (value === undefined ? undefined : withoutControls(value).replace(/\p{Cs}/gu, '\ufffd')))

/** The JSON to store. */
export function asText(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    // nested too deeply
    throw new UnreadableWebhook((error as Error).message)
  }
}

/** An event about a message that the provider did not send: a list of its own, or another refusal. It says nothing of the mailbox. */
export function notSent<About extends EventIdentity & { readonly recipient: string; readonly at?: Date | undefined }>(
  about: About,
  why: string,
): About & ProviderEvent {
  const { recipient, at } = about
  return { ...about, reported: readReported({ recipient, action: 'failed', status: '5.7.1', diagnostic: why, at }), why }
}

/** A Message-ID without its angle brackets. */
export const withoutBrackets = (id: string | undefined): string | undefined => id?.trim().replace(/^<|>$/g, '')

/** Parses a time in seconds since 1970 or in ISO 8601; undefined if it is invalid. */
export function time(value: unknown): Date | undefined {
  const at = typeof value === 'number' ? new Date(value * 1000) : typeof value === 'string' ? new Date(value) : null
  return at === null || Number.isNaN(at.getTime()) ? undefined : at
}
