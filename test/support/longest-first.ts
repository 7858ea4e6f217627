/** Files whose tests wait for long (for leases to end, for another look) begin first: what comes last would be waited for alone. */
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const LONG =
  /(events|faults|upgrade|throttle|contract|encryption|web-ui|imap|erasure|acquire|receive-mail|ways-in|command|insight|direct|relay|random-orders)(\.slow)?\.test\.ts$/

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}
