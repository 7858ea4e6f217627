/** How the workflows call the activities: options of each, and what a failure means. */
import type { ActivityOptions } from '@temporalio/workflow'
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow'
import type { Activities } from '../activities/index.js'
import type { SoftbounceEvent } from '../bounce/index.js'

/** For workers that died, without a limit of attempts; a local failure carries its own delay. */
const RETRY = { initialInterval: '5s', backoffCoefficient: 2, maximumInterval: '10m' } as const

/** Quick work on the database, with no limit to how often it is tried. */
const DATABASE: ActivityOptions = {
  startToCloseTimeout: '1m',
  retry: RETRY,
  // the typings document this as the default; in measurements, it is not
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}

/**
 * Longer than the longest SMTP session that the settings allow; the heartbeat timeout detects a dead worker. Waits for a permit count as
 * attempts, so that only the longest interval matters.
 */
const SEND: ActivityOptions = {
  ...DATABASE,
  startToCloseTimeout: '12h',
  heartbeatTimeout: '20s',
  retry: { ...RETRY, maximumInterval: '1m' },
}

export const send = (summary: string, fairnessKey: string) =>
  proxyActivities<Activities>({ ...SEND, summary, priority: { fairnessKey } }).sendMessage

export const suppress = (summary: string) => proxyActivities<Activities>({ ...DATABASE, summary }).suppressAddress

/** Delivers to the webhook, retrying for at most a day. */
export const deliverWebhook = (summary: string) =>
  proxyActivities<Activities>({ ...DATABASE, scheduleToCloseTimeout: '1d', summary }).deliverWebhook

/** A user-defined activity, in any SDK, on its own task queue. */
export const notifyAlternative = (taskQueue: string, summary: string) =>
  proxyActivities<{ notifyAlternative(event: SoftbounceEvent): Promise<unknown> }>({
    ...{ taskQueue, scheduleToCloseTimeout: '1d', startToCloseTimeout: '10m', retry: RETRY, summary },
  }).notifyAlternative

export const purge = () => proxyActivities<Activities>({ ...DATABASE, startToCloseTimeout: '1h', heartbeatTimeout: '1m' }).purgeMessages

export const removeFromProviderList = () =>
  proxyActivities<Activities>({ ...DATABASE, startToCloseTimeout: '1h', heartbeatTimeout: '1m' }).removeAtProvider

/** As long as the longest release; the heartbeat timeout detects a dead worker. */
export const release = (destination: string) =>
  proxyActivities<Activities>({
    ...DATABASE,
    startToCloseTimeout: '8d',
    heartbeatTimeout: '30s',
    summary: `release the retries that wait for ${destination}`,
  }).releaseWaiting

const local = proxyLocalActivities<Activities>({
  startToCloseTimeout: '5s',
  retry: { maximumAttempts: 2, initialInterval: '200ms' },
})

type Quick = Pick<Activities, 'prepare' | 'recordEnd' | 'recordReport'>

/**
 * Runs an activity as a local one, which costs a single event; if that fails twice, as an ordinary one, which is retried for as long as it
 * takes and shows why (a local activity that keeps failing would fill the history and show nothing).
 * @throws ApplicationFailure of the public contract if the input is refused.
 */
export async function localFirst<T>(summary: string, call: (activities: Quick, form: 'local' | 'ordinary') => Promise<T>): Promise<T> {
  try {
    return await call(local as Quick, 'local')
  } catch (error) {
    if (isCancellation(error)) throw error
    rethrowNonRetryable(error)
  }
  try {
    return await call(proxyActivities<Activities>({ ...DATABASE, summary }) as Quick, 'ordinary')
  } catch (error) {
    rethrowNonRetryable(error)
    throw error
  }
}

/** Records an end by a local activity; ignores its failure. */
export async function recordIfQuick(order: Parameters<Activities['recordEnd']>[0]): Promise<void> {
  try {
    await local.recordEnd(order)
  } catch {
    // the database is unavailable
  }
}

/** Throws an activity's non-retryable failure as the workflow's own; returns if it was another error. */
export function rethrowNonRetryable(error: unknown): void {
  // a local activity's failure is not wrapped, an ordinary one's is
  const failure = error instanceof ActivityFailure ? error.cause : error
  if (failure instanceof ApplicationFailure && failure.nonRetryable) throw failure
}
