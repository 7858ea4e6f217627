/** Intake by LMTP, Maildir and pipe, with real processes. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startDevServer } from '../../dev/dev-server/index.js'
import { canonicalMessage, dayOf, sentId, signReturnPath } from '../../src/delivery/index.js'
import { deliveredTo, returnPathOf } from '../../src/intake/index.js'
import { storeSent } from '../../src/store/index.js'
import { report } from '../support/bounce-mails.js'
import { temporaryFolder } from '../support/databases.js'
import { type RealWorld, runCli, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { eventually, MESSAGE } from '../support/skipping-time.js'

const KEY = Buffer.alloc(32, 7)
const returnPaths = { template: 'bounce+{token}@{domain}', keys: [KEY], validDays: 28 }
let world: RealWorld
const folder = temporaryFolder()
beforeAll(async () => {
  world = await startRealWorld({
    SOFTBOUNCE_RETURN_PATH_KEYS: KEY.toString('base64'),
    SOFTBOUNCE_INTAKE_MAX_SIZE: '1',
  })
})
afterAll(async () => {
  await world.close()
  folder.remove()
})

let n = 0
async function sent(to: RealWorld = world) {
  n += 1
  const messageId = `w${n}@example.com`
  const recipient = `w${n}@example.org`
  const id = sentId(messageId, recipient)
  await storeSent(
    to.database,
    canonicalMessage(Buffer.from(MESSAGE)),
    [{ id, messageId, recipient, envelopeRecipient: recipient, sender: 'shop@example.com', options: null }],
    new Date(),
  )
  const returnPath = signReturnPath(returnPaths, { id, day: dayOf(new Date()), send: 0 }, 'shop@example.com')
  return { messageId, recipient, returnPath, workflowId: to.client.workflowId(recipient, messageId) }
}
const lmtpPort = (intake: WorkerProcess) => Number(/"lmtp":"127\.0\.0\.1:(\d+)"/.exec(intake.log())?.[1])

/** An LMTP client: sends each command after the reply to the last one, and returns all replies. */
function dialogue(target: number | string, commands: readonly (string | Buffer)[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = typeof target === 'number' ? createConnection(target, '127.0.0.1') : createConnection(target)
    const left = [...commands]
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1')
      if (!/^\d{3} [^\r\n]*\r\n$/m.test(heard.slice(heard.lastIndexOf('\n', heard.length - 2) + 1))) return
      const next = left.shift()
      if (next !== undefined) socket.write(typeof next === 'string' ? `${next}\r\n` : Buffer.concat([next, Buffer.from('\r\n.\r\n')]))
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(heard.split('\r\n').filter((line) => /^\d{3} /.test(line))))
  })
}
const deliver = (target: number | string, to: readonly string[], mail: Buffer) =>
  dialogue(target, ['LHLO mail.example.com', 'MAIL FROM:<>', ...to.map((a) => `RCPT TO:<${a}>`), 'DATA', mail, 'QUIT'])

