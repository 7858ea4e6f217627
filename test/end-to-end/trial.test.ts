/** A schedule on trial, with a real worker: its share of the messages gets it, and the log says which. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readSettings } from '../../src/config/config.js'
import { scheduleFor } from '../../src/delivery/index.js'
import { openDatabase } from '../../src/store/index.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { eventually } from '../support/skipping-time.js'

let world: RealWorld
beforeAll(async () => {
  world = await startRealWorld({
    SOFTBOUNCE_RETRY_SCHEDULE: '20d',
    SOFTBOUNCE_RETRY_SCHEDULES: '40 %: 10d, 10d',
    SOFTBOUNCE_RELAY_URL: 'smtp://127.0.0.1:9',
  })
  await world.startWorker()
})
afterAll(() => world.close())

test('each message has the schedule that its hash gives, and one that brings its own along has that', { timeout: 120_000 }, async () => {
  const settings = readSettings(world.env)
  const database = openDatabase(settings.database)
  const retry = (i: number, more: object = {}) =>
    world.client.retry(
      `From: shop@example.com\r\nMessage-ID: <m${i}@example.com>\r\n\r\nhello\r\n`,
      { sender: 'bounces@example.com', recipient: `p${i}@example.org`, status: '4.3.2', bouncedAt: new Date().toISOString() },
      more,
    )
  const expected = new Map<string, string | null>()
  for (let i = 0; i < 12; i += 1)
    expected.set((await retry(i)).workflowId, scheduleFor(settings, `m${i}@example.com`, `p${i}@example.org`).join(','))
  expect(new Set(expected.values())).toEqual(new Set(['1728000000', '864000000,864000000']))
  expected.set((await retry(12, { schedule: ['1d', '1d', '1d'] })).workflowId, null)
  const runs = () => database.db.selectFrom('runs').select(['workflow_id', 'schedule']).execute()
  await eventually(async () => (await runs()).length === expected.size, 60_000)
  expect(new Map((await runs()).map(({ workflow_id, schedule }) => [workflow_id, schedule]))).toEqual(expected)
  for (const [i, schedule] of [...expected.values()].entries()) {
    const progress = async () => (await world.client.get(`p${i}@example.org`, `m${i}@example.com`))?.progress
    await eventually(async () => (await progress())?.state === 'waiting', 30_000)
    expect((await progress())?.of, String(i)).toBe(schedule === null ? 3 : schedule.split(',').length)
  }
  await database.close()
})
