/** What `sendMail` of a tracked transporter does when a recipient is refused. */
import { createServer } from 'node:net'
import nodemailer from 'nodemailer'
import { beforeEach, describe, expect, test } from 'vitest'
import { TrackError, type TrackOptions, track } from '../../src/client/index.js'
import { refusalOf } from '../../src/client/refusal.js'
import { trackWith } from '../../src/client/track-with.js'
import { settingsFrom } from '../../src/config/index.js'
import { openDatabase } from '../../src/store/index.js'
import { sqliteDatabase } from '../support/databases.js'
import { startReceivingSystem } from '../support/receiving-system.js'
import { RETURN_PATH, trackedWorld, trackOptions, transportTo } from '../support/tracked.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const world = trackedWorld()
beforeEach(() => world.sqlite.database.db.deleteFrom('inbox').execute())

const transporter = (transport: object = {}, options: TrackOptions = {}) =>
  track(nodemailer.createTransport({ ...transportTo(world), ...transport }), {
    ...trackOptions(world),
    ...options,
  })
const mail = (to = 'ann@example.org') => ({
  from: 'shop@example.com',
  to,
  subject: 'Hello',
  text: 'Thank you.',
  messageId: '<m1@example.com>',
})
const inbox = async () =>
  (await world.sqlite.database.db.selectFrom('inbox').select(['source', 'content']).execute()).map(({ source, content }) => ({
    ...{ source },
    ...JSON.parse(content),
  }))
const refuse = (text: string, only?: string) => ({
  rcpt: ({ address }: { address?: string }) => (only === undefined || address === only ? text : undefined),
})

describe('a recipient refused with 4.3.2', () => {
  test.each([
    ['at the greeting', { banner: () => NOT_NOW }],
    ['at MAIL', { mail: () => NOT_NOW }],
    ['at RCPT', { rcpt: () => NOT_NOW }],
    ['after the final dot', { message: () => NOT_NOW }],
    ['with a bare 421', { rcpt: () => '421 Service not available' }],
  ])('%s is pending, and handed over', async (_, say) => {
    world.system.say = say
    const before = Date.now()
    const info = await transporter().sendMail(mail())
    expect(info.pending).toEqual(['ann@example.org'])
    expect(info.retries).toEqual([
      { recipient: 'ann@example.org', workflowId: 'bounce/ann@example.org/m1@example.com', retryAt: expect.any(String) },
    ])
    const delay = Date.parse(info.retries?.[0]?.retryAt as string) - before
    expect(delay).toBeGreaterThanOrEqual(3_600_000)
    expect(delay).toBeLessThan(3_660_000)
    expect(info).toMatchObject({ accepted: [], rejected: [], messageId: '<m1@example.com>', response: expect.stringMatching(/421/) })
    expect(await inbox()).toMatchObject([{ source: 'application', recipient: 'ann@example.org', reply: expect.stringMatching(/^421/) }])
  })

  test('the message’s own schedule counts for retryAt', async () => {
    world.system.say = refuse(NOT_NOW)
    const before = Date.now()
    const info = await transporter().sendMail({ ...mail(), softbounce: { schedule: ['5m', '1h'] } })
    expect(Math.round((Date.parse(info.retries?.[0]?.retryAt as string) - before) / 60_000)).toBe(5)
  })

  test.each([['pooled', { pool: true }]])('%s transports', async (_, more) => {
    world.system.say = refuse(NOT_NOW)
    const pooled = transporter(more)
    expect((await pooled.sendMail(mail())).pending).toEqual(['ann@example.org'])
    pooled.close()
  })

  test('with a callback', async () => {
    world.system.say = refuse(NOT_NOW)
    const tracked = transporter() as unknown as { sendMail(data: object, done: (error: Error | null, info: object) => void): void }
    const info = await new Promise((resolve, reject) =>
      tracked.sendMail(mail(), (error, value) => (error ? reject(error) : resolve(value))),
    )
    expect(info).toMatchObject({ pending: ['ann@example.org'] })
  })

  test('beside others: each recipient has its own end', async () => {
    world.system.say = {
      rcpt: ({ address }) =>
        address === 'ann@example.org' ? NOT_NOW : address === 'gone@example.org' ? '550 5.1.1 No such user' : undefined,
    }
    const info = await transporter().sendMail(mail('ann@example.org, bob@example.org, gone@example.org'))
    expect(info).toMatchObject({
      accepted: ['bob@example.org'],
      rejected: ['gone@example.org'],
      pending: ['ann@example.org'],
      retries: [{ recipient: 'ann@example.org' }],
      rejectedErrors: [{ recipient: 'gone@example.org' }],
    })
    expect(await inbox()).toHaveLength(1)
  })

  test('retryRefused: false rejects as nodemailer does', async () => {
    world.system.say = refuse(NOT_NOW)
    await expect(transporter({}, { retryRefused: false }).sendMail(mail())).rejects.toMatchObject({ responseCode: 421 })
    expect(await inbox()).toEqual([])
  })

  test('if the refusal cannot be stored, sendMail rejects with nodemailer’s error, which names both', async () => {
    const file = await sqliteDatabase()
    const opened = openDatabase({ url: file.url })
    world.system.say = {
      rcpt: () => {
        // gone in the middle of the transaction
        void opened.close()
        return NOT_NOW
      },
    }
    const settings = settingsFrom(trackOptions(world))
    const error = await trackWith(nodemailer.createTransport(transportTo(world)), settings, { opened })
      .sendMail(mail())
      .catch((e: unknown) => e)
    expect(error).toMatchObject({
      ...{ responseCode: 421, message: expect.stringMatching(/421.*could not be stored/) },
      cause: { name: 'TrackError', code: 'EHANDOVER' },
    })
    await file.close()
  })
})

