import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DEFAULT_SCHEDULE, dueAt, formatDuration, maxStaggerMs, parseDuration, parseSchedule } from '../../src/bounce/index.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

test('the default schedule is 1 h, 4 h, 12 h, 24 h', () => {
  expect(parseSchedule(DEFAULT_SCHEDULE)).toEqual([HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR])
})

test('a schedule is parsed from human notation', () => {
  expect(parseSchedule('1h, 4h*2')).toEqual([HOUR, 4 * HOUR, 4 * HOUR])
  expect(parseSchedule(['1h30m', ' 5 min*3 ', '1d'])).toEqual([90 * MINUTE, 5 * MINUTE, 5 * MINUTE, 5 * MINUTE, DAY])
  expect(parseDuration('1.5h')).toBe(90 * MINUTE)
  expect(parseDuration('90s')).toBe(90_000)
})

test('an invalid schedule is refused with the position of the error', () => {
  for (const [text, place] of [
    ['1h, 4x', 'entry 2 ("4x")'],
    ['1h, , 4h', 'entry 2 ("")'],
    ['1h*0', 'entry 1 ("1h*0")'],
    ['1h*21', 'at most 20'],
    ['10h*10, 1h*11', 'entry 2'],
    ['500ms', '1 s to 30 d'],
    ['31d', '1 s to 30 d'],
    ['1h**2', 'entry 1'],
    ['-1h', 'entry 1'],
    ['', 'entry 1'],
  ] as const)
    expect(() => parseSchedule(text), text).toThrow(place)
  for (const text of ['', '   ', 'x', '1', 'h', '1h x', '1 hour', '1.1234567h', '1h*2'])
    expect(() => parseDuration(text), text).toThrow(`"${text.trim()}" is not a duration; write a number and a unit of s, min, h or d`)
  expect(() => parseDuration(` ${'y'.repeat(200)}`)).toThrow(/^"y{1,100}" is not a duration/)
  expect(parseSchedule(['1s', '30d'])).toEqual([1000, 30 * DAY])
  expect(parseDuration('1.123456h')).toBe(4_044_442)
  expect(parseDuration('1h 30 min')).toBe(90 * MINUTE)
  expect(() => parseSchedule([])).toThrow('empty')
  expect(parseSchedule('1h*20')).toHaveLength(20)
})

test('durations are formatted in their two largest units', () => {
  expect(formatDuration(HOUR)).toBe('1 h')
  expect(formatDuration(90 * MINUTE)).toBe('1 h 30 min')
  expect(formatDuration(6 * MINUTE)).toBe('6 min')
  expect(formatDuration(DAY + 5)).toBe('1 d')
  expect(formatDuration(0)).toBe('0 s')
  expect(formatDuration(DAY + HOUR + MINUTE)).toBe('1 d 1 h')
})

const delay = fc.integer({ min: 1000, max: 30 * DAY })
const moment = fc.integer({ min: 0, max: 4_102_444_800_000 })
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

test('promise 2: a retry is never early, and never later than the stagger allows', () => {
  fc.assert(
    fc.property(moment, delay, moment, random, (fromMs, delayMs, nowMs, chance) => {
      const { atMs, staggerMs } = dueAt(fromMs, delayMs, nowMs, chance)
      expect(atMs).toBeGreaterThanOrEqual(fromMs + delayMs)
      expect(atMs).toBeGreaterThanOrEqual(nowMs)
      expect(atMs - Math.max(fromMs + delayMs, nowMs)).toBe(staggerMs)
      expect(staggerMs).toBeGreaterThanOrEqual(0)
      expect(staggerMs).toBeLessThanOrEqual(delayMs / 10)
      expect(staggerMs).toBeLessThanOrEqual(15 * MINUTE)
    }),
  )
})

test('the stagger is 10 % of the delay, and 15 minutes at the most', () => {
  expect(maxStaggerMs(HOUR)).toBe(6 * MINUTE)
  expect(maxStaggerMs(24 * HOUR)).toBe(15 * MINUTE)
})

test('a written schedule parses back to itself', () => {
  const entry = fc.tuple(fc.integer({ min: 1, max: 30 * 24 * 60 * 60 }), fc.integer({ min: 1, max: 4 }))
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1, maxLength: 5 }), (entries) => {
      const text = entries.map(([seconds, times]) => `${seconds}s*${times}`).join(', ')
      expect(parseSchedule(text)).toEqual(entries.flatMap(([seconds, times]) => Array(times).fill(seconds * 1000)))
    }),
  )
})

test('any text parses to delays within bounds or a clear error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        for (const ms of parseSchedule(text)) expect(ms).toBeGreaterThanOrEqual(1000)
      } catch (error) {
        expect((error as Error).message).toMatch(/schedule/)
      }
    }),
  )
})
