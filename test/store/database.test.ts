import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { type Kysely, sql } from 'kysely'
import Libsql from 'libsql'
import { expect, test } from 'vitest'
import { databaseKind } from '../../src/store/database-kind.js'
import { migrateToLatest, openDatabase, storeMessage } from '../../src/store/index.js'
import { migrations } from '../../src/store/migrations.js'
import { onBothDatabases } from '../support/both-databases.js'
import { temporaryFolder } from '../support/databases.js'

test('a database.url names SQLite or PostgreSQL, and nothing else', () => {
  expect(databaseKind('file:softbounce.db')).toBe('sqlite')
  expect(databaseKind('postgres://u:p@h/d')).toBe('postgres')
  expect(databaseKind('postgresql://h/d')).toBe('postgres')
  for (const url of ['', 'file:', 'mysql://x', 'softbounce.db', 'postgres://']) expect(databaseKind(url), url).toBeNull()
  expect(() => openDatabase({ url: 'mysql://x' })).toThrow('database.url')
})

/** Runs a script against dist/ in a separate process. */
function inProcess(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: new URL('../..', import.meta.url),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    child.stderr.on('data', (chunk) => {
      out += chunk
    })
    child.once('exit', (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(out))))
  })
}

const STORE = "import * as store from './dist/store/index.js'"

test('processes can start concurrently on one new SQLite file', async () => {
  const folder = temporaryFolder()
  const url = `file:${join(folder.path, 'softbounce.db')}`
  const script = `${STORE}
    const d = store.openDatabase({ url: ${JSON.stringify(url)} })
    const ran = await store.migrateToLatest(d)
    for (let i = 0; i < 50; i += 1) await store.storeMessage(d.db, Buffer.from('m' + i + process.pid), new Date())
    console.log(ran.length)
    await d.close()`
  const ran = await Promise.all(Array.from({ length: 4 }, () => inProcess(script)))
  // each migration ran exactly once
  expect(ran.map(Number).reduce((a, b) => a + b)).toBe(1)
  const database = openDatabase({ url: url })
  expect(await migrateToLatest(database)).toEqual([])
  const { n } = await database.db
    .selectFrom('messages')
    .select(({ fn }) => fn.countAll<number>().as('n'))
    .executeTakeFirstOrThrow()
  expect(Number(n)).toBe(200)
  await database.close()
  folder.remove()
})

test('a SQLite connection works again after a lock timeout', { timeout: 60_000 }, async () => {
  const folder = temporaryFolder()
  const file = join(folder.path, 'softbounce.db')
  const database = openDatabase({ url: `file:${file}` })
  await migrateToLatest(database)
  const other = new Libsql(file)
  for (const statement of ['begin immediate', 'begin immediate']) {
    other.exec(statement)
    await expect(storeMessage(database.db, Buffer.from('locked'), new Date())).rejects.toThrow(/locked/)
    await expect(database.db.transaction().execute((tx) => storeMessage(tx, Buffer.from('locked'), new Date()))).rejects.toThrow(/locked/)
    other.exec('rollback')
    const key = await database.db.transaction().execute((tx) => storeMessage(tx, Buffer.from(`after ${statement}`), new Date()))
    await storeMessage(database.db, Buffer.from('plain'), new Date())
    // other connections see the write, and no lock remains
    expect(other.prepare('select count(*) as n from messages where key = ?').get([key])).toMatchObject({ n: 1 })
    other.exec("update messages set used_at = 1 where key = 'none'")
  }
  other.close()
  await database.close()
  folder.remove()
})

test('a transaction that hits a locked file is rolled back, and the next one works', {
  timeout: 60_000,
}, async () => {
  const folder = temporaryFolder()
  const file = join(folder.path, 'softbounce.db')
  const database = openDatabase({ url: `file:${file}` })
  await migrateToLatest(database)
  const other = new Libsql(file)
  // a deferred transaction reads first, and cannot write after another connection has written
  const failing = database.db.connection().execute(async (connection) => {
    await sql`begin`.execute(connection)
    await connection.selectFrom('messages').selectAll().execute()
    other.exec("insert into imap_cursors (name, last_uid, marked_uid, unreadable, held_until) values ('other', 0, 0, '[]', 0)")
    try {
      await storeMessage(connection, Buffer.from('too late'), new Date())
    } finally {
      await sql`rollback`.execute(connection)
    }
  })
  await expect(failing).rejects.toThrow(/locked|busy/i)
  const key = await database.db.transaction().execute((tx) => storeMessage(tx, Buffer.from('next'), new Date()))
  expect(other.prepare('select key from messages').all([])).toEqual([{ key }])
  other.close()
  await database.close()
  folder.remove()
})

test('a migration that fails is named, and leaves the database as it was', async () => {
  const folder = temporaryFolder()
  const database = openDatabase({ url: `file:${join(folder.path, 'softbounce.db')}` })
  await migrateToLatest(database)
  const further = {
    up: async (db: Kysely<unknown>) => {
      await db.schema.createTable('half').addColumn('id', 'integer').execute()
      throw new Error('it cannot go on')
    },
  }
  await expect(migrateToLatest(database, { ...migrations(database), '999_half': further })).rejects.toThrow(
    'could not be brought up to date (migration 999_half): it cannot go on',
  )
  expect((await database.db.introspection.getTables()).map(({ name }) => name)).not.toContain('half')
  expect(await migrateToLatest(database)).toEqual([])
  // a migration of a newer version
  await migrateToLatest(database, { ...migrations(database), '999_next': { up: async () => {} } })
  await expect(migrateToLatest(database)).rejects.toThrow(/are of a newer version than this one .*999_next/)
  await database.close()
  folder.remove()
})

onBothDatabases('several processes', (opened) => {
  test('concurrent processes claim each row once', async () => {
    const script = `${STORE}
      const d = store.openDatabase({ url: ${JSON.stringify(opened.url)} })
      let won = 0
      for (let retry = 1; retry <= 40; retry += 1) {
        const claim = await store.claimAttempt(d, { firstRunId: 'shared', retry, workflowId: 'w', messageId: 'm', recipient: 'r', destination: 'd' },
          String(process.pid), new Date(), new Date(Date.now() + 60000))
        if (claim.kind === 'claimed') won += 1
      }
      console.log(won)
      await d.close()`
    const won = await Promise.all(Array.from({ length: 4 }, () => inProcess(script)))
    expect(won.map(Number).reduce((a, b) => a + b)).toBe(40)
  })

  test('a failed transaction leaves nothing behind', async () => {
    const { db } = opened.database
    const failing = db.transaction().execute(async (tx) => {
      await tx.insertInto('message_holds').values({ message_key: 'k', first_run_id: 'gone', workflow_id: 'w' }).execute()
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await db.selectFrom('message_holds').selectAll().where('first_run_id', '=', 'gone').execute()).toEqual([])
  })
})
