/** Temporal's time-skipping test server with a softbounce worker: days of schedule pass in milliseconds. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Connection } from '@temporalio/client'
import { TestWorkflowEnvironment } from '@temporalio/testing'
import { type ActivityInboundCallsInterceptor, DefaultLogger, Runtime, Worker } from '@temporalio/worker'
import { inject } from 'vitest'
import { type Activities, createActivities } from '../../src/activities/index.js'
import {
  type Bounce,
  type BouncedMessage,
  DEFAULT_RETRY_STATUSES,
  DEFAULT_SCHEDULE,
  type EventType,
  parseRetryStatuses,
  parseSchedule,
  TASK_QUEUE,
  type UrgentRule,
} from '../../src/bounce/index.js'
import { readSettings } from '../../src/config/config.js'
import type { DirectSettings, DkimKey, NextHop, ReturnPaths, SmtpTimeouts } from '../../src/delivery/index.js'
import type { Database } from '../../src/store/index.js'
import type { ThrottleSettings } from '../../src/throttle/index.js'
import { bouncedAgain, type Progress, progress, retryBouncedMessage, type State } from '../../src/workflows/retry-bounced-message.js'
import { staticRoutes } from './config.js'
import { sqliteDatabase } from './databases.js'
import { newNamespace } from './namespaces.js'
import { counting, writeCounted } from './workflow-coverage.js'

export const HOUR = 3_600_000
export const DAY = 24 * HOUR
const DATA_CONVERTER = {
  payloadConverterPath: fileURLToPath(new URL('../../dist/workflows/payload-converter.js', import.meta.url)),
  failureConverterPath: fileURLToPath(new URL('../../dist/workflows/failure-converter.js', import.meta.url)),
}
/** The built workflow bundle, for a worker or a replay. */
export const WORKFLOWS = {
  workflowBundle: { codePath: fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url)) },
  dataConverter: DATA_CONVERTER,
  ...counting,
}

/** Timeouts of each SMTP stage that suit a server on the same machine. */
export const QUICK: SmtpTimeouts = {
  connectMs: 2000,
  bannerMs: 2000,
  greetingMs: 2000,
  mailMs: 2000,
  rcptMs: 2000,
  dataMs: 2000,
  blockMs: 2000,
  finalDotMs: 2000,
}

/** Settings with immediate permits, for tests of other things. */
export const QUICK_TURNS = {
  SOFTBOUNCE_THROTTLE_MIN_MESSAGE_RATE: '1000/s',
  SOFTBOUNCE_THROTTLE_MAX_MESSAGE_RATE: '1000/s',
  SOFTBOUNCE_THROTTLE_MAX_DELIVERIES_PER_CONNECTION: '1',
}

export interface Settings {
  readonly routes?: string
  readonly relay?: NextHop | null
  readonly backupRelay?: NextHop
  readonly ownHosts?: string[]
  readonly timeouts?: SmtpTimeouts
  readonly confirmWithinMs?: number
  readonly dkim?: DkimKey
  readonly returnPaths?: ReturnPaths
  readonly direct?: DirectSettings
  readonly throttle?: Partial<ThrottleSettings>
  readonly eventTypes?: readonly EventType[]
  readonly urgent?: readonly UrgentRule[]
  readonly webhook?: { readonly url: string; readonly secret: string }
}

