/** Databases for tests: a SQLite file, and a PostgreSQL of the test's own. */
import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { freePort } from '../../dev/dev-server/index.js'
import { type Database, migrateToLatest, openDatabase } from '../../src/store/index.js'

export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'softbounce-test-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** A SQLite database in a temporary folder. */
export async function sqliteDatabase(): Promise<{ url: string; database: Database; close: () => Promise<void> }> {
  const folder = temporaryFolder()
  const url = `file:${join(folder.path, 'softbounce.db')}`
  const database = openDatabase({ url: url })
  await migrateToLatest(database)
  return {
    url,
    database,
    close: async () => {
      await database.close()
      folder.remove()
    },
  }
}

const POSTGRES_FOLDERS = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt']

function postgresBin(): string | null {
  const onPath = (process.env.PATH ?? '').split(':').find((folder) => existsSync(join(folder, 'initdb')))
  // the folder of the program itself: a link may lead to some of them only
  if (onPath !== undefined) return dirname(realpathSync(join(onPath, 'initdb')))
  for (const folder of POSTGRES_FOLDERS) {
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

/** Why PostgreSQL tests are skipped; null if it is installed. */
export const withoutPostgres: string | null = postgresBin() === null ? 'PostgreSQL (initdb) is not installed' : null

export interface Postgres {
  readonly url: string
  readonly folder: string
  stop(): Promise<void>
  start(): Promise<void>
  /** Stops it and removes its files. */
  remove(): Promise<void>
}

interface PostgresOptions {
  /** Variables of its environment, made from its folder. */
  readonly env?: (folder: string) => Record<string, string>
  /** The URL of another server, whose hot standby it becomes until `pg_promote()`. */
  readonly standbyOf?: string
}

/**
 * Starts a PostgreSQL server on a free port. As root, it runs as the user postgres.
 * @param settings of the server, such as `ssl=on`.
 */
export async function startPostgres(
  settings: readonly string[] = [],
  { env = () => ({}), standbyOf }: PostgresOptions = {},
): Promise<Postgres> {
  const bin = postgresBin() as string
  const folder = temporaryFolder()
  const root = userInfo().uid === 0
  const as = root ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups'] : []
  if (root) execFileSync('chown', ['postgres', folder.path])
  const data = join(folder.path, 'data')
  const run = (...command: string[]) => {
    const [program, ...args] = [...as, ...command]
    execFileSync(program as string, args, { stdio: 'pipe' })
  }
  if (standbyOf !== undefined) run(join(bin, 'pg_basebackup'), '-D', data, '-R', '-c', 'fast', '-d', standbyOf)
  else run(join(bin, 'initdb'), '-D', data, '-U', 'softbounce', '--auth=trust', '-E', 'UTF8', '--no-sync')
  const port = await freePort()
  const start = async () => {
    const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off ${settings.map((one) => `-c ${one}`).join(' ')}`
    const command = [...as, join(bin, 'pg_ctl'), '-D', data, '-w', '-l', join(folder.path, 'log'), '-o', options, 'start']
    const child = spawn(command[0] as string, command.slice(1), { stdio: 'ignore', env: { ...process.env, ...env(folder.path) } })
    const code = await new Promise((resolve) => child.once('exit', resolve))
    if (code !== 0) throw new Error('PostgreSQL did not start')
  }
  const stop = async () => run(join(bin, 'pg_ctl'), '-D', data, '-w', '-m', 'immediate', 'stop')
  await start()
  return {
    url: `postgres://softbounce@127.0.0.1:${port}/postgres`,
    folder: folder.path,
    start,
    stop,
    remove: async () => {
      await stop().catch(() => {})
      folder.remove()
    },
  }
}

const TEMPLATE = 'template_softbounce'

/** One PostgreSQL for all tests, with a migrated database that others are copied from. */
export async function startSharedPostgres(): Promise<Postgres> {
  const server = await startPostgres()
  await administer(server.url, `create database ${TEMPLATE}`)
  const database = openDatabase({ url: named(server.url, TEMPLATE) })
  await migrateToLatest(database)
  await database.close()
  return server
}

/** A database of a test's own on the shared server, migrated. */
export async function postgresDatabase(server: string): Promise<{ url: string; database: Database; close: () => Promise<void> }> {
  const name = `t_${randomUUID().replaceAll('-', '')}`
  await administer(server, `create database ${name} template ${TEMPLATE}`)
  const url = named(server, name)
  const database = openDatabase({ url: url })
  return {
    url,
    database,
    close: async () => {
      await database.close()
      await administer(server, `drop database ${name} with (force)`)
    },
  }
}

const named = (url: string, name: string) => url.replace(/[^/]*$/, name)

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

/** Resolves modules from the project, for scripts that run elsewhere. */
export const resolveFromProject = createRequire(import.meta.url).resolve
