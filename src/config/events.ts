/** Settings of events: which ones are published, and through which channels. */
import { z } from 'zod'
import { EVENT_TYPES, type EventType, parseUrgentRules, type UrgentRule } from '../bounce/index.js'
import { parsed } from './parsers.js'
import type { Values } from './setting.js'

export const EVENT_SETTINGS = {
  WEBHOOK_URL: {
    default: '',
    doc: 'A Standard Webhooks endpoint for events; they hold message and recipient, never the body: `bounce.retrying` at the start of an urgent message’s retries, and those of `WEBHOOK_EVENTS`.',
    schema: parsed((text) => {
      if (text !== '' && !(URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)))
        throw new Error('it must be an http or https URL')
      if (text !== '' && (new URL(text).username !== '' || new URL(text).password !== ''))
        throw new Error('it may not hold a user or password; the signature proves who calls')
      return text
    }),
    secret: true,
  },
  WEBHOOK_SECRET: {
    default: '',
    doc: 'The secret that webhooks are signed with: `whsec_` and base64.',
    schema: parsed((text) => {
      if (text !== '' && !/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(text))
        throw new Error('it must be whsec_ and base64 of at least 12 bytes')
      return text
    }),
    secret: true,
  },
  WEBHOOK_EVENTS: {
    default: '',
    doc: `Events that are told of every message and receiving system, urgent or not: any of ${EVENT_TYPES.map((type) => `\`${type}\``).join(', ')}.`,
    schema: parsed((text) =>
      text
        .split(/[\s,]+/)
        .filter((type) => type !== '')
        .map((type) => {
          const known = EVENT_TYPES.find((one) => one === type)
          if (known === undefined) throw new Error(`"${type}" is no event; there are ${EVENT_TYPES.join(', ')}`)
          return known
        }),
    ),
  },
  URGENT: {
    default: '',
    doc: 'Which messages are urgent beside those that say so: `header X-Priority: 1; sender *@billing.example; recipient *@vip.example`. `*` stands for anything.',
    schema: parsed(parseUrgentRules),
  },
  ALTERNATIVE_TASK_QUEUE: {
    default: '',
    doc: 'The Temporal task queue of a worker of your own, in any SDK, whose activity `notifyAlternative` gets the same events as the webhook.',
    schema: z.string().max(200),
  },
} as const

export interface EventSettings {
  readonly webhook: { readonly url: string; readonly secret: string } | null
  readonly taskQueue: string | null
  /** Published for every message and destination, urgent or not. */
  readonly types: readonly EventType[]
  readonly urgent: readonly UrgentRule[]
}

/** Adds what is wrong to `faults`. */
export function eventSettings(v: Values<typeof EVENT_SETTINGS>, faults: string[]): EventSettings {
  if ((v.WEBHOOK_URL === '') !== (v.WEBHOOK_SECRET === ''))
    faults.push('WEBHOOK_URL: it goes with WEBHOOK_SECRET, and neither without the other')
  return {
    webhook: v.WEBHOOK_URL === '' ? null : { url: v.WEBHOOK_URL, secret: v.WEBHOOK_SECRET },
    taskQueue: v.ALTERNATIVE_TASK_QUEUE === '' ? null : v.ALTERNATIVE_TASK_QUEUE,
    types: v.WEBHOOK_EVENTS,
    urgent: v.URGENT,
  }
}
