/** Other schedules, tried on a log: against simulations whose truth is known, and read from both databases. */
import { describe, expect, test } from 'vitest'
import { parseSchedule } from '../../src/bounce/index.js'
import { Availability } from '../../src/report/what-if/availability.js'
import { whatIf } from '../../src/report/what-if/index.js'
import { KNOWN_SCHEDULES } from '../../src/report/what-if/known-schedules.js'
import { readLog } from '../../src/report/what-if/read-log.js'
import { type Candidate, type Log, replay } from '../../src/report/what-if/replay.js'
import { type Suggestion, suggest } from '../../src/report/what-if/suggest.js'
import { whatIfText } from '../../src/report/what-if/text.js'
import { onBothDatabases } from '../support/both-databases.js'
import { exponential, FROM, HOUR_MS, logOf, randomOf, simulate, type World } from './simulated-outages.js'

const DEFAULT = '1h, 4h, 12h, 24h'
const candidate = (schedule: string): Candidate => ({ name: schedule, delaysMs: parseSchedule(schedule), isStaggered: true })
const WORLD: World = {
  ...{ days: 28, destinations: 8, upMs: 60 * HOUR_MS, mailsPerHour: 12 },
  downMs: (random) => exponential(random, 5 * HOUR_MS),
}

test('the interval from worst to best holds the truth in at least 90 % of 200 simulations', () => {
  const schedules = ['30m, 2h, 8h, 24h', '10m, 30m, 90m', '2h*6', '15m*8', '6h, 18h']
  const held = { delivered: 0, retries: 0, median: 0 }
  let width = 0
  for (let seed = 1; seed <= 200; seed += 1) {
    const simulated = simulate(WORLD, DEFAULT, randomOf(seed))
    const schedule = schedules[seed % schedules.length] as string
    const truth = simulated.truth(schedule)
    const log = logOf(simulated)
    const { best, worst } = replay(log, candidate(schedule))
    held.delivered += Number(truth.delivered >= worst.delivered && truth.delivered <= best.delivered)
    held.retries += Number(truth.retries <= worst.retries && truth.retries >= best.retries)
    held.median += Number(truth.medianMs <= (worst.medianMs as number) && truth.medianMs >= (best.medianMs as number))
    width += (best.delivered - worst.delivered) / log.messages.length / 200
  }
  // as docs/insight.md has them
  expect(held).toEqual({ delivered: 184, retries: 199, median: 200 })
  expect(held.delivered).toBeGreaterThanOrEqual(180)
  expect(held.retries).toBeGreaterThanOrEqual(180)
  expect(held.median).toBeGreaterThanOrEqual(180)
  // an interval that holds everything says nothing
  expect(width).toBeLessThan(0.15)
})

test('an outage has three lengths: as seen, half of the unseen time more, and all of it', () => {
  const seen = [
    [0, false],
    [100, true],
    [200, true],
    [400, false],
    [1000, true],
  ].map(([at, isRefusal]) => ({ at: at as number, isRefusal: isRefusal as boolean }))
  const availability = new Availability(seen, 2000)
  const down = (which: 'best' | 'middle' | 'worst') =>
    [0, 1, 49, 50, 99, 100, 200, 201, 300, 301, 399, 400, 401, 699, 700, 1000, 1001, 1500, 1501, 9999].filter((at) =>
      availability.isDown(at, which),
    )
  expect(availability.outages).toBe(2)
  expect(down('best')).toEqual([100, 200, 1000])
  expect(down('middle')).toEqual([50, 99, 100, 200, 201, 300, 700, 1000, 1001, 1500])
  expect(down('worst')).toEqual([1, 49, 50, 99, 100, 200, 201, 300, 301, 399, 401, 699, 700, 1000, 1001, 1500, 1501, 9999])
})

test('a replay counts retries, refusals and suppressions, and never sends before the retries began', () => {
  const availability = new Map([
    [
      'a',
      new Availability(
        [
          { at: 0, isRefusal: true },
          { at: 7_200_000, isRefusal: true },
          { at: 7_200_001, isRefusal: false },
        ],
        9e9,
      ),
    ],
  ])
  const message = { destination: 'a', bouncedAt: 0, startedAt: 0, lastRefusedAt: null, isRejected: false }
  const log: Log = {
    availability,
    messages: [message, { ...message, isRejected: true }, { ...message, startedAt: 8_000_000 }, { ...message, lastRefusedAt: 9e8 }],
  }
  const { best, worst } = replay(log, { name: '', delaysMs: [HOUR_MS, 3 * HOUR_MS], isStaggered: false })
  expect(best).toEqual({
    ...{ delivered: 3, suppressed: 0, rejected: 1, retries: 7, refused: 3, medianMs: 4 * HOUR_MS, p90Ms: 4 * HOUR_MS },
  })
  expect(worst).toMatchObject({ delivered: 2, suppressed: 1, rejected: 1, retries: 7, refused: 4 })
})

