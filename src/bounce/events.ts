/** Events for other systems, by webhook or by their own activity: what happened, to which message or destination, and why. Never a body. */

/** docs/events.schema.json has the schema of each. */
export const EVENT_TYPES = [
  'bounce.retrying',
  'bounce.delivered',
  'bounce.suppressed',
  'bounce.rejected',
  'bounce.expired',
  'destination.down',
  'destination.up',
  'destination.degrading',
] as const

export type EventType = (typeof EVENT_TYPES)[number]

/** An event as receivers get it. Times are ISO 8601. */
export interface SoftbounceEvent {
  /** The same on every delivery, so that receivers can ignore duplicates. */
  readonly id: string
  readonly type: EventType
  /** When it happened. */
  readonly timestamp: string
  readonly data: Readonly<Record<string, string | number | boolean>>
}

/** A rule that makes messages urgent, by a header field, the sender or the recipient. `*` matches anything. */
export interface UrgentRule {
  readonly of: 'header' | 'sender' | 'recipient'
  /** The header field's name in lower case; empty for sender and recipient. */
  readonly name: string
  readonly pattern: RegExp
}

const glob = (text: string) => new RegExp(`^${text.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '[^]*')}$`, 'i')

/** A rule whose pattern is a text in which `*` matches anything. @param header the header field's name, for rules of a header. */
export const urgentRule = (of: UrgentRule['of'], pattern: string, header = ''): UrgentRule => ({
  of,
  name: header.toLowerCase(),
  pattern: glob(pattern),
})

/** `headers` returns all values of a field, given its name in lower case. */
export function isUrgent(
  rules: readonly UrgentRule[],
  message: { readonly sender: string; readonly recipient: string; headers(name: string): readonly string[] },
): boolean {
  return rules.some(({ of, name, pattern }) => {
    if (of === 'header') return message.headers(name).some((value) => pattern.test(value.trim()))
    return pattern.test(of === 'sender' ? message.sender : message.recipient)
  })
}

/** An event, and the channels that it is published by. */
export interface EventOrder {
  readonly event: SoftbounceEvent
  readonly webhook: boolean
  /** The task queue of a team's activity `notifyAlternative`, if there is one. */
  readonly taskQueue?: string
}

/** The configured channels, and the event types that all messages publish. */
export interface EventChannels {
  readonly webhook: object | null
  readonly taskQueue: string | null
  readonly types: readonly EventType[]
}

/** The channels for these event types; null if there are none. */
export function channelsFor(types: readonly EventType[], { webhook, taskQueue }: EventChannels): Omit<EventOrder, 'event'> | null {
  if (types.length === 0 || (webhook === null && taskQueue === null)) return null
  return { webhook: webhook !== null, ...(taskQueue === null ? {} : { taskQueue }) }
}
