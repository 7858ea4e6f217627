/** The backup relay: an urgent message is sent by it once, at once, in addition to its schedule. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import type { Send } from '../../src/bounce/index.js'
import { dayOf, sentId, signReturnPath, verifyReturnPath } from '../../src/delivery/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { pause, resume } from '../../src/throttle/index.js'
import { bouncedAgain, giveUp, progress, retryBouncedMessage, retryNow } from '../../src/workflows/retry-bounced-message.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, DAY, deliverySettings, HOUR, stands, start, startWorld, type World } from '../support/skipping-time.js'

const returnPaths = { template: 'bounce+{token}@{domain}', keys: [Buffer.alloc(32, 7)], validDays: 28 }
let world: World
let system: ReceivingSystem
let backup: ReceivingSystem
let closedPort: number
let n = 0

const by = (port: number) => ({ kind: 'relay', host: '127.0.0.1', port, tls: 'off' }) as const
const set = (more: Parameters<typeof deliverySettings>[0] = { backupRelay: by(backup.port) }) => {
  world.settings = deliverySettings({ routes: `*=127.0.0.1:${system.port}`, returnPaths, ...more })
}
beforeAll(async () => {
  system = await startReceivingSystem()
  backup = await startReceivingSystem()
  closedPort = await freePort()
  world = await startWorld()
})
afterAll(async () => {
  await world.close()
  await system.close()
  await backup.close()
})
beforeEach(() => {
  n += 1
  for (const one of [system, backup]) {
    one.say = {}
    one.taken.length = 0
  }
  set()
})

const person = () => `urgent${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const message = async (more: Parameters<typeof bounced>[1] = {}) =>
  bounced(await world.currentTime(), { recipient: person(), urgent: { via: 'backup-relay' }, ...more })
const begin = async (more: Parameters<typeof bounced>[1] = {}) => start(world, await message(more))
const attempts = () =>
  world.database.db.selectFrom('attempts').selectAll().where('recipient', '=', person()).orderBy('via', 'desc').orderBy('retry').execute()

test('the backup relay accepts the message at once; without a bounce it ends as delivered, unconfirmed, with no retry', async () => {
  const handle = await begin()
  await stands(handle, 'confirming', 1)
  expect(await handle.result()).toMatchObject({
    outcome: 'delivered',
    confirmed: false,
    retries: 0,
    attempts: [{ retry: 0, via: 'backup-relay', outcome: 'accepted', mailServer: `127.0.0.1:${backup.port}` }],
  })
  expect(backup.taken).toHaveLength(1)
  expect(system.taken).toHaveLength(0)
  // its return path names the backup send, not a retry
  expect(verifyReturnPath(returnPaths, backup.taken[0]?.from ?? '', world.now())).toMatchObject({ send: 'backup' })
})

test('the backup relay is not used if giveUp came first', async () => {
  const input = await message()
  const workflowId = `bounce/${input.recipient}/${input.messageId}`
  const { workflow } = world.environment.client
  const args: [typeof input] = [input]
  const handle = await workflow.signalWithStart(retryBouncedMessage, { taskQueue: 'softbounce', workflowId, args, signal: giveUp })
  expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 0 })
  expect(backup.taken).toHaveLength(0)
})

test('a bounce of the backup send is followed by the whole schedule, and uses up no retry', async () => {
  system.say = { rcpt: () => '421 4.3.2 no' }
  const handle = await begin()
  await stands(handle, 'confirming', 1)
  // nothing is sent while waiting for confirmation
  await handle.signal(retryNow)
  const token = (send: Send) =>
    signReturnPath(returnPaths, { id: sentId('m1@example.com', person()), day: dayOf(world.now()), send }, 'bounces@example.com').slice(
      7,
      46,
    )
  const said = { status: '4.4.7', bouncedAt: (await world.currentTime()).toISOString(), diagnostic: '421 4.4.7 expired' }
  // a repeated bounce of the original is not about this send
  await handle.signal(bouncedAgain, { ...said, token: token(0) })
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(await handle.query(progress)).toMatchObject({ state: 'confirming', retry: 1 })
  await handle.signal(bouncedAgain, { ...said, token: token('backup') })
  await stands(handle, 'waiting', 1)
  const result = await handle.result()
  expect(result).toMatchObject({ outcome: 'suppressed', retries: 4 })
  expect(result.attempts.map((a) => [a.retry, a.outcome, a.status])).toEqual([
    [0, 'deferred', '4.4.7'],
    ...[1, 2, 3, 4].map((retry) => [retry, 'deferred', '4.3.2']),
  ])
  expect(backup.taken).toHaveLength(1)
})

test('a backup relay that is down until the first retry is due leaves the message to the schedule', async () => {
  set({ backupRelay: by(closedPort) })
  const began = await world.currentTime()
  const result = await (await begin()).result()
  expect(result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1, attempts: [{ retry: 1 }] })
  const at = Date.parse(result.attempts[0]?.at ?? '') - began.getTime()
  expect(at).toBeGreaterThanOrEqual(HOUR)
  expect(at).toBeLessThan(1.2 * HOUR)
  expect(system.taken).toHaveLength(1)
  expect(await attempts()).toMatchObject([
    { via: 'backup-relay', outcome: null, sends: 0 },
    { via: null, retry: 1, outcome: 'accepted' },
  ])
})

for (const [reply, status] of [
  ['550 5.1.1 no such user here', '5.1.1'],
  ['550 5.7.1 not from you', '5.7.1'],
  ['554 5.6.0 I do not like it', '5.6.0'],
] as const)
  test(`a backup relay that replies ${status} ends nothing and suppresses nobody`, async () => {
    backup.say = reply.startsWith('554') ? { message: () => reply } : { rcpt: () => reply }
    const handle = await begin()
    // 5.7.1: a relay that does not relay for us is a local failure, repeated until the first retry is due
    if (status !== '5.7.1') await stands(handle, 'waiting', 1)
    expect(await listed()).toBeNull()
    expect(await handle.result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
    expect(system.taken).toHaveLength(1)
  })

test('a paused destination does not delay the backup relay', async () => {
  await pause(world.database, 'the test', 'example.org')
  const handle = await begin()
  await stands(handle, 'confirming', 1)
  await resume(world.database, 'example.org')
  await handle.cancel()
})

test('the backup relay gets the message once, however often it bounces', async () => {
  await (await begin()).result()
  const again = await begin({ bounce: { bouncedAt: (await world.currentTime()).toISOString() } })
  expect(await again.result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1, attempts: [{ retry: 1 }] })
  expect(backup.taken).toHaveLength(1)
})

test('a missing backup relay delays nothing', async () => {
  set({})
  expect(await (await begin()).result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 1 })
  expect((await attempts()).map(({ retry }) => retry)).toEqual([1])
})

// sometimes the test server loses the commands after a cancelled activity, and the test times out; a real server does not
test('the backup relay does not block giveUp or cancellation', { retry: 2 }, async () => {
  set({ backupRelay: by(closedPort) })
  const given = await begin()
  await stands(given, 'waiting', 1)
  await given.signal(giveUp)
  expect(await given.result()).toMatchObject({ outcome: 'suppressed', retries: 0 })
  n += 1
  const cancelled = await begin()
  await stands(cancelled, 'waiting', 1)
  await cancelled.cancel()
  await expect(cancelled.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } })
  expect(await listed()).toBeNull()
})

test('for a bounce processed late the backup relay has a minute, then the due retry is sent', async () => {
  set({ backupRelay: by(closedPort) })
  const now = await world.currentTime()
  const result = await (await begin({ bounce: { bouncedAt: new Date(now.getTime() - DAY).toISOString() } })).result()
  expect(result).toMatchObject({ outcome: 'delivered', retries: 1 })
  expect(Date.parse(result.attempts[0]?.at ?? '') - now.getTime()).toBeGreaterThanOrEqual(59_000)
})

test('no channel but the backup relay is accepted', async () => {
  const handle = await begin({ urgent: { via: 'pigeon' } as never })
  await expect(handle.result()).rejects.toMatchObject({ cause: { message: expect.stringContaining('backup-relay') } })
})
