/** Records an answer as feedback on its destination, and does what follows from it. */

import { Context } from '@temporalio/activity'
import { describe } from '../temporal/index.js'
import type { ThrottleContext } from './context.js'
import { classifyFeedback, type DestinationAnswer } from './feedback.js'
import { configuredLimits, type ThrottleSettings } from './limits.js'
import { publishOutages } from './publish-outage.js'
import { takesMailAgain } from './recovery.js'
import { wakeWaiters } from './wake-waiters.js'
import { type FeedbackResult, type Observation, writeFeedback } from './write-feedback.js'

/** A destination's answer; `tookMs` is null if unknown. */
export interface ObservedAnswer {
  readonly system: string
  readonly answer: DestinationAnswer & { readonly mailServer: string | null }
  readonly tookMs: number | null
}

/** What the limiter of a destination learns from its answer. */
export const observationOf = ({ system, answer, tookMs }: ObservedAnswer, throttle: ThrottleSettings): Observation => ({
  ...{ name: system, limits: configuredLimits(throttle, system), lesson: classifyFeedback(answer), answer, tookMs },
})

/** Never rejects. Null if the answer could not be recorded; the next one makes up for it. */
export async function recordFeedback(observed: ObservedAnswer, dependencies: ThrottleContext): Promise<FeedbackResult | null> {
  const { database, settings, log } = dependencies
  try {
    const learnt = await writeFeedback(database, observationOf(observed, settings.throttle), settings.throttle)
    await actOnFeedback(observed, learnt, dependencies)
    return learnt
  } catch (error) {
    log.warn({ destination: observed.system, error: describe(error) }, 'the feedback of a destination could not be recorded')
    return null
  }
}

/** What follows from feedback that is written: waiters are woken, events published, suppressions expire early. Never rejects. */
export async function actOnFeedback(
  { system, answer }: ObservedAnswer,
  learnt: FeedbackResult,
  dependencies: ThrottleContext,
): Promise<void> {
  const { database, log } = dependencies
  try {
    if (learnt.change === 'down')
      log.warn({ destination: system, status: answer.status, reply: answer.reply, since: learnt.failingSince }, 'a destination is down')
    const { client, info } = Context.current()
    await wakeWaiters(client, learnt.wake, database)
    if (learnt.change === 'down' || learnt.wasDown)
      await publishOutages(client, info.taskQueue, dependencies, system).catch((error: Error) =>
        log.warn({ destination: system, error: describe(error) }, 'an event could not be published yet; it is tried again'),
      )
    if (learnt.change === 'up')
      await takesMailAgain(
        client,
        info.taskQueue,
        { destination: system, beganAt: learnt.failingSince, wasDown: learnt.wasDown },
        dependencies,
        dependencies.now(),
      )
  } catch (error) {
    log.warn({ destination: system, error: describe(error) }, 'the feedback of a destination could not be recorded')
  }
}