test.each([
  ['a deferral of another kind', '451 4.7.1 Greylisted'],
  ['a permanent refusal', '550 5.1.1 No such user'],
])('%s rejects as nodemailer does', async (_, text) => {
  world.system.say = refuse(text)
  await expect(transporter().sendMail(mail())).rejects.toMatchObject({ responseCode: Number(text.slice(0, 3)) })
  expect(await inbox()).toEqual([])
})

test('a refused connection is 4.4.1, and retried only if the statuses say so', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  await expect(transporter({ port }).sendMail(mail())).rejects.toMatchObject({ message: expect.stringContaining('ECONNREFUSED') })
  const retry = { statuses: ['4.3.2', '4.4.1'] }
  expect((await transporter({ port }, { retry }).sendMail(mail())).pending).toEqual(['ann@example.org'])
  expect(await inbox()).toMatchObject([{ status: '4.4.1' }])
})

test('LMTP: the reply for the recipient counts', async () => {
  const lmtp = await startReceivingSystem({ server: { lmtp: true } })
  lmtp.say = { ...lmtp.say, rcpt: () => NOT_NOW }
  expect((await transporter({ port: lmtp.port, lmtp: true }).sendMail(mail())).pending).toEqual(['ann@example.org'])
  await lmtp.close()
})

test('what is no reply of a receiving system is no refusal', () => {
  for (const error of [
    Object.assign(new Error('Throttling'), { name: 'ThrottlingException' }),
    Object.assign(new Error('getaddrinfo ENOTFOUND mx'), { code: 'EDNS' }),
    Object.assign(new Error('connect ENETUNREACH 2001:db8::1:25'), { code: 'ESOCKET', command: 'CONN' }),
    Object.assign(new Error('sendmail exited with 75'), { code: 'ESENDMAIL' }),
  ])
    expect(refusalOf(error), error.message).toBeNull()
  expect(refusalOf(Object.assign(new Error('closed'), { code: 'ECONNECTION', command: 'DATA' }))).toEqual({
    status: '4.4.2',
    reply: 'closed',
  })
})

test('an API transport’s error (Amazon SES) rejects, and a stream transport refuses nothing', async () => {
  const options = trackOptions(world)
  const throttled = Object.assign(new Error('Maximum sending rate exceeded.'), {
    name: 'TooManyRequestsException',
    $metadata: { httpStatusCode: 429 },
  })
  const api = { name: 'SES', version: '1', send: (_mail: unknown, done: (error: Error) => void) => done(throttled) }
  await expect(track(nodemailer.createTransport(api as never), options).sendMail(mail())).rejects.toBe(throttled)
  const info = await track(nodemailer.createTransport({ streamTransport: true, buffer: true }), options).sendMail(mail())
  expect(info).toMatchObject({ envelope: { to: ['ann@example.org'] } })
  expect(info).not.toHaveProperty('pending')
  expect(await inbox()).toEqual([])
})

describe('while the database cannot be reached before sending', () => {
  const away = { database: { url: 'postgres://x@127.0.0.1:9/d' }, returnPath: RETURN_PATH }
  const tracked = (options: TrackOptions) => track(nodemailer.createTransport(transportTo(world)), { ...away, ...options })

  test('sendMail rejects with EDATABASE, and nothing is sent', async () => {
    const error = await tracked({})
      .sendMail(mail())
      .catch((e: unknown) => e)
    expect(error).toBeInstanceOf(TrackError)
    expect(error).toMatchObject({ code: 'EDATABASE', message: expect.stringContaining('127.0.0.1:9') })
    expect(world.system.taken).toEqual([])
  })

  test('onDatabaseError: send-untracked sends as nodemailer would, and says so', async () => {
    const info = await tracked({ onDatabaseError: 'send-untracked' }).sendMail(mail())
    expect(info).toMatchObject({ accepted: ['ann@example.org'], untracked: true })
    expect(world.system.taken).toMatchObject([{ from: 'shop@example.com' }])
  })
})

test('close waits for messages under way, whose refusal is still stored; a database that fails to open ends nothing', async () => {
  const file = await sqliteDatabase()
  let told = () => {}
  const asked = new Promise<void>((resolve) => {
    told = resolve
  })
  world.system.say = {
    rcpt: () => {
      told()
      return NOT_NOW
    },
  }
  const tracked = track(nodemailer.createTransport(transportTo(world)), {
    ...{ database: { url: file.url }, returnPath: RETURN_PATH },
  })
  const sending = tracked.sendMail(mail())
  await asked
  tracked.close()
  expect((await sending).pending).toEqual(['ann@example.org'])
  expect(await file.database.db.selectFrom('inbox').select('id').execute()).toHaveLength(1)
  const broken = track(nodemailer.createTransport({ host: '127.0.0.1', port: world.system.port }), {
    ...{ database: { url: 'postgres://x@127.0.0.1:9/d' }, returnPath: RETURN_PATH },
  })
  const failing = broken.sendMail(mail()).catch((error: unknown) => error)
  broken.close()
  expect(await failing).toMatchObject({ code: 'EDATABASE' })
  await file.close()
})

test('each error of track has a code', async () => {
  await expect(transporter().sendMail({ to: 'ann@example.org', text: 'x' })).rejects.toMatchObject({ code: 'EENVELOPE' })
  await expect(transporter().sendMail({ ...mail(), softbounce: { schedule: ['soon'] } })).rejects.toMatchObject({ code: 'EOPTIONS' })
  expect(() => transporter({}, { returnPath: {} })).toThrow(expect.objectContaining({ code: 'ERETURNPATH' }))
})
