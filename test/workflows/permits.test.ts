import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findSuppression, suppressForUnavailability, suppressionHistory } from '../../src/suppression/index.js'
import { destinations, limitsOf, pause, resume, writeFeedback } from '../../src/throttle/index.js'
import { bouncedAgain, progress } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, DAY, deliverySettings, eventually, HOUR, start, startWorld, type World } from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
const POLITENESS = {
  failuresBeforeDown: 5,
  limits: { minMessageRate: 1, maxMessageRate: 20, connections: 1, maxDeliveriesPerConnection: 10 },
}
let world: World
let system: ReceivingSystem
let n = 0
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startWorld({ settings: { routes: `*=127.0.0.1:${system.port}`, throttle: POLITENESS } })
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
const name = () => `d${n}.example`
const send = async (who: string, more: Parameters<typeof bounced>[1] = {}) =>
  start(world, bounced(await world.currentTime(), { recipient: `${who}@${name()}`, messageId: `m${n}@example.com`, ...more }))
const standing = async (which = name()) => (await destinations(world.database, 1, which))[0]
const trouble = async (handle: Awaited<ReturnType<typeof send>>) => {
  const [pending] = (await handle.describe()).raw.pendingActivities ?? []
  const text = pending?.lastFailure?.message ?? ''
  const now = await world.currentTime()
  const [, day = now.toISOString().slice(0, 10), clock] = /goes at (?:(\d{4}-\d\d-\d\d) )?(\d\d:\d\d:\d\d) UTC/.exec(text) ?? []
  return { text, inMs: clock === undefined ? 0 : Date.parse(`${day}T${clock}Z`) - now.getTime() }
}
const fails = async (times: number) => {
  const limits = limitsOf(POLITENESS.limits)
  const answer = { outcome: 'deferred', status: '4.3.2', reply: NOT_NOW, stage: 'banner', mailServer: 'mx.example' } as const
  const lesson = { kind: 'failing', slower: 'both', waitMs: 0 } as const
  for (let i = 0; i < times; i += 1)
    await writeFeedback(world.database, { name: name(), limits, lesson, answer, tookMs: 10 }, world.settings.throttle)
}

// the tests depend on each other, in this order: down, then recovery
describe('promise 4: a receiving system that is down', { shuffle: false }, () => {
  test('an outage delays others for at most a quarter of an hour; waiting uses up no retry, adds no event, and shows why', async () => {
    // those that poll within six minutes: one probe a minute is immediate
    const waiting = await Promise.all(Array.from({ length: 12 }, (_, i) => send(`p${i}`)))
    await world.environment.sleep('50 minutes')
    await fails(5)
    system.say = { banner: () => NOT_NOW }
    const [held, text] = await eventually(async () => {
      await world.environment.sleep('20 seconds')
      for (const handle of waiting) {
        const { text, inMs } = await trouble(handle)
        if (text.includes('is down') && inMs > 60_000) return [handle, text] as const
      }
      return null
    }, 30_000)
    const events = async () => (await held.fetchHistory()).events?.length
    const before = await events()
    expect(text).toMatch(
      new RegExp(
        `^${name()} is down since .* UTC \\(last reply: ${NOT_NOW}\\); next probe at .* UTC; this message goes at .* UTC at the latest$`,
      ),
    )
    await world.environment.sleep('10 seconds')
    expect((await trouble(held)).text).not.toBe('')
    expect(await events()).toBe(before)
    await world.environment.sleep('25 minutes')
    // each has made its attempt by now, and none waits for a permit
    for (const handle of waiting) {
      expect(await handle.query(progress)).toMatchObject({ retry: 2, lastAttempt: { status: '4.3.2' } })
      await handle.cancel()
    }
    const row = await world.database.db.selectFrom('waiters').selectAll().where('name', '=', name()).execute()
    expect(row).toEqual([])
  })

  test('after recovery the destination is up, and suppressions caused by the outage lapse within the hour', async () => {
    await fails(5)
    const who = `old@${name()}`
    const cause = { status: '4.3.2', reply: NOT_NOW, by: 'bounce/x/y', destination: name() }
    await suppressForUnavailability(world.database.db, who, cause, world.now(), [7 * DAY], world.now())
    const result = await (await send('ann')).result()
    expect(result).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(await standing()).toMatchObject({ downSince: null, failures: 0, said: { outcome: 'accepted' } })
    const entry = await findSuppression(world.database.db, who, world.now())
    expect(entry?.until?.getTime()).toBeLessThanOrEqual(world.now().getTime() + HOUR)
    expect((await suppressionHistory(world.database.db, who)).at(-1)).toMatchObject({
      change: 'restored',
      by: `${name()} takes mail again`,
    })
  })
})

test('a flapping destination is never down, is limited to its lowest rate, and gets every message', async () => {
  let asked = 0
  system.say = {
    banner: () => {
      asked += 1
      return asked % 2 === 1 ? NOT_NOW : undefined
    },
  }
  const handles = await Promise.all(['ann', 'bob', 'cem', 'dan', 'eva', 'fay'].map((who) => send(who)))
  for (const handle of handles) expect(await handle.result()).toMatchObject({ outcome: 'delivered' })
  expect(await standing()).toMatchObject({ downSince: null })
  expect((await standing())?.rate).toBeLessThan(2)
  const taken = system.taken.filter(({ to }) => to[0]?.endsWith(name())).map(({ to }) => to[0])
  expect(taken).toHaveLength(6)
  expect(new Set(taken).size).toBe(6)
})

