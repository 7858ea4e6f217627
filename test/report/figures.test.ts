import { beforeAll, expect, test } from 'vitest'
import { figures } from '../../src/report/figures.js'
import { DAY_MS, HOUR_MS } from '../../src/report/window.js'
import type { AttemptsTable, Database } from '../../src/store/index.js'
import { onBothDatabases } from '../support/both-databases.js'

/** A Monday. */
const MONDAY = Date.UTC(2026, 5, 1)
const WINDOW = { since: new Date(MONDAY), until: new Date(MONDAY + 7 * DAY_MS) }
const at = (days: number, hours = 0) => MONDAY + days * DAY_MS + hours * HOUR_MS

type Row = [
  run: string,
  retry: number,
  at: number,
  outcome: 'accepted' | 'deferred' | 'rejected',
  status: string,
  more?: Partial<AttemptsTable>,
]
/** Twelve retries in the week; the thirteenth is older, the fourteenth unanswered. */
const LOG: Row[] = [
  ['a', 1, at(0, 9), 'deferred', '4.3.2'],
  ['a', 2, at(0, 13), 'accepted', '2.0.0'],
  ['b', 1, at(0, 9), 'deferred', '4.3.2'],
  ['b', 2, at(0, 13), 'deferred', '4.3.2', { mail_server: 'mx2.down.example' }],
  ['b', 3, at(1, 1), 'deferred', '4.3.2'],
  ['b', 4, at(2, 1), 'deferred', '4.2.2'],
  ['c', 1, at(3, 9), 'accepted', '2.0.0', { destination: 'well.example', mail_server: 'mx.well.example' }],
  ['d', 1, at(3, 9), 'rejected', '5.1.1', { destination: 'well.example', mail_server: 'mx.well.example' }],
  // accepted by a relay, then bounced
  [
    'e',
    1,
    at(4),
    'accepted',
    '2.0.0',
    { relayed: 1, reported_at: at(4, 5), reported_status: '4.3.2', destination: 'far.example', mail_server: null },
  ],
  ['e', 2, at(4, 9), 'accepted', '2.0.0', { relayed: 1, destination: 'far.example', mail_server: null }],
  ['f', 1, at(5), 'accepted', '2.0.0', { destination: 'well.example', mail_server: 'mx.well.example' }],
  ['g', 1, at(6, 23), 'deferred', '4.3.2'],
  ['h', 1, at(-1), 'deferred', '4.3.2'],
]

