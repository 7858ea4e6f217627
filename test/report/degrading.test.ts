/** `destination.degrading`: recorded once, ended when it is over, published once, shown in the report. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { degradationsIn } from '../../src/report/changes.js'
import { lookForDegradation, recordDegradations } from '../../src/report/early-warning/watch.js'
import { figures } from '../../src/report/figures.js'
import { textReport } from '../../src/report/text.js'
import { DAY_MS, HOUR_MS } from '../../src/report/window.js'
import type { Database } from '../../src/store/index.js'
import { onBothDatabases } from '../support/both-databases.js'
import { deliverySettings, startWorld, type World } from '../support/skipping-time.js'

const WEEK_MS = 7 * DAY_MS

/** Bounces of a destination, evenly over this time. */
async function bounce({ db }: Database, destination: string, n: number, from: number, to: number, status = '4.3.2') {
  if (n === 0) return
  const rows = Array.from({ length: n }, (_, i) => {
    const [run, at] = [randomUUID(), Math.round(from + ((i + 0.5) * (to - from)) / n)]
    return {
      ...{ first_run_id: run, workflow_id: run, sent_id: run, destination, status, bounced_at: at, started_at: at, message_key: 'k' },
    }
  })
  await db.insertInto('runs').values(rows).execute()
}
/** Four weeks with as many bounces each hour around this one. */
async function usually(database: Database, destination: string, perHour: number, now: number) {
  for (let week = 1; week <= 4; week += 1)
    await bounce(database, destination, 3 * perHour, now - week * WEEK_MS - 2 * HOUR_MS, now - week * WEEK_MS + HOUR_MS)
}
const down = (database: Database, destination: string, since: number, endedAt: number | null = null) =>
  database.db
    .insertInto('outages')
    .values({
      ...{ destination, began_at: since, down_at: since, ended_at: endedAt, restored_at: null, refusals: 5 },
      ...{ status: '4.3.2', reply: '421 4.3.2 no', mail_server: null },
    })
    .execute()

