/** The retry schedule: its notation (`1h, 4h*2`), due times, and the stagger. No clock and no randomness of its own. */

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const UNITS: Record<string, number> = {
  ms: 1,
  s: SECOND_MS,
  sec: SECOND_MS,
  m: MINUTE_MS,
  min: MINUTE_MS,
  h: HOUR_MS,
  d: DAY_MS,
}

/** 1 h after the bounce, then 4 h, 12 h and 24 h after the previous retry. */
export const DEFAULT_SCHEDULE: readonly string[] = ['1h', '4h', '12h', '24h']

/** Maximum retries per schedule. */
export const MAX_RETRIES = 20
const MIN_DELAY_MS = SECOND_MS
const MAX_DELAY_MS = 30 * DAY_MS
/** Characters of a wrong entry that an error quotes. */
const MAX_SHOWN = 40
const MAX_STAGGER_MS = 15 * MINUTE_MS

/**
 * Reads a duration such as `90s`, `5 min`, `1h30m`, `3d` into ms.
 * @throws Error saying what a duration looks like.
 */
export function parseDuration(text: string): number {
  const compact = text.trim().toLowerCase()
  const part = /(\d{1,9}(?:\.\d{1,6})?)\s*(ms|sec|s|min|m|h|d)\s*/y
  let ms = 0
  let at = 0
  while (at < compact.length) {
    part.lastIndex = at
    const match = part.exec(compact)
    if (match === null) break
    ms += Number(match[1]) * (UNITS[match[2] as string] as number)
    at = part.lastIndex
  }
  if (compact === '' || at < compact.length)
    throw new Error(
      `"${text.trim().slice(0, MAX_SHOWN)}" is not a duration; write a number and a unit of s, min, h or d, such as 90s, 4h or 1h30m`,
    )
  return Math.round(ms)
}

/** `4 h`, `1 h 30 min`, `6 min`, `45 s`: at most the two largest units. */
export function formatDuration(ms: number): string {
  const parts: string[] = []
  let rest = Math.max(0, Math.round(ms / SECOND_MS)) * SECOND_MS
  for (const [unit, size] of [
    ['d', DAY_MS],
    ['h', HOUR_MS],
    ['min', MINUTE_MS],
    ['s', SECOND_MS],
  ] as const) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${count} ${unit}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.length === 0 ? '0 s' : parts.join(' ')
}

/**
 * Reads a schedule: `1h, 4h, 12h, 24h` or the same as a list; `4h*2` stands for the same delay twice.
 * @returns the delays in ms, at most 20, each from 1 s to 30 d.
 * @throws Error with the number and text of the wrong entry.
 */
export function parseSchedule(schedule: string | readonly string[]): number[] {
  const entries = typeof schedule === 'string' ? schedule.split(',') : schedule
  const delays: number[] = []
  entries.forEach((entry, index) => {
    const shown = entry.trim().slice(0, MAX_SHOWN)
    const place = `schedule entry ${index + 1} ("${shown}")`
    const match = /^([^*]*)(?:\*\s*(\d{1,3})\s*)?$/.exec(entry)
    if (match === null) throw new Error(`${place}: write a delay, or a delay and a count, such as 4h or 4h*2`)
    let delay: number
    try {
      delay = parseDuration(match[1] as string)
    } catch (error) {
      throw new Error(`${place}: ${(error as Error).message}`)
    }
    if (delay < MIN_DELAY_MS || delay > MAX_DELAY_MS) throw new Error(`${place}: a delay is from 1 s to 30 d`)
    const times = match[2] === undefined ? 1 : Number(match[2])
    if (times < 1) throw new Error(`${place}: a count is 1 or more`)
    if (delays.length + times > MAX_RETRIES) throw new Error(`${place}: a schedule has at most ${MAX_RETRIES} retries`)
    for (let i = 0; i < times; i += 1) delays.push(delay)
  })
  if (delays.length === 0) throw new Error('the schedule is empty; the default is 1h, 4h, 12h, 24h')
  return delays
}

/** Maximum stagger for a delay: 10 % of it, at most 15 minutes. */
export function maxStaggerMs(delayMs: number): number {
  return Math.min(Math.floor(delayMs / 10), MAX_STAGGER_MS)
}

/** When a retry is due (epoch ms), including its stagger (ms). */
export interface Due {
  readonly atMs: number
  readonly staggerMs: number
}

/**
 * When a retry is due: the delay after `fromMs`, or now if that has passed, plus a random stagger of up to
 * {@link maxStaggerMs}.
 * @param random a number from 0 (inclusive) to 1 (exclusive).
 */
export function dueAt(fromMs: number, delayMs: number, nowMs: number, random: number): Due {
  const staggerMs = Math.floor(maxStaggerMs(delayMs) * random)
  return { atMs: Math.max(fromMs + delayMs, nowMs) + staggerMs, staggerMs }
}
