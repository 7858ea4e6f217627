/** Races and edge cases: signals and cancellations between activities and while an end is recorded; missing and oversized values. */
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
/** Overrides of activities. */
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
/** A world that publishes the start to a webhook on which nothing listens. */
const telling = () => byRelay({ eventTypes: ['bounce.retrying'], webhook: { url: 'http://127.0.0.1:9/', secret: 'whsec_c2VjcmV0' } })
const directly = () => {
  world.settings = deliverySettings({ routes: `*=127.0.0.1:${system.port}` })
}
const person = () => `odd${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const begin = async (more: Parameters<typeof bounced>[1] = {}): Promise<Handle> =>
  start(world, bounced(await world.currentTime(), { recipient: person(), ...more }))
const said = async (status: string, more = {}) => ({ status, bouncedAt: (await world.currentTime()).toISOString(), ...more })
/** Starts a message and waits until the relay has accepted it. */
async function relayed(more: Parameters<typeof bounced>[1] = {}): Promise<Handle> {
  const handle = await begin(more)
  await stands(handle, 'waiting', 1)
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 1)
  return handle
}
/** The activity fails twice as if the database were away; then `meanwhile` runs before the third attempt. */
function slowly(name: Name, meanwhile: () => Promise<unknown>): void {
  let calls = 0
  instead.set(name, async (call) => {
    calls += 1
    if (calls <= 2) throw new Error('the database is away')
    if (calls === 3) await meanwhile()
    return call()
  })
}
/** Runs `then` after the activity's work, before it returns its result. */
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
  test('a notification of a nonexistent recipient is applied after it', async () => {
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

test('a notification time in the far future is clamped to now, so later notifications count and the next retry is on time', async () => {
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

describe('a cancellation suppresses nobody, and nothing more is sent', () => {
  const isCancelled = async (handle: Handle) => {
    expect(await failureOf(handle)).toMatchObject({ name: 'CancelledFailure' })
    expect(await handle.query(progress)).toMatchObject({ state: 'cancelled' })
    expect(await listed()).toBeNull()
    const end = await world.database.db.selectFrom('outcomes').selectAll().where('recipient', '=', person()).executeTakeFirst()
    expect(end?.outcome).toBe('cancelled')
  }

  test('cancelled right after the start, while it is being published', async () => {
    telling()
    const begun: Promise<Handle> = begin()
    behind('prepare', async () => (await begun).cancel())
    await isCancelled(await begun)
    expect(system.taken).toHaveLength(0)
  })

  test('cancelled during prepare, with a permanent bounce', async () => {
    const begun: Promise<Handle> = begin({ bounce: { status: '5.1.1', diagnostic: '550 5.1.1 no such user' } })
    slowly('prepare', async () => (await begun).cancel())
    await isCancelled(await begun)
  })

  test('cancelled before prepare, with an unreadable message', async () => {
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

  test('cancelled together with the answer of the receiving system', async () => {
    directly()
    system.say = { rcpt: () => '550 5.1.1 no such user' }
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    behind('sendMessage', () => handle.cancel())
    await handle.signal(retryNow)
    await isCancelled(handle)
  })

  test('cancelled while the bounce is being recorded', async () => {
    const handle = await relayed()
    slowly('recordReport', () => handle.cancel())
    await handle.signal(bouncedAgain, await said('4.3.2'))
    await isCancelled(handle)
    expect(system.taken).toHaveLength(1)
  })

  test('cancelled while the end is being recorded', async () => {
    const handle = await relayed()
    slowly('recordEnd', () => handle.cancel())
    await handle.signal(bouncedAgain, await said('5.7.1'))
    await isCancelled(handle)
  })
})

describe('signals during an activity', () => {
  test('giveUp while the backup relay defers suppresses without a retry', async () => {
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

  test('giveUp while the receiving system defers suppresses', async () => {
    directly()
    system.say = { banner: () => '421 4.3.2 no' }
    const handle = await begin()
    await stands(handle, 'waiting', 1)
    behind('sendMessage', () => handle.signal(giveUp))
    await handle.signal(retryNow)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
    expect(system.connections.length).toBeGreaterThan(0)
  })

  test('a bounce while the unconfirmed end is being recorded still fails the retry', async () => {
    byRelay({ confirmWithinMs: 4000 })
    const handle = await relayed()
    slowly('recordEnd', async () => handle.signal(bouncedAgain, await said('4.4.7', { diagnostic: '421 4.4.7 expired' })))
    const standing = await stands(handle, 'waiting', 2)
    expect(standing.lastAttempt).toMatchObject({ retry: 1, outcome: 'deferred', status: '4.4.7' })
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
  })

  test('a late delivery notification of an earlier send does not confirm the current one', async () => {
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
    // nor does a delay without Will-Retry-Until extend the wait
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

  test('an event whose workflow ID is already in use delays nothing', async () => {
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

describe('missing values', () => {
  const silent = { diagnostic: undefined as never }

  test('giving up on a bounce without a diagnostic suppresses with its status alone', async () => {
    const handle = await begin({ bounce: silent })
    await stands(handle, 'waiting', 1)
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed' })
    expect(await listed()).toMatchObject({ status: '4.3.2', reply: '' })
  })

  test('a permanent bounce without a diagnostic suppresses for good, with its status as the reply', async () => {
    expect(await (await begin({ bounce: { ...silent, status: '5.1.1' } })).result()).toMatchObject({ outcome: 'rejected', retries: 0 })
    expect(await listed()).toMatchObject({ reason: 'rejected', reply: '5.1.1' })
  })

  test('a notification without a diagnostic fails or ends the retry, with its status as the reply', async () => {
    const handle = await relayed({ bounce: silent })
    await handle.signal(bouncedAgain, await said('4.4.7'))
    expect((await stands(handle, 'waiting', 2)).lastAttempt).toMatchObject({ status: '4.4.7', reply: 'a report said 4.4.7' })
    await handle.signal(bouncedAgain, await said('5.1.1'))
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', retries: 1 })
    expect(await listed()).toMatchObject({ reason: 'rejected', reply: '5.1.1' })
  })

  test('with a lasting suppression, giving up reports no end of the suppression', async () => {
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

describe('oversized values', () => {
  const LONG = `${'x'.repeat(60)}.${'y'.repeat(60)}.example`

  test('a long reply is truncated and escaped in the Web UI, and complete in the result', async () => {
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

  test('a long destination as a fairness key ends in a hash of the whole', async () => {
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
