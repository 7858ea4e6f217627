/**
 * Wakes messages that wait for a permit: Temporal starts a waiting activity at once if it is reset (what `temporal activity reset` does),
 * which adds no event. If the server cannot do that, the waiters poll.
 */
import type { Client } from '@temporalio/client'
import type { Database } from '../store/index.js'
import { describe } from '../temporal/index.js'
import type { ThrottleContext } from './context.js'
import { configuredLimits } from './limits.js'
import { outagesToRestore } from './outages.js'
import { publishOutages } from './publish-outage.js'
import { takesMailAgain } from './recovery.js'
import { destinationsWithWaiters, removeWaiters } from './select-wakeups.js'
import { nextWakeups } from './write-feedback.js'

const WITHIN_MS = 3000
const LOOK_EVERY_MS = 5000
const NOT_FOUND = 5

/** Never rejects: the next periodic check makes up for a lost wake-up. */
export async function wakeWaiters(client: Client, workflowIds: readonly string[], database: Database): Promise<void> {
  if (workflowIds.length === 0) return
  const { namespace, identity } = client.options
  const reset = async (workflowId: string) => {
    try {
      await client.workflowService.resetActivity({ namespace, identity, execution: { workflowId }, type: 'sendMessage', keepPaused: true })
    } catch (error) {
      if ((error as { code?: number }).code === NOT_FOUND) await removeWaiters(database.db, workflowId)
    }
  }
  await client.withDeadline(Date.now() + WITHIN_MS, () => Promise.allSettled(workflowIds.map(reset))).catch(() => {})
}

/**
 * Every few seconds, wakes waiters for which there is room, publishes pending outages, and finishes what follows from a recovery. Every worker does so; row locks keep them apart.
 * @returns a function that stops it.
 */
export function startWakeupLoop(
  client: Client,
  taskQueue: string,
  { database, settings, log }: Pick<ThrottleContext, 'database' | 'settings' | 'log'>,
): () => void {
  let looking = false
  const look = async () => {
    if (looking) return
    looking = true
    try {
      for (const name of await destinationsWithWaiters(database))
        await wakeWaiters(client, await nextWakeups(database, name, configuredLimits(settings.throttle, name)), database)
      for (const outage of await outagesToRestore(database))
        await takesMailAgain(client, taskQueue, outage, { database, settings, log }, new Date())
      await publishOutages(client, taskQueue, { database, settings })
    } catch (error) {
      log.warn({ error: describe(error) }, 'waiting messages, or events to be published, could not be looked at')
    } finally {
      looking = false
    }
  }
  const timer = setInterval(look, LOOK_EVERY_MS * (0.8 + 0.4 * Math.random()))
  timer.unref()
  return () => clearInterval(timer)
}
