/** Which branches of the workflows the tests take: `npm run coverage` gives a bundle that counts them. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Client, ServiceError } from '@temporalio/client'
import { type InjectedSinks, type ReplayWorkerOptions, Worker } from '@temporalio/worker'
import { createCoverageMap } from 'istanbul-lib-coverage'

const folder = process.env.SOFTBOUNCE_COVERAGE
const map = createCoverageMap({})
const name = `workflows-${randomUUID()}.json`

type Seen = Parameters<typeof map.merge>[0]

/** The bundle that counts, and what a worker needs for it; null where nobody counts. */
export const counting =
  folder === undefined
    ? null
    : {
        workflowBundle: { codePath: join(folder, 'workflow-bundle.js') },
        sinks: { coverage: { merge: { fn: (_: unknown, seen: Seen) => map.merge(seen), callDuringReplay: true } } } as InjectedSinks<never>,
      }

export function writeCounted(): void {
  if (folder !== undefined) writeFileSync(join(folder, name), JSON.stringify(map))
}

/** Counts what workers of their own processes have run in a namespace, by its histories. Nothing where Temporal is away by now. */
export async function countHistories(temporal: Client, options: ReplayWorkerOptions): Promise<void> {
  if (counting === null) return
  async function* histories() {
    for await (const { workflowId, runId } of temporal.workflow.list())
      yield { workflowId, history: await temporal.workflow.getHandle(workflowId, runId).fetchHistory() }
  }
  try {
    for await (const { workflowId, error } of Worker.runReplayHistories(options, histories()))
      if (error !== undefined) console.warn(`the history of ${workflowId} does not replay: ${error.message}`)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
  }
  writeCounted()
}
