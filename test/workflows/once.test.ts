import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { answeredAttempts, recordEnd } from '../../src/store/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { giveUp, progress, retryNow } from '../../src/workflows/retry-bounced-message.js'
import { polite, type ReceivingSystem, type Script, startReceivingSystem, startScript } from '../support/receiving-system.js'
import {
  bounced,
  DAY,
  deliverySettings,
  eventually,
  failureOf,
  HOUR,
  signalWithStart,
  stands,
  start,
  startWorld,
  type World,
} from '../support/skipping-time.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'
let world: World
let system: ReceivingSystem
let n = 0
const scripts: Script[] = []
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
  world.settings = deliverySettings({ routes: `*=127.0.0.1:${system.port}` })
  system.say = {}
  system.taken.length = 0
  system.connections.length = 0
})
afterEach(async () => {
  for (const script of scripts.splice(0)) await script.close()
})
const person = () => `joe${n}@example.org`
const listed = () => findSuppression(world.database.db, person(), world.now())
const message = async (more: Parameters<typeof bounced>[1] = {}) => bounced(await world.currentTime(), { recipient: person(), ...more })
const play = async (...args: Parameters<typeof startScript>) => {
  const script = await startScript(...args)
  scripts.push(script)
  world.settings = deliverySettings({ routes: `*=127.0.0.1:${script.port}` })
  return script
}
const times = (script: Script, command: string) => script.heard.filter((line) => line.startsWith(command)).length

describe('a relayed retry whose workflow is gone before its confirmation', () => {
  const relayed = async () => {
    world.settings = deliverySettings({ relay: { kind: 'relay', host: '127.0.0.1', port: system.port, tls: 'off' } })
    const first = await message()
    const handle = await start(world, first)
    await handle.signal(retryNow)
    await stands(handle, 'confirming', 1)
    await handle.terminate('Temporal was lost')
    return first
  }

  test('the retry is not sent again for an earlier bounce', async () => {
    const first = await relayed()
    for (const again of [await start(world, first), await signalWithStart(world, first)])
      expect(await again.result()).toMatchObject({
        outcome: 'delivered',
        confirmed: false,
        retries: 1,
        attempts: [{ outcome: 'accepted' }],
      })
    expect(system.taken).toHaveLength(1)
  })

  test('a bounce of the retry continues with the next retry', async () => {
    const first = await relayed()
    const later = { ...first.bounce, bouncedAt: new Date((await world.currentTime()).getTime() + 1000).toISOString() }
    const handle = await start(world, { ...first, bounce: later })
    await handle.signal(retryNow)
    await stands(handle, 'confirming', 2)
    expect(system.taken).toHaveLength(2)
    await handle.cancel()
  })
})

describe('a connection that is lost after the final dot', () => {
  test('the message is sent once more in the same retry, with the same Message-ID', async () => {
    const script = await play((line, _socket, connection) => (line === '.' && connection === 1 ? null : polite(line)))
    const result = await (await start(world, await message())).result()
    expect(result).toMatchObject({
      outcome: 'delivered',
      confirmed: true,
      retries: 1,
      attempts: [{ retry: 1, outcome: 'accepted', maybeDelivered: true }],
    })
    expect(times(script, 'DATA')).toBe(2)
    expect(times(script, 'Message-ID: <m1@example.com>')).toBe(2)
  })

  test('a second loss waits for the next retry; such losses alone suppress nobody', async () => {
    const script = await play((line) => (line === '.' ? null : polite(line)))
    const result = await (await start(world, await message())).result()
    expect(result).toMatchObject({ outcome: 'delivered', confirmed: false, retries: 4 })
    expect(result.attempts.every((a) => a.outcome === 'deferred' && a.maybeDelivered === true && a.status === '4.4.2')).toBe(true)
    expect(times(script, 'DATA')).toBe(8)
    expect(await listed()).toBeNull()
  })

  test('together with real refusals it does not prevent suppression', async () => {
    await play((line, _socket, connection) => (connection >= 3 && line === '' ? `${NOT_NOW}\r\n` : line === '.' ? null : polite(line)))
    expect(await (await start(world, await message())).result()).toMatchObject({ outcome: 'suppressed', retries: 4 })
  })
})

describe('local and remote connection failures', () => {
  test('a refused connection counts as the receiving system’s answer', async () => {
    await system.close()
    const result = await (await start(world, await message())).result()
    expect(result).toMatchObject({ outcome: 'suppressed', retries: 4 })
    expect(result.attempts[0]).toMatchObject({ status: '4.4.1', outcome: 'deferred' })
    await system.open()
  })

  test('a lost connection counts as the receiving system’s answer', async () => {
    await play((line) => (line.startsWith('MAIL') ? null : polite(line)))
    expect((await (await start(world, await message())).result()).attempts[0]).toMatchObject({ status: '4.4.2', outcome: 'deferred' })
  })

  test('an unresolvable host or a missing route is a local failure and uses up no retry', async () => {
    for (const routes of ['*=no-such-host.invalid', 'other.example=127.0.0.1']) {
      n += 1
      world.settings = deliverySettings({ routes })
      const handle = await start(world, await message())
      await eventually(async () => (await handle.query(progress)).state === 'waiting')
      await world.environment.sleep('3 hours')
      expect(await handle.query(progress)).toMatchObject({ state: 'sending', retry: 1, lastAttempt: null })
      expect(await listed()).toBeNull()
      await handle.cancel()
    }
  })
})

