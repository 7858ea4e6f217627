/** softbounce doctor: with everything in order, and with each thing broken. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { readSettings } from '../../src/config/index.js'
import { checkPostfix } from '../../src/doctor/check-postfix.js'
import type { Finding } from '../../src/doctor/index.js'
import { openDatabase } from '../../src/store/index.js'
import { postgresDatabase, sqliteDatabase, temporaryFolder, withoutPostgres } from '../support/databases.js'
import { startNameServer, withoutNameServer } from '../support/name-server.js'
import { whyNot } from '../support/programs.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { runHere } from '../support/run-here.js'

const KEY = Buffer.alloc(32, 5).toString('base64')
const folder = temporaryFolder()
let world: RealWorld
let relay: ReceivingSystem
let lmtp: string
beforeAll(async () => {
  relay = await startReceivingSystem()
  world = await startRealWorld({
    ...{ SOFTBOUNCE_RELAY_URL: `smtp://127.0.0.1:${relay.port}`, SOFTBOUNCE_RELAY_TLS: 'off' },
    ...{ SOFTBOUNCE_RETURN_PATH_ADDRESS: 'b+{token}@{domain}', SOFTBOUNCE_RETURN_PATH_KEYS: KEY },
  })
  await world.startWorker()
  const intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
  lmtp = `127.0.0.1:${/"lmtp":"127\.0\.0\.1:(\d+)"/.exec(intake.log())?.[1]}`
})
afterAll(async () => {
  await world.close()
  await relay.close()
  folder.remove()
})

/** Runs the command; its findings by what was checked. */
async function doctor(env: Record<string, string | undefined> = {}, ...args: string[]) {
  const all = { ...world.env, SOFTBOUNCE_INTAKE_LISTEN: lmtp, ...env }
  const set = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined))
  const { status, stdout, stderr } = await runHere(folder.path, set, ['doctor', '--json', ...args])
  const found = stdout
    .trim()
    .split('\n')
    .map((one) => JSON.parse(one) as Finding)
  return { status, stderr, of: (check: string) => found.filter((finding) => finding.check === check), found }
}
const failures = (found: readonly Finding[]) => found.filter(({ result }) => result === 'failure')

test('with everything in order no check fails, and a person reads a line for each', async () => {
  const { status, found, of } = await doctor()
  expect(failures(found)).toEqual([])
  expect(status).toBe(0)
  expect(of('worker')).toMatchObject([{ result: 'ok', text: expect.stringContaining('one uses this database') }])
  expect(of('intake').map(({ result }) => result)).toEqual(['ok', 'ok'])
  expect(
    of('Temporal')
      .map(({ text }) => text)
      .join(),
  ).toMatch(/server 1\.\S+ at .*search attributes are registered.*a worker polls/)
  expect(of('relay')[0]).toMatchObject({ result: 'ok', text: `127.0.0.1:${relay.port} answers, without TLS` })
  const { stdout } = await runHere(folder.path, { ...world.env, SOFTBOUNCE_INTAKE_LISTEN: lmtp }, ['doctor'])
  expect(stdout).toMatch(/^ok +database: sqlite answers in \d+ ms$/m)
  expect(stdout).toMatch(/^warning +return path: .*\n +-> \S/m)
  // nothing was sent
  expect(relay.taken).toEqual([])
})

