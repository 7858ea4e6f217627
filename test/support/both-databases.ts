/** The same tests on SQLite and on PostgreSQL. */
import { afterAll, beforeAll, describe } from 'vitest'
import { type Database, migrateToLatest, openDatabase } from '../../src/store/index.js'
import { type Postgres, sqliteDatabase, startPostgres, withoutPostgres } from './databases.js'

/** What a suite gets: the database, emptied tables are its own affair (addresses differ by test). */
export interface Opened {
  readonly kind: Database['kind']
  database: Database
  url: string
}

/** Runs the suite once for each database; without PostgreSQL's programs its half is skipped, with the reason. */
export function onBothDatabases(name: string, suite: (opened: Opened) => void): void {
  describe(`${name} (SQLite)`, () => {
    const opened = { kind: 'sqlite' } as Opened
    let close: () => Promise<void>
    beforeAll(async () => {
      const sqlite = await sqliteDatabase()
      Object.assign(opened, { database: sqlite.database, url: sqlite.url })
      close = sqlite.close
    })
    afterAll(() => close())
    suite(opened)
  })
  describe.skipIf(withoutPostgres !== null)(`${name} (PostgreSQL${withoutPostgres === null ? '' : `: ${withoutPostgres}`})`, () => {
    const opened = { kind: 'postgres' } as Opened
    let server: Postgres
    beforeAll(async () => {
      server = await startPostgres()
      const database = openDatabase(server.url)
      await migrateToLatest(database.db, database.kind)
      Object.assign(opened, { database, url: server.url })
    })
    afterAll(async () => {
      await opened.database.close()
      await server.remove()
    })
    suite(opened)
  })
}
