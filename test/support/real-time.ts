/** Real `softbounce worker` processes on the dev server, each test in its own namespace. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Client, Connection } from '@temporalio/client'
import { inject } from 'vitest'
import { SoftbounceClient } from '../../src/client/index.js'
import { readSettings } from '../../src/config/config.js'
import { EncryptionCodec } from '../../src/encryption/index.js'
import { type Database, migrateToLatest, openDatabase } from '../../src/store/index.js'
import { sqliteDatabase, temporaryFolder } from './databases.js'
import { newNamespace } from './namespaces.js'
import { runHere } from './run-here.js'
import { QUICK_TURNS, quietRuntime, WORKFLOWS } from './skipping-time.js'
import { countHistories } from './workflow-coverage.js'

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** A worker process. */
export interface WorkerProcess {
  readonly pid: number
  /** What it has logged. */
  readonly log: () => string
  /** Resolves with the exit code (or signal) when it has ended. */
  readonly ended: Promise<number | string>
  signal(name: NodeJS.Signals): void
  /** Ends it gracefully. */
  stop(): Promise<void>
}

export interface RealWorld {
  readonly namespace: string
  readonly temporal: Client
  readonly client: SoftbounceClient
  readonly database: Database
  readonly env: Record<string, string>
  startWorker(env?: Record<string, string>): Promise<WorkerProcess>
  /** Runs `softbounce intake` with these arguments. */
  startIntake(args: readonly string[], env?: Record<string, string>): Promise<WorkerProcess>
  /** Runs `softbounce codec-server`. */
  startCodecServer(args: readonly string[], env?: Record<string, string>): Promise<WorkerProcess>
  /** Runs the command in this process; resolves with what it printed and its exit status. */
  cli(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }>
  close(): Promise<void>
}

/** Timeouts that suit servers on the same machine. */
export const QUICK_SMTP = {
  SOFTBOUNCE_SMTP_TIMEOUTS_CONNECT: '2s',
  SOFTBOUNCE_SMTP_TIMEOUTS_COMMAND: '60s',
  SOFTBOUNCE_SMTP_TIMEOUTS_DATA: '10s',
  SOFTBOUNCE_SMTP_TIMEOUTS_FINAL_DOT: '3s',
}

const READY_WITHIN_MS = 30_000
/** The key of workflow IDs, for tests with encryption. */
export const ID_KEY = Buffer.alloc(32, 9).toString('base64')

export const encrypted = (keys: string | undefined, idKey = ID_KEY) =>
  readSettings({ SOFTBOUNCE_ENCRYPTION_KEYS: keys, SOFTBOUNCE_ENCRYPTION_ID_KEY: idKey })

/** A namespace, a database and the clients; no worker yet. */
export async function startRealWorld(env: Record<string, string>, databaseUrl?: string, address = inject('devServer')): Promise<RealWorld> {
  const connection = await Connection.connect({ address })
  const namespace = await newNamespace(connection)
  const folder = temporaryFolder()
  const sqlite = databaseUrl === undefined ? await sqliteDatabase() : null
  const database = sqlite?.database ?? openDatabase({ url: databaseUrl as string })
  await migrateToLatest(database)
  const temporal = new Client({ connection, namespace })
  const settings = encrypted(env.SOFTBOUNCE_ENCRYPTION_KEYS, env.SOFTBOUNCE_ENCRYPTION_ID_KEY)
  const client = await SoftbounceClient.open(settings, { temporal, database })
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(SOFTBOUNCE|TEMPORAL|NODE_OPTIONS|VITEST|XDG)/.test(name)),
  )
  const all = {
    ...clean,
    TEMPORAL_CONFIG_FILE: `${folder.path}/none.toml`,
    XDG_CONFIG_HOME: folder.path,
    XDG_STATE_HOME: folder.path,
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: namespace,
    SOFTBOUNCE_DATABASE_URL: sqlite?.url ?? (databaseUrl as string),
    SOFTBOUNCE_SMTP_EHLO_DOMAIN: 'softbounce.example.com',
    ...QUICK_SMTP,
    ...QUICK_TURNS,
    SOFTBOUNCE_THROTTLE_FAILURES_BEFORE_DOWN: '100',
    SOFTBOUNCE_ENCRYPTION_ID_KEY: ID_KEY,
    ...env,
  } as Record<string, string>
  const workers: WorkerProcess[] = []
  let keys = env.SOFTBOUNCE_ENCRYPTION_KEYS
  return {
    namespace,
    temporal,
    client,
    database,
    env: all,
    startWorker: async (more = {}) => {
      keys = more.SOFTBOUNCE_ENCRYPTION_KEYS || keys
      const worker = await spawnReady(folder.path, { ...all, ...more }, ['worker'], 'the worker is ready')
      workers.push(worker)
      return worker
    },
    startIntake: async (args, more = {}) => {
      const intake = await spawnReady(folder.path, { ...all, ...more }, ['intake', ...args], 'the intake is ready')
      workers.push(intake)
      return intake
    },
    startCodecServer: async (args, more = {}) => {
      const server = await spawnReady(folder.path, { ...all, ...more }, ['codec-server', ...args], 'the codec server is ready')
      workers.push(server)
      return server
    },
    cli: (...args) => runHere(folder.path, all, args),
    close: async () => {
      for (const worker of workers) {
        worker.signal('SIGKILL')
        await worker.ended
      }
      quietRuntime()
      const payloadCodecs = [new EncryptionCodec(encrypted(keys).encryption.keys, true)]
      await countHistories(temporal, { ...WORKFLOWS, dataConverter: { ...WORKFLOWS.dataConverter, payloadCodecs } })
      await client.close()
      await connection.close()
      await (sqlite?.close() ?? database.close())
      folder.remove()
    },
  }
}

async function spawnReady(cwd: string, env: Record<string, string>, args: readonly string[], ready: string): Promise<WorkerProcess> {
  const child: ChildProcess = spawn(process.execPath, [CLI, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  const ended = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? (signal as string))))
  const worker: WorkerProcess = {
    pid: child.pid as number,
    log: () => log,
    ended,
    signal: (name) => {
      if (child.exitCode === null && child.signalCode === null) process.kill(child.pid as number, name)
    },
    stop: async () => {
      worker.signal('SIGTERM')
      await ended
    },
  }
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`it was not ready in time: ${log}`)), READY_WITHIN_MS)
    const hear = (chunk: Buffer) => {
      log += chunk.toString()
      if (!log.includes(ready)) return
      clearTimeout(timer)
      resolve()
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    ended.then((code) => reject(new Error(`it ended with ${code}: ${log}`)))
  })
  return worker
}

/** Runs the command in a folder, as a separate process. */
export function runCli(cwd: string, env: Record<string, string>, args: readonly string[], input?: string) {
  return new Promise<{ status: number; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [CLI, ...args], { cwd, env, stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk) => {
      stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    // the process may exit before it has read all input
    child.stdin.on('error', () => {})
    child.stdin.end(input ?? '')
    child.once('close', (code) => resolve({ status: code ?? -1, stdout, stderr }))
  })
}
