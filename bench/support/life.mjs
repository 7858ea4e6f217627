// One workflow ("life") of the benches: its message, its schedule, and its history on the server.
import proto from '@temporalio/proto'

/** Three refusals, then the fourth retry is accepted. */
export const DELAYS_MS = [300, 300, 300, 300]

/** The workflow's input; it carries the result of `prepare`, so that no database is queried. */
export function lifeOf(i, run, delaysMs = DELAYS_MS) {
  const recipient = `r${i}@example${i % 100}.org`
  const messageId = `${run}.${i}@example.com`
  const bouncedAt = new Date()
  const prepared = {
    ...{ messageId, recipient, sender: 'bounces@example.com', messageKey: 'a'.repeat(64), destination: `example${i % 100}.org` },
    ...{ bouncedAtMs: bouncedAt.getTime(), fromMs: bouncedAt.getTime(), delaysMs, retriesSoFar: 0 },
    ...{ confirmWithinMs: 432_000_000, searchAttributes: true },
  }
  return {
    workflowId: `bounce/${recipient}/${messageId}`,
    input: {
      ...{ messageId, recipient, sender: 'bounces@example.com', message: { stored: prepared.messageKey }, prepared },
      bounce: { status: '4.3.2', bouncedAt: bouncedAt.toISOString(), diagnostic: '421 4.3.2 System not accepting network messages' },
    },
  }
}

/** Number of history events, and their stored size in bytes. */
export async function historyOf(client, workflowId) {
  const history = await client.workflow.getHandle(workflowId).fetchHistory()
  return { events: history.events.length, bytes: proto.temporal.api.history.v1.History.encode(history).finish().length }
}
