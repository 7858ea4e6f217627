/** Starts, signals and queries retries from TypeScript. */
import { type Client, WorkflowIdConflictPolicy, WorkflowNotFoundError } from '@temporalio/client'
import {
  addressKey,
  type Bounce,
  type BouncedMessage,
  checkBouncedMessage,
  messageIdKey,
  quoted,
  type RetryOptions,
  type RetryResult,
  retriesOn,
  WORKFLOW_TYPE,
} from '../bounce/index.js'
import { type Settings, settingsFrom } from '../config/index.js'
import { canonicalMessage } from '../delivery/canonical-message.js'
import { sentId } from '../delivery/return-path.js'
import { WorkflowIds } from '../encryption/index.js'
import {
  type Database,
  keptFor,
  messageKey,
  openDatabase,
  type SuppressionReason,
  storedKey,
  storeId,
  storeInGroup,
  workflowIdsOf,
} from '../store/index.js'
import { findSuppression, liftSuppression, type Suppression, suppressLastingly } from '../suppression/index.js'
import type { Progress } from '../workflows/retry-bounced-message.js'
import { connectTemporal, encryptingClient } from './connect-temporal.js'
import { describeRetry, type RetryDescription } from './describe.js'
import { Destinations } from './destinations.js'
import { type Erased, eraseRecipient } from './erase.js'
import { messageIdOf } from './message-id.js'
import { type BounceOf, type ClientOptions, type RetryRef, type StartedRetry, UnretryableBounce } from './options.js'
import { RecipientLists } from './recipient-lists.js'
import { request } from './requests.js'
import { unlessRefused } from './unretryable.js'

/** The settings that a client uses. */
const CLIENT_NEEDS = ['database', 'encryption', 'worker.taskQueue']

export class SoftbounceClient {
  /** The destinations: status, pauses, limits and releases. */
  readonly destinations: Destinations
  /** Filtering and checking lists of recipients before you mail to them. */
  readonly lists: RecipientLists
  readonly #temporal: Client
  readonly #database: Database
  readonly #names: WorkflowIds
  readonly #close: () => Promise<void>

  private constructor(temporal: Client, database: Database, names: WorkflowIds, close: () => Promise<void>) {
    this.#temporal = temporal
    this.#database = database
    this.#names = names
    this.#close = close
    this.destinations = new Destinations(temporal, database, names.taskQueue)
    this.lists = new RecipientLists(database)
  }

  /**
   * Connects to Temporal, by its own profile and environment, and to the database. Other settings come from the options alone:
   * `connect(fromEnvironment())` uses `softbounce.yaml` and `SOFTBOUNCE_...`.
   * @throws WrongSettings, or an Error naming what could not be reached.
   * @example
   * const client = await SoftbounceClient.connect({ database: { url: 'postgres://app:secret@127.0.0.1/app' } })
   * const { workflowId, result } = await client.retry(message, bounce)
   * console.log(workflowId, (await result()).outcome)
   * await client.close()
   */
  static connect(options: ClientOptions = {}): Promise<SoftbounceClient> {
    return SoftbounceClient.open(settingsFrom(options, CLIENT_NEEDS), options.temporal === undefined ? {} : { temporal: options.temporal })
  }

  /** @internal The same with settings that are checked already. A database that is passed stays open when the client is closed. */
  static async open(
    settings: Pick<Settings, 'database' | 'encryption' | 'taskQueue'>,
    options: { readonly temporal?: Client; readonly database?: Database } = {},
  ): Promise<SoftbounceClient> {
    const { keys, idKey } = settings.encryption
    const database = options.database ?? openDatabase(settings.database)
    const closers: (() => Promise<void>)[] = options.database === undefined ? [() => database.close()] : []
    try {
      await storeId(database)
      const temporal = options.temporal === undefined ? await connectTemporal(keys, closers) : encryptingClient(options.temporal, keys)
      return new SoftbounceClient(temporal, database, new WorkflowIds(idKey, settings.taskQueue), async () => {
        for (const close of closers) await close()
      })
    } catch (error) {
      for (const close of closers) await close()
      throw error
    }
  }

  /** @internal The client of Temporal that it uses. */
  get temporal(): Client {
    return this.#temporal
  }

