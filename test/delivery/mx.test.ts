import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isAllowed, isOutside, type MailHostOptions, mailHosts, reachableHosts, resolverOf } from '../../src/delivery/index.js'
import { type NameServer, startNameServer, withoutNameServer } from '../support/name-server.js'

describe.skipIf(withoutNameServer !== null)(`the hosts of a domain${withoutNameServer === null ? '' : ` (${withoutNameServer})`}`, () => {
  let server: NameServer
  const options: MailHostOptions = { dnsServers: [], port: 25, allowPrivateMx: true, dane: false }
  const hosts = (domain: string, more: Partial<MailHostOptions> = {}) =>
    mailHosts(domain, { ...options, ...more }, resolverOf([server.address]))

  beforeAll(async () => {
    server = await startNameServer({
      'example.org': `
@ IN MX 20 mx2
@ IN MX 10 mx1
@ IN MX 10 mx1b
mx1 IN A 127.0.0.11
mx1 IN AAAA ::1
mx1b IN A 127.0.0.12
mx2 IN A 127.0.0.13
own IN A 127.0.0.21
mx_1 IN A 127.0.0.31
under IN MX 10 mx_1
under IN A 127.0.0.32
nohost IN MX 10 a\\032b
nohost IN A 127.0.0.33
six IN AAAA ::1
literal IN MX 10 100.64.0.5.
somewhere IN MX 5 169.254.169.254.
somewhere IN MX 10 both
both IN A 127.0.0.22
both IN A 198.41.0.4
nullmx IN MX 0 .
gone IN MX 10 nowhere
lost IN MX 10 mx.broken.example.
mapped IN MX 10 mapped-host
mapped-host IN AAAA ::ffff:127.0.0.1
odd IN MX 5 google.com/.mx1.example.org.
odd IN MX 10 mx2
three IN A 127.0.2.1
three IN A 127.0.2.2
three IN A 127.0.2.3
txt IN TXT "nothing that takes mail"
xn--bcher-kva IN MX 10 mx2`,
      'broken.example': null,
    })
  })
  afterAll(() => server.close())

  test('the hosts are those of the MX records by preference; equal ones in random order', async () => {
    const orders = new Set<string>()
    for (let i = 0; i < 40; i += 1) {
      const found = await hosts('example.org')
      if (found.kind !== 'hosts') throw new Error(JSON.stringify(found))
      const names = found.hosts.map(({ name }) => name)
      expect(names.at(-1)).toBe('mx2.example.org')
      expect(found.hosts.find(({ name }) => name === 'mx1b.example.org')?.address).toBe('127.0.0.12')
      expect(
        found.hosts
          .filter(({ name }) => name === 'mx1.example.org')
          .map(({ address }) => address)
          .sort(),
      ).toEqual(['127.0.0.11', '::1'])
      orders.add(names[0] as string)
    }
    expect([...orders].sort()).toEqual(['mx1.example.org', 'mx1b.example.org'])
  })

  test('without MX records the domain itself is the host, by IPv4 or IPv6 (RFC 5321 5.1)', async () => {
    expect(await hosts('own.example.org')).toEqual({ kind: 'hosts', hosts: [{ name: 'own.example.org', address: '127.0.0.21' }] })
    expect(await hosts('six.example.org')).toEqual({ kind: 'hosts', hosts: [{ name: 'six.example.org', address: '::1' }] })
  })

  test('an address literal is its own host; an international domain is looked up in A-labels', async () => {
    expect(await hosts('[127.0.0.9]')).toEqual({ kind: 'hosts', hosts: [{ name: '127.0.0.9', address: '127.0.0.9' }] })
    expect(await hosts('bücher.example.org')).toMatchObject({ kind: 'hosts', hosts: [{ name: 'mx2.example.org' }] })
  })

  test('a private address given as an MX name or address literal is refused like a resolved one', async () => {
    const inside = [
      '[127.0.0.9]',
      '[100.64.0.5]',
      '[169.254.169.254]',
      '[IPv6:::1]',
      '[IPv6:::ffff:127.0.0.1]',
      '[IPv6:fd00::1]',
      '[IPv6:fe80::1]',
    ]
    for (const domain of [...inside, 'literal.example.org'])
      expect(await hosts(domain, { allowPrivateMx: false }), domain).toMatchObject({ kind: 'unroutable' })
    expect(await hosts('[198.41.0.4]', { allowPrivateMx: false })).toMatchObject({ kind: 'hosts', hosts: [{ address: '198.41.0.4' }] })
    // of several addresses, only the public ones
    expect(await hosts('somewhere.example.org', { allowPrivateMx: false })).toMatchObject({
      kind: 'hosts',
      hosts: [{ address: '198.41.0.4' }],
    })
  })

  test('a null MX means that the domain accepts no mail (RFC 7505)', async () => {
    expect(await hosts('nullmx.example.org')).toEqual({
      kind: 'null mx',
      text: '556 5.1.10 nullmx.example.org takes no mail (null MX, RFC 7505)',
    })
  })

  test('a missing domain, or one without mail hosts, is distinguished from missing hosts', async () => {
    expect(await hosts('nobody.example.org')).toMatchObject({ kind: 'no domain' })
    expect(await hosts('txt.example.org')).toMatchObject({ kind: 'no domain' })
    expect(await hosts('gone.example.org')).toMatchObject({ kind: 'unroutable' })
  })

  test('failing name servers of the domain are distinguished from our own silent resolver', async () => {
    expect(await hosts('broken.example')).toMatchObject({ kind: 'unresolved' })
    expect(await hosts('lost.example.org')).toMatchObject({ kind: 'unresolved' })
    expect(await hosts('refused.example.net')).toMatchObject({ kind: 'unresolved' })
    const closed = await mailHosts('example.org', options, resolverOf(['127.0.0.1:9']))
    expect(closed).toMatchObject({ kind: 'local', text: expect.stringContaining('no name server of ours answers') })
  })

  test('hosts with private addresses are not contacted, unless allowed', async () => {
    expect(await hosts('example.org', { allowPrivateMx: false })).toMatchObject({
      kind: 'unroutable',
      text: expect.stringContaining('direct.allowPrivateMx'),
    })
    expect(await hosts('own.example.org', { allowPrivateMx: false })).toMatchObject({ kind: 'unroutable' })
    expect(await hosts('[127.0.0.9]', { allowPrivateMx: false })).toMatchObject({ kind: 'unroutable' })
    expect(await hosts('mapped.example.org', { allowPrivateMx: false })).toMatchObject({ kind: 'unroutable' })
    for (const inside of [
      '::1',
      '::ffff:10.0.0.1',
      'fd00::1',
      'fe80::1',
      '169.254.1.1',
      '100.64.0.1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '224.0.0.1',
      '0.0.0.0',
      'x',
    ])
      expect(isOutside(inside), inside).toBe(false)
    for (const outside of ['198.41.0.4', '2001:503:ba3e::2:30', '64:ff9b::c629:4', '::ffff:198.41.0.4'])
      expect(isOutside(outside), outside).toBe(true)
  })

  test('of a host with private and public addresses, only the public ones are contacted', async () => {
    expect(await hosts('both.example.org', { allowPrivateMx: false })).toEqual({
      kind: 'hosts',
      hosts: [{ name: 'both.example.org', address: '198.41.0.4' }],
    })
  })

  test('a host is skipped if its TLSA lookup fails (RFC 7672 2.1.2), not if it has no TLSA records', async () => {
    const resolve = resolverOf([server.address])
    const failing = (code: string) => (name: string, type: string) =>
      type === 'TLSA' ? Promise.reject(Object.assign(new Error(code), { code })) : resolve(name, type)
    expect(await mailHosts('own.example.org', { ...options, dane: true }, failing('ESERVFAIL'))).toMatchObject({
      kind: 'unresolved',
      text: expect.stringContaining('TLSA records of own.example.org'),
    })
    const onlyOneFails = (name: string, type: string) => failing(name.includes('mx1.') ? 'ESERVFAIL' : 'ENODATA')(name, type)
    const found = await mailHosts('example.org', { ...options, dane: true }, onlyOneFails)
    expect(found.kind === 'hosts' && found.hosts.map(({ name }) => name)).toEqual(['mx1b.example.org', 'mx2.example.org'])
    expect(await mailHosts('own.example.org', { ...options, dane: true }, failing('ENODATA'))).toEqual({
      kind: 'hosts',
      hosts: [{ name: 'own.example.org', address: '127.0.0.21' }],
    })
  })

  test('an underscore in a mail host’s name is accepted; MX records without a valid host make a domain unroutable', async () => {
    expect(await hosts('under.example.org')).toEqual({ kind: 'hosts', hosts: [{ name: 'mx_1.example.org', address: '127.0.0.31' }] })
    expect(await hosts('nohost.example.org')).toMatchObject({ kind: 'unroutable' })
  })

  test('an invalid host name is skipped, and no address is contacted twice', async () => {
    expect(await hosts('odd.example.org')).toMatchObject({ kind: 'hosts', hosts: [{ name: 'mx2.example.org' }] })
    const found = await hosts('three.example.org')
    expect(found.kind === 'hosts' && found.hosts.map(({ address }) => address).sort()).toEqual(['127.0.2.1', '127.0.2.2', '127.0.2.3'])
  })
})

