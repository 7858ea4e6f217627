/** Runs the slowest test files first, so that none runs alone at the end. TEST_DURATIONS=1 measures durations again. */
import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { measuredDurations } from './counts-reporter.js'

/** Assumed duration of a file that was never measured, seconds. */
const UNKNOWN = 10

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const durations = measuredDurations()
    const root = this.ctx.config.root
    const secondsOf = ({ moduleId }: TestSpecification) => durations[relative(root, moduleId)] ?? UNKNOWN
    return [...(await super.sort(files))].sort((a, b) => secondsOf(b) - secondsOf(a))
  }
}
