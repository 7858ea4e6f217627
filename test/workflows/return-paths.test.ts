/** Correlation of bounces with sends by signed return paths. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { dayOf, sentId, signReturnPath, verifyReturnPath } from '../../src/delivery/index.js'
import { findSent } from '../../src/store/index.js'
import { bouncedAgain, progress, retryNow } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, DAY, deliverySettings, HOUR, signalWithStart, stands, start, startWorld, type World } from '../support/skipping-time.js'

const returnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 7)], validDays: 28 }
let world: World
let system: ReceivingSystem
let n = 0
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startWorld()
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
const byRelay = () => {
  world.settings = deliverySettings({ returnPaths, relay: { kind: 'relay', host: '127.0.0.1', port: system.port, tls: 'off' } })
}
const person = () => `kim${n}@example.org`
const message = async (more: Parameters<typeof bounced>[1] = {}) => bounced(await world.currentTime(), { recipient: person(), ...more })
const tokenOf = (send: number) =>
  /\+([a-z2-7]+)@/.exec(
    signReturnPath(returnPaths, { id: sentId('m1@example.com', person()), day: dayOf(world.now()), send }, 'bounces@example.com'),
  )?.[1] as string
const bounce = async (more: object) => ({
  status: '4.3.2',
  bouncedAt: (await world.currentTime()).toISOString(),
  action: 'failed' as const,
  ...more,
})

test('through a relay each retry has its own return path; in direct delivery all share that of the message', async () => {
  let handle = await start(world, await message())
  await stands(handle, 'waiting', 1)
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 1)
  await handle.signal(bouncedAgain, await bounce({ token: tokenOf(1) }))
  await stands(handle, 'waiting', 2)
  await handle.signal(retryNow, { retry: 2 })
  await stands(handle, 'confirming', 2)
  await handle.cancel()
  const sends = system.taken.map(({ from }) => verifyReturnPath(returnPaths, from, world.now()))
  expect(sends).toMatchObject([
    { send: 1, id: sentId('m1@example.com', person()) },
    { send: 2, id: sentId('m1@example.com', person()) },
  ])
  expect(await findSent(world.database.db, sentId('m1@example.com', person()))).toMatchObject({
    recipient: person(),
    sender: 'bounces@example.com',
  })

  n += 1
  system.taken.length = 0
  world.settings = deliverySettings({ returnPaths, routes: `*=127.0.0.1:${system.port}` })
  const heard: string[] = []
  system.say = {
    mail: ({ address }) => {
      heard.push(address as string)
      return heard.length < 3 ? '421 4.3.2 greylisted' : undefined
    },
  }
  handle = await start(world, await message())
  expect(await handle.result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 3 })
  expect(new Set(heard).size).toBe(1)
  expect(verifyReturnPath(returnPaths, heard[0] as string, world.now())).toMatchObject({ send: 0 })
})

test('while a retry waits for confirmation, only a bounce of that retry counts, whatever its time', async () => {
  const handle = await start(world, await message())
  await stands(handle, 'waiting', 1)
  await handle.signal(retryNow)
  await stands(handle, 'confirming', 1)
  // a bounce of the original send, with the current time
  await handle.signal(bouncedAgain, await bounce({ token: tokenOf(0) }))
  await handle.signal(bouncedAgain, await bounce({ token: tokenOf(2) }))
  expect(await handle.query(progress)).toMatchObject({ state: 'confirming', retry: 1 })
  // the reporting MTA's clock is an hour slow
  await handle.signal(bouncedAgain, await bounce({ token: tokenOf(1), bouncedAt: new Date(world.now().getTime() - HOUR).toISOString() }))
  await stands(handle, 'waiting', 2)
  await handle.cancel()
})

test('after an unconfirmed end a bounce of the last retry restarts with the count so far; one of an earlier send does not', async () => {
  const first = await start(world, await message({ schedule: ['1h', '2h'] }))
  expect(await first.result()).toMatchObject({ outcome: 'delivered', confirmed: false, retries: 1 })
  const ended = await world.currentTime()
  let status = '4.3.2'
  const told = async (send: number) => {
    const late = await bounce({
      status,
      diagnostic: undefined,
      token: tokenOf(send),
      bouncedAt: new Date(ended.getTime() - 4 * DAY).toISOString(),
    })
    return signalWithStart(world, await message({ schedule: ['1h', '2h'], bounce: late }))
  }
  expect(await (await told(0)).result()).toMatchObject({ outcome: 'delivered', confirmed: false, retries: 1 })
  expect(system.taken).toHaveLength(1)
  // the relay gave up after days, with a status that alone is not retried
  status = '4.4.7'
  const anew = await told(1)
  expect(await anew.result()).toMatchObject({ outcome: 'delivered', confirmed: false, retries: 2 })
  expect(system.taken).toHaveLength(2)
})