test('a pause delays retries for days, uses none up, and names who set it; resume sends them', async () => {
  const handle = await send('ann')
  await pause(world.database, 'operator ann', name())
  await world.environment.sleep('3 days')
  expect(await handle.query(progress)).toMatchObject({ retry: 1, state: 'sending', lastAttempt: null })
  expect((await trouble(handle)).text).toMatch(/are paused since .* by operator ann; none is used up; looked at again at .* at the latest/)
  expect(system.connections).toHaveLength(0)
  await resume(world.database, name())
  expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
})

test('a message past its deadline expires while it waits for its permit', async () => {
  const deliverBy = new Date((await world.currentTime()).getTime() + 2 * HOUR).toISOString()
  const handle = await send('ann', { deliverBy })
  await pause(world.database, 'operator ann', name())
  expect(await handle.result()).toMatchObject({ outcome: 'expired', retries: 0 })
  await resume(world.database, name())
  expect(await world.database.db.selectFrom('waiters').selectAll().where('name', '=', name()).execute()).toEqual([])
})

test('a cancelled message frees its slot and its connection', async () => {
  const handle = await send('ann')
  await pause(world.database, 'operator ann', name())
  await world.environment.sleep('2 hours')
  await handle.cancel()
  await handle.result().catch(() => {})
  await resume(world.database, name())
  expect((await standing())?.connectionsNow).toBe(0)
})

test('messages due together share one connection, an interval apart', async () => {
  const settings = world.settings
  world.settings = deliverySettings({
    routes: `*=127.0.0.1:${system.port}`,
    throttle: { failuresBeforeDown: 5, limits: { minMessageRate: 20, maxMessageRate: 20, connections: 1, maxDeliveriesPerConnection: 3 } },
  })
  try {
    const schedule = ['1h', '1h']
    const handles = await Promise.all(['ann', 'bob', 'cem', 'dan', 'eva', 'fay'].map((who) => send(who, { schedule })))
    for (const handle of handles) expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(system.taken).toHaveLength(6)
    const at = system.taken.map((taken) => taken.at).sort((a, b) => a - b)
    // five intervals of 50 ms, minus the time to connect
    expect((at.at(-1) as number) - (at[0] as number)).toBeGreaterThan(3 * 50)
    // at most three per session
    expect(system.connections.length).toBeGreaterThanOrEqual(2)
    await eventually(async () => (await standing())?.connectionsNow === 0)
  } finally {
    world.settings = settings
  }
})

test('messages for several destinations share one connection to the relay', async () => {
  const settings = world.settings
  world.settings = deliverySettings({
    relay: { kind: 'relay', host: '127.0.0.1', port: system.port, tls: 'off' },
    throttle: { relay: { ...world.settings.throttle.relay, connections: 1, maxDeliveriesPerConnection: 10 } },
  })
  try {
    const now = await world.currentTime()
    const handles = await Promise.all(
      ['ann', 'bob', 'cem', 'dan'].map((who) =>
        start(world, bounced(now, { recipient: `${who}@${who}.${name()}`, messageId: `m${n}@example.com`, schedule: ['1h'] })),
      ),
    )
    for (const handle of handles) expect(await handle.result()).toMatchObject({ outcome: 'delivered', confirmed: false })
    expect(system.taken).toHaveLength(4)
    expect(system.connections).toHaveLength(1)
  } finally {
    world.settings = settings
  }
})

test('a system that accepts one message per session still gets its rate, and later sessions end after one message', async () => {
  const settings = world.settings
  world.settings = deliverySettings({
    routes: `*=127.0.0.1:${system.port}`,
    throttle: { failuresBeforeDown: 5, limits: { minMessageRate: 10, maxMessageRate: 10, connections: 1, maxDeliveriesPerConnection: 10 } },
  })
  const mails = new Map<number, number>()
  let refused = 0
  system.say = {
    mail: ({ connection }) => {
      mails.set(connection, (mails.get(connection) ?? 0) + 1)
      if (mails.get(connection) === 1) return undefined
      refused += 1
      return '421 4.3.2 one message a session'
    },
  }
  try {
    const handles = await Promise.all(Array.from({ length: 8 }, (_, i) => send(`p${i}`, { schedule: ['1h', '1h'] })))
    for (const handle of handles) expect(await handle.result()).toMatchObject({ outcome: 'delivered', retries: 1 })
    expect(system.taken).toHaveLength(8)
    expect(refused).toBeLessThanOrEqual(1)
    // eight connections and a refusal, at least 100 ms apart
    const [first, last] = [Math.min(...system.connections), Math.max(...system.connections)]
    expect(last - first).toBeGreaterThan(6 * 100)
  } finally {
    world.settings = settings
  }
})

test('a relay has its own limiter, and neither its replies nor bounces through it count as feedback for the destination', async () => {
  const settings = world.settings
  world.settings = deliverySettings({
    relay: { kind: 'relay', host: '127.0.0.1', port: system.port, tls: 'opportunistic' },
    throttle: { failuresBeforeDown: 1, limits: POLITENESS.limits },
  })
  try {
    const handle = await send('ann')
    await eventually(async () => {
      await world.environment.sleep('10 minutes')
      return (await handle.query(progress)).state === 'confirming'
    })
    expect(await standing(`relay:127.0.0.1:${system.port}`)).toBeDefined()
    const bouncedAt = (await world.currentTime()).toISOString()
    await handle.signal(bouncedAgain, { status: '4.3.2', bouncedAt, diagnostic: `smtp; ${NOT_NOW}` })
    await eventually(async () => (await handle.query(progress)).state === 'waiting')
    expect(await standing()).toMatchObject({ failures: 0, downSince: null, said: null })
    await handle.cancel()
  } finally {
    world.settings = settings
  }
})
