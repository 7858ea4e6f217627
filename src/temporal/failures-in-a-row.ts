/**
 * How often an activity has failed in a row. Temporal counts its attempts, which include polls: a send that has waited long for a permit
 * would otherwise wait ten minutes more after the first fault of the database.
 */
import type { Info } from '@temporalio/activity'

type Run = Pick<Info, 'activityId'> & { readonly workflowExecution?: { readonly runId: string } | undefined }

/** Most activities that are remembered; the oldest are forgotten first, and begin again at 1. */
const MOST = 100_000

const keyOf = ({ workflowExecution, activityId }: Run) => `${workflowExecution?.runId} ${activityId}`

/** Of the activities of this process: another worker that takes one over begins to count at 1. */
export class FailuresInARow {
  readonly #failures = new Map<string, number>()

  /** The number of the next failure, from 1. */
  nextCount(run: Run): number {
    return (this.#failures.get(keyOf(run)) ?? 0) + 1
  }

  /** Notes how an attempt ended. */
  note(run: Run, hasFailed: boolean): void {
    const key = keyOf(run)
    const failures = this.nextCount(run)
    this.#failures.delete(key)
    if (!hasFailed) return
    this.#failures.set(key, failures)
    const [oldest] = this.#failures.keys()
    if (this.#failures.size > MOST && oldest !== undefined) this.#failures.delete(oldest)
  }
}

/** The sends of this process. */
export const failedSends = new FailuresInARow()
