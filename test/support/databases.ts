/** Databases for tests: a SQLite file, and a PostgreSQL of the test's own. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { administer, type Postgres, startPostgres, withoutPostgres } from '../../dev/postgres/index.js'
import { type Database, migrateToLatest, openDatabase } from '../../src/store/index.js'

export { administer, type Postgres, startPostgres, withoutPostgres }

export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'softbounce-test-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** The rows of a PostgreSQL schema, as text, that hold the text. */
export async function rowsWith(url: string, schema: string, text: string): Promise<unknown[]> {
  const tables = await administer(url, `select table_name from information_schema.tables where table_schema = '${schema}'`)
  const found = []
  for (const { table_name } of tables)
    found.push(...(await administer(url, `select t::text from ${schema}.${table_name} t where t::text like '%${text}%'`)))
  return found
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

/** Resolves modules from the project, for scripts that run elsewhere. */
export const resolveFromProject = createRequire(import.meta.url).resolve
