/** Performs the lifecycle's commands: each becomes a timer or an activity, and its result an event. */
import { CancellationScope, workflowInfo } from '@temporalio/workflow'
import type { MessageRun, Prepared, SendOrder, SendResult, Suppressed } from '../activities/index.js'
import { type BouncedMessage, checkBouncedMessage } from '../bounce/index.js'
import { localFirst, recordIfQuick, rethrowNonRetryable, send, suppress } from './activities.js'
import type { Inbox } from './inbox.js'
import type { Command, Delivery, Event } from './lifecycle-state.js'
import { showOutcome } from './search-attributes.js'
import { fairnessKey, sendSummary, suppressSummary, waitSummary } from './web-ui.js'

const HOUR_MS = 60 * 60_000

/** Checks the bounce and stores the message. @throws ApplicationFailure of the public contract if the input is refused. */
export function prepare(message: BouncedMessage): Promise<Prepared> {
  const { executionTimeoutMs, runTimeoutMs } = workflowInfo()
  return localFirst('check the bounce, keep the message', ({ prepare }, form) =>
    // an ordinary activity's argument is written to the history, so it reads the message from the first event instead
    prepare(form === 'local' ? message : { inStartEvent: true }, {
      ...run(),
      ...(executionTimeoutMs === undefined ? {} : { executionTimeoutMs }),
      ...(runTimeoutMs === undefined ? {} : { runTimeoutMs }),
    }),
  )
}

type Performed = Exclude<Command, { kind: 'end' }>

/** Begins a command; `eventOf` says what its result is. One promise less for each of them: each costs the worker a stack trace. */
export function perform(command: Performed, delivery: Delivery, prepared: Prepared, inbox: Inbox): Promise<unknown> {
  switch (command.kind) {
    case 'wait':
      return inbox.wait(command.untilMs, waitSummary(delivery))
    case 'send': {
      const summary = sendSummary(prepared, command.retry)
      return inbox.send(() => send(summary, fairnessKey(prepared.destination))(orderOf(command.retry, prepared)))
    }
    case 'record report': {
      const { report } = command
      return localFirst(`write down that retry ${delivery.retry} came back`, ({ recordReport }) =>
        recordReport({ ...subjectOf(prepared), report }),
      )
    }
    case 'record end': {
      const { kind: _, ...ending } = command
      return localFirst(`write down that it ended as ${ending.outcome}`, ({ recordEnd }) =>
        recordEnd({ ...subjectOf(prepared), ...ending }),
      )
    }
    case 'suppress': {
      const { kind: _, because: kind, ...why } = command
      const { destination, bouncedAtMs } = prepared
      const order = { ...subjectOf(prepared), kind, ...why, destination, outageFromMs: bouncedAtMs }
      return CancellationScope.nonCancellable(() => suppress(suppressSummary(prepared, kind))(order))
    }
  }
}

/** The event that a command's result is. */
export function eventOf({ kind }: Performed, result: unknown): Event {
  if (kind === 'wait') return { kind: 'woke' }
  if (kind === 'send') return { kind: 'sent', result: result as SendResult }
  return kind === 'suppress' ? { kind: 'suppressed', until: (result as Suppressed).until } : { kind: 'recorded' }
}

/**
 * The event that a command's failure is: a signal ended it.
 * @throws CancelledFailure if the workflow was cancelled; an activity's failure if it will never succeed.
 */
export function eventOfFailure({ kind }: Performed, error: unknown, inbox: Inbox): Event {
  if (kind === 'wait' && inbox.isInterrupted) return { kind: 'woke' }
  if (kind !== 'send' || CancellationScope.current().consideredCancelled) throw error
  if (inbox.delivery?.givenUp) return { kind: 'send stopped' }
  rethrowNonRetryable(error)
  throw error
}

function orderOf(retry: number, prepared: Prepared): SendOrder {
  const { workflowId: _, ...subject } = subjectOf(prepared)
  const { sender, messageKey, destination, deliverByMs } = prepared
  return {
    ...{ ...subject, sender, messageKey, destination, retry, scheduleEndsMs: scheduleEndsMs(prepared, retry) },
    ...(deliverByMs === undefined ? {} : { deliverByMs }),
  }
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
