/** Publishes the events of a message, each in a workflow of its own, so that a slow receiver delays nothing. */
import { CancellationScope, ChildWorkflowCancellationType, log, ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow'
import type { Prepared } from '../activities/index.js'
import type { Bounce, EventType, RetryResult, SoftbounceEvent } from '../bounce/index.js'
import { bare } from './web-ui.js'

/** Whether events of this type are published. */
export const isSubscribed = ({ events }: Prepared, type: EventType): boolean => events?.types.includes(type) === true

/** Publishes an event. Never rejects. */
export async function publish(
  prepared: Prepared,
  bounce: Bounce,
  type: EventType,
  atMs: number,
  more: SoftbounceEvent['data'],
): Promise<void> {
  const { messageId, recipient, sender, destination, bouncedAtMs, events } = prepared
  const { workflowId, firstExecutionRunId } = workflowInfo()
  const about = { messageId, sender, recipient, workflowId, destination, bouncedAt: new Date(bouncedAtMs).toISOString() }
  const bounced = { status: bounce.status, ...(bounce.diagnostic === undefined ? {} : { reply: bounce.diagnostic }) }
  const id = `${firstExecutionRunId}.${type}`
  const event = { id, type, timestamp: new Date(atMs).toISOString(), data: { ...about, ...bounced, ...more } }
  const options = {
    workflowId: `event/${id}`,
    parentClosePolicy: ParentClosePolicy.ABANDON,
    cancellationType: ChildWorkflowCancellationType.ABANDON,
    args: [{ event, ...events?.channels }],
    staticSummary: `${type} ${bare(recipient)}`,
  }
  try {
    // an abandoned child that is cancelled before it started would never resolve
    await CancellationScope.nonCancellable(() => startChild('publishEvent', options))
  } catch (error) {
    log.warn('an event was not published', { type, error: (error as Error).message })
  }
}

/** Publishes the end of the retries. */
export async function publishEnd(prepared: Prepared, bounce: Bounce, result: RetryResult): Promise<void> {
  const last = result.attempts.at(-1)
  const more = {
    retries: result.retries,
    ...(last === undefined ? {} : { status: last.status, reply: last.reply }),
    ...(result.confirmed === undefined ? {} : { confirmed: result.confirmed }),
    ...(result.suppressedUntil === undefined ? {} : { suppressedUntil: result.suppressedUntil }),
  }
  await publish(prepared, bounce, `bounce.${result.outcome}`, Date.now(), more)
}
