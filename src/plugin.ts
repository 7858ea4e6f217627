/** Temporal plugin: runs softbounce in an existing worker, beside the team's own workflows and activities. */

import { Client } from '@temporalio/client'
import type { DataConverter } from '@temporalio/common'
import { SimplePlugin } from '@temporalio/plugin'
import type { NativeConnection } from '@temporalio/worker'
import { type Activities, createActivities } from './activities/index.js'
import { TASK_QUEUE } from './bounce/index.js'
import { type Config, requireNextHop, settingsFrom } from './config/index.js'
import { ConnectionPool } from './delivery/index.js'
import { keysDigest } from './delivery/return-path.js'
import { clientDataConverter, workerDataConverter } from './encryption/index.js'
import type { InboxLoop } from './intake/inbox-loop.js'
import { processRefusals } from './intake/receive-refusal.js'
import { createLogger, type Log } from './logger.js'
import { announceProcess, migrateToLatest, openDatabase } from './store/index.js'
import { ensureSchedules, SearchAttributes } from './temporal/index.js'
import { startWakeupLoop } from './throttle/index.js'
import { endSessions } from './worker.js'

/** Options in the shape of `softbounce.yaml`, and the worker's own. */
export interface PluginOptions extends Config {
  /** The worker's connection and namespace: softbounce registers its search attributes and schedules there. */
  readonly connection: NativeConnection
  readonly namespace?: string
  /** The worker's own data converter, if it has one; softbounce's client then uses it too. */
  readonly dataConverter?: DataConverter
  /** Default: JSON lines on standard output, from `log.level` on. */
  readonly logger?: Log
}

/** Rejects encryption.keys beside a data converter of the worker's own: neither could read the other's payloads. */
function ours<T>(given: DataConverter | undefined, converter: T): T {
  if (given !== undefined)
    throw new Error('encryption.keys and a data converter of the worker’s own cannot both be used: leave one of them out')
  return converter
}

/**
 * The plugin: adds softbounce's activities, opens and migrates its database, and closes it when the worker has stopped. The worker's
 * workflows must export softbounce's too (`export * from 'softbounce/workflows'`), and its task queue must be `softbounce`.
 * @throws WrongSettings if a setting is wrong, or an Error if the database cannot be reached.
 * @example
 * const connection = await NativeConnection.connect()
 * const plugins = [await softbouncePlugin({ connection, relay: { url: 'smtp://127.0.0.1:25' } })]
 * const worker = await Worker.create({ connection, taskQueue: 'softbounce', workflowsPath, plugins })
 */
export async function softbouncePlugin(options: PluginOptions): Promise<SimplePlugin> {
  const settings = settingsFrom(options)
  requireNextHop(settings)
  const log = options.logger ?? createLogger(settings.logLevel)
  const namespace = options.namespace ?? 'default'
  const database = openDatabase(settings.database, (error) => log.warn({ error: error.message }, 'a database connection broke'))
  await migrateToLatest(database)
  const attributes = new SearchAttributes(options.connection, namespace, log)
  await attributes.register()
  await ensureSchedules(options.connection, namespace, TASK_QUEUE, { unlist: settings.unlistBy !== null }, log)
  const sessions = new ConnectionPool()
  const { keys } = settings.encryption
  if (keys.length > 0) ours(options.dataConverter, null)
  const activities: Activities = createActivities({
    settings,
    database,
    sessions,
    log,
    now: () => new Date(),
    searchAttributesKnown: () => attributes.known,
  })
  return new SimplePlugin({
    name: 'softbounce',
    activities,
    ...(keys.length === 0 ? {} : { dataConverter: (given?: DataConverter) => ours(given, workerDataConverter(keys)) }),
    runContext: async (next) => {
      const client = new Client({
        ...{ connection: options.connection, namespace },
        dataConverter: options.dataConverter ?? clientDataConverter(keys),
      })
      const stopWaking = startWakeupLoop(client, TASK_QUEUE, { settings, database, log })
      const retire = announceProcess(database, 'worker', keysDigest(settings.returnPaths))
      let inbox: InboxLoop | undefined
      try {
        inbox = await processRefusals(client, database, settings, { logger: log })
        await next()
      } finally {
        stopWaking()
        await inbox?.close()
        retire()
        attributes.stop()
        await endSessions(sessions, database)
        await database.close()
      }
    },
  })
}
