import { generateKeyPairSync } from 'node:crypto'
import nodemailer from 'nodemailer'
import { describe, expect, test } from 'vitest'
import { SuppressedRecipients, track } from '../../src/client/index.js'
import { trackWith } from '../../src/client/track-with.js'
import { settingsFrom } from '../../src/config/index.js'
import { sentId, verifyReturnPath, verifyToken } from '../../src/delivery/index.js'
import { findProviderId, findSent, loadMessage } from '../../src/store/index.js'
import { findSuppression, suppressForUnavailability, suppressLastingly } from '../../src/suppression/index.js'
import { startReceivingSystem } from '../support/receiving-system.js'
import { DAY } from '../support/skipping-time.js'
import { returnPaths, trackedWorld, trackOptions, transportTo } from '../support/tracked.js'

const world = trackedWorld()

const options = () => trackOptions(world)
const transporter = (more = {}) => track(nodemailer.createTransport({ ...transportTo(world), ...more }), options())
const db = () => world.sqlite.database.db

test('each recipient gets an envelope with its own signed return path, and the message is stored once', async () => {
  const kept = () => db().selectFrom('messages').select('key').execute()
  const before = (await kept()).length
  const info = await transporter().sendMail({
    from: '"Example Shop" <shop@example.com>',
    to: 'ann@example.org, Bob <bob@example.net>',
    bcc: 'eve@example.com',
    subject: 'Hello',
    text: 'Thank you.',
  })
  expect(info.accepted).toEqual(['ann@example.org', 'bob@example.net', 'eve@example.com'])
  expect(world.system.taken.map((t) => t.to)).toEqual(
    expect.arrayContaining([['ann@example.org'], ['bob@example.net'], ['eve@example.com']]),
  )
  const messageId = info.messageId.replace(/[<>]/g, '')
  const contents = new Set(world.system.taken.map((t) => t.content.toString()))
  expect(contents.size).toBe(1)
  expect([...contents][0]).not.toContain('eve@example.com')
  for (const { from, to } of world.system.taken) {
    const token = verifyReturnPath(returnPaths, from, new Date())
    expect(token).toMatchObject({ id: sentId(messageId, to[0] as string), send: 0 })
    const sent = await findSent(db(), sentId(messageId, to[0] as string))
    expect(sent).toMatchObject({ messageId, recipient: to[0], sender: 'shop@example.com' })
    expect((await loadMessage(db(), sent?.messageKey as string))?.toString()).toBe([...contents][0])
  }
  expect(await kept()).toHaveLength(before + 1)
})

test('a message that nodemailer signs with DKIM is sent and stored as signed; plugins and defaults still work', async () => {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 1024,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const tracked = transporter({ pool: true, dkim: { domainName: 'example.com', keySelector: 's', privateKey } })
  tracked.use('compile', (mail, done) => {
    mail.data.headers = { 'X-Plugin': 'yes' }
    done()
  })
  const info = await tracked.sendMail({ from: 'shop@example.com', to: 'ann@example.org', text: 'Thank you.\n.a dot' })
  const content = world.system.taken[0]?.content.toString() as string
  expect(content).toMatch(/^DKIM-Signature: /m)
  expect(content).toContain('X-Plugin: yes')
  const sent = await findSent(db(), sentId(info.messageId, 'ann@example.org'))
  expect((await loadMessage(db(), sent?.messageKey as string))?.toString()).toBe(content)
  tracked.close()
})

