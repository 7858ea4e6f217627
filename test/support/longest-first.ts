/** The files that take longest begin first: what comes last would be waited for alone. SOFTBOUNCE_DURATIONS=1 measures them anew. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { measuredDurations } from './counts-reporter.js'

/** A file that was never measured, seconds. */
const UNKNOWN = 10

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const durations = measuredDurations()
    const root = this.ctx.config.root
    const secondsOf = ({ moduleId }: TestSpecification) => durations[relative(root, moduleId)] ?? UNKNOWN
    return [...(await super.sort(files))].sort((a, b) => secondsOf(b) - secondsOf(a))
  }
}