describe('LMTP', () => {
  let intake: WorkerProcess
  beforeAll(async () => {
    intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
  })

  test('each recipient gets a reply, and 250 means that the mail is handled', async () => {
    const one = await sent()
    const replies = await deliver(lmtpPort(intake), [one.returnPath, 'nobody@example.com'], report({ recipient: one.recipient }))
    expect(replies.slice(-3, -1)).toEqual(['250 2.0.0 retry-started', '250 2.0.0 unauthenticated'])
    expect(await world.client.isOpen(one)).toBe(true)
    const listed = await world.cli('bounces', '--json', '--limit', '2')
    expect(
      listed.stdout
        .trim()
        .split('\n')
        .map((l) => JSON.parse(l).disposition)
        .sort(),
    ).toEqual(['retry-started', 'unauthenticated'])
    expect((await world.cli('bounces', '--unauthenticated')).stdout).toContain('nobody@example.com')
  })

  test('a mail for hundreds of recipients: a reply for each, in their order', async () => {
    const genuine = [await sent(), await sent(), await sent()]
    const to = Array.from({ length: 300 }, (_, i) =>
      i % 100 === 50 ? (genuine[Math.floor(i / 100)] as { returnPath: string }).returnPath : `bounce+${i}@example.com`,
    )
    const replies = (await deliver(lmtpPort(intake), to, report({ recipient: genuine[0]?.recipient as string }))).slice(-301, -1)
    expect(replies.flatMap((reply, i) => (reply.startsWith('250 2.0.0 unauthenticated') ? [] : [i]))).toEqual([50, 150, 250])
    expect(await world.client.isOpen(genuine[0] as (typeof genuine)[number])).toBe(true)
  })

  test('an oversized mail is refused, and the connection stays usable', async () => {
    const replies = await deliver(lmtpPort(intake), ['x@example.com'], Buffer.alloc(1_200_000, 'a\r\n'))
    expect(replies).toContainEqual(expect.stringMatching(/^552 5\.3\.4 .*intake.maxSize/))
    expect(replies.at(-1)).toMatch(/^221/)
  })

  test('connections over the limit get a transient refusal', async () => {
    const sockets = Array.from({ length: 25 }, () => createConnection(lmtpPort(intake), '127.0.0.1'))
    const banners = await Promise.all(sockets.map((s) => new Promise<string>((resolve) => s.once('data', (d) => resolve(d.toString())))))
    for (const socket of sockets) socket.destroy()
    expect(banners.filter((b) => b.startsWith('220'))).toHaveLength(20)
    expect(banners.filter((b) => b.startsWith('421'))).toHaveLength(5)
  })

  test('a stale Unix socket is replaced, one in use is not', async () => {
    const path = join(folder.path, 'lmtp.sock')
    writeFileSync(path, '')
    const second = await world.startIntake(['--lmtp', `unix:${path}`])
    const one = await sent()
    expect((await deliver(path, [one.returnPath], report({ recipient: one.recipient }))).at(-2)).toBe('250 2.0.0 retry-started')
    const third = await world.cli('intake', '--lmtp', `unix:${path}`)
    expect(third).toMatchObject({ status: 1, stderr: expect.stringContaining('another process listens') })
    await second.stop()
  })

  test('on SIGTERM the intake finishes its current work and exits', async () => {
    const own = await world.startIntake(['--lmtp', '127.0.0.1:0'])
    // an idle connection, as mail systems keep them open
    const idle = createConnection(lmtpPort(own), '127.0.0.1')
    const heard: string[] = []
    idle.on('data', (chunk) => heard.push(chunk.toString()))
    await eventually(() => heard.length > 0)
    const began = Date.now()
    own.signal('SIGTERM')
    expect(await own.ended).toBe(0)
    expect(Date.now() - began).toBeLessThan(30_000)
    expect(heard.join('')).toMatch(/^421 /m)
    expect(own.log()).toContain('the intake has stopped')
  })
})

test('while Temporal is away LMTP replies 451, the pipe exits 75, and the Maildir keeps its file', { timeout: 120_000 }, async () => {
  const server = await startDevServer({})
  const away = await startRealWorld({ SOFTBOUNCE_RETURN_PATH_KEYS: KEY.toString('base64') }, undefined, server.address)
  const maildir = join(folder.path, 'away')
  for (const sub of ['new', 'cur', 'tmp']) mkdirSync(join(maildir, sub), { recursive: true })
  const one = await sent(away)
  const intake = await away.startIntake(['--lmtp', '127.0.0.1:0', '--maildir', maildir])
  await server.stop()
  const mail = Buffer.concat([
    Buffer.from(`Delivered-To: ${one.returnPath}\r\nReceived: by mail.example.com\r\n`),
    report({ recipient: one.recipient }),
  ])
  writeFileSync(join(maildir, 'new', '1.mail'), mail)
  const [reply, piped] = await Promise.all([
    deliver(lmtpPort(intake), [one.returnPath], mail),
    runCli(folder.path, away.env, ['take', '--recipient', one.returnPath], mail.toString('latin1')),
  ])
  expect(reply.at(-2)).toMatch(/^451 4\.3\.0 /)
  expect(piped).toMatchObject({ status: 75, stderr: expect.stringContaining('Temporal') })
  await eventually(() => intake.log().includes('it stays where it is'), 60_000)
  expect(readdirSync(join(maildir, 'new'))).toEqual(['1.mail'])
  await away.close()
})

