/** Delivers an event by a signed webhook (Standard Webhooks). */
import { Webhook } from 'standardwebhooks'
import type { SoftbounceEvent } from '../bounce/index.js'
import { describe, localFailure, nonRetryable } from '../temporal/index.js'
import type { ActivityContext } from './context.js'

const ANSWER_WITHIN_MS = 10_000

/** POSTs the event. Anything but a 2xx is retried, with the same `webhook-id`, so that the receiver can ignore repeats. */
export async function deliverWebhook(event: SoftbounceEvent, attempt: number, dependencies: ActivityContext): Promise<void> {
  const { settings, now, metrics, log } = dependencies
  // the setting was removed meanwhile
  if (settings.events.webhook === null) throw nonRetryable('InvalidBouncedMessage', 'events.webhook.url is not set')
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
  metrics?.eventPublished(type, 'published')
}
