import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { parseReply, type Stage } from '../../src/bounce/index.js'
import { allowedHosts, asksForNext, deliver, type NextHop, nextHopTo, type TransactionResult } from '../../src/delivery/index.js'
import { polite, startReceivingSystem, startScript } from '../support/receiving-system.js'
import { QUICK } from '../support/skipping-time.js'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

const policy = (mode: 'enforce' | 'testing') => ({
  ...{ id: '1', mode, mx: ['mx1.example.org'] },
  ...{ fetchedAt: new Date(0), expiresAt: new Date(1) },
})

describe('the path to a host', () => {
  const options = { port: 25, bindAddresses: [] }
  const host = { name: 'mx1.example.org', address: '192.0.2.1' }
  const checkPeer = () => null

  test('the TLS level comes from the policy, else from TLSA records, else it is opportunistic', () => {
    expect(nextHopTo(host, null, options)).toEqual({
      ...{ kind: 'system', host: '192.0.2.1', port: 25, tls: 'opportunistic', servername: 'mx1.example.org' },
    })
    expect(nextHopTo(host, policy('testing'), options).tls).toBe('opportunistic')
    expect(nextHopTo(host, policy('enforce'), options).tls).toBe('verify')
    expect(nextHopTo({ ...host, checkPeer }, null, options)).toMatchObject({ tls: 'dane', checkPeer })
    expect(nextHopTo({ ...host, checkPeer }, policy('enforce'), options)).toMatchObject({ tls: 'verify', checkPeer })
  })

  test('an address literal has no servername; the local address has the same family', () => {
    expect(nextHopTo({ name: '192.0.2.1', address: '192.0.2.1' }, null, options)).not.toHaveProperty('servername')
    const both = { port: 25, bindAddresses: ['2001:db8::2', '198.51.100.1'] }
    expect(nextHopTo(host, null, both).localAddress).toBe('198.51.100.1')
    expect(nextHopTo({ ...host, address: '2001:db8::1' }, null, both).localAddress).toBe('2001:db8::2')
    expect(nextHopTo(host, null, { port: 25, bindAddresses: ['2001:db8::2'] })).not.toHaveProperty('localAddress')
  })

  test('an enforced policy restricts the hosts; a testing policy, or none, does not', () => {
    const hosts = [host, { name: 'mx2.example.org', address: '192.0.2.2' }]
    expect(allowedHosts(hosts, policy('enforce'))).toEqual([host])
    expect(allowedHosts(hosts, policy('testing'))).toEqual(hosts)
    expect(allowedHosts(hosts, null)).toEqual(hosts)
  })
})

test('the next host is tried after a failed connection, or a transient refusal before RCPT', () => {
  const said = (at: Stage, text: string): TransactionResult => ({ kind: 'reply', at, reply: parseReply(text), mailServer: 'mx' })
  const lost = (at: Stage): TransactionResult => ({ kind: 'lost', at, afterFinalDot: at === 'final dot', text: '', mailServer: 'mx' })
  for (const at of ['connect', 'banner', 'EHLO', 'STARTTLS', 'MAIL'] as const) {
    expect(asksForNext(lost(at)), `lost at ${at}`).toBe(true)
    expect(asksForNext(said(at, '421 4.3.2 not now')), `421 at ${at}`).toBe(true)
  }
  for (const at of ['RCPT', 'DATA', 'final dot'] as const) {
    expect(asksForNext(lost(at)), `lost at ${at}`).toBe(false)
    expect(asksForNext(said(at, '450 4.3.2 not now')), `450 at ${at}`).toBe(false)
    expect(asksForNext(said(at, '550 5.7.1 no')), `550 at ${at}`).toBe(false)
  }
  expect(asksForNext(said('final dot', '250 2.0.0 Ok'))).toBe(false)
  expect(asksForNext(said('MAIL', '550 5.7.1 no'))).toBe(false)
  // "no mail service here" is about the host (RFC 7504)
  for (const at of ['banner', 'EHLO'] as const) expect(asksForNext(said(at, '521 5.3.2 no mail here')), at).toBe(true)
  for (const kind of ['refused', 'unreachable', 'local'] as const)
    expect(asksForNext({ kind, text: '', mailServer: 'mx' }), kind).toBe(true)
  expect(asksForNext({ kind: 'policy', at: 'STARTTLS', text: '', mailServer: 'mx' })).toBe(true)
  expect(asksForNext({ kind: 'stopped', mailServer: 'mx' })).toBe(false)
  expect(asksForNext({ kind: 'unsupported', status: '5.6.3', text: '', mailServer: 'mx' })).toBe(false)
})

