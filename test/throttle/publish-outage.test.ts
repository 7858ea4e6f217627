/** The events of an outage are published once, and waiters are woken; both survive a Temporal that is gone. */
import { randomUUID } from 'node:crypto'
import type { Client } from '@temporalio/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EventType } from '../../src/bounce/index.js'
import type { Feedback } from '../../src/throttle/index.js'
import { writeFeedback } from '../../src/throttle/index.js'
import { publishOutages } from '../../src/throttle/publish-outage.js'
import { wakeWaiters } from '../../src/throttle/wake-waiters.js'
import { deliverySettings, startWorld, type World } from '../support/skipping-time.js'

const LIMITS = { minMessageRate: 2, maxMessageRate: 10, connections: 2, maxDeliveriesPerConnection: 20 }
const SETTINGS = { limits: LIMITS, failuresBeforeDown: 2, probeIntervalMs: 60_000, maxQueueDelayMs: 15 * 60_000 }

let world: World
beforeAll(async () => {
  world = await startWorld({ realTime: true })
})
afterAll(() => world.close())

const contextWith = (types: readonly EventType[], url: string | null = 'http://127.0.0.1:9/') => ({
  database: world.database,
  settings: deliverySettings({ eventTypes: types, ...(url === null ? {} : { webhook: { url, secret: 'whsec_eA==' } }) }),
})
const client = (): Client => world.environment.client

async function outage(): Promise<{ name: string; ends: () => Promise<unknown> }> {
  const name = `${randomUUID().slice(0, 8)}.example`
  const feedback = (lesson: Feedback, outcome: 'accepted' | 'deferred', status: string) => {
    const answer = { outcome, status, reply: `${status} said`, stage: 'banner' as const, mailServer: 'mx.example' }
    return writeFeedback(world.database, { name, limits: LIMITS, lesson, answer, tookMs: 20 }, SETTINGS)
  }
  for (let i = 0; i < 2; i += 1) await feedback({ kind: 'failing', slower: 'both', waitMs: 0 }, 'deferred', '4.3.2')
  return { name, ends: () => feedback({ kind: 'accepted' }, 'accepted', '2.0.0') }
}

const published = async (name: string): Promise<string[]> => {
  const found: string[] = []
  const row = await world.database.db.selectFrom('outages').select('began_at').where('destination', '=', name).executeTakeFirstOrThrow()
  for (const change of ['down', 'up']) {
    const workflowId = `event/${name}.${new Date(Number(row.began_at)).toISOString()}.destination.${change}`
    await client()
      .workflow.getHandle(workflowId)
      .describe()
      .then(() => found.push(change))
      .catch(() => {})
  }
  return found
}

test('an outage and its end are published once each', async () => {
  const { name, ends } = await outage()
  const context = contextWith(['destination.down', 'destination.up'])
  await publishOutages(client(), 'softbounce', context, name)
  expect(await published(name)).toEqual(['down'])
  // it died before it could say that the event was published
  await world.database.db.updateTable('outages').set({ published: null }).where('destination', '=', name).execute()
  await publishOutages(client(), 'softbounce', context, name)
  await ends()
  await publishOutages(client(), 'softbounce', context, name)
  expect(await published(name)).toEqual(['down', 'up'])
})

test('what nobody asked for is not published, now or later', async () => {
  const { name, ends } = await outage()
  await publishOutages(client(), 'softbounce', contextWith(['destination.up'], null), name)
  await publishOutages(client(), 'softbounce', contextWith([]), name)
  await publishOutages(client(), 'softbounce', contextWith(['destination.up']), name)
  expect(await published(name)).toEqual([])
  await ends()
  await publishOutages(client(), 'softbounce', contextWith(['destination.up']), name)
  expect(await published(name)).toEqual(['up'])
})

test('an outage stays to be published while Temporal is gone', async () => {
  const { name } = await outage()
  const gone = { workflow: { start: () => Promise.reject(new Error('no server')) } } as unknown as Client
  const context = contextWith(['destination.down'])
  await expect(publishOutages(gone, 'softbounce', context, name)).rejects.toThrow('no server')
  await publishOutages(client(), 'softbounce', context, name)
  expect(await published(name)).toEqual(['down'])
})

test('waking never rejects, whatever is gone', async () => {
  await wakeWaiters(client(), [], world.database)
  await wakeWaiters(client(), [`bounce/${randomUUID()}`], world.database)
})
