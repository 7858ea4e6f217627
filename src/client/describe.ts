/** The status of a message's retries, from Temporal. */
import { type Client, WorkflowNotFoundError } from '@temporalio/client'
import { decodeOptionalFailureToOptionalError } from '@temporalio/common/lib/internal-non-workflow/index.js'
import type { RetryResult } from '../bounce/index.js'
import { CannotDecrypt } from '../encryption/index.js'
import type { Progress } from '../workflows/retry-bounced-message.js'

const QUERY_WITHIN_MS = 3000

/** The status of a message's retries. */
export interface RetryDescription {
  readonly workflowId: string
  readonly runId: string
  /** Temporal's status of the last run: RUNNING, COMPLETED, FAILED, CANCELLED, TERMINATED … */
  readonly status: string
  readonly startedAt: Date
  readonly closedAt: Date | null
  readonly summary: string | null
  /** From the workflow's query, while it runs; null if no worker answers. */
  readonly progress: Progress | null
  /** The result, once completed. */
  readonly result: RetryResult | null
  /** Why the workflow failed; null if it did not. */
  readonly failure: string | null
  /** Why an activity is being retried, if one is; `waiting`: no error, the retry only waits for its permit. */
  readonly trouble: {
    readonly text: string
    readonly waiting: boolean
    readonly attempt: number
    readonly nextAttemptAt: Date | null
  } | null
}

/** Describes a workflow; null if there is none with this ID. */
export async function describeRetry(temporal: Client, workflowId: string): Promise<RetryDescription | null> {
  const handle = temporal.workflow.getHandle(workflowId)
  try {
    const description = await handle.describe()
    const status = description.status.name
    const pending = (description.raw.pendingActivities ?? []).find((activity) => activity.lastFailure != null)
    const seconds = Number((pending?.nextAttemptScheduleTime ?? pending?.scheduledTime)?.seconds ?? 0)
    return {
      workflowId,
      runId: description.runId,
      status,
      startedAt: description.startTime,
      closedAt: description.closeTime ?? null,
      summary: (await readable(description.staticSummary())) ?? null,
      progress: status === 'RUNNING' ? await progressOf(temporal, workflowId) : null,
      result: status === 'COMPLETED' ? await readable(handle.result() as Promise<RetryResult>) : null,
      failure: status === 'FAILED' ? await readable(failureOf(handle)) : null,
      trouble:
        pending === undefined
          ? null
          : {
              text: (await readable(textOf(temporal, pending.lastFailure))) ?? '',
              waiting: pending.lastFailure?.applicationFailureInfo?.type === 'Waiting',
              attempt: pending.attempt ?? 1,
              nextAttemptAt: seconds === 0 ? null : new Date(seconds * 1000),
            },
    }
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null
    throw error
  }
}

/** Null if the payload is encrypted under a key that is not set here: the other fields are still returned. */
async function readable<T>(step: Promise<T>): Promise<T | null> {
  try {
    return await step
  } catch (error) {
    if (isUnreadable(error)) return null
    throw error
  }
}

const isUnreadable = (error: unknown): boolean =>
  error instanceof CannotDecrypt || (error instanceof Error && error.cause !== undefined && isUnreadable(error.cause))

async function textOf(temporal: Client, failure: Parameters<typeof decodeOptionalFailureToOptionalError>[1]): Promise<string | undefined> {
  return (await decodeOptionalFailureToOptionalError(temporal.options.loadedDataConverter, failure))?.message
}

async function progressOf(temporal: Client, workflowId: string): Promise<Progress | null> {
  try {
    return await temporal.withDeadline(Date.now() + QUERY_WITHIN_MS, () =>
      temporal.workflow.getHandle(workflowId).query<Progress>('progress'),
    )
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw error
    return null
  }
}

async function failureOf(handle: { result(): Promise<unknown> }): Promise<string> {
  try {
    await handle.result()
    return ''
  } catch (error) {
    const { message, cause } = error as { message: string; cause?: { message?: string } }
    return cause?.message ?? message
  }
}
