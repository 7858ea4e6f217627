/** The same tests on SQLite and on PostgreSQL. */
import { afterAll, beforeAll, describe, inject } from 'vitest'
import type { Database } from '../../src/store/index.js'
import { postgresDatabase, sqliteDatabase, withoutPostgres } from './databases.js'

/** The suite's database; tables are not emptied, so tests use different addresses. */
export interface Opened {
  readonly kind: Database['kind']
  database: Database
  url: string
}

/** Runs the suite on each database; without PostgreSQL installed, that half is skipped with the reason. */
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
    let close: () => Promise<void>
    beforeAll(async () => {
      const postgres = await postgresDatabase(inject('postgres') as string)
      Object.assign(opened, { database: postgres.database, url: postgres.url })
      close = postgres.close
    })
    afterAll(() => close())
    suite(opened)
  })
}
