/**
 * The worker process: connects to Temporal and the database, registers what the namespace must know, and works until it is told to stop.
 * A stopping worker finishes the transactions that are under way.
 */
import { existsSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Client } from '@temporalio/client'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { makeTelemetryFilterString, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker'
import { createActivities } from './activities/index.js'
import { TASK_QUEUE } from './bounce/index.js'
import { readSettings, requireNextHop, type Settings, temporalEnvironment } from './config/index.js'
import { ConnectionPool } from './delivery/index.js'
import { clientDataConverter, workerDataConverter } from './encryption/index.js'
import type { InboxLoop } from './intake/inbox-loop.js'
import { processRefusals } from './intake/receive-refusal.js'
import { createLogger, ThroughPino } from './logger.js'
import { serveHttp } from './report/http.js'
import { Metrics } from './report/metrics.js'
import { type Database, migrateToLatest, openDatabase } from './store/index.js'
import { ensureSchedules, SearchAttributes, startTracing, type Tracing } from './temporal/index.js'
import { releaseLease, startWakeupLoop } from './throttle/index.js'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export { TASK_QUEUE } from './bounce/index.js'
export { FAILURE_CONVERTER, PAYLOAD_CONVERTER } from './encryption/index.js'
/** Where the workflows are for a worker of your own: the bundle that the build made. */
export const WORKFLOW_BUNDLE = here('./workflow-bundle.js')

/** What a worker needs beside its activities. */
export function workerOptions(
  settings: Pick<Settings, 'maxConcurrentSends' | 'shutdownGraceMs' | 'encryption' | 'deploymentVersion'>,
): Omit<WorkerOptions, 'activities'> {
  return {
    taskQueue: TASK_QUEUE,
    ...(existsSync(WORKFLOW_BUNDLE) ? { workflowBundle: { codePath: WORKFLOW_BUNDLE } } : { workflowsPath: here('./workflows/index.js') }),
    dataConverter: workerDataConverter(settings.encryption.keys),
    maxConcurrentActivityTaskExecutions: settings.maxConcurrentSends,
    shutdownGraceTime: settings.shutdownGraceMs,
    // a heartbeat carries the answer that was read, so that it is known if the worker dies before the database has it
    maxHeartbeatThrottleInterval: 1000,
    // a workflow sleeps for days: it goes on with whatever version is current, which its patches and recorded histories allow
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
 * Runs a worker until SIGTERM or SIGINT.
 * @throws WrongSettings, or an Error that says what could not be reached.
 */
export async function runWorker(settings: Settings = readSettings()): Promise<void> {
  requireNextHop(settings)
  const logger = createLogger(settings.logLevel)
  const temporalMetrics = settings.httpPort === null ? undefined : `127.0.0.1:${await freePort()}`
  Runtime.install({
    logger: new ThroughPino(logger),
    telemetryOptions: {
      // by the logger too: it would write text of its own
      logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} },
      ...(temporalMetrics === undefined ? {} : { metrics: { prometheus: { bindAddress: temporalMetrics } } }),
    },
  })
  const database = openDatabase(settings.databaseUrl, (error) => logger.warn({ error: error.message }, 'a database connection broke'))
  const sessions = new ConnectionPool()
  // without a page nobody is told
  const metrics = settings.httpPort === null ? undefined : new Metrics()
  let connection: NativeConnection | undefined
  let health: Server | undefined
  let attributes: SearchAttributes | undefined
  let stopWaking = () => {}
  let inbox: InboxLoop | undefined
  let tracing: Tracing | null = null
  try {
    const migrated = await migrateToLatest(database.db, database.kind)
    if (migrated.length > 0) logger.info({ migrations: migrated }, 'the database was brought up to date')
    const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({ overrideEnvVars: temporalEnvironment() })
    connection = await NativeConnection.connect(connectionOptions).catch((error: Error) => {
      throw new Error(unreachable(connectionOptions.address, error))
    })
    attributes = new SearchAttributes(connection, namespace, logger)
    await attributes.register()
    await ensureSchedules(connection, namespace, TASK_QUEUE, { unlist: settings.unlistBy !== null }, logger)
    let worker: Worker | undefined
    metrics?.watch(database)
    if (settings.httpPort !== null && metrics !== undefined && temporalMetrics !== undefined)
      health = await serveHttp({
        ...{ port: settings.httpPort, host: settings.httpHost, token: settings.httpToken, database, metrics, temporalMetrics },
        state: () => {
          const is = worker?.getState() ?? 'STARTING'
          return { name: 'worker', is, good: is === 'RUNNING' }
        },
      })
    tracing = await startTracing()
    worker = await Worker.create({
      ...workerOptions(settings),
      ...(tracing === null ? {} : { plugins: [tracing.plugin], workflowBundle: { codePath: here('./workflow-bundle-traced.js') } }),
      connection,
      namespace,
      activities: createActivities({
        ...{ settings, database, sessions, log: logger },
        ...(metrics === undefined ? {} : { metrics }),
        now: () => new Date(),
        searchAttributesKnown: () => (attributes as SearchAttributes).known,
      }),
    })
    const client = new Client({ connection, namespace, dataConverter: clientDataConverter(settings.encryption.keys) })
    stopWaking = startWakeupLoop(client, TASK_QUEUE, { settings, database, log: logger })
    inbox = await processRefusals(client, database, settings, { logger, ...(metrics === undefined ? {} : { metrics }) })
    logger.info(
      { taskQueue: TASK_QUEUE, namespace, address: connectionOptions.address, database: database.kind, ...settings.deploymentVersion },
      'the worker is ready',
    )
    await worker.run()
    logger.info({}, 'the worker has stopped')
  } finally {
    stopWaking()
    await inbox?.close()
    attributes?.stop()
    health?.close()
    // a worker that was made and never ran keeps its connection; the process ends all the same
    await connection?.close().catch(() => {})
    await endSessions(sessions, database)
    await database.close()
    await tracing?.stop()
  }
}

/** Ends the sessions that wait for the next message, and gives their connections back. */
export async function endSessions(sessions: ConnectionPool, database: Database): Promise<void> {
  // they run out by themselves where that cannot be written
  for (const leaseId of await sessions.end()) await releaseLease(database, leaseId).catch(() => {})
}

/** What a person does about a Temporal that cannot be reached. */
function unreachable(address: string | undefined, error: Error): string {
  return `Temporal cannot be reached at ${address ?? 'localhost:7233'} (${error.message.replace(/\s+/g, ' ').slice(0, 120)}); start it, or set TEMPORAL_ADDRESS or a profile`
}

/** A port of this machine's own that is free now. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

if (process.argv[1] !== undefined && here('./worker.js') === process.argv[1]) {
  runWorker().catch((error: Error) => {
    process.stderr.write(`softbounce worker: ${error.message}\n`)
    process.exitCode = 1
  })
}
