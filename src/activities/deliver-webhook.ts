/** Tells an event by a signed webhook (Standard Webhooks). */
import { Webhook } from 'standardwebhooks'
import type { EventType, SoftbounceEvent } from '../bounce/index.js'
import type { ActivityContext } from '../delivery/index.js'
import { describe, localFailure, nonRetryable } from '../temporal/index.js'

/** An event, and by which ways it is told. */
export interface EventOrder {
  readonly event: SoftbounceEvent
  readonly webhook: boolean
  /** Where the activity `notifyAlternative` runs; left out where nobody offers one. */
  readonly taskQueue?: string
}

const ANSWER_WITHIN_MS = 10_000

/** POSTs it; anything but a 2xx is tried again. The same `webhook-id` each time, so that the receiver acts once. */
export async function deliverWebhook(event: SoftbounceEvent, attempt: number, dependencies: ActivityContext): Promise<void> {
  const { settings, now, metrics, log } = dependencies
  // the setting was taken away meanwhile
  if (settings.events.webhook === null) throw nonRetryable('InvalidBouncedMessage', 'WEBHOOK_URL is not set')
  const { url, secret } = settings.events.webhook
  const { id, type, timestamp, data } = event
  const body = JSON.stringify({ type, timestamp, data })
  const at = now()
  const failed = (text: string) => {
    metrics?.eventPublished(type, 'failed')
    log.warn({ event: id, attempt }, text)
    return localFailure(text, attempt)
  }
  let response: Response
  try {
    response = await fetch(url, {
      method: 'POST',
      body,
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, at, body),
      },
    })
  } catch (error) {
    const { cause } = error as { cause?: unknown }
    throw failed(`the webhook did not answer: ${describe(cause ?? error)}`)
  }
  await response.body?.cancel()
  if (!response.ok) throw failed(`the webhook answered ${response.status}`)
  metrics?.eventPublished(type, 'told')
}

/** By which ways events are told here, and which. Null where none is. */
export function channelsFor(types: readonly EventType[], { events }: ActivityContext['settings']): Omit<EventOrder, 'event'> | null {
  if (types.length === 0 || (events.webhook === null && events.taskQueue === null)) return null
  return { webhook: events.webhook !== null, ...(events.taskQueue === null ? {} : { taskQueue: events.taskQueue }) }
}
