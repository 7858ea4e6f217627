/** Which branches of the workflows the tests take: `npm run coverage` gives a bundle that counts them. */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { InjectedSinks } from '@temporalio/worker'
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
