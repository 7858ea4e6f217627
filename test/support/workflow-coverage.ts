/** Branch coverage of the workflows: `npm run coverage` provides an instrumented bundle. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Client, ServiceError } from '@temporalio/client'
import { type InjectedSinks, type ReplayWorkerOptions, Worker } from '@temporalio/worker'
import { createCoverageMap } from 'istanbul-lib-coverage'

const folder = process.env.TEST_COVERAGE
const map = createCoverageMap({})
const name = `workflows-${randomUUID()}.json`

type Seen = Parameters<typeof map.merge>[0]

/** The instrumented bundle and its worker options; null without coverage. */
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

/** Covers what worker processes ran in a namespace, by replaying its histories. Does nothing if Temporal is gone. */
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
