/** Lives on PostgreSQL behind PgBouncer and by TLS; and what happens if worker, application and intake have different databases. */
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import nodemailer from 'nodemailer'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { track } from '../../src/client/index.js'
import { settingsFrom } from '../../src/config/index.js'
import { findQuarantined, migrateToLatest, openDatabase, storeId } from '../../src/store/index.js'
import { report } from '../support/bounce-mails.js'
import { makeCertificates } from '../support/certificates.js'
import { postgresDatabase, sqliteDatabase, startPostgres, temporaryFolder, withoutPostgres } from '../support/databases.js'
import { startPgBouncer } from '../support/pgbouncer.js'
import { whyNot } from '../support/programs.js'
import { startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { refusedSend, sendingTo } from '../support/refused-send.js'
import { eventually } from '../support/skipping-time.js'

let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
})
afterAll(() => system.close())

/** A refused `sendMail`, retried and delivered by a worker, all on one database. */
async function live(databaseUrl: string, migrateBy = databaseUrl) {
  const owner = openDatabase({ url: migrateBy })
  await migrateToLatest(owner)
  await owner.close()
  const world = await startRealWorld(sendingTo(system), databaseUrl)
  try {
    const worker = await world.startWorker()
    const { workflowId } = await refusedSend(world, system, 'ann@life.example', ['1s', '1s', '1s'])
    system.say = {}
    await eventually(() => world.client.isOpen({ workflowId }), 30_000)
    expect(await world.temporal.workflow.getHandle(workflowId).result()).toMatchObject({ outcome: 'delivered' })
    expect(worker.log()).not.toMatch(/"level":"(warn|error)"/)
    return worker.log()
  } finally {
    await world.close()
  }
}

const pgbouncer = withoutPostgres ?? whyNot(['pgbouncer'], false)
test.skipIf(pgbouncer !== null)(
  `behind PgBouncer in transaction mode${pgbouncer === null ? '' : ` (${pgbouncer})`}`,
  { timeout: 120_000 },
  async () => {
    const { url, close } = await postgresDatabase(inject('postgres') as string)
    const pooler = await startPgBouncer(url)
    // the tables are created through it too
    const fresh = openDatabase({ url: pooler.url, schema: 'through_pooler' })
    expect(await migrateToLatest(fresh)).toEqual(['001_initial'])
    await fresh.close()
    expect(await live(pooler.url)).toContain('schema softbounce')
    await pooler.stop()
    await close()
  },
)

const tls = withoutPostgres ?? whyNot(['openssl'], false)
describe.skipIf(tls !== null)(`by TLS${tls === null ? '' : ` (${tls})`}`, () => {
  test('sslmode=verify-full with a private CA; another CA, or another name, is refused', { timeout: 120_000 }, async () => {
    const folder = temporaryFolder()
    const at = (name: string) => join(folder.path, name)
    const [made, other] = [makeCertificates(['IP:127.0.0.1']), makeCertificates(['IP:127.0.0.1'])]
    for (const [name, content] of Object.entries({ cert: made.cert, key: made.key, ca: made.ca, other: other.ca }))
      writeFileSync(at(name), content)
    chmodSync(at('key'), 0o600)
    chmodSync(folder.path, 0o755)
    if (process.getuid?.() === 0) execFileSync('chown', ['postgres', at('key'), at('cert')])
    const postgres = await startPostgres(['ssl=on', `ssl_cert_file=${at('cert')}`, `ssl_key_file=${at('key')}`])
    const by = (parameters: string) => `${postgres.url}?${parameters}`
    const ca = at('ca')
    await live(by(`sslmode=verify-full&sslrootcert=${ca}`))
    const plain = openDatabase({ url: by(`sslmode=verify-full&sslrootcert=${ca}`) })
    const { rows } = await plain.db.executeQuery<{ ssl: boolean }>({
      ...{ sql: 'select ssl from pg_stat_ssl where pid = pg_backend_pid()', parameters: [], query: {} as never, queryId: {} as never },
    })
    expect(rows).toEqual([{ ssl: true }])
    await plain.close()
    for (const url of [by(`sslmode=verify-full&sslrootcert=${at('other')}`), by('sslmode=verify-full')]) {
      const refused = openDatabase({ url })
      await expect(storeId(refused)).rejects.toThrow(/certificate/)
      await refused.close()
    }
    const missing = openDatabase({ url: by('sslmode=verify-full&sslrootcert=/no/such.pem') })
    await expect(storeId(missing)).rejects.toThrow('/no/such.pem')
    await missing.close()
    await postgres.remove()
    folder.remove()
  })
})

