/** Registers the search attributes and schedules in the namespace, if the worker has permission. */
import { Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'
import type { NativeConnection } from '@temporalio/worker'
import type { Log } from '../logger.js'

/** Names of the public contract; all are Keyword. */
export const SEARCH_ATTRIBUTES = ['BounceRecipient', 'BounceDestination', 'BounceStatus', 'BounceOutcome'] as const

export const KEYWORD = 2 // temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
/** The command that registers these search attributes. */
export const registerCommand = (names: readonly string[]): string =>
  `temporal operator search-attribute create ${names.map((name) => `--name ${name} --type Keyword`).join(' ')}`

const UNIMPLEMENTED = 12
const LOOK_AGAIN_MS = 60_000

/** Tracks whether the namespace has the search attributes; while it has not, checks again every minute. */
export class SearchAttributes {
  #known = false
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly connection: NativeConnection,
    private readonly namespace: string,
    private readonly log: Log,
  ) {}

  get known(): boolean {
    return this.#known
  }

  /** Registers the missing ones; without permission, logs the command to run, and continues without them. */
  async register(): Promise<void> {
    try {
      if (await this.#look(true)) return
    } catch (error) {
      if ((error as { code?: number }).code === UNIMPLEMENTED) return // a test server: none are set
      this.log.warn(
        { error: (error as Error).message },
        `the search attributes could not be registered; workflows run without them until an operator does: ${registerCommand(SEARCH_ATTRIBUTES)} (Temporal Cloud: tcld namespace search-attributes add)`,
      )
    }
    this.#timer = setInterval(() => {
      this.#look(false).then(
        (known) => known && clearInterval(this.#timer),
        () => {},
      )
    }, LOOK_AGAIN_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #look(register: boolean): Promise<boolean> {
    const { operatorService } = this.connection
    const { customAttributes } = await operatorService.listSearchAttributes({ namespace: this.namespace })
    const missing = SEARCH_ATTRIBUTES.filter((name) => customAttributes?.[name] === undefined)
    const wrong = SEARCH_ATTRIBUTES.filter((name) => customAttributes?.[name] !== undefined && customAttributes[name] !== KEYWORD)
    // the server accepts a second registration under another type, then fails every task that sets the attribute
    if (wrong.length > 0) {
      if (register)
        this.log.warn(
          { wrong },
          'search attributes of these names exist under another type than Keyword; workflows run without them until that is mended',
        )
      return false
    }
    if (missing.length > 0) {
      if (!register) return false
      await operatorService.addSearchAttributes({
        namespace: this.namespace,
        searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
      })
      this.log.info({ registered: missing }, 'search attributes were registered')
    }
    this.#known = true
    return true
  }
}

/** Scheduled workflows: type, interval, and what does not happen if the schedule cannot be created (`missed`). */
const SCHEDULES = {
  purge: { id: 'softbounce-purge', workflowType: 'purgeKeptMessages', every: '1d', missed: 'kept messages are not purged' },
  unlist: {
    id: 'softbounce-unlist',
    workflowType: 'removeAtProvider',
    every: '15m',
    missed: "addresses whose suppression has ended stay on the provider's list",
  },
} as const

/** Creates the missing schedules; if one cannot be created, logs a warning and continues. */
export async function ensureSchedules(
  connection: NativeConnection,
  namespace: string,
  taskQueue: string,
  needed: { readonly unlist: boolean },
  log: Log,
): Promise<void> {
  const client = new Client({ connection, namespace })
  for (const { id, workflowType, every, missed } of needed.unlist ? [SCHEDULES.purge, SCHEDULES.unlist] : [SCHEDULES.purge])
    try {
      await client.schedule.create({
        scheduleId: id,
        spec: { intervals: [{ every }] },
        policies: { overlap: ScheduleOverlapPolicy.SKIP },
        action: { type: 'startWorkflow', workflowType, workflowId: id, taskQueue, args: [] },
      })
    } catch (error) {
      if (error instanceof ScheduleAlreadyRunning) continue
      log.warn({ error: (error as Error).message }, `the schedule ${id} could not be created: ${missed} until a worker may create it`)
    }
}
