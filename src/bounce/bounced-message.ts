/** The argument of `retryBouncedMessage`, from any SDK: its type and validation. */
import { parseAddress } from './address.js'
import { messageIdKey } from './identity.js'
import { withoutControls } from './reply.js'
import { parseSchedule } from './schedule.js'
import { parseStatus } from './status.js'

/** The RFC 5322 message: inline (up to 128 KiB of bytes), or the key that the message store returned. */
export type MessageSource = { raw: string } | { rawBase64: string } | { stored: string }

/** A report about one recipient (RFC 3464). */
export interface Bounce {
  /** Enhanced status code, `4.3.2`. */
  status: string
  /** When the delivery failed, ISO 8601. */
  bouncedAt: string
  /** The reply of the remote MTA, unchanged. */
  diagnostic?: string
  /** Host that gave the reply. */
  remoteMta?: string
  /** The signed return path's token: identifies the send that this bounce is about. */
  token?: string
  /** The report's `Action`; `failed` when left out. `delivered`, `relayed` and `expanded` confirm a send through a relay. */
  action?: 'failed' | 'delayed' | 'delivered' | 'relayed' | 'expanded'
  /** True: only `status` counts, even if the diagnostic quotes another code. Set by the intake. */
  authoritative?: boolean
  /** With `delayed`: when the relay stops trying, ISO 8601. */
  willRetryUntil?: string
}

/** `backup-relay`: the relay of relay.backupUrl. */
export type Urgent = boolean | { via: 'backup-relay' }

/** One bounced message for one recipient. Unknown fields are ignored. */
export interface BouncedMessage {
  /** Message-ID of the original, without angle brackets. */
  messageId: string
  /** Envelope sender; the null sender is refused: a bounce is never retried. */
  sender: string
  /** Envelope recipient. */
  recipient: string
  message: MessageSource
  bounce: Bounce
  /** The destination's name; derived if omitted. */
  destination?: string
  /** Delays, default `["1h", "4h", "12h", "24h"]`. */
  schedule?: string[]
  /** Retries already made for this message and recipient; counted in the attempt log when left out. */
  retriesSoFar?: number
  /** Notify the alternative channel at once; with `via`, also send the message by that route, once and at once. */
  urgent?: Urgent
  /** When the message expires, ISO 8601 (compare DELIVERBY, RFC 2852). */
  deliverBy?: string
}

/** Replaces a payload that is not JSON (an encrypted one, for example); the field holds its encoding. */
export interface UnreadablePayload {
  unreadablePayload: string
}

/** The result of validation: the value, or all faults at once. */
export type Checked<T> = { readonly value: T } | { readonly faults: readonly string[] }

const ISO_8601 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)$/

/** Milliseconds since the epoch of an ISO 8601 date and time with its zone; null if it is not one. */
export function parseTime(text: string): number | null {
  const ms = ISO_8601.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(ms) ? null : ms
}

type Fields = Record<string, unknown>

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Collects faults, so that a caller sees them all at once. */
class Faults {
  readonly list: string[] = []

  text(fields: Fields, name: string, required: boolean): string | undefined {
    const value = fields[name.slice(name.lastIndexOf('.') + 1)]
    if (value === undefined || value === null) {
      if (required) this.list.push(`${name} is missing`)
      return undefined
    }
    if (typeof value === 'string') return value
    this.list.push(`${name} must be a string`)
    return undefined
  }

  time(fields: Fields, name: string, required: boolean): string | undefined {
    const value = this.text(fields, name, required)
    if (value !== undefined && parseTime(value) === null)
      this.list.push(`${name} must be an ISO 8601 time with its zone, such as 2026-11-24T08:00:00Z`)
    return value
  }

  attempt(name: string, check: () => unknown): void {
    try {
      check()
    } catch (error) {
      this.list.push(`${name}: ${(error as Error).message}`)
    }
  }
}

/** How far a bounce's time may be ahead of our clock. */
export const MOST_AHEAD_MS = 60 * 60 * 1000

/** Characters kept of a quoted reply, and of a name. */
const MAX_DIAGNOSTIC = 2000
const MAX_NAME = 255

const ACTIONS = ['failed', 'delayed', 'delivered', 'relayed', 'expanded'] as const

function readBounce(fields: unknown, faults: Faults, prefix: string): Bounce | undefined {
  if (!isFields(fields)) {
    faults.list.push(fields === undefined ? `${prefix || 'the bounce'} is missing` : `${prefix || 'the bounce'} must be an object`)
    return undefined
  }
  const name = (field: string) => (prefix === '' ? field : `${prefix}.${field}`)
  const status = faults.text(fields, name('status'), true)
  if (status !== undefined && parseStatus(status) === null)
    faults.list.push(`${name('status')} must be an enhanced status code such as 4.3.2 (RFC 3463)`)
  const bouncedAt = faults.time(fields, name('bouncedAt'), true)
  const diagnostic = faults.text(fields, name('diagnostic'), false)
  const remoteMta = faults.text(fields, name('remoteMta'), false)
  const token = faults.text(fields, name('token'), false)
  const action = faults.text(fields, name('action'), false) as Bounce['action']
  if (action !== undefined && !ACTIONS.includes(action)) faults.list.push(`${name('action')} must be one of ${ACTIONS.join(', ')}`)
  const willRetryUntil = faults.time(fields, name('willRetryUntil'), false)
  const authoritative = fields.authoritative ?? undefined
  if (authoritative !== undefined && typeof authoritative !== 'boolean') faults.list.push(`${name('authoritative')} must be true or false`)
  if (status === undefined || bouncedAt === undefined) return undefined
  return {
    status,
    bouncedAt,
    ...(diagnostic === undefined ? {} : { diagnostic: withoutControls(diagnostic).slice(0, MAX_DIAGNOSTIC) }),
    ...(remoteMta === undefined ? {} : { remoteMta: withoutControls(remoteMta).slice(0, MAX_NAME) }),
    ...(token === undefined ? {} : { token: token.slice(0, MAX_NAME) }),
    ...(action === undefined ? {} : { action }),
    ...(authoritative === true ? { authoritative } : {}),
    ...(willRetryUntil === undefined ? {} : { willRetryUntil }),
  }
}