export function deliverySettings(settings: Settings) {
  return {
    paths: { routes: staticRoutes(settings.routes ?? ''), relay: settings.relay ?? null },
    relayPreset: null,
    unlistBy: null,
    backup: settings.backupRelay ?? null,
    ownHosts: settings.ownHosts ?? [],
    trialSchedules: [],
    scheduleMs: parseSchedule(DEFAULT_SCHEDULE),
    retryStatuses: parseRetryStatuses(DEFAULT_RETRY_STATUSES),
    taskQueue: TASK_QUEUE,
    confirmWithinMs: settings.confirmWithinMs ?? 5 * DAY,
    suppressionStepsMs: [DAY, 3 * DAY, 7 * DAY, 30 * DAY],
    messageRetentionMs: 10 * DAY,
    dkim: settings.dkim === undefined ? [] : [settings.dkim],
    returnPaths: settings.returnPaths ?? null,
    events: {
      webhook: settings.webhook ?? null,
      taskQueue: null,
      types: settings.eventTypes ?? [],
      urgent: settings.urgent ?? [],
    },
    encryption: readSettings({}).encryption,
    direct: settings.direct ?? null,
    throttle: {
      ...readSettings({ SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1', ...QUICK_TURNS }).throttle,
      failuresBeforeDown: Number.POSITIVE_INFINITY,
      ...settings.throttle,
    },
    ehloDomain: 'softbounce.example.com',
    timeouts: settings.timeouts ?? QUICK,
  }
}

let installed = false

/** Installs the process's one Temporal runtime, which logs only problems. */
export function quietRuntime(): void {
  if (installed) return
  installed = true
  Runtime.install({
    logger: new DefaultLogger((process.env.TEST_LOG ?? 'ERROR') as 'ERROR'),
    telemetryOptions: { logging: { filter: 'ERROR', forward: {} } },
  })
}

/** A simulated world: server, worker, database, and a clock that is the server's. */
export interface World {
  readonly environment: TestWorkflowEnvironment
  readonly database: Database
  readonly activities: Activities
  /** The server's time when an activity last began, plus the time since; the activities' clock. */
  readonly now: () => Date
  readonly currentTime: () => Promise<Date>
  settings: ReturnType<typeof deliverySettings>
  close(): Promise<void>
}

export interface WorldOptions {
  /** Uses Temporal's dev server and real time: the time-skipping test server is less exact about cancellations. */
  readonly realTime?: boolean
  readonly settings?: Settings
  readonly database?: Database
  readonly override?: (activities: Activities) => Partial<Activities>
}

const skippingEnvironment = () =>
  TestWorkflowEnvironment.createTimeSkipping({ server: { executable: { type: 'existing-path', path: inject('testServer') } } })

async function realEnvironment(): Promise<TestWorkflowEnvironment> {
  const address = inject('devServer')
  const connection = await Connection.connect({ address })
  const namespace = await newNamespace(connection)
  await connection.close()
  return TestWorkflowEnvironment.createFromExistingServer({ address, namespace })
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  quietRuntime()
  const environment = options.realTime ? await realEnvironment() : await skippingEnvironment()
  const sqlite = options.database === undefined ? await sqliteDatabase() : null
  const database: Database = { ...(options.database ?? (sqlite?.database as Database)), clock: () => time() }
  let clock = new Date(await environment.currentTimeMs())
  let clockAt = Date.now()
  const time = () => new Date(clock.getTime() + Date.now() - clockAt)
  const world = { environment, database, settings: deliverySettings(options.settings ?? {}) } as World
  const activities = createActivities({
    database,
    get settings() {
      return world.settings
    },
    log: { info: () => {}, warn: () => {} },
    now: time,
    searchAttributesKnown: () => false,
  })
  const follow: ActivityInboundCallsInterceptor = {
    execute: async (input, next) => {
      clock = new Date(await environment.currentTimeMs())
      clockAt = Date.now()
      return next(input)
    },
  }
  const worker = await Worker.create({
    connection: environment.nativeConnection,
    namespace: environment.namespace ?? 'default',
    taskQueue: 'softbounce',
    ...WORKFLOWS,
    activities: { ...activities, ...options.override?.(activities) },
    interceptors: { activity: [() => ({ inbound: follow })] },
  })
  const running = worker.run()
  Object.assign(world, {
    activities,
    now: time,
    currentTime: async () => new Date(await environment.currentTimeMs()),
    close: async () => {
      worker.shutdown()
      await running
      writeCounted()
      await environment.teardown()
      await sqlite?.close()
    },
  })
  return world
}

export const MESSAGE = [
  'From: Example Shop <shop@example.com>',
  'To: ann@example.org',
  'Subject: Your invoice',
  'Message-ID: <m1@example.com>',
  'Date: Tue, 24 Nov 2026 08:00:00 +0000',
  '',
  'Thank you.',
  '.a line that begins with a dot',
  '',
].join('\r\n')

/** A bounced message, with defaults for what the test does not set. */
export function bounced(
  bouncedAt: Date,
  more: Omit<Partial<BouncedMessage>, 'bounce'> & { bounce?: Partial<Bounce> } = {},
): BouncedMessage {
  return {
    messageId: 'm1@example.com',
    sender: 'bounces@example.com',
    recipient: 'ann@example.org',
    message: { raw: MESSAGE },
    ...more,
    bounce: {
      status: '4.3.2',
      bouncedAt: bouncedAt.toISOString(),
      diagnostic: '421 4.3.2 System not accepting network messages',
      ...more.bounce,
    },
  }
}

export const example = (name: string) => readFileSync(fileURLToPath(new URL(`../../examples/${name}`, import.meta.url)))

/** Starts the workflow of a message as a plain Temporal client does. */
export function start(world: World, message: BouncedMessage, workflowId = `bounce/${message.recipient}/${message.messageId}`) {
  return world.environment.client.workflow.start(retryBouncedMessage, { taskQueue: 'softbounce', workflowId, args: [message] })
}

/** Starts the workflow of a message as SoftbounceClient does. */
export function signalWithStart(world: World, message: BouncedMessage, bounce: Bounce = message.bounce) {
  return world.environment.client.workflow.signalWithStart(retryBouncedMessage, {
    taskQueue: 'softbounce',
    workflowId: `bounce/${message.recipient}/${message.messageId}`,
    args: [message],
    signal: bouncedAgain,
    signalArgs: [bounce],
  })
}

/** Polls, in real time, until the step returns a truthy value. */
export async function eventually<T>(
  look: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  withinMs = 45_000,
): Promise<T> {
  const until = Date.now() + withinMs
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > until) throw new Error(`it did not come about within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export type Handle = Awaited<ReturnType<typeof start>>

/** Waits for a state and retry; returns the progress. */
export function stands(handle: Pick<Handle, 'query'>, state: State, retry: number): Promise<Progress> {
  return eventually(async () => {
    const standing = await handle.query(progress)
    return standing.state === state && standing.retry === retry ? standing : undefined
  })
}

/** Type and message of a failed workflow's failure. */
export async function failureOf(handle: {
  result(): Promise<unknown>
}): Promise<{ type: string | undefined; message: string; name: string }> {
  try {
    await handle.result()
  } catch (error) {
    const { cause } = error as { cause?: Error & { type?: string } }
    return { type: cause?.type, message: cause?.message ?? String(error), name: cause?.name ?? '' }
  }
  throw new Error('the workflow did not fail')
}
