/** The early warning: how seldom it is false on generated traffic, and how soon it is right. */
import { expect, test } from 'vitest'
import { judge, upperTail } from '../../src/report/early-warning/usual.js'
import { exponential, randomOf } from './simulated-outages.js'

const HOUR = 1
const WEEK = 168
const CHECK = 1 / 12

test('the chance is that of the negative binomial distribution', () => {
  expect(upperTail(0, 5, 2)).toBe(1)
  expect(upperTail(10, 5, 2)).toBeCloseTo(0.133348, 5)
  // with a large shape it is Poisson's: 1 - ppois(9, 5) = 0.03182806
  expect(upperTail(10, 5, 1e9)).toBeCloseTo(0.031828, 4)
  expect(upperTail(40, 2, 8)).toBeLessThan(1e-12)
})

const none = { hour: 0, around: 0 }

test('it says nothing before two weeks, and nothing about a handful', () => {
  expect(judge({ lastHour: 50, earlierWeeks: [] })).toBeNull()
  expect(judge({ lastHour: 50, earlierWeeks: [none] })).toBeNull()
  expect(judge({ lastHour: 50, earlierWeeks: [none, none] })).toMatchObject({ isDegrading: true, isUsual: false })
  expect(judge({ lastHour: 4, earlierWeeks: [none, none, none, none] })).toMatchObject({ isDegrading: false })
  expect(judge({ lastHour: 30, earlierWeeks: [90, 80, 100, 85].map((around) => ({ hour: 25, around })) })).toMatchObject({
    isDegrading: false,
    isUsual: true,
  })
})

/** Bounces of one destination over weeks, as times in hours. */
function traffic(random: () => number, weeks: number, rate: (hour: number) => number, variation: number): number[] {
  const times: number[] = []
  for (let hour = 0; hour < weeks * WEEK; hour += 1) {
    // a gamma distribution of mean 1 with this squared coefficient of variation, by its sum of exponentials
    const terms = variation === 0 ? 0 : Math.max(1, Math.round(1 / variation))
    const factor = terms === 0 ? 1 : Array.from({ length: terms }, () => exponential(random, 1 / terms)).reduce((a, b) => a + b, 0)
    const mean = rate(hour) * factor
    for (let at = exponential(random, 1 / Math.max(1e-9, mean)); at < 1; at += exponential(random, 1 / mean)) times.push(hour + at)
  }
  return times
}

/** How often an alarm begins, in checks each five minutes of the weeks after the fourth. */
function alarms(times: readonly number[], weeks: number): number {
  const before = (at: number) => {
    let [low, high] = [0, times.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((times[middle] as number) < at) low = middle + 1
      else high = middle
    }
    return low
  }
  const within = (from: number, to: number) => before(to) - before(from)
  let begun = 0
  let goesOn = false
  for (let now = 4 * WEEK + 2; now < weeks * WEEK; now += CHECK) {
    const lastHour = within(now - HOUR, now)
    if (lastHour < 5 && !goesOn) continue
    const earlierWeeks = [1, 2, 3, 4].map((week) => {
      const at = now - week * WEEK
      return { hour: within(at - HOUR, at), around: within(at - 2 * HOUR, at + HOUR) }
    })
    const judged = judge({ lastHour, earlierWeeks })
    if (judged?.isDegrading && !goesOn) {
      begun += 1
      goesOn = true
    } else if (judged?.isUsual) goesOn = false
  }
  return begun
}

const working = (hour: number) => (hour % WEEK < 120 && hour % 24 >= 8 && hour % 24 < 18 ? 1 : 0.15)
const KINDS: readonly (readonly [string, (hour: number) => number, number])[] = [
  ['few bounces', () => 0.2, 0],
  ['some', () => 3, 0],
  ['many', () => 40, 0],
  ['working hours', (hour) => 20 * working(hour), 0],
  ['working hours that vary from hour to hour', (hour) => 20 * working(hour), 0.1],
  ['a volume that grows by a tenth each week', (hour) => 10 * working(hour) * 1.1 ** (hour / WEEK), 0.1],
]

test('at most one false alarm in 1,000 destination-days, on each kind of traffic', { timeout: 240_000 }, () => {
  const weeks = 6
  const destinations = Number(process.env.TEST_DESTINATIONS ?? 144)
  const days = destinations * (weeks - 4) * 7
  const found = KINDS.map(([name, rate, variation], i) => {
    let begun = 0
    for (let d = 0; d < destinations; d += 1) begun += alarms(traffic(randomOf(1000 * i + d), weeks, rate, variation), weeks)
    return [name, begun] as const
  })
  // the figures of docs/insight.md
  if (process.env.TEST_DESTINATIONS !== undefined) console.log(days, found)
  for (const [name, begun] of found) expect(begun / days, name).toBeLessThanOrEqual(0.001)
})

test.each([
  ['from 1 to 25 an hour', 1, 25, 1.2],
  ['from 10 to 80 an hour', 10, 80, 1.2],
  ['from none to 10 an hour', 0, 10, 1.2],
] as const)('it is raised within the hour when the bounces grow %s', (_, usual, now, withinHours) => {
  let late = 0
  for (let seed = 0; seed < 40; seed += 1) {
    const random = randomOf(seed)
    const times = traffic(random, 4, () => usual, 0)
    const earlierWeeks = [1, 2, 3, 4].map((week) => {
      const at = 4 * WEEK - week * WEEK + (week === 4 ? 3 : 0)
      const within = (from: number, to: number) => times.filter((time) => time >= from && time < to).length
      return { hour: within(at - 1, at), around: within(at - 2, at + 1) }
    })
    const fresh: number[] = []
    for (let at = exponential(random, 1 / now); at < withinHours; at += exponential(random, 1 / now)) fresh.push(at)
    let raised = false
    for (let at = CHECK; at <= withinHours && !raised; at += CHECK)
      raised = judge({ lastHour: fresh.filter((time) => time < at && time >= at - 1).length, earlierWeeks })?.isDegrading === true
    if (!raised) late += 1
  }
  expect(late).toBeLessThanOrEqual(4)
})