describe('a Maildir', () => {
  test('a file leaves new/ only once it is handled', async () => {
    const maildir = join(folder.path, 'Maildir')
    for (const sub of ['new', 'cur', 'tmp']) mkdirSync(join(maildir, sub), { recursive: true })
    const one = await sent()
    const two = await sent()
    const file = (of: typeof one) =>
      Buffer.concat([
        Buffer.from(
          `Return-Path: <>\r\nX-Original-To: ${of.returnPath}\r\nDelivered-To: bounces@example.com\r\nReceived: by mail.example.com\r\n`,
        ),
        report({ recipient: of.recipient }),
      ])
    writeFileSync(join(maildir, 'new', '1.there'), file(one))
    const intake = await world.startIntake(['--maildir', maildir])
    await eventually(() => readdirSync(join(maildir, 'new')).length === 0)
    expect(readdirSync(join(maildir, 'cur'))).toEqual(['1.there:2,S'])
    expect(await world.client.isOpen(one)).toBe(true)
    const forged = report({ recipient: two.recipient })
    // delivered as by mail systems: written to tmp/, moved to new/
    for (const [name, content] of [
      ['2.bounce', file(two)],
      ['3.forged', forged],
      ['4.noise', Buffer.from([0, 1, 2, 255])],
    ] as const) {
      writeFileSync(join(maildir, 'tmp', name), content)
      renameSync(join(maildir, 'tmp', name), join(maildir, 'new', name))
    }
    await eventually(() => readdirSync(join(maildir, 'new')).length === 0)
    expect(await world.client.isOpen(two)).toBe(true)
    expect(readFileSync(join(maildir, 'cur', '3.forged:2,S')).equals(forged)).toBe(true)
    // non-mail and oversized files stay, are reported, and block nothing
    execFileSync('mkfifo', [join(maildir, 'new', '5.fifo')])
    writeFileSync(join(maildir, 'tmp', '6.large'), Buffer.alloc(1_200_000))
    renameSync(join(maildir, 'tmp', '6.large'), join(maildir, 'new', '6.large'))
    writeFileSync(join(maildir, 'new', '7.empty'), '')
    const three = await sent()
    writeFileSync(join(maildir, 'new', '8.bounce'), file(three))
    await eventually(() => !readdirSync(join(maildir, 'new')).includes('8.bounce'))
    expect(await world.client.isOpen(three)).toBe(true)
    expect(readdirSync(join(maildir, 'new'))).toEqual(['5.fifo', '6.large', '7.empty'])
    for (const why of ['no regular file', 'intake.maxSize', 'empty as yet']) await eventually(() => intake.log().includes(why))
    await intake.stop()
  })

  test('a missing folder is refused', async () => {
    expect(await world.cli('intake', '--maildir', join(folder.path, 'nowhere'))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no Maildir'),
    })
  })

  test('only the topmost delivery field gives the envelope recipient; fields below are untrusted', () => {
    const mail = Buffer.from(
      'Return-Path: <>\nX-Original-To: a@example.com\nDelivered-To: b@example.com\nReceived: by x\nDelivered-To: evil@example.com\nTo: to@example.com\n\nDelivered-To: body@example.com\n',
    )
    expect(deliveredTo(mail)).toEqual(['a@example.com', 'b@example.com'])
    expect(returnPathOf(mail)).toBe('')
    expect(deliveredTo(Buffer.from('Subject: x\n\nDelivered-To: body@example.com\nReceived: x'))).toEqual([])
    expect(returnPathOf(Buffer.from('Subject: x\n\n'))).toBeNull()
  })
})

describe('a pipe', () => {
  const take = (input: string, args: readonly string[] = [], env = {}) =>
    runCli(folder.path, { ...world.env, ...env }, ['take', ...args], input)

  test('the pipe takes the recipient from its option, the environment, or the delivery fields', async () => {
    const mails = await Promise.all([sent(), sent(), sent()])
    const texts = mails.map((one) => report({ recipient: one.recipient }).toString())
    const [one, two, three] = mails as [(typeof mails)[0], (typeof mails)[0], (typeof mails)[0]]
    expect(await take(texts[0] as string, ['--recipient', one.returnPath])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('retry-started'),
    })
    expect(
      await take(texts[1] as string, ['--json'], { ORIGINAL_RECIPIENT: two.returnPath, RECIPIENT: 'alias@example.com' }),
    ).toMatchObject({ status: 0 })
    expect(await take(`Delivered-To: ${three.returnPath}\r\nReceived: by mail.example.com\r\n${texts[2]}`)).toMatchObject({ status: 0 })
    for (const each of mails) expect(await world.client.isOpen(each)).toBe(true)
  })

  test('a rejected report counts as handled; empty and oversized input is a data error', async () => {
    expect(await take(report({ recipient: 'x@example.org' }).toString(), ['--recipient', 'x@example.com', '--json'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"disposition":"unauthenticated"'),
    })
    expect(await take(report({ recipient: 'x@example.org' }).toString())).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('--recipient'),
    })
    expect(await take('')).toMatchObject({ status: 65, stderr: expect.stringContaining('empty') })
    expect(await take('x'.repeat(1_200_000), ['--recipient', 'x@example.com'])).toMatchObject({
      status: 65,
      stderr: expect.stringContaining('intake.maxSize'),
    })
  })

  test('settings that can authenticate nothing are reported at once', async () => {
    expect(await take('x', [], { SOFTBOUNCE_RETURN_PATH_KEYS: '' })).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('returnPath.keys'),
    })
    expect(await take('x', [], { SOFTBOUNCE_RETURN_PATH_KEYS: '', SOFTBOUNCE_INTAKE_TRUSTED: 'true' })).toMatchObject({
      status: 78,
      stderr: expect.stringContaining('ownHosts'),
    })
    expect(await world.cli('intake')).toMatchObject({ status: 2, stderr: expect.stringContaining('intake.listen') })
  })
})
