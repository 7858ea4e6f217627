/** A separate namespace for each test on the dev server. */
import { randomUUID } from 'node:crypto'
import { Client, type Connection } from '@temporalio/client'

const KNOWN_WITHIN_MS = 30_000

type Long = import('long').default

/** Registers a namespace, and waits until every server component sees it. */
export async function newNamespace(connection: Connection): Promise<string> {
  const namespace = `t-${randomUUID().slice(0, 8)}`
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: (30 * 86_400) as unknown as Long },
  })
  const { workflow } = new Client({ connection, namespace })
  const until = Date.now() + KNOWN_WITHIN_MS
  for (;;) {
    try {
      for await (const _ of workflow.list({ query: "WorkflowId = 'none'" })) break
      await workflow
        .getHandle('none')
        .describe()
        .catch((error: Error) => {
          if (!/not found/i.test(error.message) || /namespace/i.test(error.message)) throw error
        })
      return namespace
    } catch (error) {
      if (Date.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
