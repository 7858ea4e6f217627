/**
 * Records an answer as feedback on its destination. When the destination accepts mail again, the suppressions that it caused expire early,
 * and, if configured, the waiting retries are released.
 */

import { Context } from '@temporalio/activity'
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import { releaseId } from '../bounce/index.js'
import { restoreSuppressed } from '../suppression/index.js'
import { describe } from '../temporal/index.js'
import type { ThrottleContext } from './context.js'
import { findRelease } from './destinations.js'
import { classifyFeedback, type DestinationAnswer } from './feedback.js'
import { configuredLimits, type ThrottleSettings } from './limits.js'
import { publishOutages } from './publish-outage.js'
import { wakeWaiters } from './wake-waiters.js'
import { type FeedbackResult, markRestored, type Observation, writeFeedback } from './write-feedback.js'

const RELEASES_APART_MS = 60 * 60_000

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
    if (learnt.restore) await takesMailAgain(system, learnt, dependencies)
  } catch (error) {
    log.warn({ destination: system, error: describe(error) }, 'the feedback of a destination could not be recorded')
  }
}

async function takesMailAgain(system: string, learnt: FeedbackResult, dependencies: ThrottleContext): Promise<void> {
  const { database, settings, log, now } = dependencies
  const { restoreWithinMs, releaseOnRecovery, releaseWithinMs } = settings.throttle
  const by = `${system} takes mail again`
  const restored = await restoreSuppressed(database.db, system, by, now(), restoreWithinMs)
  log.info(
    { destination: system, failingSince: learnt.failingSince, restored },
    'a destination accepts mail again; the suppressions that it caused expire early',
  )
  const { client, info } = Context.current()
  await markRestored(database.db, system)
  // a single failure is no outage
  if (!releaseOnRecovery || !learnt.wasDown) return
  const last = await findRelease(database.db, system)
  // a flapping destination would use up a retry of every message each time
  if (last !== null && now().getTime() - last.beganAt.getTime() < RELEASES_APART_MS) return
  await client.workflow
    .start('releaseDestination', {
      taskQueue: info.taskQueue,
      workflowId: releaseId(info.taskQueue, system),
      args: [{ destination: system, withinMs: releaseWithinMs, by }],
      staticSummary: `release the retries that wait for ${system}`,
    })
    .catch((error: Error) => {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return
      log.warn({ destination: system, error: error.message }, 'the release of its waiting retries could not be started')
    })
}
