import { afterEach, expect, test } from 'vitest'
import { ConnectionPool, converse, type NextHop, SmtpSession, type Transaction } from '../../src/delivery/index.js'
import { lacksFamilyOf } from '../../src/delivery/local-address-families.js'
import { polite, startReceivingSystem, startScript } from '../support/receiving-system.js'
import { QUICK } from '../support/skipping-time.js'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})
const path = (port: number): NextHop => ({ kind: 'system', host: '127.0.0.1', port, tls: 'opportunistic' })
const mail = (port: number, to: string, more: Partial<Transaction> = {}): Transaction => ({
  ...{ path: path(port), ehloDomain: 'softbounce.example.com', timeouts: QUICK, sender: 'bounces@example.com', recipient: to },
  content: Buffer.from(`From: a@example.com\r\nMessage-ID: <m@example.com>\r\n\r\nhello ${to}\r\n`),
  beforeContent: async () => true,
  ...more,
})
const nap = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('several messages, one recipient each, share one session', async () => {
  const system = await startReceivingSystem()
  closers.push(system.close)
  let session: SmtpSession | null = null
  for (const to of ['a@example.org', 'b@example.org', 'c@example.org']) {
    const sent = await converse(mail(system.port, to), session)
    expect(sent.result).toMatchObject({ kind: 'reply', at: 'final dot', reply: { code: 250 } })
    session = sent.session
    expect(session?.isOpen).toBe(true)
  }
  expect(session?.sent).toBe(3)
  await session?.end()
  expect(system.connections).toHaveLength(1)
  expect(system.taken.map(({ to, content }) => [to, content.toString().slice(-15)])).toEqual([
    [['a@example.org'], 'a@example.org\r\n'],
    [['b@example.org'], 'b@example.org\r\n'],
    [['c@example.org'], 'c@example.org\r\n'],
  ])
})

test('a refusal counts for its own message only: the session goes on', async () => {
  const system = await startReceivingSystem({ rcpt: ({ address }) => (address?.startsWith('full') ? '452 4.2.2 mailbox full' : undefined) })
  closers.push(system.close)
  const first = await converse(mail(system.port, 'a@example.org'))
  const second = await converse(mail(system.port, 'full@example.org'), first.session)
  expect(second).toMatchObject({ result: { kind: 'reply', at: 'RCPT', reply: { status: '4.2.2' } } })
  const third = await converse(mail(system.port, 'b@example.org'), second.session)
  expect(third).toMatchObject({ result: { kind: 'reply', at: 'final dot', reply: { code: 250 } } })
  await third.session?.end()
  expect(system.connections).toHaveLength(1)
  expect(system.taken.map(({ to }) => to)).toEqual([['a@example.org'], ['b@example.org']])
})

test('a session that its server closed while the message waited for its permit says nothing about the message', async () => {
  const { port, close } = await startScript((line, socket) => {
    // the message is accepted, and the connection closed a moment later
    if (line === '.') setTimeout(() => socket.destroy(), 50)
    return polite(line)
  })
  closers.push(close)
  const { session } = await converse(mail(port, 'a@example.org'))
  expect(session?.isOpen).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(session?.isOpen).toBe(false)
  expect(await converse(mail(port, 'b@example.org'), session)).toMatchObject({ stale: true, session: null })
})

test('a server that does not end the refused transaction is left, which says nothing about the next message', async () => {
  const { port, close } = await startScript((line) => {
    if (line.startsWith('RCPT')) return '450 4.2.0 later\r\n'
    return line === 'RSET' ? '502 5.5.1 what is that\r\n' : polite(line)
  })
  closers.push(close)
  const refused = await converse(mail(port, 'a@example.org'))
  expect(refused).toMatchObject({ result: { kind: 'reply', at: 'RCPT' }, session: { isOpen: true } })
  expect(await converse(mail(port, 'b@example.org'), refused.session)).toMatchObject({ stale: true, session: null })
})

for (const [how, leave] of [
  ['closed', null],
  ['closed with 421', '421 4.4.2 idle for too long\r\n'],
] as const)
  test(`a session that the server has ${how} is reported as stale, and no new one is opened unasked`, async () => {
    const script = await startScript((line, socket, connection) => {
      if (connection > 1 || !line.startsWith('MAIL') || !line.includes('second')) return polite(line)
      if (leave === null) return null
      socket.end(leave)
      return undefined
    })
    closers.push(script.close)
    const first = await converse(mail(script.port, 'a@example.org'))
    const second = await converse(mail(script.port, 'b@example.org', { sender: 'second@example.com' }), first.session)
    expect(second).toMatchObject({ stale: true, session: null, result: { at: 'MAIL' } })
    expect(script.connections).toBe(1)
  })

