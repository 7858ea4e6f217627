/** Faults of a database, on real PostgreSQL servers: noticed, said, and over once the server is well. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compileDisk } from '../../chaos/disk.mjs'
import { settingsFrom } from '../../src/config/index.js'
import { checkDatabase } from '../../src/doctor/check-database.js'
import { type Database, DatabaseWatch, databaseFault, migrateToLatest, openDatabase, storeMessage } from '../../src/store/index.js'
import { administer, type Postgres, startPostgres, temporaryFolder, withoutPostgres } from '../support/databases.js'
import { whyNot } from '../support/programs.js'
import { startProxy, type TcpProxy } from '../support/proxy.js'
import { eventually } from '../support/skipping-time.js'

const withoutCompiler = whyNot(['cc'], false)

interface Watched {
  readonly database: Database
  readonly watch: DatabaseWatch
  readonly lines: string[]
  close(): Promise<void>
}

function watched(url: string): Watched {
  const lines: string[] = []
  const note = (_: object, text: string) => void lines.push(text)
  const watch = new DatabaseWatch({ info: note, warn: note })
  const database = openDatabase({ url }, { onError: watch.onError })
  watch.start(database)
  return {
    ...{ database, watch, lines },
    close: async () => {
      watch.stop()
      await database.close()
    },
  }
}

let n = 0
/** Stores a message of its own. */
const write = ({ database }: Watched, bytes = 100) => {
  n += 1
  return storeMessage(database.db, Buffer.alloc(bytes, `message ${n} `), new Date())
}
const portOf = ({ url }: Postgres) => Number(new URL(url).port)
const through = (postgres: Postgres, { port }: TcpProxy) => postgres.url.replace(/:\d+\//, `:${port}/`)

/** What the doctor says of the database at this URL. */
async function doctor(url: string) {
  const settings = settingsFrom({ database: { url } })
  const database = openDatabase(settings.database)
  try {
    return (await checkDatabase(settings, database)).filter(({ check, result }) => check === 'database' && result === 'failure')
  } finally {
    await database.close()
  }
}

const STANDBY = 'it accepts no writes: it is a standby, or set to read-only'

test.each([
  ['a unique violation', '23505'],
  ['a missing right', '42501'],
  ['a deadlock', '40P01'],
])('%s is no fault of the database', (_, code) => {
  expect(databaseFault(Object.assign(new Error('no'), { code }))).toBeNull()
})

describe.skipIf(withoutPostgres !== null)(`with PostgreSQL${withoutPostgres === null ? '' : ` (skipped: ${withoutPostgres})`}`, () => {
  let primary: Postgres
  beforeAll(async () => {
    primary = await startPostgres()
    const database = openDatabase({ url: primary.url })
    await migrateToLatest(database)
    await database.close()
  })
  afterAll(() => primary.remove())

  test('after a failover no connection to the old primary is used again', async () => {
    const a = await startPostgres()
    const setUp = openDatabase({ url: a.url })
    await migrateToLatest(setUp)
    await setUp.close()
    const b = await startPostgres([], { standbyOf: a.url })
    const proxy = await startProxy(portOf(a))
    const app = watched(through(a, proxy))
    await write(app)
    expect(await app.watch.check()).toBeNull()

    await a.stop()
    await administer(b.url, 'select pg_promote()')
    await expect(write(app)).rejects.toThrow()
    // A returns as a standby of B, and the address still leads there
    const returned = await startPostgres([], { standbyOf: b.url })
    proxy.leadTo(portOf(returned))
    await expect(write(app)).rejects.toThrow('read-only transaction')
    expect(await app.watch.check()).toBe(STANDBY)
    expect(app.lines.at(-1)).toBe(`the database has a fault: ${STANDBY}`)

    expect(await doctor(through(a, proxy))).toMatchObject([
      {
        text: expect.stringContaining(`it cannot be written: ${STANDBY}`),
        action: expect.stringContaining('point database.url at the primary'),
      },
    ])

    // now the address leads to B; connections to A stay open
    proxy.leadTo(portOf(b))
    await write(app)
    await eventually(() => app.lines.at(-1) === 'the database can be used again', 60_000)
    expect(await app.watch.check()).toBeNull()
    await app.close()
    await proxy.close()
    for (const server of [returned, b, a]) await server.remove()
  })

  test('a standby that only answers reads is noticed without a write', async () => {
    await administer(primary.url, "alter role softbounce set default_transaction_read_only = 'on'")
    const app = watched(primary.url)
    expect(await app.watch.check()).toBe(STANDBY)
    await administer(primary.url, 'set transaction read write; alter role softbounce reset default_transaction_read_only')
    await eventually(() => app.lines.at(-1) === 'the database can be used again', 60_000)
    await app.close()
  })

  test('a restart is said, and over when the server is back', async () => {
    const app = watched(primary.url)
    await write(app)
    await primary.stop()
    await expect(write(app)).rejects.toThrow()
    await eventually(async () => (await app.watch.check()) === 'it cannot be reached', 10_000)
    await primary.start()
    await eventually(async () => (await app.watch.check()) === null, 10_000)
    expect(app.lines.at(-1)).toBe('the database can be used again')
    await write(app)
    await app.close()
  })

  test('too many connections', async () => {
    const small = await startPostgres(['max_connections=4', 'superuser_reserved_connections=0', 'max_wal_senders=0'])
    const setUp = watched(small.url)
    await migrateToLatest(setUp.database)
    await setUp.close()
    const others = Array.from({ length: 4 }, () => openDatabase({ url: small.url }))
    // the server may still be ending the connection of the migration
    const connects = ({ db }: Database) =>
      sql`select 1`.execute(db).then(
        () => true,
        () => false,
      )
    await Promise.all(others.map((one) => eventually(() => connects(one), 10_000)))
    const app = watched(small.url)
    expect(await app.watch.check()).toBe('it has no connection left for us')
    expect(await doctor(small.url)).toMatchObject([
      {
        text: expect.stringMatching(/^it cannot be used: it has no connection left for us \(/),
        action: expect.stringContaining('max_connections'),
      },
    ])
    for (const other of others) await other.close()
    await eventually(() => app.lines.at(-1) === 'the database can be used again', 60_000)
    await app.close()
    await small.remove()
  })

  test.each([
    ['the server ends it', 'options=-c%20statement_timeout%3D300'],
    ['the client gives it up', 'query_timeout=300'],
  ])('a statement that takes too long: %s', async (_, parameter) => {
    const app = watched(`${primary.url}?${parameter}`)
    await expect(sql`select pg_sleep(2)`.execute(app.database.db)).rejects.toThrow()
    expect(app.lines).toEqual(['the database has a fault: a statement took too long and was ended'])
    await write(app)
    await eventually(() => app.lines.at(-1) === 'the database can be used again', 60_000)
    await app.close()
  })

  test('checks of a locked table hold one connection, not all of them', async () => {
    const app = watched(primary.url)
    const other = openDatabase({ url: primary.url })
    let unlock = () => {}
    const unlocked = new Promise<void>((resolve) => {
      unlock = resolve
    })
    const locking = other.db.transaction().execute(async (tx) => {
      await sql`lock table softbounce.suppressions in access exclusive mode`.execute(tx)
      await unlocked
    })
    try {
      await new Promise((resolve) => setTimeout(resolve, 200))
      const checks: Promise<string | null>[] = []
      for (let i = 0; i < 15; i += 1) {
        checks.push(app.watch.check())
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      // others go on meanwhile
      await write(app)
      const busy = await sql<{
        n: number
      }>`select count(*)::int as n from pg_stat_activity where query like '%suppressions%' and wait_event_type = 'Lock'`.execute(other.db)
      expect(busy.rows[0]?.n).toBe(1)
      expect((await Promise.all(checks)).every((fault) => fault !== null)).toBe(true)
    } finally {
      unlock()
      await locking
    }
    await eventually(async () => (await app.watch.check()) === null, 60_000)
    await other.close()
    await app.close()
  })

  test('a pool whose connections are all in use says that, and not that the server is away', async () => {
    const app = watched(primary.url)
    const sleeping = Array.from({ length: 10 }, () => sql`select pg_sleep(12)`.execute(app.database.db))
    await new Promise((resolve) => setTimeout(resolve, 500))
    await expect(write(app)).rejects.toThrow('all connections to the database are in use')
    expect(app.lines).toEqual(['the database has a fault: all connections of this process are in use'])
    await Promise.all(sleeping)
    await eventually(() => app.lines.at(-1) === 'the database can be used again', 60_000)
    await app.close()
  })

  test('a schema that a newer version has changed', async () => {
    const app = watched(primary.url)
    await sql`insert into softbounce.softbounce_migrations (name, timestamp) values ('900_later', '2030-01-01')`.execute(app.database.db)
    await expect(migrateToLatest(app.database)).rejects.toThrow(/are of a newer version than this one .*900_later: run the newer version/)
    expect(await doctor(primary.url)).toMatchObject([
      { text: expect.stringContaining('900_later'), action: expect.stringContaining('finish the upgrade') },
    ])
    await sql`delete from softbounce.softbounce_migrations where name = '900_later'`.execute(app.database.db)
    await expect(migrateToLatest(app.database)).resolves.toEqual([])
    await app.close()
  })

  test.skipIf(withoutCompiler !== null)(
    `a full disk is said until it has room for a mail${withoutCompiler === null ? '' : ` (skipped: ${withoutCompiler})`}`,
    async () => {
      const tools = temporaryFolder()
      chmodSync(tools.path, 0o755)
      const library = compileDisk(tools.path) as string
      const flag = join(tools.path, 'full')
      const server = await startPostgres([], {
        env: (folder) => ({ LD_PRELOAD: library, DISK_FOLDER: join(folder, 'data', 'base'), DISK_FULL: flag }),
      })
      const app = watched(server.url)
      await migrateToLatest(app.database)
      writeFileSync(flag, '')
      const large = () => write(app, 2_000_000)
      await expect(large()).rejects.toThrow('No space left on device')
      expect(await app.watch.check()).toBe('its disk is full')
      expect(app.lines).toEqual(['the database has a fault: its disk is full'])
      rmSync(flag)
      await eventually(() => app.lines.at(-1) === 'the database can be used again', 60_000)
      await large()
      await app.close()
      await server.remove()
      tools.remove()
    },
  )
})
