/** What a worker does for the Nexus operations. Callers of other namespaces are trusted as far as the endpoint's allowlist says. */
import { WorkflowIdConflictPolicy, WorkflowNotFoundError } from '@temporalio/client'
import { getClient, signalWithStartWorkflow, startWorkflow, WorkflowRunOperationHandler } from '@temporalio/nexus'
import * as nexus from 'nexus-rpc'
import { addressKey, type Bounce, type BouncedMessage, checkBouncedMessage, type RetryResult, WORKFLOW_TYPE } from '../bounce/index.js'
import { RequestRefused, request } from '../client/requests.js'
import type { WorkflowIds } from '../encryption/index.js'
import type { Progress, retryBouncedMessage } from '../workflows/retry-bounced-message.js'
import { type RetryNowInput, type RetryReference, softbounceService } from './index.js'

/** A synchronous operation must answer within 10 s. */
const QUERY_WITHIN_MS = 8000

/** @param ids derives the workflow IDs. */
export function nexusService(ids: WorkflowIds): nexus.ServiceHandler<typeof softbounceService.operations> {
  const idOf = (input: RetryReference) => checkedId(ids, input)
  return nexus.serviceHandler(softbounceService, {
    retry: new WorkflowRunOperationHandler<BouncedMessage, RetryResult>(async (context, input) => {
      const checked = checkBouncedMessage(input)
      if ('faults' in checked) throw badRequest(`the bounced message cannot be retried: ${checked.faults.join('; ')}`)
      const { messageId, recipient, bounce } = checked.value
      const start = {
        workflowId: ids.workflowId(recipient, messageId),
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
        args: [checked.value] as [BouncedMessage],
        staticSummary: `${bounce.status} for ${addressKey(recipient)}`,
      }
      // If the retries end between the two calls, the second one starts a new run, which evaluates the bounce itself. If Nexus repeats this
      // handler, the bounce is no longer newer than the last attempt, and changes nothing.
      await signalWithStartWorkflow<typeof retryBouncedMessage, [Bounce]>(context, WORKFLOW_TYPE, {
        ...start,
        signal: 'bouncedAgain',
        signalArgs: [bounce],
      })
      return startWorkflow<typeof retryBouncedMessage>(context, WORKFLOW_TYPE, start)
    }),
    retryNow: (_context, { retry, ...input }: RetryNowInput) =>
      toNexusErrors(input, () => request(getClient(), idOf(input), 'retryNow', retry === undefined ? {} : { retry })),
    giveUp: (_context, input: RetryReference) => toNexusErrors(input, () => request(getClient(), idOf(input), 'giveUp')),
    progress: (_context, input: RetryReference) =>
      toNexusErrors(input, () =>
        getClient().withDeadline(Date.now() + QUERY_WITHIN_MS, () =>
          getClient().workflow.getHandle(idOf(input)).query<Progress>('progress'),
        ),
      ),
  })
}

const badRequest = (text: string) => new nexus.HandlerError('BAD_REQUEST', text)

function checkedId(ids: WorkflowIds, input: RetryReference | null | undefined): string {
  if (typeof input === 'object' && input !== null) {
    if ('workflowId' in input && typeof input.workflowId === 'string') return input.workflowId
    if ('recipient' in input && typeof input.recipient === 'string' && typeof input.messageId === 'string')
      return ids.workflowId(input.recipient, input.messageId)
  }
  throw badRequest('the retries are identified by `recipient` and `messageId`, or by `workflowId`')
}

/** Refusals and unknown retries are final: Nexus does not repeat them. */
async function toNexusErrors<T>(input: RetryReference, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (error instanceof RequestRefused) throw new nexus.OperationError('failed', error.message)
    if (error instanceof WorkflowNotFoundError)
      throw new nexus.HandlerError('NOT_FOUND', `there are no retries of ${JSON.stringify(input)}`)
    throw error
  }
}