test.each(['MAIL', 'RCPT', 'DATA'])(
  'a 421 at %s in a reused session is about the session, and in a new one about the message',
  async (at) => {
    const script = await startScript((line, socket, connection) => {
      const mine = line.startsWith(at)
      if (!mine || (connection === 1 && script.heard.filter((heard) => heard.startsWith(at)).length < 2)) return polite(line)
      socket.end('421 4.4.5 Too many messages in this session\r\n')
      return undefined
    })
    closers.push(script.close)
    const first = await converse(mail(script.port, 'a@example.org'))
    const second = await converse(mail(script.port, 'b@example.org'), first.session)
    expect(second).toMatchObject({ stale: true, session: null, result: { kind: 'reply', at, reply: { code: 421 } } })
    const third = await converse(mail(script.port, 'b@example.org'))
    expect(third).toMatchObject({ session: null, result: { kind: 'reply', at, reply: { code: 421 } } })
    expect(third).not.toHaveProperty('stale', true)
  },
)

test('an address of a family that this machine lacks cannot be reached from here', () => {
  const loopback = { lo: [{ family: 'IPv6', internal: true, address: '::1' }] }
  const linkLocal = { family: 'IPv6', internal: false, address: 'fe80::1' }
  const four = { family: 'IPv4', internal: false, address: '192.0.2.10' }
  const six = { family: 'IPv6', internal: false, address: '2001:db8::1' }
  const lacks = (host: string, ...eth0: object[]) => lacksFamilyOf(host, { ...loopback, eth0 } as never)
  expect(lacks('2001:db8::2', four)).toBe(true)
  expect(lacks('2001:db8::2', four, linkLocal)).toBe(true)
  expect(lacks('2001:db8::2', four, six)).toBe(false)
  // the whole network is gone: that passes
  expect(lacks('2001:db8::2')).toBe(false)
  for (const host of ['192.0.2.1', '::1', 'mx.example.org']) expect(lacks(host, four), host).toBe(false)
})

test('a session lost after the final dot of a later message is reported as lost there, and not retried', async () => {
  let dots = 0
  const script = await startScript((line) => {
    if (line === '.') dots += 1
    return line === '.' && dots === 2 ? null : polite(line)
  })
  closers.push(script.close)
  const first = await converse(mail(script.port, 'a@example.org'))
  const second = await converse(mail(script.port, 'b@example.org'), first.session)
  expect(second).toMatchObject({ result: { kind: 'lost', at: 'final dot', afterFinalDot: true }, session: null })
  expect(script.connections).toBe(1)
})

test('an idle session is reused once, for the same next hop only, and not after its timeout', async () => {
  const system = await startReceivingSystem()
  closers.push(system.close)
  const sessions = new ConnectionPool()
  const ended: string[] = []
  const { session } = await converse(mail(system.port, 'a@example.org'))
  if (session === null) throw new Error('it must be open')
  const held = (forMs: number) => ({ path: path(system.port), session, leaseId: 'l1', idleUntil: Date.now() + forMs })
  sessions.keep('example.org', held(100), (id) => ended.push(id))
  expect(sessions.take('example.net', [path(system.port)])).toBeNull()
  expect(sessions.take('example.org', [{ ...path(system.port), tls: 'verify' }])).toBeNull()
  expect(sessions.take('example.org', [path(1), path(system.port)])).toMatchObject({ leaseId: 'l1', session })
  expect(sessions.take('example.org', [path(system.port)])).toBeNull()
  await nap(150)
  expect(ended).toEqual([])
  sessions.keep('example.org', held(50), (id) => ended.push(id))
  await nap(150)
  expect(ended).toEqual(['l1'])
  expect(session.isOpen).toBe(false)
  expect(await sessions.end()).toEqual([])
})

test('the number of messages per session is remembered for the last thousand receiving systems', () => {
  const sessions = new ConnectionPool()
  expect(sessions.mostIn('one.example')).toBe(Number.POSITIVE_INFINITY)
  sessions.endedAfter('one.example', 3)
  sessions.endedAfter('none.example', 0)
  expect([sessions.mostIn('one.example'), sessions.mostIn('none.example')]).toEqual([3, 1])
  for (let n = 0; n < 999; n += 1) sessions.endedAfter(`${n}.example`, 5)
  expect([sessions.mostIn('one.example'), sessions.mostIn('none.example'), sessions.mostIn('998.example')]).toEqual([
    Number.POSITIVE_INFINITY,
    1,
    5,
  ])
})

test('a session that must be verified is not used in clear', async () => {
  const script = await startScript((line) => (line.startsWith('STARTTLS') ? '454 4.7.0 TLS is not to be had\r\n' : polite(line)))
  closers.push(script.close)
  const strict = new SmtpSession(
    mail(script.port, 'a@example.org', { path: { ...path(script.port), tls: 'verify', servername: 'mx.example.org' } }),
  )
  expect((await strict.send(mail(script.port, 'a@example.org'))).result).toMatchObject({ kind: 'policy' })
  expect(script.heard.some((line) => line.startsWith('MAIL'))).toBe(false)
})
