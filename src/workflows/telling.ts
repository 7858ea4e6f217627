/** Events of one message: each is told by a workflow of its own, so that whether it is taken delays nothing and uses up no retry. */
import { CancellationScope, ChildWorkflowCancellationType, log, ParentClosePolicy, startChild, workflowInfo } from '@temporalio/workflow'
import type { Prepared } from '../activities/index.js'
import type { Bounce, EventType, RetryResult, SoftbounceEvent } from '../bounce/index.js'
import { tellBefore } from './activities.js'
import { bare } from './words.js'

/** Whether somebody wants to know of events of that type. */
export const isTold = ({ events }: Prepared, type: EventType): boolean => events?.types.includes(type) === true

/** Tells that something came about. Never rejects. */
export async function tell(
  prepared: Prepared,
  bounce: Bounce,
  type: EventType,
  atMs: number,
  more: SoftbounceEvent['data'],
): Promise<void> {
  const { messageId, recipient, sender, destination, bouncedAtMs, events } = prepared
  const { workflowId, firstExecutionRunId } = workflowInfo()
  const about = { messageId, sender, recipient, workflowId, destination, bouncedAt: new Date(bouncedAtMs).toISOString() }
  const said = { status: bounce.status, ...(bounce.diagnostic === undefined ? {} : { reply: bounce.diagnostic }) }
  const id = `${firstExecutionRunId}.${type}`
  const event = { id, type, timestamp: new Date(atMs).toISOString(), data: { ...about, ...said, ...more } }
  const options = {
    workflowId: `event/${id}`,
    parentClosePolicy: ParentClosePolicy.ABANDON,
    cancellationType: ChildWorkflowCancellationType.ABANDON,
    args: [{ event, ...events?.channels }],
    staticSummary: `${type} ${bare(recipient)}`,
  }
  try {
    // a child that is abandoned before it has started would be waited for without an end
    await CancellationScope.nonCancellable(() => startChild('notifyEvent', options))
  } catch (error) {
    log.warn('an event was not told', { type, error: (error as Error).message })
  }
}

/** Tells how it ended. */
export async function tellEnd(prepared: Prepared, bounce: Bounce, result: RetryResult): Promise<void> {
  const last = result.attempts.at(-1)
  const more = {
    retries: result.retries,
    ...(last === undefined ? {} : { status: last.status, reply: last.reply }),
    ...(result.confirmed === undefined ? {} : { confirmed: result.confirmed }),
    ...(result.suppressedUntil === undefined ? {} : { suppressedUntil: result.suppressedUntil }),
  }
  await tell(prepared, bounce, `bounce.${result.outcome}`, Date.now(), more)
}

/** As 0.3.0 told an urgent message. */
export function tellAsBefore(prepared: Prepared, { status, diagnostic }: Bounce): void {
  const { messageId, recipient, sender, destination, bouncedAtMs } = prepared
  const { workflowId, firstExecutionRunId: firstRunId } = workflowInfo()
  tellBefore(`tell the alternative channel of ${bare(recipient)}`)({
    ...{ messageId, recipient, workflowId, firstRunId, sender, destination, status, bouncedAtMs },
    ...(diagnostic === undefined ? {} : { reply: diagnostic }),
  }).catch((error: Error) => log.warn('the alternative channel was not told', { error: error.message }))
}
