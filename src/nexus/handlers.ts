/** What a worker does for the Nexus operations. Which namespaces may call is the endpoint's allowlist. */
import { WorkflowIdConflictPolicy, WorkflowNotFoundError } from '@temporalio/client'
import { getClient, log, startWorkflow, WorkflowRunOperationHandler } from '@temporalio/nexus'
import * as nexus from 'nexus-rpc'
import { addressKey, type BouncedMessage, checkBouncedMessage, type RetryResult, WORKFLOW_TYPE } from '../bounce/index.js'
import { RequestRefused, request } from '../client/requests.js'
import type { WorkflowIds } from '../encryption/index.js'
import { isRunning } from '../temporal/index.js'
import type { Progress, retryBouncedMessage } from '../workflows/retry-bounced-message.js'
import { softbounceService } from './index.js'

/** A synchronous operation must answer within 10 s. */
const WITHIN_MS = 8000

/** @param ids derives the workflow IDs. */
export function nexusService(ids: WorkflowIds): nexus.ServiceHandler<typeof softbounceService.operations> {
  return nexus.serviceHandler(softbounceService, {
    retry: new WorkflowRunOperationHandler<BouncedMessage, RetryResult>((context, input) =>
      withNexusErrors(() => retry(ids, context, input)),
    ),
    // Nexus repeats a handler that did not answer: the ID of the request makes the repetition the same update
    retryNow: ({ requestId }, input) =>
      withNexusErrors(() => {
        const { workflowId, number } = checked(ids, input)
        return request(getClient(), workflowId, 'retryNow', number === undefined ? {} : { retry: number }, options(requestId))
      }),
    giveUp: ({ requestId }, input) =>
      withNexusErrors(() => request(getClient(), checked(ids, input).workflowId, 'giveUp', {}, options(requestId))),
    progress: (_context, input) =>
      withNexusErrors(() => {
        const handle = getClient().workflow.getHandle(checked(ids, input).workflowId)
        return getClient().withDeadline(Date.now() + WITHIN_MS, () => handle.query<Progress>('progress'))
      }),
  })
}

const options = (updateId: string) => ({ updateId, withinMs: WITHIN_MS })

/**
 * Reports the bounce to retries that are open, and then starts them, or attaches to those that are open. Both repeat without effect: a bounce
 * that is not newer than the last attempt changes nothing, and the ID of the request makes a second start the first one.
 */
async function retry(ids: WorkflowIds, context: nexus.StartOperationContext, input: BouncedMessage) {
  const result = checkBouncedMessage(input)
  if ('faults' in result) throw badRequest(`the bounced message cannot be retried: ${result.faults.join('; ')}`)
  const { messageId, recipient, bounce } = result.value
  const workflowId = ids.workflowId(recipient, messageId)
  if (await isRunning(getClient(), workflowId))
    await getClient()
      .workflow.getHandle(workflowId)
      .signal('bouncedAgain', bounce)
      .catch((error: Error) => {
        // they have just ended: the start below begins anew, and evaluates the bounce
        if (!(error instanceof WorkflowNotFoundError)) throw error
      })
  return startWorkflow<typeof retryBouncedMessage>(context, WORKFLOW_TYPE, {
    workflowId,
    workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
    args: [result.value],
    staticSummary: `${bounce.status} for ${addressKey(recipient)}`,
  })
}

const badRequest = (text: string) => new nexus.HandlerError('BAD_REQUEST', text)

/** The retries that an input names. @throws HandlerError if it names none of this fleet. */
function checked(ids: WorkflowIds, input: unknown): { workflowId: string; number: number | undefined } {
  const { workflowId, recipient, messageId, retry: number } = (input ?? {}) as Record<string, unknown>
  if (number !== undefined && number !== null && !Number.isInteger(number)) throw badRequest('`retry` is the number of a retry')
  const found = { number: (number as number | null) ?? undefined }
  try {
    if (typeof workflowId === 'string') return { ...found, workflowId: ids.own(workflowId) }
    if (typeof recipient === 'string' && typeof messageId === 'string')
      return { ...found, workflowId: ids.workflowId(recipient, messageId) }
  } catch (error) {
    throw badRequest((error as Error).message)
  }
  throw badRequest('the retries are identified by `recipient` and `messageId`, or by `workflowId`')
}

/** Refusals, wrong inputs and unknown retries are final; Nexus repeats the rest. Callers of other teams see no stack of ours. */
async function withNexusErrors<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw withoutStack(nexusError(error as Error))
  }
}

function nexusError(error: Error): Error {
  if (error instanceof nexus.HandlerError) return error
  if (error instanceof RequestRefused) return new nexus.OperationError('failed', error.message)
  if (error instanceof WorkflowNotFoundError) return new nexus.HandlerError('NOT_FOUND', 'there are no such retries, or they have ended')
  log.warn('a Nexus operation failed; Nexus repeats it', { error: error.message })
  return new nexus.HandlerError('UNAVAILABLE', 'softbounce cannot answer now')
}

function withoutStack(error: Error): Error {
  error.stack = `${error.name}: ${error.message}`
  return error
}