describe('the suggested schedule', () => {
  const of = (lasting: readonly (readonly [fromMinutes: number, toMinutes: number])[], seed: number) => {
    const downMs = (random: () => number) => {
      const [from, to] = lasting[Math.floor(random() * lasting.length)] as readonly [number, number]
      return (from + random() * (to - from)) * 60_000
    }
    return logOf(simulate({ ...WORLD, upMs: 200 * HOUR_MS, mailsPerHour: 60, downMs }, DEFAULT, randomOf(seed)))
  }
  const found = (log: Log, retries: number) => suggest(log, retries, candidate(DEFAULT)) as Suggestion

  test('is the one that the outages favour: all of them last 2 h 25 min, or some a working day', () => {
    const short = suggest(of([[145, 150]], 1), 1, candidate('1h')) as Suggestion
    expect(short.delaysMs).toEqual([3 * HOUR_MS])
    expect(short.isBetter).toBe(true)
    // the rest meets the next outage
    expect(short.heldOut.suggested.middle.suppressed).toBeLessThan(short.heldOut.messages / 6)
    expect(short.heldOut.current.middle.suppressed).toBeGreaterThan(short.heldOut.messages / 2)
    expect(short.fitted.messages / (short.fitted.messages + short.heldOut.messages)).toBeCloseTo(0.7, 2)
    const [first, second] = found(
      of(
        [
          [100, 110],
          [470, 480],
        ],
        2,
      ),
      2,
    ).delaysMs as [number, number]
    // the first is for those that are over soon, and both together outlast the others
    expect(first).toBeLessThanOrEqual(4 * HOUR_MS)
    expect(first + second).toBeGreaterThanOrEqual(7.5 * HOUR_MS)
    expect(first + second).toBeLessThanOrEqual(11 * HOUR_MS)
  })

  test('is the best of all that the search could choose', () => {
    const log = of([[30, 300]], 5)
    const { fitted, delaysMs } = found({ ...log, messages: log.messages.slice(0, 1000) }, 2)
    const older = { ...log, messages: log.messages.slice(0, 700) }
    const meanOf = (delays: number[]) => {
      const { delivered, suppressed, refused } = replay(older, { name: '', delaysMs: delays, isStaggered: true }).middle
      return { delivered, suppressed, refused }
    }
    expect(meanOf([...delaysMs])).toMatchObject({ delivered: fitted.suggested.middle.delivered })
    for (const first of [0.5, 1, 2, 4, 6].map((hours) => hours * HOUR_MS))
      for (const second of [0.5, 1, 2, 4, 6].map((hours) => hours * HOUR_MS))
        expect(replay(older, { name: '', delaysMs: [first, second], isStaggered: true }).middle.delivered).toBeLessThanOrEqual(
          fitted.suggested.middle.delivered,
        )
  })

  test('is not better if it delivers less: outages that outlast it', () => {
    const log = of([[6 * 1440, 6 * 1440 + 60]], 6)
    const found = suggest(log, 1, candidate('2d*4')) as Suggestion
    expect(found.heldOut.suggested.middle.delivered).toBeLessThan(found.heldOut.current.middle.delivered)
    expect(found.isBetter).toBe(false)
  })

  test('is none if the log says too little', () => {
    const log = of([[145, 150]], 3)
    expect(suggest({ ...log, messages: log.messages.slice(0, 199) }, 3, candidate(DEFAULT))).toMatchObject({ messages: 199 })
    const [one] = log.availability.keys()
    const own = log.messages.filter(({ destination }) => destination === one)
    const few = new Map([[one as string, new Availability([{ at: FROM, isRefusal: true }], FROM)]])
    expect(suggest({ messages: [...own, ...own, ...own], availability: few }, 3, candidate(DEFAULT))).toMatchObject({ outages: 1 })
  })

  test('is not better when the current schedule is the best already', () => {
    const log = of([[145, 150]], 4)
    const best = { name: '', delaysMs: found(log, 1).delaysMs, isStaggered: true }
    expect(suggest(log, 1, best)).toMatchObject({ delaysMs: best.delaysMs, isBetter: false })
  })
})

