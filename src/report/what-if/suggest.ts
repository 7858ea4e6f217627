/** The best schedule of N retries for a log: found on its older part, judged on its newer one. Pure. */
import type { Availability, Outages } from './availability.js'
import { type Bounced, type Candidate, delaysOf, endingOf, type Log, type Replayed, replay } from './replay.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** The delays that the search chooses from. */
const DELAYS_MS = [
  ...[5, 10, 15, 20, 30, 45].map((minutes) => minutes * MINUTE_MS),
  ...[1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48].map((hours) => hours * HOUR_MS),
]
/** A delivery that takes longer than five days, when RFC 5321 (section 4.5.4.1) lets a mail system give up, counts as five days; none as an hour more. */
const LATEST_MS = 5 * 24 * HOUR_MS
const UNDELIVERED_MS = LATEST_MS + HOUR_MS
/** Less of a gain on the newer part is none. */
const LEAST_BETTER = 0.01
/** Each retry that a down system refuses counts as a minute, so that of two schedules that deliver alike, the quieter one is better. */
const REFUSED_MS = MINUTE_MS
/** The part of the log, by the time of the bounce, that the schedule is fitted to. */
const FITTED_SHARE = 0.7
/** The search looks at no more messages than these, evenly spread over the log. */
const MOST_FITTED = 2000
const MOST_PASSES = 12
/** A pass that gains less than this share ends the search. */
const LEAST_GAIN = 0.001

/** Fewer bounces or outages than these say too little about a schedule. */
export const LEAST = { messages: 200, outages: 10 } as const

/** A suggested schedule and the one in use, on the part it was fitted to and on the part that it has not seen. */
export interface Suggestion {
  readonly delaysMs: readonly number[]
  readonly fitted: { readonly messages: number; readonly suggested: Replayed; readonly current: Replayed }
  readonly heldOut: { readonly messages: number; readonly suggested: Replayed; readonly current: Replayed }
  /** Whether it is better than the current schedule on the part that it has not seen. */
  readonly isBetter: boolean
}

/** Why there is no suggestion. */
export interface TooLittle {
  readonly messages: number
  readonly outages: number
}

/** @param current the schedule in use. */
export function suggest(log: Log, retries: number, current: Candidate): Suggestion | TooLittle {
  const outages = [...new Set(log.messages.map(({ destination }) => destination))].reduce(
    (sum, destination) => sum + (log.availability.get(destination) as Availability).outages,
    0,
  )
  if (log.messages.length < LEAST.messages || outages < LEAST.outages) return { messages: log.messages.length, outages }
  const sorted = [...log.messages].sort((a, b) => a.bouncedAt - b.bouncedAt)
  const split = Math.floor(sorted.length * FITTED_SHARE)
  const [older, newer] = [sorted.slice(0, split), sorted.slice(split)]
  const every = Math.max(1, Math.ceil(older.length / MOST_FITTED))
  const sample = older.filter((_, i) => i % every === 0)
  const delaysMs = search(fitted({ ...log, messages: sample }), retries, current)
  const suggested = { name: 'suggested', delaysMs, isStaggered: true }
  const on = (messages: readonly Bounced[]) => {
    const part = { ...log, messages }
    return { messages: messages.length, suggested: replay(part, suggested), current: replay(part, current) }
  }
  const unseen = { ...log, messages: newer }
  const heldOut = on(newer)
  const isBetter =
    heldOut.suggested.middle.delivered >= heldOut.current.middle.delivered &&
    cost(unseen, suggested) < cost(unseen, current) * (1 - LEAST_BETTER)
  return { delaysMs, fitted: on(older), heldOut, isBetter }
}

/** Changes one delay at a time for as long as that helps, from several starts. */
function search(messages: readonly Fitted[], retries: number, current: Candidate): number[] {
  let best: { delays: number[]; cost: number } | null = null
  for (const start of starts(retries, current)) {
    let delays = start
    let least = costOf(messages, withStagger(delays))
    for (let pass = 0; pass < MOST_PASSES; pass += 1) {
      const before = least
      for (let i = 0; i < retries; i += 1)
        for (const delay of DELAYS_MS) {
          const tried = delays.with(i, delay)
          const found = costOf(messages, withStagger(tried))
          if (found < least) [delays, least] = [tried, found]
        }
      if (least > before * (1 - LEAST_GAIN)) break
    }
    if (best === null || least < best.cost) best = { delays, cost: least }
  }
  return (best as { delays: number[] }).delays
}

const withStagger = (delaysMs: readonly number[]) => delaysOf({ name: '', delaysMs, isStaggered: true })

function starts(retries: number, { delaysMs }: Candidate): number[][] {
  const fill = (of: (i: number) => number) => Array.from({ length: retries }, (_, i) => of(i))
  const last = delaysMs.at(-1) ?? HOUR_MS
  return [
    fill((i) => delaysMs[i] ?? last),
    fill(() => 30 * MINUTE_MS),
    fill(() => 8 * HOUR_MS),
    fill((i) => DELAYS_MS[Math.min(DELAYS_MS.length - 1, 2 + 3 * i)] as number),
  ]
}

/** A message, and when its destination was down in the middle case. */
interface Fitted {
  readonly message: Bounced
  readonly down: Outages
}

const fitted = ({ messages, availability }: Log): Fitted[] =>
  messages.map((message) => ({ message, down: (availability.get(message.destination) as Availability).in.middle }))

const cost = (log: Log, candidate: Candidate) => costOf(fitted(log), delaysOf(candidate))

/** The mean time to the delivery in the middle case, ms. */
function costOf(messages: readonly Fitted[], delays: readonly number[]): number {
  let sum = 0
  for (const { message, down } of messages) {
    const { at, retries } = endingOf(message, delays, down)
    sum += at === null ? UNDELIVERED_MS + retries * REFUSED_MS : Math.min(LATEST_MS, at - message.bouncedAt) + (retries - 1) * REFUSED_MS
  }
  return sum / Math.max(1, messages.length)
}
