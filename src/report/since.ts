/** The time that a report covers, as a user writes it. */
import { parseDuration } from '../bounce/index.js'

const DAY_MS = 24 * 3_600_000
const LONGEST_MS = 3660 * DAY_MS

/**
 * The start of the time: a duration before now such as `30d`, or a day such as `2026-06-01` (UTC).
 * @throws Error saying what is wrong.
 */
export function sinceOf(text: string, now: Date): Date {
  if (/^\d{4}-\d\d-\d\d$/.test(text)) {
    const day = new Date(`${text}T00:00:00Z`)
    const isDay = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text)
    if (isDay && day < now && now.getTime() - day.getTime() <= LONGEST_MS) return day
    throw new Error(`${text} is not a day before now, or longer ago than 3660 d`)
  }
  let ms: number
  try {
    ms = parseDuration(text)
  } catch (error) {
    throw new Error(`${(error as Error).message}, or a day such as 2026-06-01`)
  }
  if (ms < 60_000 || ms > LONGEST_MS) throw new Error('it must be from 1 min to 3660 d')
  return new Date(now.getTime() - ms)
}
