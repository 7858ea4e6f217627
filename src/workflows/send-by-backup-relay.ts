/**
 * sendByBackupRelay: sends an urgent message once, by the backup relay. A child of the message's own workflow, whose schedule continues: it
 * reports only an acceptance to its parent, and stops when the parent ends.
 */
import {
  CancellationScope,
  ChildWorkflowCancellationType,
  defineSignal,
  getExternalWorkflowHandle,
  log,
  ParentClosePolicy,
  startChild,
  workflowInfo,
} from '@temporalio/workflow'
import type { Prepared, SendOrder } from '../activities/index.js'
import { send } from './activities.js'
import type { Accepted } from './lifecycle-state.js'
import { backupSummary, fairnessKey } from './web-ui.js'

/** The backup relay accepted the message. */
export const acceptedByBackup = defineSignal<[Accepted]>('acceptedByBackup')

/** Minimum time for the backup relay, even if the first retry is already due. */
const MIN_TIME_MS = 60_000
/** Time between the latest start of the backup relay's send and the first retry. */
const MARGIN_MS = 60_000

/** A send order without its run, which is the child's own. */
export type BackupOrder = Omit<SendOrder, 'firstRunId' | 'retry' | 'via'>

export async function sendByBackupRelay(order: BackupOrder): Promise<void> {
  const { firstExecutionRunId: firstRunId, parent } = workflowInfo()
  const row = { firstRunId, retry: 1 }
  const result = await send(backupSummary(order), fairnessKey(order.destination))({ ...order, ...row, via: 'backup-relay' })
  if (parent === undefined || result.kind !== 'answered' || result.attempt.outcome !== 'accepted') return
  const { attempt, relayed } = result
  await getExternalWorkflowHandle(parent.workflowId)
    .signal(acceptedByBackup, { attempt, row, relayed })
    .catch((error: Error) => log.warn('the retries had ended before the backup relay accepted the message', { error: error.message }))
}

/** The signal's argument, or null if malformed: that must not fail every workflow task. */
export function readAccepted(accepted: Accepted | null | undefined): Accepted | null {
  const { attempt, row, relayed } = accepted ?? {}
  const isAttempt = typeof attempt?.at === 'string' && !Number.isNaN(Date.parse(attempt.at)) && attempt.outcome === 'accepted'
  if (!isAttempt || typeof row?.firstRunId !== 'string' || typeof row.retry !== 'number') return null
  return { attempt: { ...attempt, via: 'backup-relay', retry: 0 }, row, relayed: relayed === true }
}

/**
 * Starts the child workflow. Never rejects.
 * @param onEnd called when the child has ended.
 * @returns when the first retry may start at the earliest, epoch ms; null if the child could not be started.
 */
export async function startBackup(prepared: Prepared, onEnd: () => void): Promise<number | null> {
  const { messageId, sender, recipient, messageKey, destination, deliverByMs } = prepared
  const dueMs = prepared.fromMs + (prepared.delaysMs[prepared.retriesSoFar] ?? 0)
  const untilMs = Math.max(dueMs, Date.now() + MIN_TIME_MS + MARGIN_MS)
  const order: BackupOrder = {
    ...{ messageId, sender, recipient, messageKey, destination, untilMs: untilMs - MARGIN_MS },
    ...(deliverByMs === undefined ? {} : { deliverByMs }),
  }
  const options = {
    workflowId: `backup/${workflowInfo().firstExecutionRunId}`,
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    cancellationType: ChildWorkflowCancellationType.ABANDON,
    args: [order],
    staticSummary: backupSummary(prepared),
  }
  try {
    // an abandoned child that is cancelled before it started would never resolve
    const child = await CancellationScope.nonCancellable(() => startChild('sendByBackupRelay', options))
    CancellationScope.nonCancellable(() => child.result()).then(onEnd, onEnd)
    return untilMs
  } catch (error) {
    log.warn('the backup relay is not used: its workflow could not be started', { error: (error as Error).message })
    return null
  }
}
