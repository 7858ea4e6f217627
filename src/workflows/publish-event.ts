/**
 * publishEvent: publishes one event, by the webhook and by the activity `notifyAlternative` of a team's own, each for a day. It runs beside
 * the message that it is about: whatever its receivers do delays nothing.
 */
import type { EventOrder } from '../bounce/index.js'
import { deliverWebhook, notifyAlternative } from './activities.js'

/** Fails if one of the receivers did not accept it within a day; the other has it all the same. */
export async function publishEvent({ event, webhook, taskQueue }: EventOrder): Promise<void> {
  const published = await Promise.allSettled([
    ...(webhook ? [deliverWebhook(`webhook ${event.type}`)(event)] : []),
    ...(taskQueue === undefined ? [] : [notifyAlternative(taskQueue, `notifyAlternative ${event.type}`)(event)]),
  ])
  for (const one of published) if (one.status === 'rejected') throw one.reason
}
