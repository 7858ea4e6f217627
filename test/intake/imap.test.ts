/** Reading bounces by IMAP from a real Dovecot: random disconnects, a large mailbox, two competing processes. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { canonicalMessage, dayOf, sentId, signReturnPath } from '../../src/delivery/index.js'
import { storeSent } from '../../src/store/index.js'
import { report } from '../support/bounce-mails.js'
import { makeCertificates } from '../support/certificates.js'
import { temporaryFolder } from '../support/databases.js'
import { type Dovecot, PASSWORD, startDovecot, USER } from '../support/dovecot.js'
import { whyNot } from '../support/programs.js'
import { startProxy, type TcpProxy } from '../support/proxy.js'
import { type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { eventually, MESSAGE } from '../support/skipping-time.js'

const KEY = Buffer.alloc(32, 7)
const returnPaths = { template: 'bounce+{token}@{domain}', keys: [KEY], validDays: 28 }
const reason = whyNot(['dovecot', 'openssl'])

// the tests depend on each other, in this order: the mailbox fills
describe.skipIf(reason !== null)(`a mailbox${reason === null ? '' : ` (${reason})`}`, { shuffle: false }, () => {
  let world: RealWorld
  let dovecot: Dovecot
  const folder = temporaryFolder()
  const certificates = makeCertificates(['IP:127.0.0.1', 'DNS:localhost'])
  const token = 'a-token-of-the-test'
  const introspection = createServer((request, response) => {
    const valid = new URL(request.url ?? '', 'http://x').searchParams.get('token') === token
    response
      .writeHead(valid ? 200 : 401, { 'content-type': 'application/json' })
      .end(JSON.stringify({ active: valid ? 'true' : 'false', username: USER }))
  })
  const processes: WorkerProcess[] = []
  let cable: TcpProxy | undefined

  beforeAll(async () => {
    await new Promise<void>((resolve) => introspection.listen(0, '127.0.0.1', resolve))
    const { port } = introspection.address() as { port: number }
    dovecot = await startDovecot({ certificates, introspection: `http://127.0.0.1:${port}/` })
    world = await startRealWorld({
      SOFTBOUNCE_RETURN_PATH_KEYS: KEY.toString('base64'),
      SOFTBOUNCE_INTAKE_MAX_SIZE: '1',
      SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1:9',
    })
    writeFileSync(join(folder.path, 'ca.pem'), certificates.ca)
  }, 60_000)
  afterEach(async () => {
    for (const one of processes.splice(0)) {
      await one.stop()
    }
    await cable?.close()
    cable = undefined
  })
  afterAll(async () => {
    await world?.close()
    await dovecot?.close()
    introspection.close()
    folder.remove()
  })

  let n = 0
  /** A bounce of one of our messages, and its workflow ID. */
  async function bounce(): Promise<{ workflowId: string; mail: Buffer }> {
    n += 1
    const [messageId, recipient] = [`i${n}@example.com`, `i${n}@example.org`]
    const id = sentId(messageId, recipient)
    const row = { id, messageId, recipient, envelopeRecipient: recipient, sender: 'shop@example.com', options: null }
    await storeSent(world.database, canonicalMessage(Buffer.from(MESSAGE)), [row], new Date())
    const returnPath = signReturnPath(returnPaths, { id, day: dayOf(new Date()), send: 0 }, 'shop@example.com')
    const top = [
      'Return-Path: <>',
      `Delivered-To: ${returnPath}`,
      'Received: from mx.example.net by mail.example.com; Tue, 24 Nov 2026 08:00:00 +0000',
    ]
    return { workflowId: world.client.workflowId(recipient, messageId), mail: report({ recipient }, { top }) }
  }
  const url = (port: number, scheme = 'imap', password = `:${encodeURIComponent(PASSWORD)}`) =>
    `${scheme}://${encodeURIComponent(USER)}${password}@127.0.0.1:${port}/INBOX`
  const read = async (env: Record<string, string> = {}) => {
    const intake = await world.startIntake(['--imap'], { SOFTBOUNCE_INTAKE_IMAP_URL: url(dovecot.port), ...env })
    processes.push(intake)
    return intake
  }
  const isOpen = (workflowId: string) => world.client.isOpen({ workflowId })
  const started = async (workflowId: string) =>
    (await world.temporal.workflow.getHandle(workflowId).fetchHistory()).events?.filter(
      (event) => event.workflowExecutionSignaledEventAttributes,
    ).length
  const recorded = async () => {
    const rows = await world.database.db.selectFrom('inbound').select(['disposition', 'why']).where('source', '=', 'imap').execute()
    return rows.map(({ disposition }) => disposition)
  }

  test('the mailbox is read from its first mail, then as mails arrive; handled mails are marked as seen, none is deleted', {
    timeout: 60_000,
  }, async () => {
    const [one, two] = [await bounce(), await bounce()]
    dovecot.deliver(one.mail)
    const intake = await read()
    await eventually(() => isOpen(one.workflowId), 30_000)
    const at = Date.now()
    dovecot.deliver(two.mail)
    await eventually(() => isOpen(two.workflowId), 30_000)
    // by IDLE, not by the next poll
    expect(Date.now() - at).toBeLessThan(30_000)
    await eventually(() => dovecot.mails().filter((name) => /:2,.*S/.test(name)).length === 2, 30_000)
    expect(dovecot.mails()).toHaveLength(2)
    expect(intake.log()).not.toContain(PASSWORD)
    // mails that arrived meanwhile are read afterwards, and earlier ones not again
    await intake.stop()
    const three = await bounce()
    dovecot.deliver(three.mail)
    const before = (await recorded()).length
    await read()
    await eventually(() => isOpen(three.workflowId), 30_000)
    await eventually(async () => (await recorded()).length > before, 30_000)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect((await recorded()).length - before).toBe(1)
  })

  test('an unreadable mail moves to the quarantine folder and is reported; handled mails move to the configured folder', {
    timeout: 60_000,
  }, async () => {
    const four = await bounce()
    const known = dovecot.mails().length
    const unread = (await bounce()).mail
      .toString()
      .replace(/Content-Type: multipart[^\n]*\n/i, 'Content-Type: text/plain\r\n')
      .replace(/^Subject: [^\n]*$/im, 'Subject: hello')
      .replace(/--[^\n]*\n[\s\S]*$/, 'hello\r\n')
    dovecot.deliver(unread)
    dovecot.deliver(Buffer.concat([Buffer.from('Subject: large\r\n\r\n'), Buffer.alloc(1_200_000, 'x\n')]))
    dovecot.deliver(four.mail)
    const intake = await read({
      SOFTBOUNCE_INTAKE_IMAP_PROCESSED_FOLDER: 'Handled',
      SOFTBOUNCE_INTAKE_IMAP_QUARANTINE_FOLDER: 'Unreadable',
    })
    await eventually(() => isOpen(four.workflowId), 30_000)
    await eventually(() => dovecot.mails('Handled').length === 1 && dovecot.mails('Unreadable').length === 2, 30_000)
    // a mail being moved exists twice for a moment
    await eventually(() => dovecot.mails().length === known)
    expect(intake.log()).toMatch(/larger than 1048576 bytes/)
    expect((await recorded()).filter((done) => done === 'unreadable').length).toBeGreaterThan(0)
  })

  test('the connection uses verified TLS and an OAuth2 token; a wrong token is logged and retried', { timeout: 60_000 }, async () => {
    const file = join(folder.path, 'token')
    writeFileSync(file, 'a-wrong-token')
    const env = { SOFTBOUNCE_INTAKE_IMAP_URL: url(dovecot.tlsPort, 'imaps', ''), SOFTBOUNCE_INTAKE_IMAP_TOKEN_FILE: file }
    const distrusted = await read(env)
    await eventually(() => /self.signed certificate/i.test(distrusted.log()), 30_000)
    await distrusted.stop()
    const intake = await read({ ...env, NODE_EXTRA_CA_CERTS: join(folder.path, 'ca.pem') })
    await eventually(() => /the mailbox cannot be read now/.test(intake.log()), 30_000)
    // the token file is renewed externally
    writeFileSync(file, `${token}\n`)
    const five = await bounce()
    dovecot.deliver(five.mail)
    await eventually(() => isOpen(five.workflowId), 40_000)
    expect(intake.log()).not.toContain(token)
  })

  test('of two processes one reads the mailbox, and the other takes over when it dies', { timeout: 120_000 }, async () => {
    const first = await read()
    await eventually(() => first.log().includes('the mailbox is open'), 30_000)
    const second = await read()
    await eventually(() => second.log().includes('another process reads this mailbox'), 30_000)
    const six = await bounce()
    dovecot.deliver(six.mail)
    await eventually(() => isOpen(six.workflowId), 30_000)
    expect(await started(six.workflowId)).toBe(1)
    first.signal('SIGKILL')
    const seven = await bounce()
    dovecot.deliver(seven.mail)
    await eventually(() => isOpen(seven.workflowId), 60_000)
    expect(await started(seven.workflowId)).toBe(1)
  })

  test('repeated disconnects lose no mail, and each bounce acts once', { timeout: 120_000 }, async () => {
    cable = await startProxy(dovecot.port)
    cable.cutAfter = 12_000
    const bounces = await Promise.all(Array.from({ length: 25 }, bounce))
    for (const { mail } of bounces) dovecot.deliver(mail)
    const intake = await read({ SOFTBOUNCE_INTAKE_IMAP_URL: url(cable.port) })
    const line = cable
    const cutting = setInterval(() => line.cut(), 1700)
    try {
      for (const { workflowId } of bounces) await eventually(() => isOpen(workflowId), 90_000)
    } finally {
      clearInterval(cutting)
    }
    line.cutAfter = Number.POSITIVE_INFINITY
    for (const { workflowId } of bounces) expect(await started(workflowId)).toBe(1)
    expect(line.connections).toBeGreaterThan(2)
    await eventually(() => dovecot.mails().every((name) => /:2,.*S/.test(name)), 60_000)
    expect(intake.log()).toContain('the mailbox cannot be read now')
  })

  test('unsolicited FETCH responses for other changes lose no mail', { timeout: 60_000 }, async () => {
    const mails: Awaited<ReturnType<typeof bounce>>[] = []
    for (let i = 0; i < 12; i += 1) mails.push(await bounce())
    for (const { mail } of mails) dovecot.deliver(mail)
    let told = false
    // an unsolicited FETCH: another client marked the last mail as seen (RFC 3501 7.4.2)
    const middle = createTcpServer((socket) => {
      const other = connect(dovecot.port, '127.0.0.1')
      socket.pipe(other)
      other.on('data', (chunk: Buffer) => {
        const begins = /^\* \d+ FETCH \(UID (\d+)/.exec(chunk.toString('latin1'))
        if (begins !== null && !told && chunk.includes('BODY[]')) {
          told = true
          socket.write(`* 999 FETCH (UID ${Number(begins[1]) + mails.length - 1} FLAGS (\\Seen))\r\n`)
        }
        socket.write(chunk)
      })
      for (const [one, two] of [
        [socket, other],
        [other, socket],
      ] as const)
        one.on('error', () => {}).on('close', () => two.destroy())
    })
    await new Promise<void>((resolve) => middle.listen(0, '127.0.0.1', resolve))
    const intake = await read({
      SOFTBOUNCE_INTAKE_IMAP_URL: url((middle.address() as { port: number }).port),
      SOFTBOUNCE_INTAKE_IMAP_PROCESSED_FOLDER: 'Marked',
    })
    for (const { workflowId } of mails) await eventually(() => isOpen(workflowId), 30_000)
    expect(told).toBe(true)
    const texts = () =>
      ['cur', 'new']
        .map((part) => join(dovecot.maildir, '.Marked', part))
        .filter((folder) => existsSync(folder))
        .flatMap((folder) => readdirSync(folder, { withFileTypes: true }))
        .map((file) => readFileSync(join(file.parentPath, file.name), 'latin1'))
    await eventually(
      () => mails.every(({ mail }) => texts().some((text) => text.includes(/Delivered-To: (\S+)/.exec(mail.toString())?.[1] ?? 'nothing'))),
      30_000,
    )
    expect(intake.log()).not.toContain('is larger than')
    middle.close()
  })

  test('if the folders cannot be created, the mailbox is still read; mails stay, marked as seen', { timeout: 60_000 }, async () => {
    writeFileSync(join(dovecot.maildir, '.Nope'), 'no folder')
    dovecot.deliver(Buffer.concat([(await bounce()).mail, Buffer.alloc(1_100_000, 'a\r\n')]))
    const intake = await read({ SOFTBOUNCE_INTAKE_IMAP_QUARANTINE_FOLDER: 'Nope' })
    await eventually(() => intake.log().includes('mails are not moved; they stay, and are marked as read'), 30_000)
    const one = await bounce()
    dovecot.deliver(one.mail)
    await eventually(() => isOpen(one.workflowId), 30_000)
    rmSync(join(dovecot.maildir, '.Nope'))
  })

  test('with a new UIDVALIDITY the mailbox is read from its first mail, and no bounce acts twice', { timeout: 60_000 }, async () => {
    const eight = await bounce()
    dovecot.deliver(eight.mail)
    const intake = await read()
    await eventually(() => isOpen(eight.workflowId), 30_000)
    await intake.stop()
    // Dovecot makes a new UIDVALIDITY when its index files are gone
    for (const name of ['dovecot-uidlist', 'dovecot-uidvalidity', 'dovecot.index', 'dovecot.index.log', 'dovecot.index.cache'])
      rmSync(join(dovecot.maildir, name), { force: true })
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const again = await read()
    await eventually(() => again.log().includes('UIDVALIDITY'), 30_000)
    await eventually(async () => (await recorded()).filter((done) => done === 'ignored').length > 0, 30_000)
    expect(await started(eight.workflowId)).toBe(1)
  })

  test('a mailbox of five thousand mails takes no more memory than a small one', { timeout: 240_000 }, async () => {
    const noise = `Delivered-To: nobody@example.com\r\nReceived: from x by y; z\r\nSubject: noise\r\n\r\n${'a line of a mail that is no bounce\r\n'.repeat(500)}`
    for (let i = 0; i < 5_000; i += 1) dovecot.deliver(noise)
    const last = await bounce()
    dovecot.deliver(last.mail)
    const intake = await read()
    await eventually(() => intake.log().includes('the mailbox is open'), 60_000)
    const memory = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${intake.pid}/status`, 'utf8'))?.[1]) / 1024
    const seen: number[] = []
    const looking = setInterval(() => seen.push(memory()), 500)
    await eventually(() => isOpen(last.workflowId), 230_000)
    clearInterval(looking)
    const early = Math.max(...seen.slice(0, 4))
    // although 85 MiB of mail was read
    expect(Math.max(...seen) - early).toBeLessThan(60)
  })
})
