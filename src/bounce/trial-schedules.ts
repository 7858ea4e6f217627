/** Other schedules on trial: each for a share of the messages (`20 %: 30m, 2h, 8h, 24h`). */
import { parseSchedule } from './schedule.js'

/** A schedule that a share of the messages gets. */
export interface TrialSchedule {
  /** From 0 to 1. */
  readonly share: number
  /** The delays, ms. */
  readonly delaysMs: readonly number[]
}

/** The schedule for all messages, and those on trial. */
export interface Schedules {
  readonly scheduleMs: readonly number[]
  readonly trialSchedules: readonly TrialSchedule[]
}

/** Most schedules on trial at once: with more, each has too few messages to say anything. */
const MOST = 5

/**
 * Reads schedules on trial: each by the share of the messages that get it.
 * @throws Error naming the wrong one.
 * @example parseTrialSchedules({ '20 %': '30m, 2h, 8h, 24h' }) // [{ share: 0.2, delaysMs: [1800000, 7200000, 28800000, 86400000] }]
 */
export function parseTrialSchedules(byShare: Readonly<Record<string, string>>): TrialSchedule[] {
  const entries = Object.entries(byShare)
  if (entries.length > MOST) throw new Error(`at most ${MOST} schedules can be on trial at once`)
  const schedules = entries.map(([share, schedule]) => {
    const match = /^\s*(\d{1,3}(?:\.\d{1,2})?)\s*%\s*$/.exec(share)
    const percent = Number(match?.[1])
    if (match === null || !(percent > 0 && percent <= 100))
      throw new Error(`"${share.slice(0, 40)}" is not a share of the messages, such as 20 % (20 %: 30m, 2h, 8h, 24h)`)
    return { share: percent / 100, delaysMs: parseSchedule(schedule) }
  })
  const all = schedules.reduce((sum, { share }) => sum + share, 0)
  if (all > 1 + 1e-9) throw new Error(`the shares add up to ${Math.round(all * 100)} %, which is more than 100 %`)
  return schedules
}

/**
 * The schedule of a message.
 * @param hashFraction from 0 (inclusive) to 1 (exclusive), always the same for a message and recipient.
 */
export function scheduleAt({ scheduleMs, trialSchedules }: Schedules, hashFraction: number): readonly number[] {
  let below = 0
  for (const { share, delaysMs } of trialSchedules) {
    below += share
    if (hashFraction < below) return delaysMs
  }
  return scheduleMs
}

/** The schedule that lasts longest. */
export const longestSchedule = ({ scheduleMs, trialSchedules }: Schedules): readonly number[] => {
  const total = (delaysMs: readonly number[]) => delaysMs.reduce((sum, ms) => sum + ms, 0)
  return [scheduleMs, ...trialSchedules.map(({ delaysMs }) => delaysMs)].reduce((a, b) => (total(b) > total(a) ? b : a))
}
