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

/**
 * Reads `header X-Priority: 1; sender *@billing.example`.
 * @throws Error with the rule that is wrong.
 */
export function parseUrgentRules(text: string): UrgentRule[] {
  return text
    .split(';')
    .map((rule) => rule.trim())
    .filter((rule) => rule !== '')
    .map((rule) => {
      const header = /^header\s+([!-9;-~]+)\s*:\s*(\S.*)$/i.exec(rule)
      if (header !== null) return { of: 'header', name: (header[1] as string).toLowerCase(), pattern: glob(header[2] as string) }
      const address = /^(sender|recipient)\s+(\S+)$/i.exec(rule)
      if (address === null)
        throw new Error(`"${rule.slice(0, 80)}" is no rule; write header NAME: VALUE, sender PATTERN or recipient PATTERN, separated by ;`)
      return { of: (address[1] as string).toLowerCase() as 'sender' | 'recipient', name: '', pattern: glob(address[2] as string) }
    })
}

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
