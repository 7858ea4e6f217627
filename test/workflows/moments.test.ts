/** What comes at an odd moment: between an activity and what follows it, while an end is written down, beside what nobody gave. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Activities } from '../../src/activities/index.js'
import { encodeToken } from '../../src/bounce/index.js'
import { findSuppression, suppressLastingly } from '../../src/suppression/index.js'
import { bouncedAgain, giveUp, progress, retryNow } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, deliverySettings, failureOf, type Handle, stands, start, startWorld, type World } from '../support/skipping-time.js'

type Name = 'prepare' | 'sendMessage' | 'recordEnd' | 'recordReport'
type Call = (...args: never[]) => Promise<unknown>
const NAMES: readonly Name[] = ['prepare', 'sendMessage', 'recordEnd', 'recordReport']
/** What an activity does in place of what it does. */
const instead = new Map<Name, (call: () => Promise<unknown>, ...args: never[]) => Promise<unknown>>()

let world: World
let system: ReceivingSystem
let n = 0
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startWorld({
    realTime: true,
    override: (activities) =>
      Object.fromEntries(
        NAMES.map((name) => {
          const call = activities[name] as Call
          const run: Call = (...args) => (instead.get(name) ?? ((own) => own()))(() => call(...args), ...args)
          return [name, run]
        }),
      ) as Partial<Activities>,
  })
})
afterAll(async () => {
  await world.close()
  await system.close()
})
beforeEach(() => {
  n += 1
  system.say = {}
  system.taken.length = 0
  byRelay()
})
afterEach(() => instead.clear())