test('the schedules of others are those of their documents', () => {
  const hours = KNOWN_SCHEDULES.map(({ name, delaysMs }) => [name, delaysMs.length, delaysMs.reduce((a, b) => a + b, 0) / HOUR_MS] as const)
  expect(hours.map(([name, retries, total]) => `${name} ${retries} ${total.toFixed(1)}`)).toEqual([
    'Postfix 110 119.0',
    'KumoMTA 8 85.0',
    'Haraka 12 72.8',
    'Mailgun 6 7.9',
    'SendGrid 144 72.0',
    'Amazon SES 28 14.0',
  ])
})

onBothDatabases('the log', (opened) => {
  test('is read as it was written, and gives the same answer as the simulation', async () => {
    const { db } = opened.database
    const simulated = simulate({ ...WORLD, destinations: 4 }, DEFAULT, randomOf(7))
    const base = { workflow_id: 'w', message_id: 'm', recipient: 'p@x.example', sends: 1, maybe_delivered: 0, relayed: 0 }
    const runs = simulated.bounces.map(({ run, destination, at }) => ({
      ...{ first_run_id: run, workflow_id: 'w', sent_id: 's', destination, status: '4.3.2', bounced_at: at, started_at: at },
      message_key: 'k',
    }))
    const attempts = simulated.retries.map(({ run, destination, retry, at, accepted }) => ({
      ...base,
      ...{ first_run_id: run, retry, destination, at: Math.round(at), begun_at: Math.round(at), reply: '-', stage: 'banner' as const },
      ...(accepted ? { outcome: 'accepted' as const, status: '2.0.0' } : { outcome: 'deferred' as const, status: '4.3.2' }),
    }))
    for (let i = 0; i < runs.length; i += 500)
      await db
        .insertInto('runs')
        .values(runs.slice(i, i + 500))
        .execute()
    for (let i = 0; i < attempts.length; i += 500)
      await db
        .insertInto('attempts')
        .values(attempts.slice(i, i + 500))
        .execute()
    // a full mailbox and a greylisting say nothing about the destination; a relay's acceptance that bounced later is a refusal
    const extra = { ...base, destination: 'system0.example', begun_at: 0, reply: '-', stage: 'banner' as const }
    await db
      .insertInto('attempts')
      .values([
        { ...extra, first_run_id: 'full', retry: 1, at: FROM + 1, outcome: 'deferred', status: '4.2.2' },
        { ...extra, first_run_id: 'grey', retry: 1, at: FROM + 2, outcome: 'deferred', status: '4.7.1' },
        {
          ...{ ...extra, destination: 'far.example', first_run_id: 'late', retry: 1, at: FROM + 3, outcome: 'accepted', status: '2.0.0' },
          ...{ relayed: 1, reported_at: FROM + HOUR_MS, reported_status: '4.3.2' },
        },
      ])
      .execute()
    const window = { since: new Date(FROM), until: new Date(simulated.until) }
    const read = await readLog(opened.database, window)
    const expected = logOf(simulated)
    expect(read.messages.length).toBe(expected.messages.length)
    expect(read.availability.get('far.example')?.isDown(FROM + HOUR_MS, 'best')).toBe(true)
    expect(replay(read, candidate('30m, 2h, 8h'))).toEqual(replay(expected, candidate('30m, 2h, 8h')))
    const only = await readLog(opened.database, { ...window, destination: 'system1.example' })
    expect([...only.availability.keys()]).toEqual(['system1.example'])
    const found = await whatIf(opened.database, window, {
      ...{ currentMs: parseSchedule(DEFAULT), schedulesMs: [parseSchedule('30m, 2h')], suggest: 2 },
    })
    expect(found.tried.map(({ kind, schedule }) => `${kind} ${schedule}`)).toEqual([
      'current 1 h, 4 h, 12 h, 24 h',
      'asked 30 min, 2 h',
      expect.stringMatching(/^suggested .+, .+/),
      ...['Postfix', 'KumoMTA', 'Haraka', 'Mailgun', 'SendGrid', 'Amazon SES'].map((name) => `known ${name}`),
    ])
    expect(found.suggestion).toMatchObject({ schedule: expect.any(String), heldOut: { messages: expect.any(Number) } })
    const text = whatIfText(found)
    expect(text.join('\n')).toMatch(/current: 1h 4h 12h 24h +\d+ % +\S+ % +\d+/)
    for (const line of text) expect([...line].length).toBeLessThanOrEqual(80)
    const few = await whatIf(opened.database, window, { currentMs: parseSchedule('2d'), schedulesMs: [], suggest: 2 })
    expect(few.byDestination.map(({ isBetter }) => isBetter)).toContain(true)
  })
})
