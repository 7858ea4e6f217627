/** Temporal plugin: runs softbounce in the process of a team's own worker. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

import { Client } from '@temporalio/client'
import type { DataConverter } from '@temporalio/common'
import { type NativeConnection, Worker, type WorkerOptions, type WorkerPlugin } from '@temporalio/worker'
import { type Activities, createActivities } from './activities/index.js'
import { WORKFLOW_TYPE } from './bounce/index.js'
import { type Config, keyDigests, requireNextHop, type Settings, settingsFrom } from './config/index.js'
import { ConnectionPool } from './delivery/index.js'
import { warnAtStart } from './doctor/index.js'
import { clientDataConverter, workerDataConverter } from './encryption/index.js'
import type { InboxLoop } from './intake/inbox-loop.js'
import { processRefusals } from './intake/receive-refusal.js'
import { createLogger, type Log } from './logger.js'
import { requirePackages } from './optional-packages.js'
import { watchForDegradation } from './report/early-warning/watch.js'
import { announceProcess, type Database, DatabaseWatch, migrateToLatest, openDatabase } from './store/index.js'
import { ensureSchedules, requireNamespace, SearchAttributes } from './temporal/index.js'
import { startWakeupLoop } from './throttle/index.js'
import { endSessions, nexusOptions, workerOptions } from './worker.js'

export type { Config, Log }

/** Options in the shape of `softbounce.yaml`, and the worker's own. */
export interface PluginOptions extends Config {
  /** The worker's connection and namespace: softbounce registers its search attributes and schedules there. */
  readonly connection: NativeConnection
  readonly namespace?: string
  /** The data converter of a worker that polls the queue `softbounce`, if it has one of its own; softbounce's client then uses it too. */
  readonly dataConverter?: DataConverter
  /** Default: JSON lines on standard output, from `log.level` on. */
  readonly logger?: Log
}

/**
 * Runs softbounce in the process of a worker of yours: opens and migrates its database, and closes it when the worker has stopped.
 * If your worker polls another task queue, a second worker polls `softbounce`. If your worker polls `softbounce` itself, it gets the
 * activities, and its workflows must export softbounce's too (`export * from 'softbounce/workflows'`).
 * @throws WrongSettings if a setting is wrong, or an Error if the database cannot be reached.
 * @example
 * const connection = await NativeConnection.connect()
 * const plugins = [await softbouncePlugin({ connection, relay: { url: 'smtp://127.0.0.1:25' } })]
 * const worker = await Worker.create({ connection, taskQueue: 'yours', workflowsPath, plugins })
 */
export async function softbouncePlugin(options: PluginOptions): Promise<WorkerPlugin> {
  const settings = settingsFrom(options)
  requireNextHop(settings)
  if (settings.direct !== null) await requirePackages('direct delivery (direct.enabled)')
  const log = options.logger ?? createLogger(settings.logLevel)
  const namespace = options.namespace ?? 'default'
  const watch = new DatabaseWatch(log)
  const database = openDatabase(settings.database, { onError: watch.onError })
  await migrateToLatest(database)
  watch.start(database)
  await requireNamespace(options.connection, namespace, undefined)
  void warnAtStart('worker', { settings, database, connection: options.connection, namespace, log })
  const attributes = new SearchAttributes(options.connection, namespace, log)
  await attributes.register()
  await ensureSchedules(options.connection, namespace, settings.taskQueue, { unlist: settings.unlistBy !== null }, log)
  const sessions = new ConnectionPool()
  const activities = createActivities({
    ...{ settings, database, sessions, log },
    now: () => new Date(),
    searchAttributesKnown: () => attributes.known,
  })
  return new SoftbouncePlugin({ ...options, namespace }, { settings, database, watch, log, attributes, sessions, activities })
}

interface Parts {
  readonly settings: Settings
  readonly database: Database
  readonly watch: DatabaseWatch
  readonly log: Log
  readonly attributes: SearchAttributes
  readonly sessions: ConnectionPool
  readonly activities: Activities
}

class SoftbouncePlugin implements WorkerPlugin {
  readonly name = 'softbounce'
  /** The task queue of the team's worker is ours: it runs the workflows and activities itself. */
  #shared = false