test.each<[string, Record<string, string | undefined>, string, string, string]>([
  [
    'a database file that does not exist',
    { SOFTBOUNCE_DATABASE_URL: 'file:/no/such/softbounce.db' },
    'database',
    'does not exist',
    'migrate',
  ],
  [
    'a database that is away',
    { SOFTBOUNCE_DATABASE_URL: 'postgres://x:planted-secret@127.0.0.1:9/d' },
    'database',
    'ECONNREFUSED',
    'database.url',
  ],
  ['Temporal away', { TEMPORAL_ADDRESS: '127.0.0.1:9' }, 'Temporal', 'cannot be reached at 127.0.0.1:9', 'TEMPORAL_ADDRESS'],
  [
    'a namespace that does not exist',
    { TEMPORAL_NAMESPACE: 'nowhere' },
    'Temporal',
    'the Temporal namespace nowhere does not exist',
    'TEMPORAL_NAMESPACE',
  ],
  ['no key', { SOFTBOUNCE_RETURN_PATH_KEYS: '' }, 'return path', 'returnPath.keys is not set', 'openssl rand'],
  [
    'other keys than the worker’s',
    { SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 6).toString('base64') },
    'return path',
    'differ between',
    'the same keys',
  ],
  ['a relay that is away', { SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1:9' }, 'relay', '127.0.0.1:9: ', 'relay.url'],
  ['a relay without the TLS that is asked for', { SOFTBOUNCE_RELAY_TLS: 'verify' }, 'relay', 'STARTTLS', 'relay.tls'],
  ['no way for retries', { SOFTBOUNCE_RELAY_URL: '' }, 'relay', 'nothing says where retries go', 'relay.url'],
  ['no intake', { SOFTBOUNCE_INTAKE_LISTEN: '127.0.0.1:9' }, 'intake', 'nothing listens at 127.0.0.1:9', 'softbounce intake'],
])('%s is a failure that says what to do', async (_, env, check, text, action) => {
  const { status, found, of } = await doctor(env)
  expect(status).toBe(1)
  expect(failures(of(check)), JSON.stringify(found)).toContainEqual(
    expect.objectContaining({ text: expect.stringContaining(text), action: expect.stringContaining(action) }),
  )
  expect(JSON.stringify(found)).not.toContain('planted-secret')
})

test('another database than the worker’s, one without a schema, and one that is ahead', async () => {
  const other = await sqliteDatabase()
  expect(failures((await doctor({ SOFTBOUNCE_DATABASE_URL: other.url })).found)).toMatchObject([
    { check: 'worker', text: 'no worker uses this database now' },
    {
      check: 'worker',
      text: expect.stringMatching(/serves another database: .* softbounce store [0-9a-f]{8}; the one that is configured here is store/),
    },
  ])
  await other.database.db
    .insertInto('softbounce_migrations' as never)
    .values({ name: '999_later', timestamp: '2027' } as never)
    .execute()
  expect(failures((await doctor({ SOFTBOUNCE_DATABASE_URL: other.url })).of('database'))).toMatchObject([
    { text: expect.stringContaining('of a newer version than this one (1.0.0), which does not know 999_later') },
  ])
  await other.close()
  const empty = join(folder.path, 'empty.db')
  const database = openDatabase({ url: `file:${empty}` })
  await database.db.introspection.getTables()
  await database.close()
  expect(failures((await doctor({ SOFTBOUNCE_DATABASE_URL: `file:${empty}` })).of('database'))).toMatchObject([
    { action: expect.stringContaining('migrate') },
  ])
})

test('a database file that does not exist is not created', async () => {
  const none = join(folder.path, 'none.db')
  expect((await doctor({ SOFTBOUNCE_DATABASE_URL: `file:${none}` })).status).toBe(1)
  expect(existsSync(none)).toBe(false)
})

test('a process of another version', async () => {
  const old = {
    id: 'old',
    role: 'intake',
    version: '0.9.0',
    host: 'old.example',
    task_queue: 'softbounce',
    return_path_keys: null,
    started_at: 0,
    seen_at: Date.now(),
  } as const
  await world.database.db.insertInto('processes').values(old).execute()
  expect((await doctor()).of('worker')).toContainEqual(
    expect.objectContaining({ result: 'warning', text: expect.stringContaining('1.0.0, 0.9.0') }),
  )
  await world.database.db.deleteFrom('processes').where('id', '=', 'old').execute()
})

test('a login that the relay refuses', async () => {
  const strict = await startReceivingSystem({
    server: {
      disabledCommands: ['STARTTLS'],
      authOptional: true,
      allowInsecureAuth: true,
      onAuth: (_auth, _session, done) => done(new Error('no')),
    },
  })
  const { of } = await doctor({ SOFTBOUNCE_RELAY_URL: `smtp://me:wrong@127.0.0.1:${strict.port}` })
  expect(failures(of('relay'))).toHaveLength(1)
  await strict.close()
})

test('something else than LMTP on the intake’s port', async () => {
  const server = createServer((socket) => socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  expect(failures((await doctor({ SOFTBOUNCE_INTAKE_LISTEN: `127.0.0.1:${port}` })).of('intake'))).toMatchObject([
    { text: expect.stringContaining('HTTP/1.1 400') },
  ])
  await new Promise((resolve) => server.close(resolve))
  // a proxy without anything behind it
  const silent = createServer((socket) => socket.resume().end()).listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  const at = (silent.address() as { port: number }).port
  expect(failures((await doctor({ SOFTBOUNCE_INTAKE_LISTEN: `127.0.0.1:${at}` })).of('intake'))).toMatchObject([
    { text: expect.stringContaining('closed without a greeting') },
  ])
  await new Promise((resolve) => silent.close(resolve))
})

describe.skipIf(withoutNameServer !== null)('the return path’s domain', () => {
  test.each([
    ['with our MX and one SPF record', '@ IN MX 10 mx.example.com.\nmx IN A 127.0.0.1\n@ IN TXT "v=spf1 mx -all"', ['ok', 'ok', 'ok']],
    ['with an MX elsewhere', '@ IN MX 10 mx.example.com.\nmx IN A 192.0.2.9\n@ IN TXT "v=spf1 mx -all"', ['ok', 'warning', 'ok']],
    ['without MX and SPF', 'x IN A 127.0.0.1', ['ok', 'failure', 'warning']],
    [
      'with two SPF records',
      '@ IN MX 10 mx.example.com.\nmx IN A 127.0.0.1\n@ IN TXT "v=spf1 -all"\n@ IN TXT "v=spf1 mx -all"',
      ['ok', 'ok', 'failure'],
    ],
  ])('%s', async (_, zone, results) => {
    const names = await startNameServer({ 'example.com': zone })
    const env = {
      SOFTBOUNCE_DIRECT_ENABLED: 'true',
      SOFTBOUNCE_RELAY_URL: '',
      SOFTBOUNCE_DIRECT_DNS_SERVERS: names.address,
      SOFTBOUNCE_RETURN_PATH_ADDRESS: 'b+{token}@{domain}',
    }
    const { of } = await doctor(env, '--domain', 'example.com')
    expect(
      of('return path').map(({ result }) => result),
      JSON.stringify(of('return path')),
    ).toEqual(results)
    await names.close()
  })

  test('that is the sender’s is not checked without --domain', async () => {
    const { of } = await doctor({ SOFTBOUNCE_RETURN_PATH_ADDRESS: 'b+{token}@{domain}' })
    expect(of('return path').at(-1)).toMatchObject({ result: 'warning', action: 'give --domain example.com' })
  })
})

describe.skipIf(whyNot(['postconf', 'postmap']) !== null)('a Postfix on this machine', () => {
  const config = mkdtempSync(join(tmpdir(), 'softbounce-doctor-'))
  afterAll(() => rmSync(config, { recursive: true, force: true }))
  const check = async (...lines: string[]) => {
    writeFileSync(join(config, 'main.cf'), `compatibility_level = 3.6\n${lines.join('\n')}\n`)
    writeFileSync(join(config, 'master.cf'), '')
    return checkPostfix(
      readSettings({ SOFTBOUNCE_RETURN_PATH_ADDRESS: 'b+{token}@bounces.{domain}', SOFTBOUNCE_RETURN_PATH_KEYS: KEY }),
      config,
      'example.com',
    )
  }
  const filter = join(config, 'dsn_filter')

  test('with the recipe', async () => {
    writeFileSync(filter, '/^4(\\.3\\.2 .*)/ 5$1\n')
    const found = await check(
      `smtp_delivery_status_filter = regexp:${filter}`,
      'transport_maps = inline:{ bounces.example.com=lmtp:inet:[127.0.0.1]:2003 }',
    )
    expect(
      found.map(({ result }) => result),
      JSON.stringify(found),
    ).toEqual(['ok', 'ok', 'ok'])
    execFileSync('postmap', ['-q', '4.3.2 x', `regexp:${filter}`])
  })

  test('a return path in the senders’ own domain: the intake would take its other mail', async () => {
    writeFileSync(join(config, 'main.cf'), 'compatibility_level = 3.6\n')
    const settings = readSettings({ SOFTBOUNCE_RETURN_PATH_KEYS: KEY })
    expect(await checkPostfix(settings, config, 'example.com')).toContainEqual(
      expect.objectContaining({ result: 'warning', action: expect.stringContaining('bounce+{token}@bounces.{domain}') }),
    )
  })

  test.each([
    ['without an entry for the return path', ['transport_maps = inline:{ other.example=smtp: }'], /has no entry for bounces\.example\.com/],
    ['stock', [], /stays in its queue for days/],
    ['with a filter that does something else', ['smtp_delivery_status_filter = regexp:{{/^4.7/ 5.7.0}}'], /leaves a 4\.3\.2 in the queue/],
    [
      'with lifetimes that are too short',
      ['maximal_queue_lifetime = 1h', 'bounce_queue_lifetime = 1h'],
      /a bounce that cannot be delivered in that time is lost/,
    ],
    [
      'with a lifetime beyond relay.confirmWithin',
      ['maximal_queue_lifetime = 10d', 'bounce_queue_lifetime = 10d'],
      /after relay.confirmWithin/,
    ],
  ])('%s is a warning', async (_, lines, text) => {
    const found = await check(...lines)
    expect(found).toContainEqual(expect.objectContaining({ result: 'warning', text: expect.stringMatching(text) }))
  })
})

test.skipIf(withoutPostgres !== null)('a database that cannot be written', async () => {
  const database = await postgresDatabase(inject('postgres') as string)
  const url = new URL(database.url)
  url.searchParams.set('options', '-c default_transaction_read_only=on')
  const found = failures((await doctor({ SOFTBOUNCE_DATABASE_URL: url.href })).of('database'))
  expect(found).toMatchObject([{ text: expect.stringContaining('cannot be written') }])
  await database.close()
})