describe('hosts one after another', () => {
  const path = (port: number, more: Partial<NextHop> = {}): NextHop => ({
    kind: 'system',
    host: '127.0.0.1',
    port,
    tls: 'opportunistic',
    ...more,
  })
  const walk = (paths: readonly NextHop[], mayGoOn?: () => Promise<boolean>) =>
    deliver(
      paths,
      {
        ...{ ehloDomain: 'softbounce.example.com', timeouts: QUICK, sender: 'bounces@example.com', recipient: 'ann@example.org' },
        ...{ content: Buffer.from('From: a@example.com\r\n\r\nhello\r\n'), beforeContent: async () => true },
      },
      null,
      mayGoOn,
    )
  /** Starts a host that answers one command with this reply. */
  const says = async (command: string, reply: string | null) => {
    const script = await startScript((line) => (line.startsWith(command) && (command !== '' || line === '') ? reply : polite(line)))
    closers.push(script.close)
    return script
  }

  test('hosts are tried until one accepts the message', async () => {
    const system = await startReceivingSystem()
    closers.push(system.close)
    const busy = await says('EHLO', '421 4.3.2 busy\r\n')
    const { result, path: by, session } = await walk([path(await freePort()), path(busy.port), path(system.port), path(1)])
    await session?.end()
    expect(result).toMatchObject({ kind: 'reply', at: 'final dot', reply: { code: 250 } })
    expect(by.port).toBe(system.port)
    expect(system.taken).toHaveLength(1)
  })

  test('if all hosts fail, the most informative result wins, and a permanent refusal loses to a transient failure', async () => {
    const refused = path(await freePort())
    const noMail = await says('', '521 5.3.2 no mail here\r\n')
    const noTls = await says('STARTTLS', '454 4.7.0 TLS is not to be had\r\n')
    const broken = await says('EHLO', null)
    const busy = await says('MAIL', '421 4.3.2 busy\r\n')
    const order: NextHop[] = [path(noMail.port), path(noTls.port, { tls: 'verify' }), refused, path(broken.port), path(busy.port)]
    // each result is more informative than those before it, in any order
    const kinds = ['reply', 'policy', 'refused', 'lost', 'reply']
    for (let last = 0; last < order.length; last += 1) {
      const some = order.slice(0, last + 1)
      for (const paths of [some, some.toReversed()]) {
        const { result, session } = await walk(paths)
        expect(result.kind, `${last}`).toBe(kinds[last])
        expect(session).toBeNull()
      }
    }
    expect((await walk(order)).result).toMatchObject({ reply: { code: 421 } })
    // a local failure is the least informative
    const local = path(25, { localAddress: '192.0.2.99' })
    expect((await walk([local])).result.kind).toBe('local')
    expect((await walk([local, path(noMail.port)])).result).toMatchObject({ reply: { code: 521 } })
  })

  test('no further host is tried when the caller refuses', async () => {
    const system = await startReceivingSystem()
    closers.push(system.close)
    const { result } = await walk([path(await freePort()), path(system.port)], async () => false)
    expect(result.kind).toBe('refused')
    expect(system.connections).toHaveLength(0)
  })
})
