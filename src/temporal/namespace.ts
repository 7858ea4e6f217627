/** Registers the search attributes and schedules in the namespace, if the worker has permission. */
import { Client, type Connection, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client'
import type { NativeConnection } from '@temporalio/worker'
import type { Log } from '../logger.js'

/** Names of the public contract; all are Keyword. */
export const SEARCH_ATTRIBUTES = ['BounceRecipient', 'BounceDestination', 'BounceStatus', 'BounceOutcome'] as const

export const KEYWORD = 2 // temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
/** The command that registers these search attributes. */
export const registerCommand = (names: readonly string[]): string =>
  `temporal operator search-attribute create ${names.map((name) => `--name ${name} --type Keyword`).join(' ')}`

/** How many attributes of type Keyword a namespace may have with SQL visibility: https://docs.temporal.io/search-attribute#custom-search-attribute-limits */
const MOST_KEYWORDS = 10
const WITHOUT_THEM = 'retries run without them; lists cannot be filtered by them, and softbounce release needs BounceDestination'

/** What is wrong with the search attributes of a namespace, what to do, and which can be registered; null if nothing is wrong. */
export function searchAttributeFault(
  custom: Readonly<Record<string, unknown>>,
): { readonly text: string; readonly action: string; readonly missing: readonly string[] } | null {
  const wrong = SEARCH_ATTRIBUTES.filter((name) => custom[name] !== undefined && custom[name] !== KEYWORD)
  // the server accepts a second registration under another type, then fails every task that sets the attribute
  if (wrong.length > 0)
    return {
      text: `search attributes exist under another type than Keyword: ${wrong.join(', ')}; ${WITHOUT_THEM}`,
      action: `remove them (temporal operator search-attribute remove ${wrong.map((name) => `--name ${name}`).join(' ')}), or give softbounce a namespace of its own`,
      missing: [],
    }
  const missing = SEARCH_ATTRIBUTES.filter((name) => custom[name] === undefined)
  if (missing.length === 0) return null
  const text = `search attributes are missing: ${missing.join(', ')}; ${WITHOUT_THEM}`
  const keywords = Object.values(custom).filter((type) => type === KEYWORD).length
  const tooMany = keywords + missing.length - MOST_KEYWORDS
  if (tooMany <= 0) return { text, action: registerCommand(missing), missing }
  return {
    text: `${text}. The namespace has ${keywords} attributes of type Keyword, and Temporal's SQL visibility allows ${MOST_KEYWORDS}`,
    action: `free ${tooMany}: temporal operator search-attribute list shows them, and temporal operator search-attribute remove --name NAME removes one that nobody uses; a worker then registers the missing ones within a minute. Or give softbounce a namespace of its own`,
    // visibility of another kind has no such limit
    missing,
  }
}

const UNIMPLEMENTED = 12
const LOOK_AGAIN_MS = 60_000

/** Registers the search attributes, and tracks whether the namespace has them; while it has not, tries again every minute. */
export class SearchAttributes {
  #known = false
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly connection: NativeConnection,
    private readonly namespace: string,
    private readonly log: Log,
    private readonly lookAgainMs = LOOK_AGAIN_MS,
  ) {}

  get known(): boolean {
    return this.#known
  }

  /** Registers the missing ones; if that is refused, logs what to do, and continues without them. */
  async register(): Promise<void> {
    if (await this.#look((fields, text) => this.log.warn(fields, text))) return
    this.#timer = setInterval(() => {
      void this.#look(() => {}).then((done) => done && clearInterval(this.#timer))
    }, this.lookAgainMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Never rejects. @returns whether there is nothing left to do. */
  async #look(say: (fields: object, text: string) => void): Promise<boolean> {
    const { operatorService } = this.connection
    const { namespace } = this
    let fault: ReturnType<typeof searchAttributeFault> = null
    try {
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace })
      fault = searchAttributeFault(customAttributes ?? {})
      if (fault !== null && fault.missing.length === 0) {
        say({ action: fault.action }, fault.text)
        return false
      }
      if (fault !== null) {
        const searchAttributes = Object.fromEntries(fault.missing.map((name) => [name, KEYWORD]))
        await operatorService.addSearchAttributes({ namespace, searchAttributes })
        this.log.info({ registered: fault.missing }, 'search attributes were registered')
      }
      this.#known = true
      return true
    } catch (error) {
      if ((error as { code?: number }).code === UNIMPLEMENTED) return true // a test server: none are set
      const action =
        fault?.action ?? `let an operator run ${registerCommand(SEARCH_ATTRIBUTES)} (Temporal Cloud: tcld namespace search-attributes add)`
      say({ error: (error as Error).message, action }, fault?.text ?? `the search attributes cannot be listed; ${WITHOUT_THEM}`)
      return false
    }
  }
}

const NOT_FOUND = 5

/** A worker would poll it in silence. */
export class NoNamespace extends Error {
  override name = 'NoNamespace'
  readonly reason: string
  readonly action: string

  constructor(namespace: string, address: string | undefined) {
    const action = `set TEMPORAL_NAMESPACE to one that exists, or create it: temporal operator namespace create --namespace ${namespace} --retention 30d`
    const reason = `the Temporal namespace ${namespace} does not exist at ${address ?? 'localhost:7233'}`
    super(`${reason}: ${action}`)
    this.reason = reason
    this.action = action
  }
}

/** @throws NoNamespace if it does not exist; or the server's error, such as that it may not be described. */
export async function describeNamespace(
  { workflowService }: Pick<Connection, 'workflowService'>,
  namespace: string,
  address: string | undefined,
): Promise<void> {
  await workflowService.describeNamespace({ namespace }).catch((error: { code?: number }) => {
    throw error.code === NOT_FOUND ? new NoNamespace(namespace, address) : error
  })
}

/** The same where a namespace that may not be described is none of our business. @throws NoNamespace if it does not exist. */
export async function requireNamespace(...of: Parameters<typeof describeNamespace>): Promise<void> {
  await describeNamespace(...of).catch((error: unknown) => {
    if (error instanceof NoNamespace) throw error
  })
}

/** Scheduled workflows: type, interval, and what does not happen if the schedule cannot be created (`missed`). */
const SCHEDULES = {
  purge: { name: 'purge', workflowType: 'purgeKeptMessages', every: '1d', missed: 'kept messages are not purged' },
  unlist: {
    name: 'unlist',
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
  for (const { name, workflowType, every, missed } of needed.unlist ? [SCHEDULES.purge, SCHEDULES.unlist] : [SCHEDULES.purge]) {
    const id = `${taskQueue}-${name}`
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
}
