/** Settings of events: which ones are published, and through which channels. */
import { z } from 'zod'
import { EVENT_TYPES, type EventType, type UrgentRule, urgentRule } from '../bounce/index.js'
import { matching, oneOf, parsed, secret, section, setting } from './field.js'
import type { AddFault } from './wrong-settings.js'

const webhookUrl = parsed((text) => {
  if (!(URL.canParse(text) && /^https?:$/.test(new URL(text).protocol))) throw new Error('it must be an http or https URL')
  if (new URL(text).username !== '' || new URL(text).password !== '')
    throw new Error('it may not hold a user or password; the signature proves who calls')
  return text
})

const pattern = matching(/\S/, 'a pattern such as *@billing.example')

/** One of `header`, `sender` and `recipient`. */
const RULE = z
  .strictObject({
    header: matching(/^[!-9;-~]+$/, 'the name of a header field')
      .optional()
      .meta({ description: 'Name of a header field.' }),
    value: pattern.optional().meta({ description: 'What the header field’s value must match.' }),
    sender: pattern.optional().meta({ description: 'What the envelope sender must match.' }),
    recipient: pattern.optional().meta({ description: 'What the recipient must match.' }),
  })
  .transform((rule, context): UrgentRule => {
    const { header, value, sender, recipient } = rule
    if (header !== undefined && value !== undefined && sender === undefined && recipient === undefined)
      return urgentRule('header', value, header)
    if (header === undefined && value === undefined && sender !== undefined && recipient === undefined) return urgentRule('sender', sender)
    if (header === undefined && value === undefined && sender === undefined && recipient !== undefined)
      return urgentRule('recipient', recipient)
    context.addIssue({ code: 'custom', message: 'a rule has header and value, or sender, or recipient' })
    return z.NEVER
  })

export const EVENTS = section('Events for other systems; they hold message and recipient, never a body.', {
  webhook: section('A Standard Webhooks endpoint.', {
    url: secret(
      'The endpoint. It gets `bounce.retrying` when the retries of an urgent message start, and the events of `events.publish`.',
      webhookUrl.optional(),
    ),
    secret: secret(
      'The secret that webhooks are signed with: `whsec_` and base64.',
      matching(/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/, 'whsec_ and base64 of at least 12 bytes').optional(),
    ),
  }),
  publish: setting('Events that are published for every message and destination, urgent or not.', z.array(oneOf(EVENT_TYPES)).prefault([])),
  taskQueue: setting(
    'The Temporal task queue of a worker of your own, in any SDK, whose activity `notifyAlternative` gets the same events as the webhook.',
    matching(/^.{1,200}$/, 'the name of a task queue').optional(),
  ),
  urgentRules: setting(
    'Which messages are urgent, beside those that say so: `{ header: X-Priority, value: 1* }`, `{ sender: "*@billing.example" }` or `{ recipient: "*@vip.example" }`. `*` matches anything.',
    z.array(RULE).prefault([]),
  ),
})

export interface EventSettings {
  readonly webhook: { readonly url: string; readonly secret: string } | null
  readonly taskQueue: string | null
  /** Published for every message and destination, urgent or not. */
  readonly types: readonly EventType[]
  readonly urgent: readonly UrgentRule[]
}

export function eventSettings({ webhook, publish, taskQueue, urgentRules }: z.output<typeof EVENTS>, fault: AddFault): EventSettings {
  const { url, secret } = webhook
  if ((url === undefined) !== (secret === undefined))
    fault(
      `events.webhook.${url === undefined ? 'secret' : 'url'}`,
      'events.webhook.url and events.webhook.secret go together: set both, or neither',
    )
  return {
    webhook: url === undefined || secret === undefined ? null : { url, secret },
    taskQueue: taskQueue ?? null,
    types: publish,
    urgent: urgentRules,
  }
}
