/** Reads the workflow's argument from its first event, so that no later event has to repeat the message. */
import type { Context } from '@temporalio/activity'
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js'
import { describe, localFailure } from '../temporal/index.js'

/** Placeholder for the argument of `prepare`, which is then read from the workflow's first event. */
export interface InStartEvent {
  readonly inStartEvent: true
}

export function isInStartEvent(input: unknown): input is InStartEvent {
  return typeof input === 'object' && input !== null && (input as Partial<InStartEvent>).inStartEvent === true
}

/** Reads the argument that the workflow was started with. */
export async function startEventInput(context: Context): Promise<unknown> {
  const { client, info } = context
  try {
    const { history } = await client.workflowService.getWorkflowExecutionHistory({
      namespace: client.options.namespace,
      execution: info.workflowExecution ?? null,
      maximumPageSize: 1,
    })
    const payloads = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads
    const [input] = await decodeArrayFromPayloads(client.options.loadedDataConverter, payloads ?? null)
    return input
  } catch (error) {
    throw localFailure(`the workflow's first event could not be read: ${describe(error)}`, context.info.attempt)
  }
}
