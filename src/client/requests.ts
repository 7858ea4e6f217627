/** Requests to an open retry, by Temporal updates: the workflow says whether it does what is asked. */
import { type Client, WorkflowNotFoundError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError } from '@temporalio/client'
import type { Progress } from '../workflows/retry-bounced-message.js'

const WITHIN_MS = 10_000

/** The retry does not do what was asked; the message says why. */
export class RequestRefused extends Error {
  override name = 'RequestRefused'
}

/**
 * Asks the workflow, and waits for its answer.
 * @param options `updateId`: a second request with the same ID is the first one.
 * @throws RequestRefused with the reason; WorkflowNotFoundError if the workflow has ended, or never was; an Error if no worker answers.
 */
export async function request(
  temporal: Client,
  workflowId: string,
  name: 'retryNow' | 'giveUp',
  args: { readonly retry?: number } = {},
  { updateId, withinMs = WITHIN_MS }: { readonly updateId?: string; readonly withinMs?: number } = {},
): Promise<Progress> {
  const handle = temporal.workflow.getHandle(workflowId)
  try {
    return await temporal.withDeadline(Date.now() + withinMs, () =>
      handle.executeUpdate<Progress, [object]>(name, { args: [args], ...(updateId === undefined ? {} : { updateId }) }),
    )
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError) throw new RequestRefused((error.cause as Error | undefined)?.message ?? error.message)
    if (error instanceof WorkflowNotFoundError) throw error
    if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError)
      throw new Error(
        `no worker answered within ${withinMs / 1000} s: start softbounce worker. The request may still be carried out then; softbounce status shows what became of it`,
      )
    throw error
  }
}