describe('after the end', () => {
  const end = async (outcome: 'cancelled' | 'delivered' | 'rejected' | 'expired' | 'suppressed', confirmed = false, secondsAgo = 60) => {
    const endedAt = new Date((await world.currentTime()).getTime() - secondsAgo * 1000)
    const subject = { messageId: 'm1@example.com', recipient: person(), workflowId: 'w', firstRunId: `earlier-${n}` }
    await world.database.db
      .insertInto('attempts')
      .values({
        first_run_id: subject.firstRunId,
        retry: 2,
        workflow_id: 'w',
        message_id: subject.messageId,
        recipient: subject.recipient,
        destination: 'example.org',
        sends: 1,
        begun_at: endedAt.getTime(),
        at: endedAt.getTime(),
        outcome: outcome === 'delivered' ? 'accepted' : 'deferred',
        status: '4.3.2',
        reply: NOT_NOW,
        stage: 'banner',
        mail_server: null,
        maybe_delivered: 0,
        relayed: 0,
      })
      .execute()
    await recordEnd(world.database.db, { ...subject, outcome, confirmed, suppressedUntil: null, endedAt })
  }

  test('a bounce that is not newer than the last attempt changes nothing, and returns the logged result', async () => {
    await end('suppressed')
    const stale = bounced(new Date((await world.currentTime()).getTime() - HOUR), { recipient: person() })
    const result = await (await signalWithStart(world, stale)).result()
    expect(result).toMatchObject({ outcome: 'suppressed', retries: 2, attempts: [{ retry: 2 }] })
    expect(system.connections).toHaveLength(0)
  })

  for (const [outcome, confirmed] of [
    ['rejected', false],
    ['expired', false],
    ['delivered', true],
  ] as const)
    test(`${outcome}${confirmed ? ', confirmed,' : ''} stays ended for a newer bounce too`, async () => {
      await end(outcome, confirmed)
      expect(await (await start(world, await message())).result()).toMatchObject({ outcome, retries: 2 })
      expect(system.connections).toHaveLength(0)
    })

  test('giving up stays final for the bounce known at that time', async () => {
    const input = await message()
    const handle = await start(world, input)
    await eventually(async () => (await handle.query(progress)).state === 'waiting')
    await handle.signal(giveUp)
    expect(await handle.result()).toMatchObject({ outcome: 'suppressed', retries: 0 })
    expect(await (await signalWithStart(world, input)).result()).toMatchObject({ outcome: 'suppressed', retries: 0 })
    expect(system.connections).toHaveLength(0)
  })

  test('cancelled stays cancelled; the failure states how to start it anyway', async () => {
    await end('cancelled')
    expect(await failureOf(await start(world, await message()))).toMatchObject({
      type: 'InvalidBouncedMessage',
      message: expect.stringContaining('retriesSoFar'),
    })
    expect(system.connections).toHaveLength(0)
  })

  test('an explicit request starts again', async () => {
    await end('cancelled')
    expect(await (await start(world, await message({ retriesSoFar: 0 }))).result()).toMatchObject({ outcome: 'delivered', retries: 1 })
  })

  test('delivered, unconfirmed, starts again with the retries so far', async () => {
    await end('delivered', false)
    const input = await message()
    const result = await (await start(world, input)).result()
    expect(result).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 3, attempts: [{ retry: 3 }] })
    expect(Date.parse(result.attempts[0]?.at ?? '') - Date.parse(input.bounce.bouncedAt)).toBeGreaterThanOrEqual(12 * HOUR)
  })

  test('promise 6: with every retry used up, a newer bounce suppresses and sends nothing', async () => {
    const input = await message({ retriesSoFar: 4 })
    expect(await (await start(world, input)).result()).toMatchObject({ outcome: 'suppressed', retries: 4, attempts: [] })
    expect(system.connections).toHaveLength(0)
    expect((await listed())?.until?.getTime()).toBeGreaterThan(world.now().getTime() + DAY / 2)
  })
})

test('promise 2: a restart with retries already made waits from the last of them, never early', async () => {
  system.say = { banner: () => NOT_NOW }
  const input = await message()
  const first = await start(world, input)
  await eventually(async () => (await first.query(progress)).state === 'waiting')
  await world.environment.sleep('70 minutes')
  await eventually(async () => (await first.query(progress)).retry === 2)
  await first.terminate('a test')
  system.say = {}
  const result = await (await start(world, input)).result()
  expect(result).toMatchObject({ outcome: 'delivered', retries: 2 })
  const [row] = await answeredAttempts(world.database.db, 'm1@example.com', person())
  expect(Date.parse(result.attempts[0]?.at ?? '') - (row?.at.getTime() ?? 0)).toBeGreaterThanOrEqual(4 * HOUR)
})

test('the same bounce twice sends what one sends', async () => {
  system.say = { banner: ({ connection }) => (connection === 1 ? NOT_NOW : undefined) }
  const input = await message()
  const first = await signalWithStart(world, input)
  const second = await signalWithStart(world, input)
  expect(second.signaledRunId).toBe(first.signaledRunId)
  await eventually(async () => (await first.query(progress)).state === 'waiting')
  await first.signal(retryNow, { retry: 1 })
  await eventually(async () => (await first.query(progress)).retry === 2)
  await signalWithStart(world, input)
  expect(await first.result()).toMatchObject({ outcome: 'delivered', retries: 2 })
  expect(await (await signalWithStart(world, input)).result()).toMatchObject({ outcome: 'delivered', confirmed: true, retries: 2 })
  expect(system.taken).toHaveLength(1)
})
