/** Erases a recipient: cancels open retries, cleans the tables, and deletes workflow histories. */
import { type Client, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client'
import { EVENT_TYPES } from '../bounce/index.js'
import { type Database, type Forgotten, forget } from '../store/index.js'

/** What was erased. `historiesLeft`: why some histories could not be deleted, or null. Temporal deletes asynchronously. */
export interface Erased {
  readonly cancelled: number
  readonly histories: number
  readonly historiesLeft: string | null
  /** Rows changed or deleted, by table. */
  readonly tables: Forgotten['tables']
}

const WITHIN_MS = 30_000

/**
 * @param executions the recipient's workflows, open and closed.
 * @param key the folded address. @param prefix the prefix of the recipient's workflow IDs.
 * @throws Error if an open workflow does not end in time.
 */
export async function eraseRecipient(
  temporal: Client,
  database: Database,
  executions: AsyncIterable<{ readonly workflowId: string; readonly runId: string; readonly status: string }>,
  key: string,
  prefix: string,
): Promise<Erased> {
  const found: { workflowId: string; runId: string }[] = []
  let cancelled = 0
  for await (const { workflowId, runId, status } of executions) {
    found.push({ workflowId, runId })
    if (status !== 'RUNNING') continue
    cancelled += 1
    const handle = temporal.workflow.getHandle(workflowId, runId)
    await handle.cancel()
    // wait for its last writes, so that they are erased too
    await temporal
      .withDeadline(Date.now() + WITHIN_MS, () => handle.result())
      .catch(async (error: Error) => {
        if (error instanceof WorkflowFailedError || (await handle.describe()).status.name !== 'RUNNING') return
        throw new Error(`${workflowId} was cancelled, and has not ended (is a worker running?); nothing was erased: run it again`)
      })
  }
  const { tables, runs } = await forget(database, key, prefix)
  // their child workflows hold the address too, and may still run
  const { namespace } = temporal.options
  for (const run of new Set([...runs, ...found.map(({ runId }) => runId)]))
    for (const workflowId of childrenOf(run)) {
      try {
        await temporal.workflow
          .getHandle(workflowId)
          .terminate('its recipient is forgotten')
          .catch(() => {})
        const { runId } = await temporal.workflow.getHandle(workflowId).describe()
        found.push({ workflowId, runId })
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error
      }
    }
  let histories = 0
  let historiesLeft: string | null = null
  for (const { workflowId, runId } of found)
    try {
      await temporal.workflowService.deleteWorkflowExecution({ namespace, workflowExecution: { workflowId, runId } })
      histories += 1
    } catch (error) {
      historiesLeft = (error as Error).message
    }
  return { cancelled, histories, historiesLeft, tables }
}

/** IDs of the workflows that a run may have started: its events, and the send by the backup relay. */
const childrenOf = (run: string): string[] => [
  `backup/${run}`,
  ...EVENT_TYPES.filter((type) => type.startsWith('bounce.')).map((type) => `event/${run}.${type}`),
]
