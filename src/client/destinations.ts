/** Receiving systems, looked at and steered from TypeScript: which are down, pauses, limits, the release of what waits for them. */
import { type Client, WorkflowIdConflictPolicy, WorkflowNotFoundError } from '@temporalio/client'
import { openRetriesOf } from '../bounce/index.js'
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

/** A receiving system, and how many open retries there are for it; null if the server cannot say. */
export interface DestinationInfo extends DestinationOverview {
  readonly openRetries: number | null
}

/** What a release is to do. */
export interface ReleaseOptions {
  /** Over what time the retries are spread, ms. Default: 1 h. */
  readonly withinMs?: number
  /** Who asks for it. */
  readonly by: string
}

const DEFAULT_WITHIN_MS = 60 * 60_000
const COUNT_AT_ONCE = 10

export class Destinations {
  readonly #temporal: Client
  readonly #database: Database
  readonly #taskQueue: string

  constructor(temporal: Client, database: Database, taskQueue: string) {
    this.#temporal = temporal
    this.#database = database
    this.#taskQueue = taskQueue
  }

  /** Those that are down first, then paused ones, then those that fail; at most so many. */
  async list(limit = 100): Promise<DestinationInfo[]> {
    const found = await destinations(this.#database, limit)
    const counted: DestinationInfo[] = []
    for (let from = 0; from < found.length; from += COUNT_AT_ONCE)
      counted.push(...(await Promise.all(found.slice(from, from + COUNT_AT_ONCE).map((one) => this.#counted(one)))))
    return counted
  }

  /** One of them; null if no message has met it yet. */
  async get(name: string): Promise<DestinationInfo | null> {
    const [found] = await destinations(this.#database, 1, name)
    return found === undefined ? null : this.#counted(found)
  }

  /** Since when everything is paused, and by whom; null if it is not. */
  pausedAltogether(): Promise<{ readonly since: Date; readonly by: string } | null> {
    return pausedAltogether(this.#database.db)
  }

  /** Holds the retries for a destination, or all of them if it is left out; none is used up. */
  pause(by: string, name?: string): Promise<void> {
    return pause(this.#database, by, name)
  }

  /** Lets them go again, through permits; false if they were not paused. */
  resume(name?: string): Promise<boolean> {
    return resume(this.#database, name)
  }

  /** Limits a destination by hand, over the settings: messages a second, connections at once. Null takes a limit back. */
  limit(name: string, by: string, limits: { readonly rate?: number | null; readonly connections?: number | null }): Promise<void> {
    return limitDestination(this.#database, name, by, limits)
  }

  /**
   * The retries that wait for a destination go early, spread out, through permits. If a release is under way already, that one goes on.
   * @throws Error if the server does not know the search attribute.
   * @returns the workflow that does it.
   */
  async release(
    destination: string,
    { withinMs = DEFAULT_WITHIN_MS, by }: ReleaseOptions,
  ): Promise<{ workflowId: string; result(): Promise<{ released: number }> }> {
    const workflowId = releaseId(destination)
    await this.#temporal.workflow.count(openRetriesOf(destination)).catch((error: Error) => {
      const names = 'temporal operator search-attribute create --name BounceDestination --type Keyword'
      throw new Error(
        `the retries that wait for ${destination} cannot be listed (${error.message}); is the search attribute there? ${names}`,
      )
    })
    const handle = await this.#temporal.workflow.start('releaseDestination', {
      taskQueue: this.#taskQueue,
      workflowId,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      args: [{ destination, withinMs, by }],
      staticSummary: `release the retries that wait for ${destination}`,
    })
    return { workflowId, result: () => handle.result() as Promise<{ released: number }> }
  }

  /** Stops a release; run again within a day, it goes on with those that have not gone. False if none is under way. */
  async stopRelease(destination: string): Promise<boolean> {
    const handle = this.#temporal.workflow.getHandle(releaseId(destination))
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
    return findRelease(this.#database.db, destination)
  }

  async #counted(standing: DestinationOverview): Promise<DestinationInfo> {
    if (relayOf(standing.name) !== null) return { ...standing, openRetries: null }
    const openRetries = await this.#temporal.workflow.count(openRetriesOf(standing.name)).then(
      ({ count }) => count,
      () => null,
    )
    return { ...standing, openRetries }
  }
}

const releaseId = (destination: string): string => `release/${destination}`
