/**
 * notifyEvent: tells one event, by the webhook and by the activity `notifyAlternative` of a team's own, each for a day. It runs beside the
 * message that it is about: whatever its receivers do delays nothing.
 */
import type { EventOrder } from '../bounce/index.js'
import { notifyAlternative, tell } from './activities.js'

/** Fails where one of the receivers did not take it within a day; the other has it all the same. */
export async function notifyEvent({ event, webhook, taskQueue }: EventOrder): Promise<void> {
  const told = await Promise.allSettled([
    ...(webhook ? [tell(`webhook ${event.type}`)(event)] : []),
    ...(taskQueue === undefined ? [] : [notifyAlternative(taskQueue, `notifyAlternative ${event.type}`)(event)]),
  ])
  for (const one of told) if (one.status === 'rejected') throw one.reason
}