describe('another database than the worker’s', () => {
  test('a retry is held and says why, and goes on once the worker has the right one', { timeout: 120_000 }, async () => {
    const world = await startRealWorld(sendingTo(system))
    const other = await sqliteDatabase()
    const wrong = await world.startWorker({ SOFTBOUNCE_DATABASE_URL: other.url })
    const message = 'From: shop@example.com\r\nTo: eve@held.example\r\nMessage-ID: <m1@example.com>\r\n\r\nhello\r\n'
    const bounce = { sender: 'shop@example.com', recipient: 'eve@held.example', status: '4.3.2', bouncedAt: new Date().toISOString() }
    const { workflowId, result } = await world.client.retry(message, bounce, { schedule: ['3s', '1h'] })
    const [own, theirs] = [await storeId(world.database), await storeId(other.database)]
    const held = await eventually(async () => (await world.client.getById(workflowId))?.trouble, 30_000)
    expect(held.text).toContain(`the message is in the store ${own}, and this worker serves the store ${theirs}`)
    expect((await world.cli('status', workflowId)).stdout).toContain(`the message is in the store ${own}`)
    expect((await world.cli('doctor')).stdout).toContain(`softbounce store ${theirs}; the one that is configured here is store ${own}`)
    await wrong.stop()
    await world.startWorker()
    // the activity's next try, half a minute after the last
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    await other.close()
    await world.close()
  })

  test('once the schedule is over it fails as WrongDatabase', { timeout: 120_000 }, async () => {
    const world = await startRealWorld(sendingTo(system))
    const other = await sqliteDatabase()
    await world.startWorker({ SOFTBOUNCE_DATABASE_URL: other.url })
    const message = 'From: shop@example.com\r\nTo: eve@held.example\r\nMessage-ID: <m2@example.com>\r\n\r\nhello\r\n'
    const bouncedAt = new Date(Date.now() - 60_000).toISOString()
    const bounce = { sender: 'shop@example.com', recipient: 'eve@held.example', status: '4.3.2', bouncedAt }
    const { result } = await world.client.retry(message, bounce, { schedule: ['1s'] })
    await expect(result()).rejects.toMatchObject({
      cause: { type: 'WrongDatabase', message: expect.stringContaining('the schedule is over') },
    })
    await other.close()
    await world.close()
  })

  test('a bounce to a return path of another store says so', { timeout: 60_000 }, async () => {
    const { provenReturnPath } = await import('../../src/intake/authenticate.js')
    const [sender, intake] = [await sqliteDatabase(), await sqliteDatabase()]
    const config = { database: { url: sender.url }, returnPath: { keys: [sendingTo(system).SOFTBOUNCE_RETURN_PATH_KEYS] } }
    await track(nodemailer.createTransport({ host: '127.0.0.1', port: system.port, ignoreTLS: true }), config).sendMail({
      ...{ from: 'shop@example.com', to: 'ann@example.org', subject: 'Invoice', text: 'Thank you.' },
    })
    const cameTo = [system.taken.at(-1)?.from as string]
    const settings = { ...settingsFrom(config), isTrusted: false }
    expect(await provenReturnPath(settings, sender.database, cameTo, new Date())).toMatchObject({ cameTo: cameTo[0] })
    expect(await provenReturnPath(settings, intake.database, cameTo, new Date())).toMatchObject({
      refused: expect.stringMatching(
        /its message is in another store: it was sent with another database\.url than that of this intake \(store /,
      ),
    })
    // it is kept, to be taken by an intake of the right database
    const { MailReceiver } = await import('../../src/intake/index.js')
    const mail = report({ recipient: 'ann@example.org' })
    const receiver = new MailReceiver({ client: null as never, database: intake.database, settings, now: () => new Date() })
    const [done] = await receiver.take(mail, { recipients: cameTo, sender: '' }, 'lmtp')
    expect(done?.disposition).toBe('unauthenticated')
    const [, digest = ''] = /kept as ([0-9a-f]{64})$/.exec(done?.why ?? '') ?? []
    expect((await findQuarantined(intake.database.db, digest))?.equals(mail)).toBe(true)
    await sender.database.db.deleteFrom('sent_messages').execute()
    expect(await provenReturnPath(settings, sender.database, cameTo, new Date())).toMatchObject({
      refused: expect.stringContaining('its message is no longer kept'),
    })
    for (const one of [sender, intake]) await one.close()
  })
})