const relay = () => ({ kind: 'relay', host: '127.0.0.1', port: system.port, tls: 'off' }) as const
const byRelay = (more: Parameters<typeof deliverySettings>[0] = {}) => {
  world.settings = deliverySettings({ relay: relay(), ...more })
}
/** The start is told; nobody listens. */
const telling = () => byRelay({ eventTypes: ['bounce.retrying'], webhook: { url: 'http://127.0.0.1:9/', secret: 'whsec_c2VjcmV0' } })
const directly = () => {
  world.settings = deliverySettings({ routes: `*=127.0.0.1:${system.port}` })
}
const person = () => `odd${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const begin = async (more: Parameters<typeof bounced>[1] = {}): Promise<Handle> =>
  start(world, bounced(await world.currentTime(), { recipient: person(), ...more }))
const said = async (status: string, more = {}) => ({ status, bouncedAt: (await world.currentTime()).toISOString(), ...more })
/** A message that the relay has taken. */
async function relayed(more: Parameters<typeof bounced>[1] = {}): Promise<Handle> {
  const handle = await begin(more)
  await stands(handle, 'waiting', 1)
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 1)
  return handle
}
/** The database is away for the two quick tries; what follows them takes its time, and meanwhile this happens. */
function slowly(name: Name, meanwhile: () => Promise<unknown>): void {
  let calls = 0
  instead.set(name, async (call) => {
    calls += 1
    if (calls <= 2) throw new Error('the database is away')
    if (calls === 3) await meanwhile()
    return call()
  })
}
/** With its result ready, and before it is told, this happens. */
const behind = (name: Name, then: () => Promise<unknown>) => {
  instead.set(name, async (call) => {
    const result = await call()
    instead.delete(name)
    await then()
    return result
  })
}
const nap = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const workflows = () => world.environment.client.workflow

describe('while the last retry is under way', () => {
  test('a notification that the recipient is gone is judged after it', async () => {
    directly()
    system.say = { rcpt: () => '451 4.3.2 not now' }
    const handle = await begin({ schedule: ['1s'] })
    instead.set('sendMessage', async (call) => {
      await handle.signal(bouncedAgain, await said('5.1.1', { diagnostic: '550 5.1.1 no such user' }))
      return call()
    })
    expect(await handle.result()).toMatchObject({ outcome: 'rejected' })
    expect(await listed()).toMatchObject({ reason: 'rejected', until: null })
  })
})

test('a notification of the far future is one of now: a later one counts, and the next retry waits for no other century', async () => {
  const handle = await relayed({ schedule: ['1h', '1h'] })
  await handle.signal(bouncedAgain, { status: '4.3.2', bouncedAt: '2099-01-01T00:00:00Z' })
  const { nextRetryAt } = await stands(handle, 'waiting', 2)
  expect(Date.parse(nextRetryAt ?? '')).toBeLessThan(Date.now() + 2 * 3_600_000)
  await handle.signal(retryNow, { retry: 2 })
  await stands(handle, 'confirming', 2)
  await new Promise((resolve) => setTimeout(resolve, 20))
  await handle.signal(bouncedAgain, await said('4.3.2'))
  expect(await handle.result()).toMatchObject({ outcome: 'suppressed' })
})

describe('a cancellation suppresses nobody, and nothing more is sent, where it comes', () => {
  const isCancelled = async (handle: Handle) => {
    expect(await failureOf(handle)).toMatchObject({ name: 'CancelledFailure' })
    expect(await handle.query(progress)).toMatchObject({ state: 'cancelled' })
    expect(await listed()).toBeNull()
    const end = await world.database.db.selectFrom('outcomes').selectAll().where('recipient', '=', person()).executeTakeFirst()
    expect(end?.outcome).toBe('cancelled')
  }

  test('right behind the start, while somebody is being told of it', async () => {
    telling()
    const begun: Promise<Handle> = begin()
    behind('prepare', async () => (await begun).cancel())
    await isCancelled(await begun)
    expect(system.taken).toHaveLength(0)
  })

  test('while it is being prepared, with a bounce that is permanent itself', async () => {
    const begun: Promise<Handle> = begin({ bounce: { status: '5.1.1', diagnostic: '550 5.1.1 no such user' } })
    slowly('prepare', async () => (await begun).cancel())
    await isCancelled(await begun)
  })

  test('before it was prepared, with a message that cannot be read', async () => {
    const begun = workflows().start('retryBouncedMessage', {
      ...{ taskQueue: 'softbounce', workflowId: `bounce/${person()}/unreadable`, args: [{ recipient: person() }] },
    })
    instead.set('prepare', async () => {
      await (await begun).cancel()
      throw new Error('the database is away')
    })
    expect(await failureOf(await begun)).toMatchObject({ name: 'CancelledFailure' })
    expect(await listed()).toBeNull()
  })

  test('together with the answer of the receiving system', async () => {
    directly()
    system.say = { rcpt: () => '550 5.1.1 no such user' }
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    behind('sendMessage', () => handle.cancel())
    await handle.signal(retryNow)
    await isCancelled(handle)
  })

  test('while it is written down that the message came back', async () => {
    const handle = await relayed()
    slowly('recordReport', () => handle.cancel())
    await handle.signal(bouncedAgain, await said('4.3.2'))
    await isCancelled(handle)
    expect(system.taken).toHaveLength(1)
  })

  test('while it is written down how it ended', async () => {
    const handle = await relayed()
    slowly('recordEnd', () => handle.cancel())
    await handle.signal(bouncedAgain, await said('5.7.1'))
    await isCancelled(handle)
  })
})

describe('what comes while something else is done', () => {
  test('giveUp, as the backup relay defers it: it is not retried, and suppressed', async () => {
    byRelay({ backupRelay: relay() })
    const begun: Promise<Handle> = begin({ urgent: { via: 'backup-relay' } })
    instead.set('sendMessage', async () => {
      await (await begun).signal(giveUp)
      const attempt = { retry: 0, at: world.now().toISOString(), outcome: 'deferred', status: '4.3.2', reply: '421 4.3.2 no' }
      return { kind: 'answered', attempt, relayed: false, lasting: false, ambiguous: false }
    })
    const handle = await begun
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 0, attempts: [] })
    expect(await listed()).toMatchObject({ reason: 'unavailable' })
  })

  test('giveUp, as the receiving system defers it', async () => {
    directly()
    system.say = { banner: () => '421 4.3.2 no' }
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    behind('sendMessage', () => handle.signal(giveUp))
    await handle.signal(retryNow)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
    expect(system.connections.length).toBeGreaterThan(0)
  })

  test('a bounce, as it is written down that none came: the retry has failed after all', async () => {
    byRelay({ confirmWithinMs: 4000 })
    const handle = await relayed()
    slowly('recordEnd', async () => handle.signal(bouncedAgain, await said('4.4.7', { diagnostic: '421 4.4.7 expired' })))
    const standing = await stands(handle, 'waiting', 2)
    expect(standing.lastAttempt).toMatchObject({ retry: 1, outcome: 'deferred', status: '4.4.7' })
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
  })

  test('a delivery of an earlier send that is told late confirms nothing of the one that is under way', async () => {
    byRelay({ confirmWithinMs: 8000 })
    const handle = await relayed()
    const at = await said('2.0.0', { action: 'delivered' })
    await nap(50)
    await handle.signal(bouncedAgain, await said('4.3.2'))
    await stands(handle, 'waiting', 2)
    await nap(50)
    await handle.signal(retryNow, { retry: 2 })
    await stands(handle, 'confirming', 2)
    await handle.signal(bouncedAgain, { ...at, token: encodeToken({ id: '00'.repeat(10), day: 0, send: 1 }, new Uint8Array(10)) })
    await handle.signal(bouncedAgain, await said('4.2.0', { action: 'delayed' }))
    await nap(300)
    expect(await handle.query(progress)).toMatchObject({ state: 'confirming', retry: 2 })
    // nor does a delay without a time make it wait longer
    expect(await handle.result()).toMatchObject({ outcome: 'delivered', confirmed: false, retries: 2 })
    const end = await world.database.db.selectFrom('outcomes').selectAll().where('recipient', '=', person()).executeTakeFirstOrThrow()
    const taken = await world.database.db
      .selectFrom('attempts')
      .selectAll()
      .where('recipient', '=', person())
      .where('retry', '=', 2)
      .executeTakeFirstOrThrow()
    expect(end.ended_at - (taken.at as number)).toBeLessThan(20_000)
  })

  test('an event that cannot be told, since one is under its name already, holds nothing up', async () => {
    telling()
    instead.set('prepare', async (call, _, { firstRunId }: { firstRunId: string }) => {
      await workflows().start('publishEvent', { taskQueue: 'nobody', workflowId: `event/${firstRunId}.bounce.retrying`, args: [{}] })
      return call()
    })
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    await handle.signal(retryNow)
    await stands(handle, 'confirming', 1)
    await handle.cancel()
  })
})

describe('what nobody has said', () => {
  const silent = { diagnostic: undefined as never }

  test('a bounce without a diagnostic, given up: suppressed with its status alone', async () => {
    const handle = await begin({ bounce: silent })
    await stands(handle, 'waiting', 1)
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed' })
    expect(await listed()).toMatchObject({ status: '4.3.2', reply: '' })
  })

  test('a permanent bounce without one suppresses for good, with its status as what was said', async () => {
    expect(await (await begin({ bounce: { ...silent, status: '5.1.1' } })).result()).toMatchObject({ outcome: 'rejected', retries: 0 })
    expect(await listed()).toMatchObject({ reason: 'rejected', reply: '5.1.1' })
  })

  test('a notification without one fails the retry, or ends it, with its status as what was said', async () => {
    const handle = await relayed({ bounce: silent })
    await handle.signal(bouncedAgain, await said('4.4.7'))
    expect((await stands(handle, 'waiting', 2)).lastAttempt).toMatchObject({ status: '4.4.7', reply: 'a report said 4.4.7' })
    await handle.signal(bouncedAgain, await said('5.1.1'))
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', retries: 1 })
    expect(await listed()).toMatchObject({ reason: 'rejected', reply: '5.1.1' })
  })

  test('where a lasting suppression stands already, giving up says nothing of its end', async () => {
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    const cause = { status: null, reply: null, by: 'ann', destination: null }
    await suppressLastingly(world.database.db, person(), 'manual', cause, world.now())
    await handle.signal(giveUp)
    const result = await handle.result()
    expect(result).toMatchObject({ outcome: 'suppressed' })
    expect(result).not.toHaveProperty('suppressedUntil')
    expect(await listed()).toMatchObject({ reason: 'manual', until: null })
  })
})

describe('what is longer than a place for it', () => {
  const LONG = `${'x'.repeat(60)}.${'y'.repeat(60)}.example`

  test('a reply is shown as far as it goes, and nothing of it is read as Markdown; the result has the whole', async () => {
    directly()
    const reply = `421 4.3.2 **not** <b>now</b> ${'so it is '.repeat(40)}.`
    system.say = { banner: () => reply }
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    await handle.signal(retryNow)
    const { lastAttempt } = await stands(handle, 'waiting', 2)
    expect(lastAttempt?.reply).toBe(reply)
    const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata')
    expect(currentDetails).toContain('4.3.2 &#42;&#42;not&#42;&#42; &lt;b&gt;now&lt;/b&gt; so it is')
    expect(currentDetails).toContain('…')
    expect(currentDetails).not.toContain('so it is '.repeat(25))
    await handle.cancel()
  })

  test('a destination as a fairness key ends in a hash of the whole', async () => {
    const keys = new Set<string>()
    for (const domain of [LONG, LONG.replace('.example', '.test')]) {
      world.settings = deliverySettings({ routes: `*=127.0.0.1:${system.port}` })
      const handle = await begin({ recipient: `odd${n}@${domain}` })
      await stands(handle, 'waiting', 1)
      await handle.signal(retryNow)
      expect(await handle.result()).toMatchObject({ outcome: 'delivered' })
      const { events } = await handle.fetchHistory()
      const key = events?.map((e) => e.activityTaskScheduledEventAttributes?.priority?.fairnessKey).find((one) => one)
      expect(key).toMatch(/^x{50}#[0-9a-f]{1,8}$/)
      keys.add(key as string)
    }
    expect(keys.size).toBe(2)
  })
})
