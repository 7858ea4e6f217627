/** A real Dovecot behind a proxy that spoils what it sends: mails that come empty, cut short or not at all, and refusals. */
import { readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { DEFAULT_RETRY_STATUSES, parseRetryStatuses } from '../../src/bounce/index.js'
import { canonicalMessage, dayOf, sentId, signReturnPath } from '../../src/delivery/index.js'
import { MailReceiver, watchImap } from '../../src/intake/index.js'
import { createLogger } from '../../src/logger.js'
import { storeSent } from '../../src/store/index.js'
import { report } from '../support/bounce-mails.js'
import { type Dovecot, PASSWORD, startDovecot, USER } from '../support/dovecot.js'
import { whyNot } from '../support/programs.js'
import { startProxy, type TcpProxy } from '../support/proxy.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { eventually, MESSAGE } from '../support/skipping-time.js'

const returnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 7)], validDays: 28 }
const reason = whyNot(['dovecot'])

/** The body of a mail in a FETCH response, as a literal. */
const BODY = / BODY\[\]<0> \{(\d+)\}\r\n/

/** Spoils the first `times` responses that carry a body. `null` closes the connection within the response. */
function spoiling(times: number, spoil: (before: string, body: string, after: string) => string | null) {
  let left = times
  return (chunk: Buffer): Buffer | null => {
    const text = chunk.toString('latin1')
    const [literal, length] = BODY.exec(text) ?? []
    if (literal === undefined || left === 0) return chunk
    left -= 1
    const at = text.indexOf(literal)
    const from = at + literal.length
    const spoilt = spoil(text.slice(0, at), text.slice(from, from + Number(length)), text.slice(from + Number(length)))
    return spoilt === null ? null : Buffer.from(spoilt, 'latin1')
  }
}
const literal = (body: string) => ` BODY[]<0> {${body.length}}\r\n${body}`
const empty = (before: string, _: string, after: string) => `${before}${literal('')}${after}`
const half = (before: string, body: string, after: string) => `${before}${literal(body.slice(0, body.length / 2))}${after}`
const without = (before: string, _: string, after: string) => `${before}${after}`

