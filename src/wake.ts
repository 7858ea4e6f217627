/**
 * Wakes messages that wait for their turn: Temporal starts a waiting activity at once where it is reset (the operation behind
 * `temporal activity reset`), which adds no event. Where the server cannot do that, they look again by themselves.
 */
import type { Client } from '@temporalio/client'

const WITHIN_MS = 3000

/** Never rejects. */
export async function wakeWaiting(client: Client, workflowIds: readonly string[]): Promise<void> {
  if (workflowIds.length === 0) return
  const { namespace, identity } = client.options
  const reset = (workflowId: string) =>
    client.workflowService.resetActivity({ namespace, identity, execution: { workflowId }, type: 'sendMessage' })
  await client.withDeadline(Date.now() + WITHIN_MS, () => Promise.allSettled(workflowIds.map(reset))).catch(() => {})
}