async function seed({ db }: Database) {
  const base = {
    recipient: 'p@x.example',
    message_id: 'm',
    sends: 1,
    begun_at: 0,
    maybe_delivered: 0,
    relayed: 0,
    reply: 'so',
    stage: 'banner' as const,
  }
  for (const [run, retry, when, outcome, status, more] of LOG)
    await db
      .insertInto('attempts')
      .values({
        ...base,
        ...{
          first_run_id: run,
          workflow_id: run,
          retry,
          at: when,
          outcome,
          status,
          destination: 'down.example',
          mail_server: 'mx1.down.example',
        },
        ...more,
      })
      .execute()
  await db
    .insertInto('attempts')
    .values({
      ...base,
      first_run_id: 'i',
      workflow_id: 'i',
      retry: 1,
      destination: 'down.example',
      begun_at: at(6),
      reply: null,
      stage: null,
    })
    .execute()
  // by the backup relay: counted separately
  for (const [first_run_id, outcome] of [
    ['a', 'accepted'],
    ['b', 'deferred'],
  ] as const)
    await db
      .insertInto('attempts')
      .values({
        ...base,
        ...{
          first_run_id: `backup-${first_run_id}`,
          workflow_id: `backup/${first_run_id}`,
          retry: 1,
          via: 'backup-relay',
          destination: 'relay:backup.example',
          begun_at: at(1),
          at: at(1),
        },
        ...{ outcome, status: outcome === 'accepted' ? '2.0.0' : '4.3.2', reply: '', stage: 'RCPT' },
      })
      .execute()
  const outage = { status: '4.3.2', reply: '421 4.3.2 no', mail_server: 'mx1.down.example' }
  await db
    .insertInto('outages')
    .values([
      { ...outage, destination: 'down.example', began_at: at(0, 9), down_at: at(0, 10), ended_at: at(0, 13), refusals: 5 },
      { ...outage, destination: 'down.example', began_at: at(0, 14), down_at: null, ended_at: at(0, 15), refusals: 1 },
      { ...outage, destination: 'down.example', began_at: at(6), down_at: at(6, 2), ended_at: null, refusals: 9 },
      // before the week
      { ...outage, destination: 'down.example', began_at: at(-3), down_at: at(-3), ended_at: at(-2), refusals: 9 },
    ])
    .execute()
  const runs = { a: at(0, 8), b: at(0, 8), c: at(3, 7), d: at(3, 8), e: at(3, 20), f: at(4), g: at(6, 22), h: at(-2), again: at(8) }
  for (const [run, bounced] of Object.entries(runs))
    await db
      .insertInto('runs')
      .values({
        first_run_id: run,
        workflow_id: run,
        sent_id: run,
        destination: 'x',
        status: '4.3.2',
        message_key: 'k',
        bounced_at: bounced,
        started_at: bounced,
      })
      .execute()
  const ends = [
    ['a', 'delivered', 1, at(0, 13)], // 5 h
    ['b', 'suppressed', 0, at(2, 1)],
    ['c', 'delivered', 1, at(3, 9)], // 2 h
    ['d', 'rejected', 0, at(3, 9)],
    ['f', 'delivered', 1, at(5)], // 24 h
    ['relayed', 'delivered', 0, at(5)], // a relay accepted it, and no report came
    ['again', 'delivered', 0, at(1)], // a bounce came later: its retries began again
    ['old', 'delivered', 1, at(-1)],
  ] as const
  for (const [run, outcome, confirmed, ended_at] of ends)
    await db
      .insertInto('outcomes')
      .values({
        first_run_id: run,
        workflow_id: run,
        message_id: run,
        recipient: 'p@x.example',
        outcome,
        confirmed,
        ended_at,
        suppressed_until: null,
      })
      .execute()
  const bounce = { source: 'lmtp', came_to: null, reporting_mta: null, message_id: null, recipient: null, kind: null, action: null }
  const rest = { diagnostic: null, why: '', workflow_id: null, event: null }
  for (const [when, status, disposition] of [
    [at(0, 8), '4.3.2', 'retry-started'],
    [at(0, 8), '4.3.2', 'retry-started'],
    [at(3, 7), '5.1.1', 'suppressed'],
    [at(-1), '4.3.2', 'unauthenticated'],
  ] as const)
    await db
      .insertInto('inbound')
      .values({ ...bounce, ...rest, at: when, status, disposition })
      .execute()
  const change = { reason: 'unavailable' as const, status: '4.3.2', reply: 'no', by: 'w' }
  for (const [address, when, what] of [
    ['p@x.example', at(-20), 'suppressed'],
    ['p@x.example', at(2, 1), 'suppressed'],
    ['q@x.example', at(2), 'suppressed'],
    ['q@x.example', at(3), 'lifted'],
    ['r@x.example', at(2), 'suppressed'],
  ] as const)
    await db
      .insertInto('suppression_history')
      .values({ ...change, address, at: when, change: what, until: when + DAY_MS })
      .execute()
  const entry = { reason: 'unavailable' as const, status: '4.3.2', reply: 'no', caused_by: 'w', destination: 'x', step: 0 }
  await db
    .insertInto('suppressions')
    .values([
      { ...entry, address: 'p@x.example', since: at(2, 1), until: at(9), lifted_at: null },
      { ...entry, address: 'q@x.example', since: at(2), until: at(3), lifted_at: at(3) },
      { ...entry, address: 'r@x.example', since: at(2), until: at(3), lifted_at: null },
      { ...entry, address: 's@x.example', since: at(-9), until: null, lifted_at: null, reason: 'rejected' },
    ])
    .execute()
}