onBothDatabases('degrading destinations', (opened) => {
  const now = Date.UTC(2026, 5, 29, 12)

  test('are recorded once, before they are down, and end when they are as usual again', async () => {
    const { database } = opened
    // the log goes back more than four weeks
    await bounce(database, 'old.example', 1, now - 40 * DAY_MS, now - 40 * DAY_MS + 1)
    await usually(database, 'busy.example', 10, now)
    await usually(database, 'degrading.example', 2, now)
    await usually(database, 'down.example', 2, now)
    await down(database, 'down.example', now - HOUR_MS)
    await down(database, 'recovered.example', now - HOUR_MS, now - HOUR_MS / 2)
    for (const [destination, n] of [
      ['busy.example', 14],
      ['degrading.example', 40],
      ['down.example', 60],
      ['recovered.example', 60],
      ['new.example', 30],
      ['handful.example', 4],
    ] as const)
      await bounce(database, destination, n, now - HOUR_MS, now)
    // one cluster of bounces is no change since the period before; bounces all day are
    await bounce(database, 'changed.example', 80, now - DAY_MS, now)
    // these were held up while the workers were stopped
    const rows = Array.from({ length: 60 }, (_, i) => ({
      ...{ first_run_id: `held${i}`, workflow_id: 'w', sent_id: 's', destination: 'held.example', status: '4.3.2', message_key: 'k' },
      ...{ bounced_at: now - 5 * HOUR_MS, started_at: now - 60_000 },
    }))
    await database.db.insertInto('runs').values(rows).execute()
    // another status is no sign of an outage
    await bounce(database, 'blocked.example', 60, now - HOUR_MS, now, '4.7.1')
    const fresh = await recordDegradations(database, now)
    expect(fresh.sort((a, b) => (a.destination < b.destination ? -1 : 1))).toEqual([
      { destination: 'degrading.example', bounces: 40, usual: expect.closeTo(2, 0) },
      { destination: 'new.example', bounces: 30, usual: 0 },
    ])
    expect(await recordDegradations(database, now + 60_000)).toEqual([])
    // two workers at the same time
    await bounce(database, 'both.example', 50, now - HOUR_MS, now)
    const both = await Promise.all([recordDegradations(database, now), recordDegradations(database, now)])
    expect(both.flat().map(({ destination }) => destination)).toEqual(['both.example'])
    const window = { since: new Date(now - 2 * DAY_MS), until: new Date(now + DAY_MS) }
    const open = async () =>
      (await degradationsIn(database, window)).filter(({ endedAt }) => endedAt === null).map(({ destination }) => destination)
    expect((await open()).sort()).toEqual(['both.example', 'degrading.example', 'new.example'])
    // a worker that counted before another one recorded it
    await bounce(database, 'just.example', 4, now - HOUR_MS, now)
    await database.db
      .insertInto('degradations')
      .values({ destination: 'later.example', began_at: now + 1, ended_at: null, bounces: 44, usual: 1, published: 1 })
      .execute()
    await bounce(database, 'later.example', 44, now - HOUR_MS, now)
    await recordDegradations(database, now)
    expect(await open()).toContain('later.example')
    for (const table of ['degradations', 'runs'] as const)
      await database.db.deleteFrom(table).where('destination', '=', 'later.example').execute()
    // it goes down: from then on that is its outage
    await down(database, 'new.example', now)
    await recordDegradations(database, now + 120_000)
    expect((await open()).sort()).toEqual(['both.example', 'degrading.example'])
    await recordDegradations(database, now + 3 * HOUR_MS)
    expect(await open()).toEqual([])
    const counted = await figures(database, { since: new Date(now - DAY_MS), until: new Date(now + DAY_MS) })
    expect(counted.degraded).toHaveLength(3)
    expect(counted.changes).toEqual([{ destination: 'changed.example', before: 0, bounces: 80 }])
    expect(textReport(counted)).toMatch(
      /BOUNCED MORE THAN USUAL[\s\S]*degrading\.example {2}2026-06-29 12:00 {2}2026-06-29 15:00 +40 +2\.\d/,
    )
    expect((await figures(database, { since: new Date(now - 30 * DAY_MS), until: new Date(now) })).changes).toBeNull()
  })

  test('are none as long as the log is younger than two weeks and some hours', async () => {
    const { database } = opened
    await database.db.deleteFrom('runs').execute()
    await bounce(database, 'young.example', 1, now - 14 * DAY_MS, now - 14 * DAY_MS + 1)
    await bounce(database, 'young.example', 90, now - HOUR_MS, now)
    expect(await recordDegradations(database, now)).toEqual([])
  })
})

describe('the event', () => {
  let world: World
  beforeAll(async () => {
    world = await startWorld({ realTime: true })
  })
  afterAll(() => world.close())

  test('is published once, for each time', async () => {
    const { database, environment } = world
    const lines: string[] = []
    const log = { warn: (_: object, text: string) => lines.push(text) }
    const settings = deliverySettings({
      eventTypes: ['destination.degrading'],
      webhook: { url: 'http://127.0.0.1:9/', secret: 'whsec_eA==' },
    })
    const now = Date.now()
    await bounce(database, 'old.example', 1, now - 40 * DAY_MS, now - 40 * DAY_MS + 1)
    await bounce(database, 'warned.example', 40, now - HOUR_MS / 2, now - 1000)
    const look = () => lookForDegradation(environment.client, 'softbounce', { database, settings, log: log as never })
    await look()
    await look()
    expect(lines).toEqual(['a destination bounces more than usual at this hour of the week'])
    const [row] = await database.db.selectFrom('degradations').selectAll().execute()
    expect(row).toMatchObject({ destination: 'warned.example', bounces: 40, published: 1 })
    const id = `warned.example.${new Date(row?.began_at as number).toISOString()}.destination.degrading`
    const workflow = environment.client.workflow.getHandle(`event/${id}`)
    expect((await workflow.describe()).type).toBe('publishEvent')
    // a worker died before it noted that it had published: the same event again is none
    await database.db.updateTable('degradations').set({ published: 0 }).execute()
    await look()
    expect(await database.db.selectFrom('degradations').select('published').execute()).toEqual([{ published: 1 }])
    await workflow.terminate()
  })
})
