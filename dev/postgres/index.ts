/** A PostgreSQL server of a test's or a benchmark's own, on a free port of 127.0.0.1. As root, it runs as the user postgres. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { freePort } from '../dev-server/index.js'
import { processCpu } from '../process-cpu.js'

const FOLDERS = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt']

function programs(): string | null {
  const onPath = (process.env.PATH ?? '').split(':').find((folder) => existsSync(join(folder, 'initdb')))
  // the folder of the program itself: a link may lead to some of them only
  if (onPath !== undefined) return dirname(realpathSync(join(onPath, 'initdb')))
  for (const folder of FOLDERS) {
    if (!existsSync(folder)) continue
    const found = readdirSync(folder)
      .map((name) => join(folder, name, 'bin'))
      .filter((bin) => existsSync(join(bin, 'initdb')))
      .sort()
      .at(-1)
    if (found !== undefined) return found
  }
  return null
}

/** Why there is no PostgreSQL; null if it is installed. */
export const withoutPostgres: string | null = programs() === null ? 'PostgreSQL (initdb) is not installed' : null

export interface Postgres {
  readonly url: string
  readonly port: number
  readonly folder: string
  /** CPU time of all its processes so far, those that have ended too, ms (Linux). */
  cpuMs(): number
  /** Stops it as if it had crashed. */
  stop(): Promise<void>
  start(): Promise<void>
  /** Stops it and removes its files. */
  remove(): Promise<void>
}

export interface PostgresOptions {
  /** Variables of its environment, made from its folder. */
  readonly env?: (folder: string) => Record<string, string>
  /** The URL of another server, whose hot standby it becomes until `pg_promote()`. */
  readonly standbyOf?: string
  /** Whether commits wait for the disk. Default: no. */
  readonly durable?: boolean
  /** Where its data lie, or will lie. Default: a temporary folder. */
  readonly folder?: string
  readonly port?: number
}

/**
 * Starts a server.
 * @param settings of the server, such as `ssl=on`.
 * @throws Error if it is not installed or does not start.
 */
export async function startPostgres(settings: readonly string[] = [], options: PostgresOptions = {}): Promise<Postgres> {
  const bin = programs()
  if (bin === null) throw new Error(withoutPostgres as string)
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'softbounce-postgres-'))
  const root = userInfo().uid === 0
  const as = root ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : []
  if (root) execFileSync('chown', ['postgres', folder])
  const data = join(folder, 'data')
  const run = (...command: string[]) => {
    const [program, ...args] = [...as, ...command]
    execFileSync(program as string, args, { stdio: 'pipe' })
  }
  if (!existsSync(data))
    if (options.standbyOf === undefined) run(join(bin, 'initdb'), '-D', data, '-U', 'softbounce', '--auth=trust', '-E', 'UTF8', '--no-sync')
    else run(join(bin, 'pg_basebackup'), '-D', data, '-R', '-c', 'fast', '-d', options.standbyOf)
  const port = options.port ?? (await freePort())
  const all = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `fsync=${options.durable ? 'on' : 'off'}`, ...settings]
  const start = async () => {
    const words = `-p ${port} ${all.map((one) => `-c ${one}`).join(' ')}`
    const command = [...as, join(bin, 'pg_ctl'), '-D', data, '-w', '-l', join(folder, 'log'), '-o', words, 'start']
    const env = { ...process.env, ...options.env?.(folder) }
    const child = spawn(command[0] as string, command.slice(1), { stdio: 'ignore', env })
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error(`PostgreSQL did not start: ${readFileSync(join(folder, 'log'), 'utf8').slice(-1000)}`)
  }
  const stop = async () => run(join(bin, 'pg_ctl'), '-D', data, '-w', '-m', 'immediate', 'stop')
  await start()
  return {
    url: `postgres://softbounce@127.0.0.1:${port}/postgres`,
    port,
    folder,
    cpuMs: () => cpuMsOfServer(data),
    start,
    stop,
    remove: async () => {
      await stop().catch(() => {})
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Runs a statement, and returns its rows. */
export async function administer(url: string, statement: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(statement)).rows ?? []
  } finally {
    await client.end()
  }
}

/** The postmaster's own time, that of its children that have ended, and that of those that run. */
function cpuMsOfServer(data: string): number {
  const postmaster = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
  const { ownMs, endedChildrenMs } = processCpu(postmaster)
  let ms = ownMs + endedChildrenMs
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      const one = processCpu(Number(pid))
      if (one.parent === postmaster) ms += one.ownMs
    } catch {
      // it has ended
    }
  return ms
}