  /** Closes what `connect` opened. */
  close(): Promise<void> {
    return this.#close()
  }

  /** The workflow ID for the retries of a message to a recipient. */
  workflowId(recipient: string, messageId: string): string {
    return this.#names.workflowId(recipient, messageId)
  }

  /**
   * Stores the message and starts its retries; if they are already open, signals the bounce to them. A bounce that is not newer than the
   * last logged attempt changes nothing.
   * @param message the original as it was sent (RFC 5322 bytes).
   * @throws UnsendableMessage if the message cannot be sent as it is; UnretryableBounce naming every wrong field of the bounce.
   * @example
   * await client.retry(eml, {
   *   sender: 'bounces@example.com',
   *   recipient: 'ann@example.org',
   *   status: '4.3.2',
   *   bouncedAt: '2026-11-24T08:00:00Z',
   * })
   */
  async retry(message: Uint8Array | string, bounce: BounceOf, options: RetryOptions = {}): Promise<StartedRetry> {
    const content = canonicalMessage(typeof message === 'string' ? Buffer.from(message, 'utf8') : message)
    const input = await this.#checked(messageKey(content), { ...bounce, messageId: bounce.messageId ?? messageIdOf(content) }, options)
    await storeInGroup(this.#database, content)
    return this.#start(input)
  }

  /**
   * Like `retry`, for a message that is already stored.
   * @param key the message's key in the store, as `kept` returns it.
   */
  async retryStored(key: string, bounce: BounceOf & { readonly messageId: string }, options: RetryOptions = {}): Promise<StartedRetry> {
    return this.#start(await this.#checked(key, bounce, options))
  }

  /** The stored message for a recipient: its key for retryStored, and its sender if `track` sent it; null if none is stored. */
  kept(messageId: string, recipient: string): Promise<{ readonly key: string; readonly sender: string | null } | null> {
    return keptFor(this.#database.db, sentId(messageIdKey(messageId), addressKey(recipient)))
  }

  /** The input of a start. Its key of the message carries the ID of the store. */
  async #checked(key: string, bounce: BounceOf & { readonly messageId: string }, options: RetryOptions): Promise<BouncedMessage> {
    const { messageId: given, sender, recipient, ...report } = bounce
    const messageId = messageIdKey(given)
    const message = { stored: storedKey(await storeId(this.#database), key) }
    const checked = checkBouncedMessage({ messageId, sender, recipient, bounce: report, ...options, message })
    if ('faults' in checked) throw new UnretryableBounce(`the bounce of ${messageId} cannot be retried: ${checked.faults.join('; ')}`)
    return checked.value
  }

  async #start(input: BouncedMessage): Promise<StartedRetry> {
    const { messageId, recipient, bounce: report } = input
    const workflowId = this.workflowId(recipient, messageId)
    const handle = await unlessRefused(
      this.#temporal.workflow.signalWithStart(WORKFLOW_TYPE, {
        taskQueue: this.#names.taskQueue,
        workflowId,
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
        args: [input],
        signal: 'bouncedAgain',
        signalArgs: [report],
        staticSummary: `${report.status} for ${addressKey(recipient)}`,
      }),
    )
    return { workflowId, runId: handle.signaledRunId, result: () => handle.result() as Promise<RetryResult> }
  }

  /** The status of a message's retries for a recipient; null if there are none. */
  get(recipient: string, messageId: string): Promise<RetryDescription | null> {
    return this.getById(this.workflowId(recipient, messageId))
  }

  /** Like `get`, by the workflow ID. */
  getById(workflowId: string): Promise<RetryDescription | null> {
    return describeRetry(this.#temporal, workflowId)
  }

  /** Lists the open retries, newest first; for one recipient, the closed ones too, as long as Temporal retains them. */
  async *list(recipient?: string): AsyncGenerator<{ workflowId: string; runId: string; status: string; startedAt: Date }> {
    const query =
      recipient === undefined
        ? `${retriesOn(this.#names.taskQueue)} AND ExecutionStatus = 'Running'`
        : `WorkflowType = '${WORKFLOW_TYPE}' AND WorkflowId STARTS_WITH ${quoted(this.#names.prefix(recipient))}`
    for await (const execution of this.#temporal.workflow.list({ query }))
      yield { workflowId: execution.workflowId, runId: execution.runId, status: execution.status.name, startedAt: execution.startTime }
  }

  /** Signals a bounce to the open retries of its message and recipient; false if none are open. Never starts any. */
  async bouncedAgain(ref: RetryRef, bounce: Bounce): Promise<boolean> {
    try {
      await unlessRefused(this.#find(ref).signal('bouncedAgain', bounce))
      return true
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false
      throw error
    }
  }

  /** True if retries of the message for the recipient are open. */
  async isOpen(ref: RetryRef): Promise<boolean> {
    try {
      return (await this.#find(ref).describe()).status.name === 'RUNNING'
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false
      throw error
    }
  }

  /** Cancels all open retries for a recipient, for example after a complaint. Returns how many. */
  async cancelAll(recipient: string): Promise<number> {
    let cancelled = 0
    for await (const { workflowId, status } of this.list(recipient)) {
      if (status !== 'RUNNING') continue
      await this.cancel({ workflowId })
      cancelled += 1
    }
    return cancelled
  }

  /**
   * Erases a recipient's data from the database and from Temporal (docs/how-to/erase-a-recipient.md lists what remains).
   * @throws Error if the open retries do not end in time. Nothing is erased then; call it again.
   */
  forget(address: string): Promise<Erased> {
    const key = addressKey(address)
    return eraseRecipient(this.#temporal, this.#database, this.#everyOf(key), key, this.#names.prefix(key))
  }

  /** All workflows of a recipient, including those whose ID does not begin with the address. */
  async *#everyOf(key: string): AsyncGenerator<{ workflowId: string; runId: string; status: string }> {
    const seen = new Set<string>()
    for await (const execution of this.list(key)) {
      seen.add(execution.workflowId)
      yield execution
    }
    for (const workflowId of await workflowIdsOf(this.#database.db, key)) {
      const standing = seen.has(workflowId) ? null : await this.getById(workflowId)
      if (standing !== null) yield standing
    }
  }

  /**
   * Sends the waiting retry now. With `retry`, only if that is the number of the waiting retry.
   * @throws RequestRefused if it cannot be sent now, such as while a relay's confirmation is awaited.
   */
  async retryNow(ref: RetryRef, retry?: number): Promise<Progress> {
    return request(this.#temporal, this.#idOf(ref), 'retryNow', retry === undefined ? {} : { retry })
  }

  /**
   * Stops retrying, and suppresses the address now.
   * @throws RequestRefused if it has ended, or the address is being suppressed.
   */
  async giveUp(ref: RetryRef): Promise<Progress> {
    return request(this.#temporal, this.#idOf(ref), 'giveUp')
  }

  /** Stops retrying without suppressing the address. */
  async cancel(ref: RetryRef): Promise<void> {
    await this.#find(ref).cancel()
  }

  /** The active suppression of an address, or null. */
  isSuppressed(address: string): Promise<Suppression | null> {
    return findSuppression(this.#database.db, addressKey(address), new Date())
  }

  /**
   * Suppresses an address by hand.
   * @param options `until`: when the suppression expires; without it, it stays until it is lifted.
   */
  suppress(
    address: string,
    by: string,
    options: { until?: Date; reason?: Exclude<SuppressionReason, 'unavailable'>; note?: string } = {},
  ): Promise<void> {
    const cause = { status: null, reply: options.note ?? null, by, destination: null }
    return this.#database.db
      .transaction()
      .execute((tx) => suppressLastingly(tx, addressKey(address), options.reason ?? 'manual', cause, new Date(), options.until ?? null))
  }

  /** Lifts the suppression of an address; false if it was not suppressed. */
  unsuppress(address: string, by: string): Promise<boolean> {
    return this.#database.db.transaction().execute((tx) => liftSuppression(tx, addressKey(address), by, new Date()))
  }

  #idOf(ref: RetryRef): string {
    return 'workflowId' in ref ? this.#names.own(ref.workflowId) : this.workflowId(ref.recipient, ref.messageId)
  }

  #find(ref: RetryRef) {
    return this.#temporal.workflow.getHandle(this.#idOf(ref))
  }
}
