import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findSuppression, suppressForUnavailability } from '../../src/suppression/index.js'
import { bouncedAgain, giveUp, progress, retryNow } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, DAY, type Handle, HOUR, stands, start, startWorld, type World } from '../support/skipping-time.js'

let world: World
let relay: ReceivingSystem
let n = 0
beforeAll(async () => {
  relay = await startReceivingSystem()
  world = await startWorld({ settings: { relay: { kind: 'relay', host: '127.0.0.1', port: relay.port, tls: 'off' } } })
})
afterAll(async () => {
  await world.close()
  await relay.close()
})
beforeEach(() => {
  n += 1
  relay.say = {}
  relay.taken.length = 0
  relay.connections.length = 0
})
const person = () => `eve${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const message = async (more: Parameters<typeof bounced>[1] = {}) => bounced(await world.currentTime(), { recipient: person(), ...more })
/** Suppresses the recipient for a month. */
const suppressed = async () => {
  const now = await world.currentTime()
  const cause = { status: null, reply: null, by: 'x', destination: null }
  await suppressForUnavailability(world.database.db, person(), cause, now, [30 * DAY], now)
}
const notification = async (status: string, more = {}) => ({ status, bouncedAt: (await world.currentTime()).toISOString(), ...more })

/** Starts a message and waits until the relay has accepted it, unconfirmed. */
async function relayed(): Promise<Handle> {
  const handle = await start(world, await message())
  await stands(handle, 'waiting', 1)
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 1)
  return handle
}

test('a relayed message without a bounce ends as delivered, unconfirmed, and lifts no suppression', async () => {
  await suppressed()
  const handle = await start(world, await message())
  const result = await handle.result()
  expect(result).toMatchObject({ outcome: 'delivered', confirmed: false, retries: 1 })
  expect(relay.taken).toHaveLength(1)
  expect(await listed()).not.toBeNull()
  const end = await world.database.db.selectFrom('outcomes').selectAll().where('recipient', '=', person()).executeTakeFirstOrThrow()
  expect(end.ended_at - Date.parse(result.attempts[0]?.at ?? '')).toBeGreaterThanOrEqual(5 * DAY)
})

for (const action of ['delivered', 'relayed', 'expanded'] as const)
  test(`a notification "${action}" confirms it, and lifts a temporary suppression`, async () => {
    await suppressed()
    const handle = await relayed()
    await handle.signal(bouncedAgain, await notification('2.0.0', { action }))
    expect(await handle.result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
    expect(await listed()).toBeNull()
  })

test('a bounce fails the retry, and the next delay counts from the reported failure', async () => {
  const handle = await relayed()
  await world.environment.sleep('2 hours')
  const bounce = await notification('4.4.7', { diagnostic: '421 4.4.7 delivery time expired' })
  await handle.signal(bouncedAgain, bounce)
  const standing = await stands(handle, 'waiting', 2)
  expect(standing.lastAttempt).toMatchObject({ retry: 1, outcome: 'deferred', status: '4.4.7', reply: '421 4.4.7 delivery time expired' })
  const due = Date.parse(standing.nextRetryAt ?? '') - Date.parse(bounce.bouncedAt)
  expect(due).toBeGreaterThanOrEqual(4 * HOUR)
  expect(due).toBeLessThan(4.5 * HOUR)
  await handle.cancel()
  const row = await world.database.db.selectFrom('attempts').selectAll().where('recipient', '=', person()).executeTakeFirstOrThrow()
  expect(row).toMatchObject({ relayed: 1, outcome: 'accepted', reported_status: '4.4.7' })
})

test('the same bounce repeated, at once or later, fails one retry', async () => {
  const handle = await relayed()
  const bounce = await notification('4.3.2')
  await handle.signal(bouncedAgain, bounce)
  await handle.signal(bouncedAgain, bounce)
  await stands(handle, 'waiting', 2)
  await handle.signal(bouncedAgain, bounce)
  await world.environment.sleep('1 minute')
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 2)
  // the bounce is older than the send now at the relay
  await handle.signal(bouncedAgain, bounce)
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await handle.query(progress)).toMatchObject({ state: 'confirming', retry: 2 })
  expect(relay.taken).toHaveLength(2)
  await handle.cancel()
})

test('every retry bounced by the relay ends as suppressed', async () => {
  const handle = await start(world, await message())
  for (const retry of [1, 2, 3, 4]) {
    await stands(handle, 'waiting', retry)
    await world.environment.sleep('1 minute')
    await handle.signal(retryNow)
    await stands(handle, 'confirming', retry)
    await handle.signal(bouncedAgain, await notification('4.3.2', { diagnostic: '421 4.3.2 no' }))
  }
  const result = await handle.result()
  expect(result).toMatchObject({ outcome: 'suppressed', retries: 4 })
  expect(result.attempts.every((a) => a.outcome === 'deferred' && a.status === '4.3.2')).toBe(true)
  expect(await listed()).toMatchObject({ reason: 'unavailable', status: '4.3.2' })
})

test('a bounce for a nonexistent recipient suppresses for good', async () => {
  const handle = await relayed()
  await handle.signal(bouncedAgain, await notification('5.1.1', { diagnostic: '550 5.1.1 no such user' }))
  expect(await handle.result()).toMatchObject({ outcome: 'rejected', retries: 1, attempts: [{ outcome: 'rejected', status: '5.1.1' }] })
  expect(await listed()).toMatchObject({ reason: 'rejected', until: null })
})

test('a bounce that refuses the message suppresses nobody', async () => {
  const handle = await relayed()
  await handle.signal(bouncedAgain, await notification('5.7.1'))
  expect(await handle.result()).toMatchObject({ outcome: 'rejected', retries: 1 })
  expect(await listed()).toBeNull()
})

test('a delay notice extends the wait to its Will-Retry-Until', async () => {
  const handle = await relayed()
  const willRetryUntil = new Date((await world.currentTime()).getTime() + 8 * DAY).toISOString()
  await handle.signal(bouncedAgain, await notification('4.4.1', { action: 'delayed', willRetryUntil }))
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await handle.result()).toMatchObject({ outcome: 'delivered', confirmed: false })
  const end = await world.database.db.selectFrom('outcomes').selectAll().where('recipient', '=', person()).executeTakeFirstOrThrow()
  expect(end.ended_at).toBeGreaterThanOrEqual(Date.parse(willRetryUntil))
})

test('nothing is sent while waiting for confirmation, not even by retryNow', async () => {
  const handle = await relayed()
  await handle.signal(retryNow)
  await world.environment.sleep('1 day')
  await handle.signal(retryNow, { retry: 1 })
  await handle.signal(retryNow, { retry: 2 })
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(relay.taken).toHaveLength(1)
  await handle.signal(giveUp)
  expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
})

describe('promise 3: local failures use up no retry', () => {
  // a simulated day means hundreds of attempts, and takes seconds
  const DAY_LONG = 'refuses the connection'
  const trouble = [
    [DAY_LONG, () => relay.close()],
    ['says 4.3.2 itself', () => Object.assign(relay, { say: { banner: () => '421 4.3.2 too busy' } })],
    ['denies relaying', () => Object.assign(relay, { say: { rcpt: () => '554 5.7.1 relaying denied' } })],
    ['refuses the sender', () => Object.assign(relay, { say: { mail: () => '550 5.7.1 not from here' } })],
    ['defers the recipient', () => Object.assign(relay, { say: { rcpt: () => '450 4.2.0 later' } })],
    ['defers the message', () => Object.assign(relay, { say: { message: () => '451 4.3.0 disk full' } })],
  ] as const
  for (const [what, begin] of trouble)
    test(`a relay that ${what} ${what === DAY_LONG ? 'for a day' : 'for hours'} uses up no retry and suppresses nobody`, async () => {
      await begin()
      const handle = await start(world, await message())
      await stands(handle, 'waiting', 1)
      await world.environment.sleep('2 hours')
      await stands(handle, 'sending', 1)
      const before = (await handle.fetchHistory()).events?.length
      await world.environment.sleep(what === DAY_LONG ? '1 day' : '2 hours')
      expect(await handle.query(progress)).toMatchObject({ state: 'sending', retry: 1, lastAttempt: null })
      expect((await handle.fetchHistory()).events?.length).toBe(before)
      expect(await listed()).toBeNull()
      relay.say = {}
      if (what === DAY_LONG) await relay.open()
      await world.environment.sleep('15 minutes')
      expect(await stands(handle, 'confirming', 1)).toMatchObject({ lastAttempt: { retry: 1, outcome: 'accepted' } })
      expect(relay.taken).toHaveLength(1)
      await handle.cancel()
    })
})

test('the same bounce repeated after the end changes nothing', async () => {
  const handle = await start(world, await message({ schedule: ['1h'] }))
  await stands(handle, 'waiting', 1)
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 1)
  await world.environment.sleep('1 hour')
  const bounce = await notification('4.3.2')
  await handle.signal(bouncedAgain, bounce)
  expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
  const until = (await listed())?.until
  const again = await start(world, await message({ schedule: ['1h'], bounce }))
  expect(await again.result()).toMatchObject({ outcome: 'suppressed', retries: 1, attempts: [{ outcome: 'deferred', status: '4.3.2' }] })
  const row = await world.database.db.selectFrom('suppressions').selectAll().where('address', '=', person()).executeTakeFirstOrThrow()
  expect(row.until).toBe(until?.getTime())
})

test('a recipient rejected by the relay is rejected', async () => {
  relay.say = { rcpt: () => '550 5.1.1 no such user' }
  expect(await (await start(world, await message())).result()).toMatchObject({ outcome: 'rejected', retries: 1 })
  expect(await listed()).toMatchObject({ reason: 'rejected' })
})

test('a transparent relay counts as the receiving system', async () => {
  const { paths } = world.settings
  world.settings = {
    ...world.settings,
    paths: { routes: [], relay: { kind: 'transparent', host: '127.0.0.1', port: relay.port, tls: 'off' } },
  }
  relay.say = { rcpt: ({ connection }) => (connection === 1 ? '450 4.3.2 not now' : undefined) }
  expect(await (await start(world, await message())).result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 2 })
  world.settings = { ...world.settings, paths }
})
