/**
 * publishEvent: publishes one event, by the webhook and by the user-defined activity `notifyAlternative`, retrying each for a day. It runs
 * apart from the message's workflow, so that slow receivers delay nothing.
 */
import type { EventOrder } from '../bounce/index.js'
import { deliverWebhook, notifyAlternative } from './activities.js'

/** Fails if one of the receivers did not accept the event within a day; the other still gets it. */
export async function publishEvent({ event, webhook, taskQueue }: EventOrder): Promise<void> {
  const published = await Promise.allSettled([
    ...(webhook ? [deliverWebhook(`webhook ${event.type}`)(event)] : []),
    ...(taskQueue === undefined ? [] : [notifyAlternative(taskQueue, `notifyAlternative ${event.type}`)(event)]),
  ])
  for (const one of published) if (one.status === 'rejected') throw one.reason
}
