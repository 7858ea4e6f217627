/**
 * The worker process: connects to Temporal and the database, registers search attributes and schedules, and runs until it is stopped.
 * A stopping worker finishes its open SMTP transactions, within a grace period.
 */
import { existsSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { Client } from '@temporalio/client'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { makeTelemetryFilterString, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker'
import { createActivities } from './activities/index.js'
import { type Config, keyDigests, readSettings, requireNextHop, type Settings, settingsFrom } from './config/index.js'
import { ConnectionPool } from './delivery/index.js'
import { warnAtStart } from './doctor/index.js'
import { clientDataConverter, WorkflowIds, workerDataConverter } from './encryption/index.js'
import type { InboxLoop } from './intake/inbox-loop.js'
import { processRefusals } from './intake/receive-refusal.js'
import { createLogger, ThroughPino } from './logger.js'
import { requirePackages } from './optional-packages.js'
import { inPackage } from './paths.js'
import { watchForDegradation } from './report/early-warning/watch.js'
import { serveHttp } from './report/http-server.js'
import { LiveReport } from './report/live-report.js'
import { Metrics } from './report/metrics.js'
import { ReportInThread } from './report/report-in-thread.js'
import { webUiOf } from './report/web-ui-links.js'
import { announceProcess, type Database, DatabaseWatch, identityOf, migrateToLatest, openDatabase, storeId } from './store/index.js'
import { ensureSchedules, requireNamespace, SearchAttributes, startTracing, type Tracing } from './temporal/index.js'
import { releaseLeases, startWakeupLoop } from './throttle/index.js'

export { TASK_QUEUE } from './bounce/index.js'
export { type Config, fromEnvironment, WrongSettings } from './config/index.js'
export { FAILURE_CONVERTER, PAYLOAD_CONVERTER } from './encryption/index.js'
/** Path of the prebuilt workflow bundle, for a worker of your own. */
export const WORKFLOW_BUNDLE = inPackage('./workflow-bundle.js')

/** @internal Options of the worker, except its connection, namespace and activities. */
export function workerOptions(
  settings: Pick<Settings, 'taskQueue' | 'maxConcurrentSends' | 'shutdownGraceMs' | 'encryption' | 'deploymentVersion'>,
): Omit<WorkerOptions, 'activities'> {
  return {
    taskQueue: settings.taskQueue,
    ...(existsSync(WORKFLOW_BUNDLE)
      ? { workflowBundle: { codePath: WORKFLOW_BUNDLE } }
      : { workflowsPath: inPackage('./workflows/index.js') }),
    dataConverter: workerDataConverter(settings.encryption.keys),
    maxConcurrentActivityTaskExecutions: settings.maxConcurrentSends,
    shutdownGraceTime: settings.shutdownGraceMs,
    // a heartbeat carries the reply that was read, so that it survives a worker that dies before storing it
    maxHeartbeatThrottleInterval: 1000,
    // workflows sleep for days, so they move to the current version; patches and replays of recorded histories make that safe
    ...(settings.deploymentVersion === null
      ? {}
      : {
          workerDeploymentOptions: {
            version: settings.deploymentVersion,
            useWorkerVersioning: true,
            defaultVersioningBehavior: 'AUTO_UPGRADE' as const,
          },
        }),
  }
}

/**
 * Runs a worker until SIGTERM or SIGINT, as `softbounce worker` does.
 * @param options in the shape of `softbounce.yaml`; the environment is read only by `fromEnvironment()`.
 * @throws WrongSettings, or an Error naming what could not be reached.
 * @example
 * await runWorker({ database: { url: 'postgres://softbounce:secret@127.0.0.1/app' }, relay: { url: 'smtp://127.0.0.1:25' } })
 */
export const runWorker = (options: Config): Promise<void> => runWorkerWith(settingsFrom(options))

/** @internal The same with settings that are checked already. */
export async function runWorkerWith(settings: Settings): Promise<void> {
  requireNextHop(settings)
  if (settings.direct !== null) await requirePackages('direct delivery (direct.enabled)')
  const logger = createLogger(settings.logLevel)
  for (const text of settings.overridden) logger.warn({}, text)
  const temporalMetrics = settings.httpPort === null ? undefined : `127.0.0.1:${await freePort()}`
  Runtime.install({
    logger: new ThroughPino(logger),
    telemetryOptions: {
      // forward the core's log lines to our logger: by itself it prints plain text
      logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} },
      ...(temporalMetrics === undefined ? {} : { metrics: { prometheus: { bindAddress: temporalMetrics } } }),
    },
  })
  const watch = new DatabaseWatch(logger)
  const database = openDatabase(settings.database, { onError: watch.onError })
  const sessions = new ConnectionPool()
  // without an HTTP port nobody can scrape metrics
  const metrics = settings.httpPort === null ? undefined : new Metrics()
  let connection: NativeConnection | undefined
  let health: Server | undefined
  let attributes: SearchAttributes | undefined
  let pages: ReportInThread | undefined
  let stopWaking = () => {}
  let stopWatching = () => {}
  let inbox: InboxLoop | undefined
  let retire = () => {}
  let tracing: Tracing | null = null
  try {
    const migrated = await migrateToLatest(database)
    const store = await storeId(database)
    watch.start(database)
    logger.info({ database: database.place, store, ...(migrated.length === 0 ? {} : { migrations: migrated }) }, 'the database is ready')
    const { connectionOptions, namespace = 'default' } = loadClientConnectConfig()
    connection = await NativeConnection.connect(connectionOptions).catch((error: Error) => {
      throw new Error(unreachable(connectionOptions.address, error))
    })
    await requireNamespace(connection, namespace, connectionOptions.address)
    void warnAtStart('worker', { settings, database, connection, namespace, log: logger })
    attributes = new SearchAttributes(connection, namespace, logger)
    await attributes.register()
    await ensureSchedules(connection, namespace, settings.taskQueue, { unlist: settings.unlistBy !== null }, logger)
    let worker: Worker | undefined
    metrics?.watch(database, () => watch.check())
    if (settings.httpPort !== null && metrics !== undefined && temporalMetrics !== undefined) {
      const made = new ReportInThread({ database: settings.database, ui: webUiOf(settings.webUi, connectionOptions.address, namespace) })
      pages = made
      health = await serveHttp({
        ...{ port: settings.httpPort, host: settings.httpHost, token: settings.httpToken, metrics, temporalMetrics },
        databaseFault: () => watch.check(),
        log: logger,
        report: new LiveReport((request) => made.make(request)),
        state: () => {
          const is = worker?.getState() ?? 'STARTING'
          return { name: 'worker', is, good: is === 'RUNNING' }
        },
      })
    }
    tracing = await startTracing()
    worker = await Worker.create({
      ...workerOptions(settings),
      ...(tracing === null ? {} : { plugins: [tracing.plugin], workflowBundle: { codePath: inPackage('./workflow-bundle-traced.js') } }),
      connection,
      namespace,
      identity: identityOf(store),
      ...(await nexusOptions(settings)),
      activities: createActivities({
        ...{ settings, database, sessions, log: logger },
        ...(metrics === undefined ? {} : { metrics }),
        now: () => new Date(),
        searchAttributesKnown: () => (attributes as SearchAttributes).known,
      }),
    })
    const client = new Client({ connection, namespace, dataConverter: clientDataConverter(settings.encryption.keys) })
    stopWaking = startWakeupLoop(client, settings.taskQueue, { settings, database, log: logger })
    stopWatching = watchForDegradation(client, settings.taskQueue, { settings, database, log: logger })
    retire = announceProcess(database, 'worker', keyDigests(settings))
    inbox = await processRefusals(client, database, settings, { logger, ...(metrics === undefined ? {} : { metrics }) })
    logger.info(
      { taskQueue: settings.taskQueue, namespace, address: connectionOptions.address, ...settings.deploymentVersion },
      'the worker is ready',
    )
    await worker.run()
    logger.info({}, 'the worker has stopped')
  } finally {
    stopWaking()
    stopWatching()
    await inbox?.close()
    retire()
    watch.stop()
    attributes?.stop()
    health?.close()
    pages?.close()
    // a page that is being made, or an idle browser, does not keep the process
    health?.closeAllConnections()
    // fails if a worker was created but never ran, since it still holds the connection; the process ends anyway
    await connection?.close().catch(() => {})
    await endSessions(sessions, database)
    await database.close()
    await tracing?.stop()
  }
}

