/** PostgreSQL beside an application's own tables, users and migrations; with the least rights; and nothing that `track` creates. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Kysely, Migrator, PostgresDialect, sql } from 'kysely'
import nodemailer from 'nodemailer'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { SoftbounceClient, track } from '../../src/client/index.js'
import { findSent, migrateToLatest, NoTables, openDatabase, storeId } from '../../src/store/index.js'
import { administer, postgresDatabase, temporaryFolder, withoutPostgres } from '../support/databases.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { RETURN_PATH } from '../support/tracked.js'

let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
})
afterAll(() => system.close())

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const tracked = (url: string) =>
  track(nodemailer.createTransport({ host: '127.0.0.1', port: system.port, ignoreTLS: true }), {
    database: { url },
    returnPath: RETURN_PATH,
  })
const mail = { from: 'shop@example.com', to: 'ann@example.org', subject: 'Invoice', text: 'Thank you.', messageId: '<m1@example.com>' }

describe.skipIf(withoutPostgres !== null)(`an application's database${withoutPostgres === null ? '' : ` (${withoutPostgres})`}`, () => {
  let url: string
  let close: () => Promise<void>
  beforeEach(async () => {
    await close?.()
    const opened = await postgresDatabase(inject('postgres') as string)
    ;({ url } = opened)
    close = opened.close
    await opened.database.db.schema.dropSchema('softbounce').cascade().execute()
  })
  afterAll(() => close?.())

  const relations = async () =>
    (
      await administer(
        url,
        "select table_schema || '.' || table_name as name from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema') order by 1",
      )
    ).map(({ name }) => name)

  test('track creates nothing, and says what to do', async () => {
    await expect(tracked(url).sendMail(mail)).rejects.toMatchObject({
      code: 'EDATABASE',
      message: expect.stringMatching(
        /softbounce has no tables in PostgreSQL 127\.0\.0\.1.*schema softbounce: start a worker .* or run softbounce migrate/,
      ),
    })
    expect(system.taken).toEqual([])
    expect(await relations()).toEqual([])
    await expect(SoftbounceClient.connect({ database: { url }, temporal: {} as never })).rejects.toThrow(NoTables)
    expect(await relations()).toEqual([])
  })

  test.each(['the same role', 'a role with the documented rights'])(
    'an application’s first Kysely migration runs after ours: %s',
    async (role) => {
      const ours = openDatabase({ url })
      await migrateToLatest(ours)
      await ours.close()
      let theirUrl = url
      if (role !== 'the same role') {
        const rights = [
          'grant usage on schema softbounce to their_app',
          'grant select on softbounce.store, softbounce.suppressions to their_app',
          'grant select, insert on softbounce.messages, softbounce.sent_messages, softbounce.inbox, softbounce.provider_ids to their_app',
        ]
        for (const statement of [
          'drop role if exists their_app',
          'create role their_app login',
          'grant all on schema public to their_app',
          ...rights,
        ])
          await administer(url, statement)
        theirUrl = url.replace('softbounce@', 'their_app@')
      }
      // in its own schema `public`: the connection's user is named softbounce here
      const pool = new pg.Pool({ connectionString: theirUrl, options: '-c search_path=public' })
      const theirs = new Kysely<{ messages: { id: number } }>({ dialect: new PostgresDialect({ pool }) })
      const first = { up: async (db: Kysely<unknown>) => void (await sql`create table messages (id serial primary key)`.execute(db)) }
      const migrator = new Migrator({ db: theirs, provider: { getMigrations: async () => ({ first }) } })
      expect((await migrator.migrateToLatest()).error).toBeUndefined()
      expect(await relations()).toEqual(expect.arrayContaining(['public.kysely_migration', 'public.messages', 'softbounce.messages']))
      await theirs.destroy()
      if (role !== 'the same role') await administer(url, 'drop owned by their_app')
    },
  )

  test('tables of the same names, Kysely’s and Prisma’s own migrations are left alone, and go on working', async () => {
    // PostgreSQL looks into the schema of a role's own name first: a role named softbounce would find these tables
    for (const statement of ['drop role if exists their_app', 'create role their_app login', 'grant all on schema public to their_app'])
      await administer(url, statement)
    const theirUrl = url.replace('softbounce@', 'their_app@')
    const theirs = new Kysely<{ messages: { id: number; body: string } }>({
      dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: theirUrl }) }),
    })
    const provider = {
      getMigrations: async () => ({
        '2024_theirs': {
          up: async (db: Kysely<unknown>) => {
            for (const table of ['messages', 'attempts', 'runs', 'destinations', 'store'])
              await sql`create table ${sql.table(table)} (id serial primary key, body text)`.execute(db)
          },
        },
      }),
    }
    expect((await new Migrator({ db: theirs, provider }).migrateToLatest()).error).toBeUndefined()
    await administer(
      url,
      'create table _prisma_migrations (id varchar(36) primary key, checksum varchar(64) not null, migration_name varchar(255))',
    )
    await theirs.insertInto('messages').values({ id: 1, body: 'theirs' }).execute()
    const before = await relations()

    const database = openDatabase({ url })
    expect(await migrateToLatest(database)).toEqual(['001_initial'])
    system.say = { rcpt: () => NOT_NOW }
    expect((await tracked(url).sendMail(mail)).pending).toEqual(['ann@example.org'])
    expect(await database.db.selectFrom('inbox').select('source').execute()).toEqual([{ source: 'application' }])
    system.say = {}

    const after = await relations()
    expect(after.filter((name) => !String(name).startsWith('softbounce.'))).toEqual(before)
    expect(after).toContain('softbounce.messages')
    expect(await theirs.selectFrom('messages').selectAll().execute()).toEqual([{ id: 1, body: 'theirs' }])
    // neither tool finds the other's migrations
    expect((await new Migrator({ db: theirs, provider }).migrateToLatest()).error).toBeUndefined()
    expect(await migrateToLatest(database)).toEqual([])
    await theirs.destroy()
    await database.close()
    await administer(url, 'drop owned by their_app')
    await administer(url, 'drop role their_app')
  })

  test('two schemas in one database are two stores', async () => {
    const [one, two] = [openDatabase({ url }), openDatabase({ url, schema: 'other_mail' })]
    await migrateToLatest(one)
    await migrateToLatest(two)
    expect(await storeId(one)).not.toBe(await storeId(two))
    await one.close()
    await two.close()
  })

  test('the application’s role needs only select and insert', async () => {
    const owner = openDatabase({ url })
    await migrateToLatest(owner)
    // as docs/how-to/database.md has it
    for (const statement of [
      'drop role if exists least_app',
      'create role least_app login',
      'grant usage on schema softbounce to least_app',
      'grant select on softbounce.store, softbounce.suppressions to least_app',
      'grant select, insert on softbounce.messages, softbounce.sent_messages, softbounce.inbox, softbounce.provider_ids to least_app',
    ])
      await administer(url, statement)
    const app = tracked(url.replace('softbounce@', 'least_app@'))
    system.say = { rcpt: () => NOT_NOW }
    expect((await app.sendMail(mail)).pending).toEqual(['ann@example.org'])
    system.say = {}
    // the same message again is a send of its own
    await app.sendMail({ ...mail, text: 'Thank you again.' })
    await app.sendMail(mail)
    expect(await owner.db.selectFrom('sent_messages').select('id').execute()).toHaveLength(3)
    const [{ id } = { id: '' }] = await owner.db.selectFrom('sent_messages').select('id').execute()
    expect(await findSent(owner.db, id)).toMatchObject({ recipient: 'ann@example.org' })
    await expect(administer(url.replace('softbounce@', 'least_app@'), 'delete from softbounce.messages')).rejects.toThrow(
      'permission denied',
    )
    const list = openDatabase({ url: url.replace('softbounce@', 'least_app@') })
    expect(await list.db.selectFrom('suppressions').select('address').execute()).toEqual([])
    await list.close()
    app.close()
    await administer(url, 'drop owned by least_app')
    await administer(url, 'drop role least_app')
    await owner.close()
  })
})

test('track does not create a SQLite file', async () => {
  const folder = temporaryFolder()
  const file = join(folder.path, 'not-there', 'softbounce.db')
  await expect(tracked(`file:${file}`).sendMail(mail)).rejects.toThrow(`softbounce has no tables in file:${file}`)
  expect(existsSync(file)).toBe(false)
  // a worker does, with its folder
  const database = openDatabase({ url: `file:${file}` })
  await migrateToLatest(database)
  await tracked(`file:${file}`).sendMail(mail)
  await database.close()
  folder.remove()
})
