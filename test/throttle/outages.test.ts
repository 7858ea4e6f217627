import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Database } from '../../src/store/index.js'
import type { Feedback } from '../../src/throttle/index.js'
import { markPublished, unpublishedOutages, writeFeedback } from '../../src/throttle/index.js'
import { onBothDatabases } from '../support/both-databases.js'

const LIMITS = { minMessageRate: 2, maxMessageRate: 10, connections: 2, maxDeliveriesPerConnection: 20 }
const SETTINGS = { limits: LIMITS, failuresBeforeDown: 2, probeIntervalMs: 60_000, maxQueueDelayMs: 15 * 60_000 }
const START = 1_800_000_000_000
const MINUTE = 60_000

onBothDatabases('the outages of a receiving system', (opened) => {
  const meet = () => {
    const time = { ms: START }
    const database: Database = { ...opened.database, clock: () => new Date(time.ms) }
    const name = `${randomUUID().slice(0, 8)}.example`
    const applyFeedback = (lesson: Feedback, outcome: 'accepted' | 'deferred', status: string, reply: string) => {
      const answer = { outcome, status, reply, stage: 'banner' as const, mailServer: 'mx.example' }
      return writeFeedback(database, { name, limits: LIMITS, lesson, answer, tookMs: 20 }, SETTINGS)
    }
    return {
      database,
      name,
      time,
      refuses: (reply: string) => applyFeedback({ kind: 'failing', slower: 'both', waitMs: 0 }, 'deferred', '4.3.2', reply),
      isBusy: () => applyFeedback({ kind: 'nothing' }, 'deferred', '4.2.2', '452 4.2.2 mailbox full'),
      accepts: () => applyFeedback({ kind: 'accepted' }, 'accepted', '2.0.0', '250 2.0.0 Ok'),
      rows: () => database.db.selectFrom('outages').selectAll().where('destination', '=', name).orderBy('began_at').execute(),
      untold: (sinceMs = START - 1) => unpublishedOutages(database, new Date(sinceMs), name),
    }
  }

  test('each outage is one row, from the first refusal to the first acceptance; neutral feedback changes none', async () => {
    const system = meet()
    await system.accepts()
    expect(await system.rows()).toEqual([])
    await system.refuses('421 4.3.2 first')
    system.time.ms += MINUTE
    await system.isBusy()
    expect(await system.rows()).toMatchObject([{ began_at: START, down_at: null, ended_at: null, refusals: 1, reply: '421 4.3.2 first' }])
    await system.refuses('421 4.3.2 second')
    expect(await system.rows()).toMatchObject([
      { began_at: START, down_at: START + MINUTE, ended_at: null, refusals: 2, reply: '421 4.3.2 first', mail_server: 'mx.example' },
    ])
    system.time.ms += MINUTE
    await system.accepts()
    system.time.ms += MINUTE
    await system.refuses('421 4.3.2 again')
    expect(await system.rows()).toMatchObject([
      { began_at: START, down_at: START + MINUTE, ended_at: START + 2 * MINUTE, refusals: 2 },
      { began_at: START + 3 * MINUTE, down_at: null, ended_at: null, refusals: 1, reply: '421 4.3.2 again' },
    ])
  })

  test('each outage is published once as down with its first refusal, and once as up with the accepting reply', async () => {
    const system = meet()
    await system.refuses('421 4.3.2 first')
    // a single refusal is not published
    expect(await system.untold()).toEqual([])
    await system.refuses('421 4.3.2 second')
    const [down, ...more] = await system.untold()
    expect(more).toEqual([])
    expect(down).toEqual({
      ...{
        destination: system.name,
        change: 'down',
        beganAt: new Date(START),
        at: new Date(START),
        status: '4.3.2',
        reply: '421 4.3.2 first',
      },
    })
    if (down === undefined) throw new Error('it must be told')
    await markPublished(system.database, down)
    expect(await system.untold()).toEqual([])
    system.time.ms += MINUTE
    await system.accepts()
    const [up] = await system.untold()
    expect(up).toMatchObject({ change: 'up', at: new Date(START + MINUTE), status: '2.0.0', reply: '250 2.0.0 Ok' })
    if (up === undefined) throw new Error('it must be told')
    await markPublished(system.database, up)
    expect(await system.untold()).toEqual([])
    // a late "down" does not revert anything
    await markPublished(system.database, down)
    expect(await system.untold()).toEqual([])
  })

  test('unpublished changes are published in order; an outage that never counted as down is not published', async () => {
    const system = meet()
    await system.refuses('421 4.3.2 first')
    await system.accepts()
    expect(await system.untold()).toEqual([])
    system.time.ms += MINUTE
    await system.refuses('421 4.3.2 third')
    await system.refuses('421 4.3.2 fourth')
    system.time.ms += MINUTE
    await system.accepts()
    expect((await system.untold()).map(({ change, at }) => [change, at.getTime()])).toEqual([
      ['down', START + MINUTE],
      ['up', START + 2 * MINUTE],
    ])
    // older changes are not published any more
    expect(await system.untold(START + MINUTE)).toEqual([])
    // also in the list of all destinations
    expect((await unpublishedOutages(system.database, new Date(START - 1))).filter((one) => one.destination === system.name)).toHaveLength(
      2,
    )
  })
})
