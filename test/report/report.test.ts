/** The report as text and HTML; untrusted text stays text. */
import { describe, expect, test } from 'vitest'
import type { Figures } from '../../src/report/figures.js'
import { htmlReport } from '../../src/report/html.js'
import { textReport } from '../../src/report/text.js'

const SINCE = new Date('2026-06-01T00:00:00Z')
const UNTIL = new Date('2026-06-08T00:00:00Z')
const answers = { attempts: 0, accepted: 0, deferred: 0, rejected: 0, notNow: 0 }
const EMPTY: Figures = {
  ...{
    since: SINCE.toISOString(),
    until: UNTIL.toISOString(),
    timeZone: 'UTC',
    bounces: [],
    started: 0,
    ended: {},
    answers,
    steps: [],
    backup: { sent: 0, accepted: 0, deferred: 0, rejected: 0 },
  },
  days: Array.from({ length: 7 }, (_, i) => ({
    day: `2026-06-0${i + 1}`,
    ...{ bounced: 0, notNow: 0, accepted: 0, suppressed: 0, extended: 0, lifted: 0, restored: 0 },
  })),
  week: Array.from({ length: 7 }, () => new Array<number>(24).fill(0)),
  ...{ systems: 0, worst: [], outages: [] },
  heat: { from: SINCE, bucketMs: 7_200_000, buckets: 84, rows: [] },
  delivery: { delivered: 0, medianMs: null, p90Ms: null, buckets: [] },
  suppressions: { suppressed: 0, extended: 0, lifted: 0, restored: 0, lapsed: 0, cameBack: 0, now: {} },
  changes: null,
  degraded: [],
  trial: null,
  now: { pausedAltogether: null, down: [], downInAll: 0, waiting: 0, longest: [] },
}
const HOSTILE = '<script>alert(1)</script>&"\u001b[31m.example'
const outage = {
  ...{ destination: HOSTILE, beganAt: new Date('2026-06-03T00:00:00Z'), downAt: null, endedAt: null, refusals: 7, status: '4.3.2' },
  reply: '421 4.3.2 <img src=x onerror=alert(2)>\u001b[2J',
}
const system = (destination: string) => ({
  ...{ destination, attempts: 1, accepted: 0, deferred: 1, rejected: 0, notNow: 1 },
  ...{ outages: 1, medianOutageMs: 3_600_000, worstOutageMs: 3_600_000, failingSince: outage.beganAt, downSince: outage.beganAt },
  mailServers: [{ mailServer: `mx.${destination}`, attempts: 1, accepted: 0, deferred: 1, rejected: 0, notNow: 1 }],
})
const row = (destination: string) => ({
  ...{ destination, attempts: [1, ...new Array<number>(83).fill(0)], refused: [1, ...new Array<number>(83).fill(0)] },
  outages: [{ ...outage, destination }],
})
const ONE: Figures = {
  ...EMPTY,
  ...{ started: 1, answers: { ...answers, attempts: 1, deferred: 1, notNow: 1 }, systems: 1 },
  steps: [{ retry: 1, sent: 1, accepted: 0, deferred: 1, rejected: 0, byRelay: 0, acceptedShare: 0, earnedShare: 0 }],
  ...{ worst: [system(HOSTILE)], outages: [outage] },
  heat: { ...EMPTY.heat, rows: [row(HOSTILE)] },
}
const MANY: Figures = {
  ...ONE,
  ...{ systems: 10_000, worst: Array.from({ length: 10 }, (_, i) => system(`${'long-name-'.repeat(6)}${i}.example`)) },
  answers: { attempts: 1_234_567, accepted: 1_000_000, deferred: 200_000, rejected: 34_567, notNow: 199_999 },
  steps: [
    { retry: 1, sent: 1_234_567, accepted: 1_000_000, deferred: 200_000, rejected: 34_567, byRelay: 9, acceptedShare: 0.8, earnedShare: 1 },
  ],
  heat: { ...EMPTY.heat, rows: Array.from({ length: 20 }, (_, i) => row(`system${i}.example`)) },
  week: EMPTY.week.map((hours, day) => hours.map((_, hour) => day * hour)),
  delivery: {
    delivered: 2,
    medianMs: 3_600_000,
    p90Ms: 7_200_000,
    buckets: [
      { upToMs: 3_600_000, delivered: 1 },
      { upToMs: null, delivered: 1 },
    ],
  },
}

describe.each([
  ['nothing', EMPTY, /Nothing has bounced/],
  ['one row', ONE, /What each retry earns/i],
  ['ten thousand systems', MANY, /The worst 10 of 10,000 destinations/i],
])('of %s', (_, figures, says) => {
  test('the text report has no line wider than a terminal', () => {
    const text = textReport(figures)
    expect(text).toMatch(says)
    expect(text.split('\n').filter((line) => [...line].length > 80)).toEqual([])
    expect(text).toContain('UTC')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not get through
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/)
  })

  test('the HTML report is one file that loads nothing, with untrusted text escaped', () => {
    const page = htmlReport(figures)
    expect(page).toMatch(says)
    expect(page.match(/<script/g)).toHaveLength(1)
    expect(page).not.toMatch(/<img|<link|<[^>]*\ssrc=|@import|url\((?!#)|https?:\/\/(?!www\.w3\.org\/)/)
    expect(page).toContain("default-src 'none'")
    expect(page).toContain('All times are UTC')
    expect(page).not.toMatch(/#0101[01]/)
    // every chart has an accessible description
    // one for wide pages, one for phones
    expect(page.match(/<svg/g)?.length ?? 0).toBe(2 * (page.match(/role="img" aria-label="[^"]+"/g)?.length ?? 0))
  })
})