  constructor(
    private readonly options: PluginOptions & { readonly namespace: string },
    private readonly parts: Parts,
  ) {}

  async configureWorker(worker: WorkerOptions): Promise<WorkerOptions> {
    if ((worker.namespace ?? 'default') !== this.options.namespace)
      throw new Error(
        `the plugin of softbounce is for the namespace ${this.options.namespace}, and the worker for ${worker.namespace ?? 'default'}: pass softbouncePlugin the worker's namespace`,
      )
    this.#shared = worker.taskQueue === this.parts.settings.taskQueue
    if (!this.#shared) return worker
    await requireWorkflows(worker, this.parts.log)
    const { keys } = this.parts.settings.encryption
    if (keys.length > 0 && (this.options.dataConverter ?? worker.dataConverter) !== undefined)
      throw new Error('encryption.keys and a data converter of the worker’s own cannot both be used: leave one of them out')
    const { nexusServices = [] } = await nexusOptions(this.parts.settings)
    return {
      ...worker,
      activities: { ...worker.activities, ...this.parts.activities },
      ...(nexusServices.length === 0 ? {} : { nexusServices: [...(worker.nexusServices ?? []), ...nexusServices] }),
      ...(keys.length === 0 ? {} : { dataConverter: workerDataConverter(keys) }),
    }
  }

  async runWorker(worker: Worker, next: (worker: Worker) => Promise<void>): Promise<void> {
    const { settings, database, watch, log, attributes, sessions } = this.parts
    const { connection, namespace, dataConverter } = this.options
    const client = new Client({
      ...{ connection, namespace },
      dataConverter: (this.#shared ? dataConverter : undefined) ?? clientDataConverter(settings.encryption.keys),
    })
    const stopWaking = startWakeupLoop(client, settings.taskQueue, { settings, database, log })
    const stopWatching = watchForDegradation(client, settings.taskQueue, { settings, database, log })
    const retire = announceProcess(database, 'worker', keyDigests(settings))
    let inbox: InboxLoop | undefined
    try {
      inbox = await processRefusals(client, database, settings, { logger: log })
      await (this.#shared ? next(worker) : this.#runBeside(worker, next))
    } finally {
      stopWaking()
      stopWatching()
      await inbox?.close()
      retire()
      attributes.stop()
      watch.stop()
      await endSessions(sessions, database)
      await database.close()
    }
  }

  /** Runs a second worker, on softbounce's own task queue, for as long as the team's worker runs; if one fails, both end. */
  async #runBeside(worker: Worker, next: (worker: Worker) => Promise<void>): Promise<void> {
    const { settings, activities, log } = this.parts
    const { connection, namespace } = this.options
    const own = await Worker.create({ ...workerOptions(settings), ...(await nexusOptions(settings)), connection, namespace, activities })
    log.info({ taskQueue: settings.taskQueue, namespace }, 'a second worker of this process is ready')
    const running = own.run().finally(() => {
      if (worker.getState() === 'RUNNING') worker.shutdown()
    })
    const ended = next(worker).finally(() => {
      if (own.getState() === 'RUNNING') own.shutdown()
    })
    const results = await Promise.allSettled([ended, running])
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

/** @throws Error if the worker's workflows do not export softbounce's. */
async function requireWorkflows({ taskQueue, workflowsPath, workflowBundle }: WorkerOptions, log: Log): Promise<void> {
  const missing = new Error(
    `the worker polls the task queue ${taskQueue}, but its workflows do not export ${WORKFLOW_TYPE}: add export * from 'softbounce/workflows' to them, or give the worker a task queue of its own`,
  )
  if (workflowBundle !== undefined) {
    const code = 'code' in workflowBundle ? workflowBundle.code : readFileSync(workflowBundle.codePath, 'utf8')
    if (!code.includes(WORKFLOW_TYPE)) throw missing
    return
  }
  if (workflowsPath === undefined) throw missing
  let exported: object
  try {
    exported = await import(pathToFileURL(createRequire(import.meta.url).resolve(workflowsPath)).href)
  } catch (error) {
    log.warn({ workflowsPath, error: (error as Error).message }, `whether the workflows export ${WORKFLOW_TYPE} could not be checked`)
    return
  }
  if (!(WORKFLOW_TYPE in exported)) throw missing
}