/** @internal The Nexus service, if it is on. Its packages are loaded only then. */
export async function nexusOptions(
  settings: Pick<Settings, 'nexus' | 'encryption' | 'taskQueue'>,
): Promise<Pick<WorkerOptions, 'nexusServices'>> {
  if (!settings.nexus) return {}
  await requirePackages('the Nexus service (worker.nexus)')
  const { nexusService } = await import('./nexus/handlers.js')
  return { nexusServices: [nexusService(new WorkflowIds(settings.encryption.idKey, settings.taskQueue))] }
}

/** @internal Closes the idle SMTP sessions, and releases their connection leases. */
export async function endSessions(sessions: ConnectionPool, database: Database): Promise<void> {
  // if they cannot be released, the leases expire by themselves
  await releaseLeases(database, await sessions.end()).catch(() => {})
}

/** The error text for an unreachable Temporal server, with its remedy. */
function unreachable(address: string | undefined, error: Error): string {
  // the SDK's core is written in Rust, and its errors show its own structures
  const kind = /kind: (\w+)/
    .exec(error.message)?.[1]
    ?.replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .toLowerCase()
  const why = kind ?? error.message.replace(/\s+/g, ' ').slice(0, 120)
  return `Temporal cannot be reached at ${address ?? 'localhost:7233'} (${why}); start it, or set TEMPORAL_ADDRESS or a profile`
}

/** A free port on 127.0.0.1. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

if (process.argv[1] !== undefined && inPackage('./worker.js') === process.argv[1]) {
  runWorkerWith(readSettings()).catch((error: Error) => {
    process.stderr.write(`softbounce worker: ${error.message}\n`)
    process.exitCode = 1
  })
}
