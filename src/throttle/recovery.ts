/** What follows when a destination accepts mail again: the suppressions that its outage caused expire early; waiting retries may be released. */
import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client'
import { releaseId } from '../bounce/index.js'
import { restoreSuppressed } from '../suppression/index.js'
import type { ThrottleContext } from './context.js'
import { findRelease } from './destinations.js'
import { type EndedOutage, markRestored } from './outages.js'

const RELEASES_APART_MS = 60 * 60_000

/** Lets the suppressions of an outage that is over expire early, and releases the waiting retries, if configured. */
export async function takesMailAgain(
  client: Client,
  taskQueue: string,
  { destination, beganAt, wasDown }: Omit<EndedOutage, 'beganAt'> & { readonly beganAt: Date | null },
  { database, settings, log }: Pick<ThrottleContext, 'database' | 'settings' | 'log'>,
  now: Date,
): Promise<void> {
  const { restoreWithinMs, releaseOnRecovery, releaseWithinMs } = settings.throttle
  const by = `${destination} takes mail again`
  const restored = await restoreSuppressed(database.db, destination, by, now, restoreWithinMs)
  log.info(
    { destination, failingSince: beganAt, restored },
    'a destination accepts mail again; the suppressions that it caused expire early',
  )
  await markRestored(database.db, destination, now)
  // a single failure is no outage
  if (!releaseOnRecovery || !wasDown) return
  const last = await findRelease(database.db, destination)
  // a flapping destination would use up a retry of every message each time
  if (last !== null && now.getTime() - last.beganAt.getTime() < RELEASES_APART_MS) return
  await client.workflow
    .start('releaseDestination', {
      taskQueue,
      workflowId: releaseId(taskQueue, destination),
      args: [{ destination, withinMs: releaseWithinMs, by }],
      staticSummary: `release the retries that wait for ${destination}`,
    })
    .catch((error: Error) => {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return
      log.warn({ destination, error: error.message }, 'the release of its waiting retries could not be started')
    })
}
