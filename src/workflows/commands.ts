/** Performs the lifecycle's commands: each becomes a timer or an activity, and its result an event. */
import { CancellationScope, workflowInfo } from '@temporalio/workflow'
import type { MessageRun, Prepared, SendOrder, SendResult } from '../activities/index.js'
import { type BouncedMessage, checkBouncedMessage } from '../bounce/index.js'
import { localFirst, recordIfQuick, rethrowNonRetryable, send, suppress } from './activities.js'
import type { Inbox } from './inbox.js'
import type { Command, Delivery, Event } from './lifecycle-state.js'
import { showBounce, showOutcome } from './search-attributes.js'
import { fairnessKey, sendSummary, suppressSummary, waitSummary } from './web-ui.js'

const HOUR_MS = 60 * 60_000

/** Checks the bounce and stores the message. @throws ApplicationFailure of the public contract if the input is refused. */
export async function prepare(message: BouncedMessage): Promise<Prepared> {
  const { executionTimeoutMs, runTimeoutMs } = workflowInfo()
  const prepared = await localFirst('check the bounce, keep the message', ({ prepare }, form) =>
    // an ordinary activity's argument is written to the history, so it reads the message from the first event instead
    prepare(form === 'local' ? message : { inStartEvent: true }, {
      ...run(),
      ...(executionTimeoutMs === undefined ? {} : { executionTimeoutMs }),
      ...(runTimeoutMs === undefined ? {} : { runTimeoutMs }),
    }),
  )
  if (prepared.searchAttributes) showBounce(prepared, message.bounce.status)
  return prepared
}

/** @throws CancelledFailure if the workflow was cancelled; an activity's failure if it will never succeed. */
export async function perform(
  command: Exclude<Command, { kind: 'end' }>,
  delivery: Delivery,
  prepared: Prepared,
  inbox: Inbox,
): Promise<Event> {
  const subject = subjectOf(prepared)
  switch (command.kind) {
    case 'wait':
      await inbox.wait(command.untilMs, waitSummary(delivery))
      return { kind: 'woke' }
    case 'send':
      return performSend(command.retry, prepared, inbox)
    case 'record report':
      await localFirst(`write down that retry ${delivery.retry} came back`, ({ recordReport }) =>
        recordReport({ ...subject, report: command.report }),
      )
      return { kind: 'recorded' }
    case 'record end': {
      const { kind: _, ...ending } = command
      await localFirst(`write down that it ended as ${ending.outcome}`, ({ recordEnd }) => recordEnd({ ...subject, ...ending }))
      return { kind: 'recorded' }
    }
    case 'suppress': {
      const { kind: _, because: kind, ...why } = command
      const order = { ...subject, kind, ...why, destination: prepared.destination, outageFromMs: prepared.bouncedAtMs }
      const { until } = await CancellationScope.nonCancellable(() => suppress(suppressSummary(prepared, kind))(order))
      return { kind: 'suppressed', until }
    }
  }
}

async function performSend(retry: number, prepared: Prepared, inbox: Inbox): Promise<Event> {
  const { workflowId: _, ...subject } = subjectOf(prepared)
  const { sender, messageKey, destination, deliverByMs } = prepared
  const order: SendOrder = {
    ...{ ...subject, sender, messageKey, destination, retry, scheduleEndsMs: scheduleEndsMs(prepared, retry) },
    ...(deliverByMs === undefined ? {} : { deliverByMs }),
  }
  let result: SendResult
  try {
    result = await inbox.send(() => send(sendSummary(prepared, retry), fairnessKey(destination))(order))
  } catch (error) {
    if (CancellationScope.current().consideredCancelled) throw error
    if (inbox.delivery?.givenUp) return { kind: 'send stopped' }
    rethrowNonRetryable(error)
    throw error
  }
  return { kind: 'sent', result }
}

/** When the last retry is due if this one is sent now; at least an hour from now. */
function scheduleEndsMs({ delaysMs, retriesSoFar }: Prepared, retry: number): number {
  const laterMs = delaysMs.slice(Math.max(0, retry - retriesSoFar)).reduce((sum, ms) => sum + ms, 0)
  return Date.now() + Math.max(HOUR_MS, laterMs)
}

/** Records the cancellation, so that a later bounce does not start the retries again. */
export async function recordCancellation(message: BouncedMessage, prepared: Prepared | null): Promise<void> {
  const end = { outcome: 'cancelled', confirmed: false } as const
  if (prepared === null) {
    const checked = checkBouncedMessage(message)
    // not recorded if the database is unavailable
    if ('value' in checked)
      await recordIfQuick({ ...run(), messageId: checked.value.messageId, recipient: checked.value.recipient, ...end })
    return
  }
  await localFirst('write down that it was cancelled', ({ recordEnd }) => recordEnd({ ...subjectOf(prepared), ...end }))
  if (prepared.searchAttributes) showOutcome('cancelled')
}

function run() {
  const { workflowId, firstExecutionRunId } = workflowInfo()
  return { workflowId, firstRunId: firstExecutionRunId }
}

function subjectOf({ messageId, recipient }: Prepared): MessageRun {
  return { messageId, recipient, ...run() }
}
