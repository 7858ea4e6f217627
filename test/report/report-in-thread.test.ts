/** The thread that makes the pages: built, since a thread loads a file. */
import { pathToFileURL } from 'node:url'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { ReportInThread as Class } from '../../src/report/report-in-thread.js'
import type { Database } from '../../src/store/index.js'
import { postgresDatabase, sqliteDatabase, withoutPostgres } from '../support/databases.js'

const built = pathToFileURL(new URL('../../dist/report/report-in-thread.js', import.meta.url).pathname).href
const request = () => ({ sinceMs: Date.now() - 3_600_000, untilMs: Date.now(), since: '1h', destination: null })

describe('pages made in a thread', () => {
  let ReportInThread: typeof Class
  beforeAll(async () => {
    ;({ ReportInThread } = (await import(built)) as { ReportInThread: typeof Class })
  })

  test('one after another, also after the thread has been ended', async () => {
    const { url, close } = await sqliteDatabase()
    const pages = new ReportInThread({ database: { url }, ui: null })
    expect(await pages.make(request())).toContain('softbounce report')
    expect(await pages.make(request())).toContain('softbounce report')
    pages.close()
    expect(await pages.make(request())).toContain('softbounce report')
    pages.close()
    await close()
  })

  test('what is wrong is said, and the next page is made', async () => {
    const { url, close } = await sqliteDatabase()
    const none = new ReportInThread({ database: { url: 'postgres://nobody@127.0.0.1:9/none' }, ui: null })
    await expect(none.make(request())).rejects.toThrow('ECONNREFUSED')
    none.close()
    const pages = new ReportInThread({ database: { url }, ui: null })
    await expect(pages.make({ ...request(), sinceMs: Number.NaN })).rejects.toThrow('Invalid time value')
    expect(await pages.make(request())).toContain('softbounce report')
    pages.close()
    await close()
  })
})

describe.skipIf(withoutPostgres !== null)(`a page that takes long${withoutPostgres === null ? '' : ` (${withoutPostgres})`}`, () => {
  let opened: { url: string; database: Database; close: () => Promise<void> }
  beforeAll(async () => {
    opened = await postgresDatabase(inject('postgres') as string)
  })
  afterAll(() => opened.close())

  test('is given up when the worker stops', async () => {
    const { ReportInThread } = (await import(built)) as { ReportInThread: typeof Class }
    const pages = new ReportInThread({ database: { url: opened.url }, ui: null })
    await opened.database.db.transaction().execute(async (tx) => {
      await sql`lock table softbounce.attempts`.execute(tx)
      const making = pages.make(request())
      making.catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 300))
      pages.close()
      await expect(making).rejects.toThrow('the worker is stopping')
    })
  })
})
