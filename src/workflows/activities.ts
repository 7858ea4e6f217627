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

/** A local failure comes with a delay of its own; this is for a worker that died. No attempt is the last. */
const RETRY = { initialInterval: '5s', backoffCoefficient: 2, maximumInterval: '10m' } as const

/** Quick work on the database, with no limit to how often it is tried. */
const DATABASE: ActivityOptions = {
  startToCloseTimeout: '1m',
  retry: RETRY,
  // the typings call it the default; measured, it is not
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}

/** Longer than the longest dialogue that the settings allow; a dead worker is noticed by its heartbeat. */
const SEND: ActivityOptions = { ...DATABASE, startToCloseTimeout: '12h', heartbeatTimeout: '20s' }

export const send = (summary: string, fairnessKey: string) =>
  proxyActivities<Activities>({ ...SEND, summary, priority: { fairnessKey } }).sendMessage

export const suppress = (summary: string) => proxyActivities<Activities>({ ...DATABASE, summary }).suppressAddress

/** The webhook: for a day, and no longer. */
export const deliverWebhook = (summary: string) =>
  proxyActivities<Activities>({ ...DATABASE, scheduleToCloseTimeout: '1d', summary }).deliverWebhook

/** An activity of a team's own, written in any SDK, on its own task queue. */
export const notifyAlternative = (taskQueue: string, summary: string) =>
  proxyActivities<{ notifyAlternative(event: SoftbounceEvent): Promise<unknown> }>({
    ...{ taskQueue, scheduleToCloseTimeout: '1d', startToCloseTimeout: '10m', retry: RETRY, summary },
  }).notifyAlternative

export const purge = () => proxyActivities<Activities>({ ...DATABASE, startToCloseTimeout: '1h', heartbeatTimeout: '1m' }).purgeMessages

export const removeFromProviderList = () =>
  proxyActivities<Activities>({ ...DATABASE, startToCloseTimeout: '1h', heartbeatTimeout: '1m' }).removeAtProvider

/** As long as the longest release; a worker that died is noticed by its heartbeat. */
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
 * Runs an activity as a local one, which costs a single event; if that fails twice, as an ordinary one, which waits for as long as it
 * takes and shows why (a local activity that keeps failing would fill the history and show nothing).
 * @throws ApplicationFailure of the public contract where the input is refused.
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

/** Writes an end down where that is quickly done, and goes on where it is not. */
export async function recordIfQuick(order: Parameters<Activities['recordEnd']>[0]): Promise<void> {
  try {
    await local.recordEnd(order)
  } catch {
    // the database is away
  }
}

/** Throws the refusal that an activity ended with, as the workflow's own failure; returns where it was something else. */
export function rethrowNonRetryable(error: unknown): void {
  // a local activity's failure comes as it is, an ordinary one's wrapped
  const failure = error instanceof ActivityFailure ? error.cause : error
  if (failure instanceof ApplicationFailure && failure.nonRetryable) throw failure
}
