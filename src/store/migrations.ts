/** The schema, as numbered migrations. A released one never changes; Kysely's migrator runs the missing ones in order. */
import { type Kysely, type Migration, type MigrationResult, Migrator, sql } from 'kysely'
import { VERSION } from '../version.js'
import type { Database } from './database.js'
import { initialSchema, sharedSchema } from './initial-schema.js'
import { inWords } from './rights.js'

/** PostgreSQL detects a deadlock after `deadlock_timeout`, 1 s by default. */
const TRIES = 30
const isDeadlock = (error: unknown) => (error as { code?: unknown } | undefined)?.code === '40P01'

export function migrations({ kind, schema }: Pick<Database, 'kind' | 'schema'>): Record<string, Migration> {
  return { '001_initial': running(initialSchema(kind, schema)) }
}

/** Of the schema that fleets share; the same names as above, so that each says which version it is of. */
export const sharedMigrations = (schema: string): Record<string, Migration> => ({ '001_initial': running(sharedSchema(schema)) })

const running = (statements: readonly string[]): Migration => ({
  async up(db: Kysely<unknown>): Promise<void> {
    for (const statement of statements) await sql.raw(statement).execute(db)
  },
})

/**
 * Not Kysely's own names: an application's Kysely looks for tables of those in every schema that it may use, and would take ours for its
 * own.
 */
const MIGRATIONS = 'softbounce_migrations'
const migrationTables = ({ schema }: Migrated) => ({
  migrationTableName: MIGRATIONS,
  migrationLockTableName: 'softbounce_migration_lock',
  ...(schema === null ? {} : { migrationTableSchema: schema }),
})

/** What is migrated: a SQLite file, or a schema. */
type Migrated = Pick<Database, 'db' | 'schema' | 'place'>

/** The schema that fleets share, if this one does. */
const sharedOf = ({ db, place, throttleSchema }: Database): { shared: Migrated; known: Record<string, Migration> } | null =>
  throttleSchema === null
    ? null
    : {
        shared: { db, schema: throttleSchema, place },
        known: sharedMigrations(throttleSchema),
      }

/** A newer version of softbounce has changed the tables. */
export class SchemaAhead extends Error {
  override name = 'SchemaAhead'
  constructor(place: string, unknown: readonly string[]) {
    super(
      `the tables in ${place} are of a newer version than this one (${VERSION}), which does not know ${unknown.join(', ')}: run the newer version here too`,
    )
  }
}

/**
 * Brings the schema up to date, under a lock (PostgreSQL: an advisory lock; SQLite: an immediate transaction), so that any number of
 * processes may start at once.
 * @returns the names of the migrations that ran.
 * @throws SchemaAhead; or an Error naming the migration that failed. The database is then unchanged.
 */
export async function migrateToLatest(database: Database, all = migrations(database)): Promise<string[]> {
  const own = await migrate(database, all)
  const of = sharedOf(database)
  // the role of a fleet may have no right to change what it shares
  if (of === null) return own
  await requireShared(database.db, of.shared)
  if ((await pending(of.shared, of.known)).length === 0) return own
  return [...own, ...(await migrate(of.shared, of.known)).map((name) => `${of.shared.schema}.${name}`)]
}

/** A schema that holds a fleet's own tables has its addresses too. */
async function requireShared(db: Database['db'], { schema, place }: Migrated): Promise<void> {
  const tables = await db.introspection.getTables()
  if (tables.some((table) => table.schema === schema && table.name === 'store'))
    throw new Error(`${place}: database.throttleSchema (${schema}) is a fleet's own schema; name one that holds nothing else`)
}

async function migrate(database: Migrated, all: Record<string, Migration>): Promise<string[]> {
  const migrator = new Migrator({ db: database.db, provider: { getMigrations: async () => all }, ...migrationTables(database) })
  let { error, results } = await migrator.migrateToLatest()
  // running workers may lock tables in another order; a failed try changes nothing, so try again
  for (let tries = 1; isDeadlock(error) && tries < TRIES; tries += 1) ({ error, results } = await migrator.migrateToLatest())
  const failed = results?.find((r: MigrationResult) => r.status === 'Error')
  // Kysely calls it corrupted
  if (error !== undefined && failed === undefined) await pending(database, all)
  if (error !== undefined)
    throw new Error(
      `${database.place} could not be brought up to date${failed ? ` (migration ${failed.migrationName})` : ''}: ${inWords(error)}`,
      { cause: error },
    )
  return (results ?? []).map((r) => r.migrationName)
}

/**
 * The migrations that have not run.
 * @throws SchemaAhead if the database has run one that this version does not know.
 */
export async function pendingMigrations(database: Database): Promise<string[]> {
  const of = sharedOf(database)
  const shared = of === null ? [] : await pending(of.shared, of.known)
  return [...(await pending(database, migrations(database))), ...shared.map((name) => `${of?.shared.schema}.${name}`)]
}

async function pending({ db, schema, place }: Migrated, known: Record<string, Migration>): Promise<string[]> {
  const tables = await db.introspection.getTables()
  const done = tables.some((table) => table.name === MIGRATIONS && (schema === null || table.schema === schema))
    ? (await sql<{ name: string }>`select name from ${sql.table(schema === null ? MIGRATIONS : `${schema}.${MIGRATIONS}`)}`.execute(db))
        .rows
    : []
  const ahead = done.map(({ name }) => name).filter((name) => !Object.hasOwn(known, name))
  if (ahead.length > 0) throw new SchemaAhead(place, ahead)
  return Object.keys(known).filter((name) => !done.some((row) => row.name === name))
}