test('a resolver that answers nothing is a local failure; one that answers for the root is not', async () => {
  const silent = (of: (name: string) => boolean) => (name: string) =>
    of(name) ? Promise.reject(Object.assign(new Error('timeout'), { code: 'ETIMEOUT' })) : Promise.resolve(['a.root-servers.net'])
  const options = { dnsServers: [], port: 25, allowPrivateMx: true, dane: false }
  expect(
    await mailHosts(
      'example.org',
      options,
      silent(() => true),
    ),
  ).toMatchObject({ kind: 'local', text: expect.stringContaining('ETIMEOUT') })
  expect(
    await mailHosts(
      'example.org',
      options,
      silent((name) => name !== '.'),
    ),
  ).toMatchObject({ kind: 'unresolved' })
})

test('with a single source address, hosts of the other address family are skipped', () => {
  const [four, six] = [
    { name: 'mx.example.org', address: '192.0.2.1' },
    { name: 'mx.example.org', address: '2001:db8::1' },
  ]
  expect(reachableHosts([four, six], [])).toEqual([four, six])
  expect(reachableHosts([four, six], ['198.51.100.1'])).toEqual([four])
  expect(reachableHosts([four, six], ['2001:db8::2'])).toEqual([six])
})

test('at most five reachable hosts are tried', () => {
  const many = Array.from({ length: 7 }, (_, i) => ({ name: 'mx.example.org', address: `2001:db8::${i}` }))
  const four = { name: 'mx.example.org', address: '192.0.2.1' }
  expect(reachableHosts([...many, four], [])).toEqual(many.slice(0, 5))
  expect(reachableHosts([...many, four], ['198.51.100.1'])).toEqual([four])
})

test('a policy’s *. matches exactly one label (RFC 8461 4.1)', () => {
  const policy = { mx: ['mail.example.org', '*.mx.example.org'] }
  for (const host of ['mail.example.org', 'MAIL.example.org', 'a.mx.example.org']) expect(isAllowed(host, policy), host).toBe(true)
  for (const host of ['mx.example.org', 'a.b.mx.example.org', 'xmail.example.org']) expect(isAllowed(host, policy), host).toBe(false)
})
