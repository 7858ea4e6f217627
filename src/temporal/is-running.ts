/** Whether a workflow is running. */
import { type Client, WorkflowNotFoundError } from '@temporalio/client'

/** @param firstRunId if given, only this execution counts, not a later one with the same workflow ID. */
export async function isRunning(client: Client, workflowId: string, firstRunId?: string): Promise<boolean> {
  try {
    const { status, raw } = await client.workflow.getHandle(workflowId).describe()
    return status.name === 'RUNNING' && (firstRunId === undefined || raw.workflowExecutionInfo?.firstRunId === firstRunId)
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}
