import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findEnd, loadMessage, messageKey } from '../../src/store/index.js'
import { findSuppression, suppressForUnavailability, suppressionHistory, suppressLastingly } from '../../src/suppression/index.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, DAY, HOUR, MESSAGE, start, startWorld, type World } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
let world: World
let system: ReceivingSystem
let n = 0
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startWorld({ settings: { routes: `*=127.0.0.1:${system.port}` } })
})
afterAll(async () => {
  await world.close()
  await system.close()
})
beforeEach(() => {
  n += 1
  system.say = {}
  system.taken.length = 0
  system.connections.length = 0
})
const person = () => `ann${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const message = async (more: Parameters<typeof bounced>[1] = {}) => bounced(await world.currentTime(), { recipient: person(), ...more })

test('promise 2: retries go 1 h, 4 h, 12 h and 24 h after the one before, never early, and at most 15 minutes late', async () => {
  system.say = { banner: () => NOT_NOW }
  const input = await message()
  const realTime = Date.now()
  const result = await (await start(world, input)).result()
  expect(result).toMatchObject({ outcome: 'suppressed', retries: 4 })
  let before = Date.parse(input.bounce.bouncedAt)
  for (const [i, hours] of [1, 4, 12, 24].entries()) {
    const at = Date.parse(result.attempts[i]?.at ?? '')
    const late = at - before - hours * HOUR
    expect(late).toBeGreaterThanOrEqual(0)
    expect(late).toBeLessThan(Math.min(hours * HOUR * 0.1, HOUR / 4) + 5000)
    before = at
  }
  expect(system.connections).toHaveLength(4)
  expect(Date.now() - realTime).toBeLessThan(20_000)
})

test('promise 5: when every retry failed, the address is suppressed for a day', async () => {
  system.say = { banner: () => NOT_NOW }
  const result = await (await start(world, await message())).result()
  const entry = await listed()
  expect(entry).toMatchObject({ reason: 'unavailable', status: '4.3.2', reply: NOT_NOW, destination: 'example.org', step: 0 })
  expect(entry?.until?.toISOString()).toBe(result.suppressedUntil)
  expect((entry?.until?.getTime() ?? 0) - (entry?.since.getTime() ?? 0)).toBe(DAY)
})

test('a receiving system that recovers gets the message once, with its bytes unchanged', async () => {
  system.say = { banner: ({ connection }) => (connection <= 2 ? NOT_NOW : undefined) }
  const result = await (await start(world, await message())).result()
  expect(result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 3 })
  expect(result.attempts.map((a) => [a.retry, a.outcome, a.status])).toEqual([
    [1, 'deferred', '4.3.2'],
    [2, 'deferred', '4.3.2'],
    [3, 'accepted', '2.0.0'],
  ])
  expect(system.taken).toHaveLength(1)
  expect(system.taken[0]?.content.toString()).toBe(MESSAGE)
  expect(system.taken[0]).toMatchObject({ from: 'bounces@example.com', to: [person()] })
  expect(await listed()).toBeNull()
})

test('promise 5: a proven delivery lifts a temporary suppression', async () => {
  const cause = { status: '4.3.2', reply: null, by: 'test', destination: null }
  const now = await world.currentTime()
  await suppressForUnavailability(world.database.db, person(), cause, now, [30 * DAY], now)
  expect(await (await start(world, await message())).result()).toMatchObject({ outcome: 'delivered' })
  expect(await listed()).toBeNull()
  expect((await suppressionHistory(world.database.db, person())).at(-1)).toMatchObject({
    change: 'lifted',
    by: `bounce/${person()}/m1@example.com`,
  })
})

test('a recipient that is rejected for good is suppressed for good', async () => {
  system.say = { rcpt: () => '550 5.1.1 no such user' }
  const result = await (await start(world, await message())).result()
  expect(result).toMatchObject({ outcome: 'rejected', retries: 1, attempts: [{ outcome: 'rejected', status: '5.1.1' }] })
  expect(result.suppressedUntil).toBeUndefined()
  expect(await listed()).toMatchObject({ reason: 'rejected', until: null, status: '5.1.1' })
})

test('a message that is refused for good suppresses nobody', async () => {
  system.say = { message: () => '550 5.7.1 refused by policy' }
  expect(await (await start(world, await message())).result()).toMatchObject({ outcome: 'rejected', retries: 1 })
  expect(await listed()).toBeNull()
})

describe('a message with a deliverBy time', () => {
  test('the message is not sent after its deadline, and suppresses nobody', async () => {
    system.say = { banner: () => NOT_NOW }
    const deliverBy = new Date((await world.currentTime()).getTime() + 2 * HOUR)
    const result = await (await start(world, await message({ deliverBy: deliverBy.toISOString() }))).result()
    expect(result).toMatchObject({ outcome: 'expired', retries: 1 })
    expect(await listed()).toBeNull()
    // it ends at the deadline, not when the next retry would have been due
    const end = await findEnd(world.database.db, 'm1@example.com', person())
    expect((end?.endedAt.getTime() ?? 0) - deliverBy.getTime()).toBeLessThan(HOUR)
    expect(Date.parse(result.attempts[0]?.at ?? '')).toBeLessThan(deliverBy.getTime())
  })

  test('the message expires if local failures delay it beyond its deadline', async () => {
    const routes = world.settings.paths
    world.settings = { ...world.settings, paths: { routes: [], relay: null } }
    const deliverBy = new Date((await world.currentTime()).getTime() + 3 * HOUR)
    expect(await (await start(world, await message({ deliverBy: deliverBy.toISOString() }))).result()).toMatchObject({
      outcome: 'expired',
      retries: 0,
    })
    world.settings = { ...world.settings, paths: routes }
    expect(system.connections).toHaveLength(0)
  })

  test('the message is sent before its deadline', async () => {
    const deliverBy = new Date((await world.currentTime()).getTime() + 2 * HOUR).toISOString()
    expect(await (await start(world, await message({ deliverBy }))).result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  })
})

test('a message with expired DKIM signatures is not sent', async () => {
  const x = Math.floor((await world.currentTime()).getTime() / 1000) + 1800
  const raw = `DKIM-Signature: v=1; d=example.com; s=k; x=${x}; b=x\r\n${MESSAGE}`
  expect(await (await start(world, await message({ message: { raw } }))).result()).toMatchObject({ outcome: 'expired', retries: 0 })
  expect(system.connections).toHaveLength(0)
})

test('a message with expired signatures is sent if the route signs it again', async () => {
  const before = world.settings
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  world.settings = { ...before, dkim: [{ domain: 'example.com', selector: 'k', privateKey }] }
  const raw = `DKIM-Signature: v=1; d=example.com; s=old; x=1; b=x\r\n${MESSAGE}`
  expect(await (await start(world, await message({ message: { raw } }))).result()).toMatchObject({ outcome: 'delivered' })
  world.settings = before
  expect(system.taken[0]?.content.toString()).toMatch(/^DKIM-Signature: [\s\S]*s=k;/)
  expect(system.taken[0]?.content.toString().endsWith(raw)).toBe(true)
})

test('a lasting suppression ends the retry without sending; a temporary one does not', async () => {
  const cause = { status: null, reply: null, by: 'operator', destination: null }
  await suppressLastingly(world.database.db, person(), 'complaint', cause, await world.currentTime())
  expect(await (await start(world, await message())).result()).toMatchObject({ outcome: 'suppressed', retries: 0, attempts: [] })
  expect(system.connections).toHaveLength(0)
})

describe('a permanent bounce', () => {
  test('a permanent bounce about the recipient suppresses for good, and sends nothing', async () => {
    const result = await (await start(world, await message({ bounce: { status: '5.1.1', diagnostic: '550 5.1.1 no such user' } }))).result()
    expect(result).toEqual({ outcome: 'rejected', retries: 0, attempts: [] })
    expect(await listed()).toMatchObject({ reason: 'rejected', until: null })
  })

  test('a permanent bounce about the message suppresses nobody, and sends nothing', async () => {
    const result = await (await start(world, await message({ bounce: { status: '5.7.1', diagnostic: '550 5.7.1 policy' } }))).result()
    expect(result).toEqual({ outcome: 'rejected', retries: 0, attempts: [] })
    expect(await listed()).toBeNull()
    expect(system.connections).toHaveLength(0)
  })
})

test('a bounce processed late waits less; an overdue retry is sent at once, staggered', async () => {
  const now = (await world.currentTime()).getTime()
  const late = bounced(new Date(now - 40 * 60_000), { recipient: person() })
  const result = await (await start(world, late)).result()
  const waited = Date.parse(result.attempts[0]?.at ?? '') - now
  expect(waited).toBeGreaterThanOrEqual(20 * 60_000)
  expect(waited).toBeLessThan(26 * 60_000 + 5000)
  n += 1
  const then = (await world.currentTime()).getTime()
  const due = bounced(new Date(then - 3 * HOUR), { recipient: person() })
  const second = await (await start(world, due)).result()
  expect(Date.parse(second.attempts[0]?.at ?? '') - then).toBeLessThan(6 * 60_000 + 5000)
})

test('a custom schedule is followed', async () => {
  system.say = { banner: () => NOT_NOW }
  const result = await (await start(world, await message({ schedule: ['30m', '2h*2'] }))).result()
  expect(result).toMatchObject({ outcome: 'suppressed', retries: 3 })
  const [first, second] = result.attempts.map((a) => Date.parse(a.at)) as [number, number]
  expect(second - first).toBeGreaterThanOrEqual(2 * HOUR)
})

test('only the first history event carries the message', async () => {
  system.say = { banner: ({ connection }) => (connection <= 1 ? NOT_NOW : undefined) }
  const handle = await start(world, await message())
  await handle.result()
  const { events } = await handle.fetchHistory()
  const payloads = (event: unknown) =>
    [...JSON.stringify(event).matchAll(/"data":"([^"]*)"/g)].map(([, data]) => Buffer.from(data ?? '', 'base64').toString())
  const carrying = (events ?? []).filter((event) => payloads(event).some((text) => text.includes('a line that begins with a dot')))
  expect(carrying.map((event) => Number(event.eventId))).toEqual([1])
  expect(await loadMessage(world.database.db, messageKey(Buffer.from(MESSAGE)))).not.toBeNull()
})
