/** The schema, as numbered migrations. A released one never changes; Kysely's migrator runs the missing ones in order. */
import { type Kysely, type Migration, type MigrationResult, Migrator, sql } from 'kysely'
import type { DatabaseKind } from './database-kind.js'
import { initialSchema } from './initial-schema.js'
import type { Tables } from './tables.js'

/** PostgreSQL detects a deadlock after `deadlock_timeout`, 1 s by default. */
const TRIES = 30
const isDeadlock = (error: unknown) => (error as { code?: unknown } | undefined)?.code === '40P01'

export function migrations(kind: DatabaseKind): Record<string, Migration> {
  return {
    '001_initial': {
      async up(db: Kysely<unknown>): Promise<void> {
        for (const statement of initialSchema(kind)) await sql.raw(statement).execute(db)
      },
    },
  }
}

/**
 * Brings the schema up to date, under a lock (PostgreSQL: an advisory lock; SQLite: an immediate transaction), so that any number of
 * processes may start at once.
 * @returns the names of the migrations that ran.
 * @throws Error naming the migration that failed; the database is then unchanged.
 */
export async function migrateToLatest(db: Kysely<Tables>, kind: DatabaseKind, all = migrations(kind)): Promise<string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => all } })
  let { error, results } = await migrator.migrateToLatest()
  // running workers may lock tables in another order; a failed try changes nothing, so try again
  for (let tries = 1; isDeadlock(error) && tries < TRIES; tries += 1) ({ error, results } = await migrator.migrateToLatest())
  const failed = results?.find((r: MigrationResult) => r.status === 'Error')
  if (error !== undefined)
    throw new Error(
      `the database could not be brought up to date${failed ? ` (migration ${failed.migrationName})` : ''}: ${messageOf(error)}`,
      { cause: error },
    )
  return (results ?? []).map((r) => r.migrationName)
}

/**
 * The migrations that have not run.
 * @throws Error if the database has run one that this version does not know: it is ahead.
 */
export async function pendingMigrations(db: Kysely<Tables>, kind: DatabaseKind): Promise<string[]> {
  const known = migrations(kind)
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  const done = tables.some(({ name }) => name === 'kysely_migration')
    ? (await sql<{ name: string }>`select name from kysely_migration`.execute(db)).rows.map(({ name }) => name)
    : []
  const ahead = done.filter((name) => !Object.hasOwn(known, name))
  if (ahead.length > 0) throw new Error(`its schema is ahead of this version: ${ahead.join(', ')} is unknown here`)
  return Object.keys(known).filter((name) => !done.includes(name))
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
