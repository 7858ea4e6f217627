/** What a schedule would have earned on messages that bounced. Pure. */
import { maxStaggerMs } from '../../bounce/index.js'
import { type Availability, CASES, type CaseName, isDownAt, type Outages } from './availability.js'

/** A message that bounced, times in epoch ms. */
export interface Bounced {
  readonly destination: string
  readonly bouncedAt: number
  /** When its retries began: no retry is before this. */
  readonly startedAt: number
  /** Its own last refusal, by any of its retries; null if there was none. In the worst case no retry before it is accepted. */
  readonly lastRefusedAt: number | null
  /** It was rejected for good: the first retry that reaches its destination ends it. */
  readonly isRejected: boolean
}

/** A schedule to try. */
export interface Candidate {
  readonly name: string
  /** The delays, ms: the first from the bounce, each other from the previous retry. */
  readonly delaysMs: readonly number[]
  /** Ours adds a random delay to each retry; its mean is added here. */
  readonly isStaggered: boolean
}

/** What it would have earned. */
export interface Earned {
  readonly delivered: number
  /** Messages that no retry delivers: their addresses are suppressed. */
  readonly suppressed: number
  readonly rejected: number
  /** Retries in all, and those that the destination refused because it was down. */
  readonly retries: number
  readonly refused: number
  /** From the bounce to the delivery; null if none is delivered. */
  readonly medianMs: number | null
  readonly p90Ms: number | null
}

/** The three cases; see availability.ts. */
export type Replayed = Readonly<Record<CaseName, Earned>>

/** The log that schedules are tried on. */
export interface Log {
  readonly messages: readonly Bounced[]
  readonly availability: ReadonlyMap<string, Availability>
}

export function replay(log: Log, candidate: Candidate): Replayed {
  const of = (which: CaseName) => earned(log, candidate, which)
  const [best, middle, worst] = CASES.map(of) as [Earned, Earned, Earned]
  return { best, middle, worst }
}

/** How a schedule ends for one message: the time of the retry that ends it, or null; and how many were sent. */
export interface Ending {
  readonly at: number | null
  readonly retries: number
}

const meanStagger = (ms: number, isStaggered: boolean) => (isStaggered ? maxStaggerMs(ms) / 2 : 0)

/** The times between retries, with the mean of the random delay. */
export const delaysOf = ({ delaysMs, isStaggered }: Candidate): number[] => delaysMs.map((ms) => ms + meanStagger(ms, isStaggered))

/** How much sooner (best) or later (worst) than the mean the retries may come, as a factor of it. */
const SPREAD = { best: -1, middle: 0, worst: 1 } as const

/** @param refusedUntil until then no retry is accepted. */
export function endingOf(message: Bounced, delays: readonly number[], down: Outages, refusedUntil = Number.NEGATIVE_INFINITY): Ending {
  let at = message.bouncedAt
  for (let i = 0; i < delays.length; i += 1) {
    at += delays[i] as number
    if (i === 0) at = Math.max(at, message.startedAt)
    if (at > refusedUntil && !isDownAt(down, at)) return { at, retries: i + 1 }
  }
  return { at: null, retries: delays.length }
}

function earned({ messages, availability }: Log, candidate: Candidate, which: CaseName): Earned {
  const delays = delaysOf(candidate)
  const spreads: number[] = []
  for (const ms of candidate.delaysMs) spreads.push((spreads.at(-1) ?? 0) + SPREAD[which] * meanStagger(ms, candidate.isStaggered))
  const times: number[] = []
  let [suppressed, rejected, retries, refused] = [0, 0, 0, 0]
  for (const message of messages) {
    const down = (availability.get(message.destination) as Availability).in[which]
    const ending = endingOf(message, delays, down, which === 'worst' ? (message.lastRefusedAt ?? undefined) : undefined)
    retries += ending.retries
    refused += ending.at === null ? ending.retries : ending.retries - 1
    if (ending.at === null) suppressed += 1
    else if (message.isRejected) rejected += 1
    else times.push(ending.at - message.bouncedAt + (spreads[ending.retries - 1] as number))
  }
  const sorted = Float64Array.from(times).sort()
  const atShare = (share: number) => (sorted.length === 0 ? null : Math.round(sorted[Math.ceil(sorted.length * share) - 1] as number))
  return { delivered: times.length, suppressed, rejected, retries, refused, medianMs: atShare(0.5), p90Ms: atShare(0.9) }
}