vi.setConfig({ testTimeout: 300_000 })
describe.skipIf(reason !== null)(`a mailbox${reason === null ? '' : ` (${reason})`}`, () => {
  let world: RealWorld
  let dovecot: Dovecot
  let proxy: TcpProxy
  let log = ''
  let stop: () => Promise<void> = async () => {}
  beforeAll(async () => {
    world = await startRealWorld({})
  })
  afterEach(async () => {
    await stop()
    await proxy.close()
    await dovecot.close()
  })
  afterAll(() => world.close())

  let n = 0
  async function bounce() {
    n += 1
    const [messageId, recipient] = [`x${n}@example.com`, `x${n}@example.org`]
    const id = sentId(messageId, recipient)
    const row = { id, messageId, recipient, envelopeRecipient: recipient, sender: 'shop@example.com', options: null }
    await storeSent(world.database, canonicalMessage(Buffer.from(MESSAGE)), [row], new Date())
    const returnPath = signReturnPath(returnPaths, { id, day: dayOf(new Date()), send: 0 }, 'shop@example.com')
    const top = ['Return-Path: <>', `Delivered-To: ${returnPath}`, 'Received: from mx.example.net by mail.example.com']
    dovecot.deliver(report({ recipient }, { top }))
    return { workflowId: world.client.workflowId(recipient, messageId) }
  }
  async function read(spoil: ReturnType<typeof spoiling> | null) {
    dovecot = await startDovecot()
    proxy = await startProxy(dovecot.port)
    proxy.alter(spoil)
    log = ''
    const write = (line: string) => {
      log += line
    }
    const logger = createLogger('info', { write })
    const settings = { returnPaths, ownHosts: [], retryStatuses: parseRetryStatuses(DEFAULT_RETRY_STATUSES), isTrusted: false }
    const intake = new MailReceiver({ client: world.client, database: world.database, settings, now: () => new Date() })
    const mailbox = {
      host: '127.0.0.1',
      port: proxy.port,
      tls: 'off',
      user: USER,
      password: PASSWORD,
      tokenFile: null,
      folder: 'INBOX',
    } as const
    const folders = { handledFolder: null, unreadableFolder: 'Unreadable' }
    return () => {
      const { close } = watchImap(
        intake,
        world.database,
        { ...mailbox, ...folders, maxBytes: 1_000_000, rememberedForMs: 30 * 86_400_000 },
        logger,
      )
      stop = close
    }
  }
  const isOpen = (workflowId: string) => world.client.isOpen({ workflowId })

  test.each([
    ['is empty at first', spoiling(2, empty)],
    ['is cut short at first', spoiling(2, half)],
    ['is cut short in one connection', spoiling(3, half)],
    ['has no body at first', spoiling(2, without)],
    ['ends with the connection', spoiling(2, () => null)],
    ['is empty in one connection, and whole in the next', spoiling(3, empty)],
  ])('a mail that %s is asked for again, and acts', async (_, spoil) => {
    const start = await read(spoil)
    const one = await bounce()
    start()
    await eventually(() => isOpen(one.workflowId), 60_000)
    await eventually(() => dovecot.mails().some((name) => /:2,.*S/.test(name)), 20_000)
    expect(dovecot.mails('Unreadable')).toEqual([])
    expect(log).not.toContain('unauthenticated')
  })

  test('the mails behind one that never comes are read, and that one is quarantined after several tries', async () => {
    const start = await read(null)
    const [first, second] = [await bounce(), await bounce()]
    proxy.alter((chunk) => {
      const text = chunk.toString('latin1')
      const at = /\* 1 FETCH \(UID 1 [\s\S]*? BODY\[\]<0> \{(\d+)\}\r\n/.exec(text)
      if (at === null) return chunk
      const from = at.index + at[0].length
      const head = at[0].replace(/\{\d+\}\r\n$/, '{0}\r\n')
      return Buffer.from(text.slice(0, at.index) + head + text.slice(from + Number(at[1])), 'latin1')
    })
    start()
    await eventually(() => dovecot.mails('Unreadable').length === 1, 110_000)
    expect(log).toContain('"tries":8')
    expect(await isOpen(second.workflowId)).toBe(true)
    expect(await isOpen(first.workflowId)).toBe(false)
  })

  test('a mail whose stated size is an estimate is accepted in the second connection, and after a few such mails at once', async () => {
    const start = await read(null)
    proxy.alter((chunk) =>
      Buffer.from(
        chunk.toString('latin1').replace(/RFC822\.SIZE (\d+)/g, (_, size) => `RFC822.SIZE ${Number(size) + 7}`),
        'latin1',
      ),
    )
    start()
    for (let i = 0; i < 5; i += 1) {
      const one = await bounce()
      await eventually(() => isOpen(one.workflowId), 100_000)
    }
    expect(log.match(/did not send all of a mail/g)).toHaveLength(3)
    expect(log).not.toContain('unauthenticated')
  })

  test('a mailbox that is made anew while a mail is missing', async () => {
    const start = await read(spoiling(3, empty))
    const one = await bounce()
    start()
    await eventually(() => log.includes('did not send all of a mail'), 30_000)
    // a new UIDVALIDITY
    const lists = readdirSync(dovecot.maildir).filter((name) => /^dovecot-uid/.test(name) || name.startsWith('dovecot.index'))
    for (const name of lists) renameSync(join(dovecot.maildir, name), join(dovecot.maildir, `old-${name}`))
    await eventually(() => isOpen(one.workflowId), 60_000)
    expect(log).not.toContain('unauthenticated')
  })

  test('what the server said when it refused a move is passed on', async () => {
    const start = await read(null)
    // a folder of that name cannot be made, for a file of the name is there
    writeFileSync(join(dovecot.maildir, '.Unreadable'), '')
    dovecot.deliver(Buffer.concat([Buffer.from('Subject: large\r\n\r\n'), Buffer.alloc(1_200_000, 'x\n')]))
    start()
    await eventually(() => log.includes('mails are not moved; they stay, and are marked as read'), 30_000)
    const [, why] = /"why":"([^"]+)","message":"mails are not moved/.exec(log) ?? []
    expect(why).toMatch(/Unreadable|Mailbox|doesn't exist|Internal error/i)
    expect(why).not.toBe('the server refused it')
  })
})
