import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findSuppression } from '../../src/suppression/index.js'
import { bouncedAgain, giveUp, giveUpUpdate, progress, retryNow, retryNowUpdate } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, eventually, type Handle, HOUR, signalWithStart, stands, start, startWorld, type World } from '../support/skipping-time.js'

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
  system.say = { banner: () => NOT_NOW }
  system.taken.length = 0
  system.connections.length = 0
})
const person = () => `bob${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const message = async (more: Parameters<typeof bounced>[1] = {}) => bounced(await world.currentTime(), { recipient: person(), ...more })
const waits = (handle: Handle, retry: number) => stands(handle, 'waiting', retry)

describe('retryNow', () => {
  test('retryNow sends the waiting retry, and the next delay counts from it', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    const now = (await world.currentTime()).getTime()
    await handle.signal(retryNow)
    const standing = await waits(handle, 2)
    expect(standing).toMatchObject({ of: 4, lastAttempt: { retry: 1, outcome: 'deferred', reply: NOT_NOW } })
    const due = Date.parse(standing.nextRetryAt ?? '') - now
    expect(due).toBeGreaterThanOrEqual(4 * HOUR)
    expect(due).toBeLessThan(4.3 * HOUR)
    expect(system.connections).toHaveLength(1)
    await handle.cancel()
  })

  test('retryNow twice within a second sends one retry', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    await handle.signal(retryNow)
    await waits(handle, 2)
    await handle.signal(retryNow)
    await handle.signal(retryNow)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(system.connections).toHaveLength(1)
    // a later signal is another request
    await world.environment.sleep('1 minute')
    await handle.signal(retryNow)
    await waits(handle, 3)
    expect(system.connections).toHaveLength(2)
    await handle.cancel()
  })

  test('retryNow by signalWithStart sends the first retry at once', async () => {
    const handle = await world.environment.client.workflow.signalWithStart('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: `bounce/${person()}/m1@example.com`,
      args: [await message()],
      signal: retryNow,
      signalArgs: [],
    })
    await waits(handle as unknown as Handle, 2)
    expect(system.connections).toHaveLength(1)
    await handle.cancel()
  })

  test('retryNow for a named retry acts only while that one waits, and is never kept for later', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    await handle.signal(retryNow, { retry: 2 })
    await handle.signal(retryNow, { retry: 1 })
    await waits(handle, 2)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(system.connections).toHaveLength(1)
    // two in a row for different retries are two requests
    await handle.signal(retryNow, { retry: 2 })
    await waits(handle, 3)
    expect(system.connections).toHaveLength(2)
    await handle.cancel()
  })
})

describe('giveUp', () => {
  test('giveUp suppresses at once', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 0, suppressedUntil: expect.any(String) })
    expect(await listed()).toMatchObject({ reason: 'unavailable' })
    expect(system.connections).toHaveLength(0)
  })

  test('giveUp by signalWithStart suppresses at once too', async () => {
    const input = await message()
    const handle = await world.environment.client.workflow.signalWithStart('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: `bounce/${person()}/m1@example.com`,
      args: [input],
      signal: giveUp,
      signalArgs: [],
    })
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 0 })
  })

  test('giveUp does not wait for the end of a local failure', async () => {
    const { paths } = world.settings
    world.settings = { ...world.settings, paths: { routes: [], relay: null } }
    const handle = await start(world, await message())
    await waits(handle, 1)
    await handle.signal(retryNow)
    await eventually(async () => (await handle.query(progress)).state === 'sending')
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 0 })
    world.settings = { ...world.settings, paths }
  })
})

describe('bouncedAgain', () => {
  const again = async (status: string, more = {}) => ({ status, bouncedAt: (await world.currentTime()).toISOString(), ...more })

  test('bouncedAgain by signalWithStart is the same bounce, and counts once', async () => {
    const handle = await signalWithStart(world, await message())
    await waits(handle as unknown as Handle, 1)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 4 })
    expect(system.connections).toHaveLength(4)
  })

  test('bouncedAgain before the next retry is a late notice, and does not count', async () => {
    const handle = await start(world, await message())
    const { nextRetryAt } = await waits(handle, 1)
    for (const status of ['4.3.2', '4.4.1', '2.0.0']) await handle.signal(bouncedAgain, await again(status))
    await handle.signal(bouncedAgain, await again('4.3.2', { action: 'delayed' }))
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await handle.query(progress)).toMatchObject({ state: 'waiting', retry: 1, nextRetryAt, lastAttempt: null })
    expect(await handle.result()).toMatchObject({ retries: 4 })
  })

  test('bouncedAgain for a nonexistent recipient ends the retries, and suppresses for good', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    await handle.signal(bouncedAgain, await again('5.1.1', { diagnostic: '550 5.1.1 no such user' }))
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', retries: 0 })
    expect(await listed()).toMatchObject({ reason: 'rejected', until: null })
  })

  test('bouncedAgain that refuses the message ends the retries, and suppresses nobody', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    await handle.signal(bouncedAgain, await again('5.7.1'))
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', retries: 0 })
    expect(await listed()).toBeNull()
  })

  test('an unreadable bouncedAgain changes nothing', async () => {
    const handle = await start(world, await message())
    const { nextRetryAt } = await waits(handle, 1)
    for (const nonsense of [null, 'x', {}, { status: '5.1.1' }, { status: 'bad', bouncedAt: 'bad' }])
      await handle.signal('bouncedAgain', nonsense)
    await handle.signal('bouncedAgain')
    await handle.signal('retryNow', 'nonsense')
    await handle.signal('retryNow', null)
    await eventually(() => system.connections.length === 1)
    expect(nextRetryAt).not.toBeNull()
    expect((await waits(handle, 2)).lastAttempt).toMatchObject({ outcome: 'deferred' })
    await handle.cancel()
  })
})

test('the progress query returns the current state', async () => {
  const input = await message()
  const handle = await start(world, input)
  const standing = await waits(handle, 1)
  expect(standing).toEqual({ retry: 1, of: 4, state: 'waiting', nextRetryAt: expect.any(String), lastAttempt: null })
  const due = Date.parse(standing.nextRetryAt ?? '') - Date.parse(input.bounce.bouncedAt)
  expect(due).toBeGreaterThanOrEqual(HOUR)
  await handle.result()
  expect(await handle.query(progress)).toMatchObject({ state: 'suppressed', retry: 4, of: 4, nextRetryAt: null, lastAttempt: { retry: 4 } })
})

describe('the updates retryNow and giveUp', () => {
  const refusal = (update: Promise<unknown>) =>
    update.then(
      () => 'accepted',
      (error: { cause?: { type?: string; message: string } }) => `${error.cause?.type}: ${error.cause?.message}`,
    )

  test('they do what the signals do, and answer with the progress', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    expect(await handle.executeUpdate(retryNowUpdate, { args: [{ retry: 1 }] })).toMatchObject({ retry: 1, of: 4 })
    await waits(handle, 2)
    await handle.executeUpdate(giveUpUpdate)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 1 })
  })

  test('a retry that does not wait is refused with the reason, and the history holds nothing of it', async () => {
    const handle = await start(world, await message())
    await waits(handle, 1)
    const before = (await handle.fetchHistory()).events?.length as number
    expect(await refusal(handle.executeUpdate(retryNowUpdate, { args: [{ retry: 3 }] }))).toBe(
      'RequestRefused: retry 1 of 4 waits, not retry 3',
    )
    const events = (await handle.fetchHistory()).events ?? []
    expect(events.slice(before).filter(({ eventType }) => String(eventType).includes('UPDATE'))).toEqual([])
    await handle.executeUpdate(retryNowUpdate, { args: [{ retry: 1 }] })
    await waits(handle, 2)
    expect(await refusal(handle.executeUpdate(retryNowUpdate, { args: [{}] }))).toBe(
      'RequestRefused: a retry was asked for less than 10 s ago',
    )
    await handle.signal(giveUp)
    await handle.result()
    expect(await refusal(handle.executeUpdate(giveUpUpdate))).toContain('undefined')
  })
})
