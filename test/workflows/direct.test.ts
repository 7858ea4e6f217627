import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { addressKey } from '../../src/bounce/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { destinations, pause, resume } from '../../src/throttle/index.js'
import { progress } from '../../src/workflows/retry-bounced-message.js'
import { type NameServer, startNameServer, withoutNameServer } from '../support/name-server.js'
import { type ReceivingSystem, startBlackHole, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, DAY, deliverySettings, eventually, start, startWorld, type World } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const DIRECT = { mtaSts: true, dane: false, dnsServers: [] as string[], bindAddresses: [] as string[], allowPrivateMx: true }

describe.skipIf(withoutNameServer !== null)(`direct delivery${withoutNameServer === null ? '' : ` (${withoutNameServer})`}`, () => {
  let names: NameServer
  let world: World
  let port: number
  let first: ReceivingSystem
  let second: ReceivingSystem
  const closers: (() => Promise<void>)[] = []
  let n = 0

  beforeAll(async () => {
    port = await freePort()
    names = await startNameServer({
      'example.org': `
@ IN MX 10 mx1.mail.example.net.
@ IN MX 20 mx2.mail.example.net.
closed IN MX 10 closed.mail.example.net.
closed IN MX 20 mx2.mail.example.net.
only IN MX 10 closed.mail.example.net.
nullmx IN MX 0 .
gone IN MX 10 nowhere
own IN A 127.0.0.1
two IN MX 10 mx1.mail.example.net.
two IN MX 20 mx.other.example.
hole1 IN MX 10 hole1.mail.example.net.
hole2 IN MX 10 hole2.mail.example.net.
xn--bcher-kva IN MX 10 mx1.mail.example.net.`,
      'mail.example.net': 'mx1 IN A 127.0.0.1\nmx2 IN A 127.0.0.2\nclosed IN A 127.0.0.3\nhole1 IN A 127.0.0.4\nhole2 IN A 127.0.0.5',
      'other.example': 'mx IN A 127.0.0.2',
      'broken.example': null,
    })
    first = await startReceivingSystem({}, { port })
    second = await startReceivingSystem({}, { host: '127.0.0.2', port })
    world = await startWorld({ settings: { direct: { ...DIRECT, port, dnsServers: [names.address] } } })
    closers.push(first.close, second.close, world.close, names.close)
  })
  afterAll(async () => {
    for (const close of closers) await close()
  })
  beforeEach(() => {
    n += 1
    for (const system of [first, second]) {
      system.say = {}
      system.taken.length = 0
      system.connections.length = 0
    }
  })
  const person = (domain = 'example.org') => `ann${n}@${domain}`
  const send = async (recipient = person(), more: Parameters<typeof bounced>[1] = {}) =>
    start(
      world,
      bounced(await world.currentTime(), { recipient, messageId: `m${n}@example.com`, ...more }),
      `bounce/${addressKey(recipient)}/m${n}@example.com`,
    )
  const result = async (...about: Parameters<typeof send>) => (await send(...about)).result()
  const listed = (recipient = person()) => findSuppression(world.database.db, recipient, world.now())

  test('direct delivery contacts the first MX host, and its domain is the destination', async () => {
    expect(await result()).toMatchObject({
      outcome: 'delivered',
      confirmed: true,
      retries: 1,
      attempts: [{ mailServer: `mx1.mail.example.net:${port}` }],
    })
    expect([first.taken.length, second.connections.length]).toEqual([1, 0])
    const row = await world.database.db.selectFrom('attempts').selectAll().where('recipient', '=', person()).executeTakeFirstOrThrow()
    expect(row.destination).toBe('example.net')
  })

  test('a domain without MX and an internationalized domain are reached too', async () => {
    expect(await result(person('own.example.org'))).toMatchObject({ outcome: 'delivered' })
    expect(await result(person('bücher.example.org'))).toMatchObject({ outcome: 'delivered' })
    expect(first.taken.map(({ to }) => to[0])).toEqual([person('own.example.org'), person('bücher.example.org')])
  })

  test('the next host is tried in the same attempt after a connect failure, or a 4xx reply up to MAIL', async () => {
    expect(await result(person('closed.example.org'))).toMatchObject({ outcome: 'delivered', retries: 1 })
    first.say = { banner: () => NOT_NOW }
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1, attempts: [{ mailServer: `mx2.mail.example.net:${port}` }] })
    n += 1
    first.say = { mail: () => '452 4.3.2 Connection rate limit exceeded' }
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    n += 1
    first.say = { banner: () => '554 5.3.2 no mail service here' }
    expect(await result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(second.taken).toHaveLength(4)
  })

  test('after RCPT no other host is tried', async () => {
    first.say = { rcpt: () => '451 4.3.0 not now' }
    const handle = await send()
    await world.environment.sleep('70 minutes')
    expect(await handle.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.3.0' } })
    first.say = { rcpt: () => '550 5.1.1 no such user' }
    expect(await handle.result()).toMatchObject({ outcome: 'rejected' })
    expect(second.connections).toHaveLength(0)
  })

  test('after a connection lost at the final dot the same host is tried again', async () => {
    let lost = 0
    first.say = {
      server: {
        onData: (stream, _session, done) => {
          stream.resume()
          stream.on('end', () => {
            lost += 1
            if (lost === 1) (stream as unknown as { destroy(): void }).destroy()
            done(null)
          })
        },
      },
    }
    await first.close()
    await first.open()
    const handle = await send()
    await handle.result()
    expect(second.connections).toHaveLength(0)
    first.say = {}
    await first.close()
    await first.open()
  })

  test('if every host fails, an SMTP reply counts more than a refused connection', async () => {
    second.say = { banner: () => NOT_NOW }
    const handle = await send(person('closed.example.org'))
    await world.environment.sleep('70 minutes')
    expect(await handle.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.3.2', reply: NOT_NOW } })
    await handle.cancel()
    const closed = await send(person('only.example.org'))
    await world.environment.sleep('70 minutes')
    expect(await closed.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.4.1' } })
    await closed.cancel()
  })

  test('a null MX rejects for good with 5.1.10', async () => {
    expect(await result(person('nullmx.example.org'))).toMatchObject({ outcome: 'rejected', retries: 1, attempts: [{ status: '5.1.10' }] })
    expect(await listed(person('nullmx.example.org'))).toMatchObject({ reason: 'rejected', until: null })
  })

  test('a pause also delays outcomes decided by DNS alone', async () => {
    await pause(world.database, 'operator ann')
    const handle = await send(person('nullmx.example.org'))
    await world.environment.sleep('1 day')
    expect(await handle.query(progress)).toMatchObject({ retry: 1, state: 'sending', lastAttempt: null })
    await resume(world.database)
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', attempts: [{ status: '5.1.10' }] })
  })

  test('a host of another destination needs that destination’s permit, and feedback goes to the one that replied', async () => {
    first.say = { banner: () => NOT_NOW }
    const rate = async (name: string) => (await destinations(world.database, 1, name))[0]
    const before = await rate('other.example')
    expect(before).toBeUndefined()
    expect(await result(person('two.example.org'))).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(await rate('other.example')).toMatchObject({ said: { outcome: 'accepted' } })
    // its lease is released with the next transaction, or soon after
    await eventually(async () => (await rate('other.example'))?.connectionsNow === 0)
    expect(await rate('example.net')).toMatchObject({ said: { status: '4.3.2' } })
    // a paused destination’s host is skipped
    n += 1
    await pause(world.database, 'operator ann', 'other.example')
    const handle = await send(person('two.example.org'))
    await world.environment.sleep('70 minutes')
    expect(await handle.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.3.2' } })
    await resume(world.database, 'other.example')
    await handle.cancel()
  })

  test('a nonexistent domain rejects the message without suppression; nonexistent hosts are a transient failure', async () => {
    expect(await result(person('nobody.example.org'))).toMatchObject({ outcome: 'rejected', attempts: [{ status: '5.1.2' }] })
    expect(await listed(person('nobody.example.org'))).toBeNull()
    const handle = await send(person('gone.example.org'))
    await world.environment.sleep('70 minutes')
    expect(await handle.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.4.4' } })
    await handle.cancel()
  })

  describe('promise 3: local failures', { timeout: 120_000 }, () => {
    test('a day of silent resolvers uses up no retry and suppresses nobody', async () => {
      const before = world.settings
      world.settings = deliverySettings({ direct: { ...DIRECT, port, dnsServers: ['127.0.0.1:9'] } })
      const cutOff = await startWorld({ settings: { direct: { ...DIRECT, port, dnsServers: ['127.0.0.1:9'] } } })
      try {
        const handle = await start(cutOff, bounced(await cutOff.currentTime(), { recipient: person() }))
        await cutOff.environment.sleep('25 hours')
        expect(await handle.query(progress)).toMatchObject({ retry: 1, state: 'sending', lastAttempt: null })
        const pending = (await handle.describe()).raw.pendingActivities?.[0]
        expect(pending?.lastFailure?.message).toMatch(/no name server of ours answers/)
        expect(await findSuppression(cutOff.database.db, person(), cutOff.now())).toBeNull()
        await handle.cancel()
      } finally {
        world.settings = before
        await cutOff.close()
      }
    })

    test('failing name servers of a domain count only with proof that other destinations are reachable', async () => {
      // destinations reached by other tests are then more than an hour old
      await world.environment.sleep('2 hours')
      const handle = await send(person('broken.example'))
      await world.environment.sleep(DAY)
      expect(await handle.query(progress)).toMatchObject({ retry: 1, lastAttempt: null })
      n += 1
      expect(await result()).toMatchObject({ outcome: 'delivered' })
      await world.environment.sleep('20 minutes')
      expect(await handle.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.4.3' } })
      await handle.cancel()
    })

    test('with port 25 blocked, hours of connect timeouts count as no retry', async () => {
      const holes = [await startBlackHole('127.0.0.4', port), await startBlackHole('127.0.0.5', port)]
      await world.environment.sleep('2 hours')
      const settings = world.settings
      world.settings = { ...settings, timeouts: { ...settings.timeouts, connectMs: 150 } }
      try {
        const schedule = ['1h', '1h', '1h', '1h']
        const handles = [await send(person('hole1.example.org'), { schedule, destination: 'hole1.example' })]
        n += 1
        handles.push(await send(person('hole2.example.org'), { schedule, destination: 'hole2.example' }))
        await world.environment.sleep('5 hours')
        for (const handle of handles) {
          expect(await handle.query(progress)).toMatchObject({ retry: 1, state: 'sending', lastAttempt: null })
          await handle.cancel()
        }
        for (const handle of handles) await handle.result().catch(() => {})
      } finally {
        world.settings = settings
        for (const hole of holes) await hole.close()
      }
    })
  })

  test('connections use the configured source address', async () => {
    const from: (string | undefined)[] = []
    first.say = {
      server: {
        onConnect: ({ remoteAddress }, done) => {
          from.push(remoteAddress)
          done(null)
        },
      },
    }
    await first.close()
    await first.open()
    const before = world.settings
    world.settings = deliverySettings({ direct: { ...DIRECT, port, dnsServers: [names.address], bindAddresses: ['127.0.0.77', '::1'] } })
    await result()
    world.settings = before
    expect(from).toEqual(['127.0.0.77'])
    first.say = {}
    await first.close()
    await first.open()
  })

  test('a host that no smtp.bindAddresses can reach is held, and ends as expired when the schedule is over', async () => {
    const before = world.settings
    world.settings = deliverySettings({ direct: { ...DIRECT, port, dnsServers: [names.address], bindAddresses: ['2001:db8::1'] } })
    const handle = await send(person(), { schedule: ['1h', '2h'] })
    await world.environment.sleep('2 hours')
    expect(await handle.query(progress)).toMatchObject({ retry: 1, state: 'sending', lastAttempt: null })
    expect(await handle.result()).toMatchObject({ outcome: 'expired', retries: 0 })
    world.settings = before
    expect(first.connections.length + second.connections.length).toBe(0)
    expect(await findSuppression(world.database.db, person(), world.now())).toBeNull()
  })

  test('hosts of one provider share a destination, by configuration also across domains', async () => {
    const grouped = deliverySettings({
      direct: { ...DIRECT, port, dnsServers: [names.address] },
      throttle: { groups: [{ name: 'provider', hosts: ['*.mail.example.net'] }] },
    })
    const before = world.settings
    world.settings = grouped
    await result()
    world.settings = before
    const row = await world.database.db.selectFrom('attempts').selectAll().where('recipient', '=', person()).executeTakeFirstOrThrow()
    expect(row.destination).toBe('provider')
  })
})