describe('suppressed recipients', () => {
  const suppress = async (address: string, kind: 'unavailable' | 'rejected') => {
    const now = new Date()
    const cause = { status: '4.3.2', reply: 'down', by: 'test', destination: null }
    await db()
      .transaction()
      .execute(async (tx) => {
        if (kind === 'unavailable') await suppressForUnavailability(tx, address, cause, now, [DAY], now)
        else await suppressLastingly(tx, address, 'rejected', cause, now)
      })
  }

  test('suppressed recipients are named in the error, and nobody gets the message', async () => {
    await suppress('down@example.org', 'unavailable')
    const sending = transporter().sendMail({ from: 'shop@example.com', to: ['ok@example.org', 'Down@example.org'], text: 'x' })
    await expect(sending).rejects.toThrow(SuppressedRecipients)
    await expect(sending).rejects.toThrow(/down@example\.org \(unavailable, until /)
    expect(world.system.taken).toHaveLength(0)
  })

  test('mail that the person just requested bypasses and lifts a temporary suppression, never a lasting one', async () => {
    await suppress('asks@example.org', 'unavailable')
    await transporter().sendMail({ from: 'shop@example.com', to: 'asks@example.org', text: 'Confirm', softbounce: { askedFor: true } })
    expect(world.system.taken).toHaveLength(1)
    expect(await findSuppression(db(), 'asks@example.org', new Date())).toBeNull()
    await suppress('gone@example.org', 'rejected')
    await expect(
      transporter().sendMail({ from: 'shop@example.com', to: 'gone@example.org', text: 'Confirm', softbounce: { askedFor: true } }),
    ).rejects.toThrow('gone@example.org (rejected)')
  })
})

test('a send to several recipients reports who was refused, and fails if all were', async () => {
  world.system.say = { rcpt: ({ address }) => (address?.startsWith('no') ? '550 5.1.1 no such user' : undefined) }
  const info = await transporter().sendMail({ from: 'shop@example.com', to: 'no1@example.org, yes@example.org', text: 'x' })
  expect(info).toMatchObject({ accepted: ['yes@example.org'], rejected: ['no1@example.org'] })
  expect(info.rejectedErrors?.[0]).toMatchObject({ recipient: 'no1@example.org', responseCode: 550 })
  await expect(transporter().sendMail({ from: 'shop@example.com', to: 'no1@example.org, no2@example.org', text: 'x' })).rejects.toThrow(
    '5.1.1',
  )
})

test('retry options are stored for the retries; invalid ones are refused at once', async () => {
  const tracked = transporter()
  const info = await tracked.sendMail({
    from: 'a@example.com',
    to: 'b@example.org',
    text: 'x',
    softbounce: { urgent: true, deliverBy: '2026-12-01T08:00:00Z' },
  })
  const sent = await findSent(db(), sentId(info.messageId, 'b@example.org'))
  expect(JSON.parse(sent?.options as string)).toEqual({ urgent: true, deliverBy: '2026-12-01T08:00:00Z' })
  world.system.taken.length = 0
  await expect(
    tracked.sendMail({ from: 'a@example.com', to: 'b@example.org', text: 'x', softbounce: { deliverBy: 'tomorrow' } }),
  ).rejects.toThrow('deliverBy')
  await expect(tracked.sendMail({ from: '', to: 'b@example.org', text: 'x' })).rejects.toThrow('envelope sender')
  expect(world.system.taken).toHaveLength(0)
})

test('other nodemailer features still work: proxies, envelope options, raw messages, the null sender', async () => {
  const proxied = track(
    nodemailer.createTransport({ host: '127.0.0.1', port: world.system.port, secure: false, ignoreTLS: true, proxy: 'http://127.0.0.1:1' }),
    options(),
  )
  await expect(proxied.sendMail({ from: 'a@example.com', to: 'b@example.org', text: 'x' })).rejects.toThrow('ECONNREFUSED')
  expect(world.system.taken).toHaveLength(0)
  const raw = 'From: a@example.com\r\nTo: b@example.org\r\nMessage-ID: <mine@example.com>\r\n\r\nHello\r\n'
  await transporter().sendMail({ envelope: { from: 'a@example.com', to: 'b@example.org' }, raw })
  expect(await findSent(db(), sentId('mine@example.com', 'b@example.org'))).toMatchObject({ sender: 'a@example.com' })
  await transporter().sendMail({ envelope: { from: '', to: 'b@example.org' }, text: 'I am away' })
  expect(world.system.taken.map((t) => t.from).at(-1)).toBe('')
})

test('tracking twice has no further effect; a closed transporter opens again', async () => {
  const plain = nodemailer.createTransport(transportTo(world))
  const own = options()
  const twice = track(track(plain, own), own)
  await twice.sendMail({ from: 'a@example.com', to: 'b@example.org', text: 'x' })
  twice.close()
  await twice.sendMail({ from: 'a@example.com', to: 'b@example.org', text: 'y' })
  twice.close()
  expect(world.system.taken.map((t) => verifyReturnPath(returnPaths, t.from, new Date()))).toMatchObject([{ send: 0 }, { send: 0 }])
})

test('without a return path key tracking is refused', () => {
  const plain = nodemailer.createTransport({ host: '127.0.0.1', port: 1 })
  expect(() => track(plain, { database: { url: world.sqlite.url } })).toThrow('returnPath.keys')
})

test('each message costs one query and one transaction', async () => {
  let statements = 0
  const counting = {
    ...world.sqlite.database,
    db: world.sqlite.database.db.withPlugin({
      transformQuery: ({ node }) => node,
      transformResult: async ({ result }) => {
        statements += 1
        return result
      },
    }),
  }
  const tracked = trackWith(nodemailer.createTransport(transportTo(world)), settingsFrom(options()), { opened: counting })
  const send = () => tracked.sendMail({ from: 'a@example.com', to: ['c@example.org', 'd@example.org'], text: 'x' })
  await send()
  statements = 0
  await send()
  // a look-up; the message and its recipients are written in one transaction
  expect(statements).toBe(3)
})

describe('a provider', () => {
  const REPLIES = {
    ses: ['Ok 0102018d2e0f7c3a-1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901-000000', /^X-SES-MESSAGE-TAGS: softbounce=([a-z2-7]{39})\r$/m],
    sendgrid: ['Ok: queued as euo2iKxdSayPF4YE4--I7A', /^X-SMTPAPI: \{"unique_args":\{"softbounce":"([a-z2-7]{39})"\}\}\r$/m],
    mailgun: ['Great success', /^X-Mailgun-Variables: \{"softbounce":"([a-z2-7]{39})"\}\r$/m],
    postmark: ['2.0.0 Ok 0a129aee-e1cd-480d-b08d-4f48548ff48d', /^X-PM-Metadata-softbounce: ([a-z2-7]{39})\r$/m],
    resend: ['Message queued as 56761188-7520-42d8-8898-ff6fc54ce618', /^X-Softbounce-Token: ([a-z2-7]{39})\r$/m],
  } as const

  test.each(Object.keys(REPLIES) as (keyof typeof REPLIES)[])(
    '%s gets the token of each send in the field it returns, and its message ID is stored',
    async (provider) => {
      const [reply, field] = REPLIES[provider]
      const relay = await startReceivingSystem({
        server: {
          onData: (stream, session, done) => {
            const chunks: Buffer[] = []
            stream.on('data', (chunk: Buffer) => chunks.push(chunk))
            stream.on('end', () => {
              const { rcptTo } = session.envelope
              relay.taken.push({ at: 0, from: '', to: rcptTo.map((r) => r.address), content: Buffer.concat(chunks) })
              done(null, reply)
            })
          },
        },
      })
      const plain = nodemailer.createTransport({ host: '127.0.0.1', port: relay.port, secure: false, ignoreTLS: true })
      const tracked = track(plain, { ...options(), relay: { provider } })
      const { messageId } = await tracked.sendMail({
        from: 'shop@example.com',
        to: ['ann@example.org', 'bob@example.org'],
        subject: 'Hello',
        text: 'Hi',
      })
      const tokens = relay.taken.map(({ to, content }) => {
        const token = verifyToken(returnPaths, field.exec(content.toString())?.[1] ?? '', new Date())
        expect(token).toMatchObject({ id: sentId(messageId, to[0] as string), send: 0 })
        return token
      })
      expect(tokens).toHaveLength(2)
      // the message stored for retries does not contain the token
      const sent = await findSent(db(), sentId(messageId, 'ann@example.org'))
      expect((await loadMessage(db(), sent?.messageKey as string))?.toString()).not.toMatch(/softbounce/i)
      const name = /([0-9a-zA-Z-]{20,})$/.exec(reply)?.[1]
      const as = name === undefined ? null : await findProviderId(db(), provider, name)
      expect(as).toEqual(name === undefined ? null : { sentId: expect.stringMatching(/^[0-9a-f]{20}$/), send: 0 })
      await relay.close()
    },
  )
})