/** Checks the argument of the signal `bouncedAgain`. */
export function checkBounce(input: unknown): Checked<Bounce> {
  const faults = new Faults()
  const value = readBounce(input, faults, '')
  return value === undefined || faults.list.length > 0 ? { faults: faults.list } : { value }
}

function readMessage(message: unknown, faults: Faults): MessageSource | undefined {
  const forms = ['raw', 'rawBase64', 'stored'] as const
  const given = isFields(message) ? forms.filter((form) => message[form] !== undefined && message[form] !== null) : []
  if (!isFields(message) || given.length !== 1) {
    faults.list.push(message === undefined ? 'message is missing' : 'message must have exactly one of raw, rawBase64 and stored')
    return undefined
  }
  const form = given[0] as (typeof forms)[number]
  const text = faults.text(message, `message.${form}`, true)
  if (text === '') faults.list.push(`message.${form} is empty`)
  if (form === 'rawBase64' && text !== undefined && !/^[A-Za-z0-9+/]*={0,2}$/.test(text.replace(/\s+/g, '')))
    faults.list.push('message.rawBase64 is not base64')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is refused
  if (form === 'stored' && text !== undefined && !/^[^\s\u0000-\u001f\u007f]{1,200}$/.test(text))
    faults.list.push('message.stored must be a key that the message store returned')
  return text === undefined ? undefined : ({ [form]: text } as MessageSource)
}

/** Checks the argument of `retryBouncedMessage`. Unknown fields are ignored; every missing or wrong one is named. */
export function checkBouncedMessage(input: unknown): Checked<BouncedMessage> {
  if (!isFields(input)) return { faults: ['the argument must be one object, a BouncedMessage (docs/protocol.md)'] }
  if (typeof input.unreadablePayload === 'string')
    return {
      faults: [`the argument cannot be read: its encoding is ${JSON.stringify(input.unreadablePayload)}, and this worker reads JSON`],
    }
  const faults = new Faults()
  const messageId = faults.text(input, 'messageId', true)
  if (messageId !== undefined) faults.attempt('messageId', () => messageIdKey(messageId))
  const sender = faults.text(input, 'sender', true)
  if (sender?.trim() === '' || sender === '<>')
    faults.list.push('sender is the null sender: the message is itself a bounce, and a bounce is never retried (RFC 5321 6.1)')
  else if (sender !== undefined) faults.attempt('sender', () => parseAddress(sender))
  const recipient = faults.text(input, 'recipient', true)
  if (recipient !== undefined) faults.attempt('recipient', () => parseAddress(recipient))
  const message = readMessage(input.message, faults)
  const bounce = readBounce(input.bounce, faults, 'bounce')
  const destination = faults.text(input, 'destination', false)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is refused
  if (destination !== undefined && !/^[^\s\u0000-\u001f\u007f\p{Cs}]{1,255}$/u.test(destination))
    faults.list.push('destination must be a name such as example.org, without spaces or halves of characters, up to 255 characters')
  const schedule = input.schedule ?? undefined
  if (schedule !== undefined) {
    if (!Array.isArray(schedule) || !schedule.every((entry): entry is string => typeof entry === 'string'))
      faults.list.push('schedule must be a list of strings such as ["1h", "4h"]')
    else faults.attempt('schedule', () => parseSchedule(schedule))
  }
  const retriesSoFar = input.retriesSoFar ?? undefined
  if (retriesSoFar !== undefined && !(Number.isInteger(retriesSoFar) && (retriesSoFar as number) >= 0 && (retriesSoFar as number) <= 1000))
    faults.list.push('retriesSoFar must be a whole number, 0 or more')
  const urgent = input.urgent ?? undefined
  if (urgent !== undefined && typeof urgent !== 'boolean' && !(isFields(urgent) && urgent.via === 'backup-relay'))
    faults.list.push('urgent must be true, false or { "via": "backup-relay" }')
  const deliverBy = faults.time(input, 'deliverBy', false)
  if (faults.list.length > 0) return { faults: faults.list }
  return {
    value: {
      messageId: messageIdKey(messageId as string),
      sender: sender as string,
      recipient: recipient as string,
      message: message as MessageSource,
      bounce: bounce as Bounce,
      ...(destination === undefined ? {} : { destination: destination.toLowerCase() }),
      ...(schedule === undefined ? {} : { schedule: schedule as string[] }),
      ...(retriesSoFar === undefined ? {} : { retriesSoFar: retriesSoFar as number }),
      ...(urgent === undefined ? {} : { urgent: urgent as Urgent }),
      ...(deliverBy === undefined ? {} : { deliverBy }),
    },
  }
}

/** Optional fields of BouncedMessage beside the bounce. */
export type RetryOptions = Pick<BouncedMessage, 'destination' | 'schedule' | 'retriesSoFar' | 'urgent' | 'deliverBy'>