onBothDatabases('figures, against a count by hand', (opened) => {
  beforeAll(() => seed(opened.database))

  test('the figures cover a week with twelve retries', async () => {
    const found = await figures(opened.database, WINDOW)
    expect(found.answers).toEqual({ attempts: 12, accepted: 4, deferred: 7, rejected: 1, notNow: 6 })
    expect(found.started).toBe(7)
    expect(found.ended).toEqual({ delivered: 3, rejected: 1, suppressed: 1, unconfirmed: 1 })
    expect(found.steps).toEqual([
      { retry: 1, sent: 7, accepted: 2, deferred: 4, rejected: 1, byRelay: 0, acceptedShare: 2 / 7, earnedShare: 1 / 2 },
      { retry: 2, sent: 3, accepted: 2, deferred: 1, rejected: 0, byRelay: 1, acceptedShare: 2 / 3, earnedShare: 1 / 2 },
      { retry: 3, sent: 1, accepted: 0, deferred: 1, rejected: 0, byRelay: 0, acceptedShare: 0, earnedShare: 0 },
      { retry: 4, sent: 1, accepted: 0, deferred: 1, rejected: 0, byRelay: 0, acceptedShare: 0, earnedShare: 0 },
    ])
    expect(found.backup).toEqual({ sent: 2, accepted: 1, deferred: 1, rejected: 0 })
    expect(found.days.map(({ day }) => day)).toEqual([1, 2, 3, 4, 5, 6, 7].map((day) => `2026-06-0${day}`))
    expect(found.days.map(({ bounced, notNow, accepted }) => [bounced, notNow, accepted])).toEqual([
      [2, 3, 1],
      [0, 1, 0],
      [0, 0, 0],
      [0, 0, 1],
      [0, 1, 1],
      [0, 0, 1],
      [0, 1, 0],
    ])
    expect(found.days.map(({ suppressed, lifted }) => [suppressed, lifted])).toEqual([
      [0, 0],
      [0, 0],
      [3, 0],
      [0, 1],
      [0, 0],
      [0, 0],
      [0, 0],
    ])
    // Monday at 9: two, at 13: one; Tuesday at 1; the relay's answer of Friday; Sunday at 23
    expect([found.week[0]?.[9], found.week[0]?.[13], found.week[1]?.[1], found.week[4]?.[0], found.week[6]?.[23]]).toEqual([2, 1, 1, 1, 1])
    expect(found.week.flat().reduce((a, b) => a + b)).toBe(6)
    expect(found.bounces).toEqual([
      { disposition: 'retry-started', status: '4.3.2', count: 2 },
      { disposition: 'suppressed', status: '5.1.1', count: 1 },
    ])
  })

  test('destinations are listed worst first, with outages and mail servers', async () => {
    const found = await figures(opened.database, WINDOW)
    expect(found.systems).toBe(3)
    expect(found.worst.map(({ destination }) => destination)).toEqual(['down.example', 'far.example', 'well.example'])
    expect(found.worst[0]).toEqual({
      destination: 'down.example',
      ...{ attempts: 7, accepted: 1, deferred: 6, rejected: 0, notNow: 5 },
      ...{ outages: 3, medianOutageMs: 4 * HOUR_MS, worstOutageMs: DAY_MS },
      failingSince: new Date(at(6)),
      downSince: new Date(at(6)),
      mailServers: [
        { mailServer: 'mx1.down.example', attempts: 6, accepted: 1, deferred: 5, rejected: 0, notNow: 4 },
        { mailServer: 'mx2.down.example', attempts: 1, accepted: 0, deferred: 1, rejected: 0, notNow: 1 },
      ],
    })
    expect(found.worst[2]).toMatchObject({ outages: 0, medianOutageMs: null, worstOutageMs: null, failingSince: null, downSince: null })
    expect(found.outages.map(({ beganAt }) => beganAt.getTime())).toEqual([at(6), at(0, 9), at(0, 14)])
    const [down] = found.heat.rows
    expect(found.heat).toMatchObject({ from: WINDOW.since, bucketMs: 2 * HOUR_MS, buckets: 84 })
    expect([down?.attempts[4], down?.refused[4], down?.attempts[6], down?.refused[6]]).toEqual([2, 2, 2, 1])
  })

  test('the figures include time to delivery and suppressions', async () => {
    const found = await figures(opened.database, WINDOW)
    expect(found.delivery).toMatchObject({ delivered: 3, medianMs: 5 * HOUR_MS, p90Ms: 24 * HOUR_MS })
    expect(found.delivery.buckets.filter(({ delivered }) => delivered > 0)).toEqual([
      { upToMs: 2 * HOUR_MS, delivered: 1 },
      { upToMs: 8 * HOUR_MS, delivered: 1 },
      { upToMs: 24 * HOUR_MS, delivered: 1 },
    ])
    expect(found.suppressions).toEqual({
      ...{ suppressed: 3, extended: 0, lifted: 1, restored: 0, lapsed: 1, cameBack: 1 },
      now: { rejected: 1, unavailable: 1 },
    })
  })

  test('an empty period has empty figures', async () => {
    const found = await figures(opened.database, { since: new Date(at(100)), until: new Date(at(101)) })
    expect(found).toMatchObject({ started: 0, steps: [], systems: 0, worst: [], delivery: { delivered: 0, medianMs: null } })
    // an outage that still continues
    expect(found.outages).toHaveLength(1)
  })
})
