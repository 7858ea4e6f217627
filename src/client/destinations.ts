/** Destinations from TypeScript: their status, pauses and limits, and the release of retries that wait for them. */
import { type Client, WorkflowIdConflictPolicy, WorkflowNotFoundError } from '@temporalio/client'
import { openRetriesOf, releaseId } from '../bounce/index.js'
import type { Database } from '../store/index.js'
import {
  type DestinationOverview,
  destinations,
  findRelease,
  limitDestination,
  pause,
  pausedAltogether,
  type Release,
  relayOf,
  resume,
} from '../throttle/index.js'

/** A destination, and its number of open retries; null for a relay, or if Temporal cannot count them. */
export interface DestinationInfo extends DestinationOverview {
  readonly openRetries: number | null
}

/** How to release the waiting retries. */
export interface ReleaseOptions {
  /** The time over which the retries are spread, ms. Default: 1 h. */
  readonly withinMs?: number
  /** Who requested the release. */
  readonly by: string
}

const DEFAULT_WITHIN_MS = 60 * 60_000
const COUNT_AT_ONCE = 10

/** The destinations: their status, and how to steer them. */
export class Destinations {
  /** @internal */
  constructor(
    private readonly temporal: Client,
    private readonly database: Database,
    private readonly taskQueue: string,
  ) {}

  /** Up to `limit` destinations: first those that are down, then paused ones, then failing ones, then the rest. */
  async list(limit = 100): Promise<DestinationInfo[]> {
    const found = await destinations(this.database, limit)
    const counted: DestinationInfo[] = []
    for (let from = 0; from < found.length; from += COUNT_AT_ONCE)
      counted.push(...(await Promise.all(found.slice(from, from + COUNT_AT_ONCE).map((one) => this.#counted(one)))))
    return counted
  }

  /** One destination; null if the database has no record of it. */
  async get(name: string): Promise<DestinationInfo | null> {
    const [found] = await destinations(this.database, 1, name)
    return found === undefined ? null : this.#counted(found)
  }

  /** Since when everything is paused, and by whom; null if it is not. */
  pausedAltogether(): Promise<{ readonly since: Date; readonly by: string } | null> {
    return pausedAltogether(this.database.db)
  }

  /** Holds the retries for a destination, or all retries without `name`. Held retries do not count as attempts. */
  pause(by: string, name?: string): Promise<void> {
    return pause(this.database, by, name)
  }

  /** Ends a pause; each retry still needs a permit. False if there was no pause. */
  resume(name?: string): Promise<boolean> {
    return resume(this.database, name)
  }

  /** Overrides the configured limits of a destination: messages a second, connections at once. Null removes an override. */
  limit(name: string, by: string, limits: { readonly rate?: number | null; readonly connections?: number | null }): Promise<void> {
    return limitDestination(this.database, name, by, limits)
  }

  /**
   * Sends the retries that wait for a destination early, spread over time; each needs a permit. Joins a release that is already running.
   * @throws Error if the retries cannot be listed, for instance because the search attribute is not registered.
   * @returns the workflow that releases them.
   */
  async release(
    destination: string,
    { withinMs = DEFAULT_WITHIN_MS, by }: ReleaseOptions,
  ): Promise<{ workflowId: string; result(): Promise<{ released: number }> }> {
    const workflowId = releaseId(this.taskQueue, destination)
    await this.temporal.workflow.count(openRetriesOf(this.taskQueue, destination)).catch((error: Error) => {
      throw new Error(
        `the retries that wait for ${destination} cannot be listed (${error.message}); softbounce doctor says whether the search attribute BounceDestination is there`,
      )
    })
    const handle = await this.temporal.workflow.start('releaseDestination', {
      taskQueue: this.taskQueue,
      workflowId,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      args: [{ destination, withinMs, by }],
      staticSummary: `release the retries that wait for ${destination}`,
    })
    return { workflowId, result: () => handle.result() as Promise<{ released: number }> }
  }

  /** Stops a release; another one within a day sends the retries that are left. False if none is running. */
  async stopRelease(destination: string): Promise<boolean> {
    const handle = this.temporal.workflow.getHandle(releaseId(this.taskQueue, destination))
    try {
      if ((await handle.describe()).status.name !== 'RUNNING') return false
      await handle.cancel()
      return true
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false
      throw error
    }
  }

  /** The last release of a destination; null if there was none. */
  lastRelease(destination: string): Promise<Release | null> {
    return findRelease(this.database.db, destination)
  }

  async #counted(standing: DestinationOverview): Promise<DestinationInfo> {
    if (relayOf(standing.name) !== null) return { ...standing, openRetries: null }
    const openRetries = await this.temporal.workflow.count(openRetriesOf(this.taskQueue, standing.name)).then(
      ({ count }) => count,
      () => null,
    )
    return { ...standing, openRetries }
  }
}
