/** Starts a private Temporal dev server on free ports of 127.0.0.1, and stops it by its process ID. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { Connection } from '@temporalio/client'
import { findProgram, TEMPORAL_CLI } from './binaries.js'

export interface DevServer {
  /** `127.0.0.1:PORT` of the gRPC endpoint. */
  readonly address: string
  /** Address of the Web UI; undefined if it is off. */
  readonly webUi: string | undefined
  readonly pid: number
  stop(): Promise<void>
}

export interface DevServerOptions {
  readonly webUi?: boolean
  /** The codec server that the Web UI uses. */
  readonly codecServer?: string
  /** SQLite file for the server's data. Default: in memory. */
  readonly databaseFile?: string
  /** Fixed port, so that a server can be started again at the same address. */
  readonly port?: number
  readonly say?: (line: string) => void
}

const READY_WITHIN_MS = 30_000
const STOP_WITHIN_MS = 5_000

/** Below the ephemeral ports (RFC 6335 section 6; Linux: from 32768), which an outgoing connection could take before the server does. */
const PORTS = { from: 20_000, to: 32_767 }

/** A free port of 127.0.0.1. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/**
 * Starts a dev server and waits until it answers.
 * @throws Error with the end of the server's stderr if it does not start.
 */
export async function startDevServer(options: DevServerOptions = {}): Promise<DevServer> {
  const cli = await findProgram(TEMPORAL_CLI, options.say ?? (() => {}))
  const port = options.port ?? (await freePort())
  const uiPort = options.webUi ? await freePort() : undefined
  const child = spawn(
    cli,
    [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
      ...(options.codecServer === undefined ? [] : ['--ui-codec-endpoint', options.codecServer]),
      ...(uiPort === undefined ? ['--headless'] : ['--ui-ip', '127.0.0.1', '--ui-port', String(uiPort)]),
      ...(options.databaseFile === undefined ? [] : ['--db-filename', options.databaseFile]),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000)
  })
  const address = `127.0.0.1:${port}`
  try {
    await answers(address, child)
  } catch (error) {
    await endProcess(child)
    throw new Error(`the Temporal dev server (${cli}) did not start: ${(error as Error).message} ${said.trim()}`)
  }
  return {
    address,
    webUi: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`,
    pid: child.pid as number,
    stop: () => endProcess(child),
  }
}

async function answers(address: string, child: ChildProcess): Promise<void> {
  const until = Date.now() + READY_WITHIN_MS
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it ended with status ${child.exitCode}.`)
    try {
      const connection = await Connection.connect({ address, connectTimeout: 1000 })
      await connection.workflowService.describeNamespace({ namespace: 'default' })
      await connection.close()
      return
    } catch (error) {
      if (Date.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

/** Ends a process; kills it if it has not ended in time. */
export async function endProcess(child: ChildProcess, withinMs: number = STOP_WITHIN_MS): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
  await ended
  clearTimeout(timer)
}
