/** Simulated destinations whose outages are known: what bounces, what the retries meet, and what another schedule would have met. */
import { maxStaggerMs, parseSchedule } from '../../src/bounce/index.js'
import { Availability, type Evidence } from '../../src/report/what-if/availability.js'
import type { Bounced, Log } from '../../src/report/what-if/replay.js'

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS
export const FROM = Date.UTC(2026, 5, 1)

/** mulberry32: numbers from 0 to 1 that a seed determines. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
export const exponential = (random: () => number, mean: number) => -Math.log(1 - random()) * mean

export interface World {
  readonly days: number
  readonly destinations: number
  /** Mean time between outages, and how long one lasts, ms. */
  readonly upMs: number
  readonly downMs: (random: () => number) => number
  /** Mails to each destination in an hour. */
  readonly mailsPerHour: number
}

interface Outage {
  readonly from: number
  readonly to: number
}

export interface Retry {
  readonly run: string
  readonly destination: string
  readonly retry: number
  readonly at: number
  readonly accepted: boolean
}

export interface Simulated {
  readonly bounces: readonly { readonly run: string; readonly destination: string; readonly at: number }[]
  readonly retries: readonly Retry[]
  readonly until: number
  /** What a schedule really would have earned. */
  truth(schedule: string): { delivered: number; suppressed: number; retries: number; medianMs: number }
}

export function simulate(world: World, schedule: string, random: () => number): Simulated {
  const until = FROM + world.days * DAY_MS
  const outages = new Map<string, Outage[]>()
  const bounces: { run: string; destination: string; at: number }[] = []
  for (let d = 0; d < world.destinations; d += 1) {
    const destination = `system${d}.example`
    const down: Outage[] = []
    for (let at = FROM + exponential(random, world.upMs); at < until; ) {
      const to = at + world.downMs(random)
      down.push({ from: at, to })
      at = to + exponential(random, world.upMs)
    }
    outages.set(destination, down)
    for (const { from, to } of down)
      for (let at = from + exponential(random, HOUR_MS / world.mailsPerHour); at < Math.min(to, until); ) {
        bounces.push({ run: `${destination}-${bounces.length}`, destination, at: Math.round(at) })
        at += exponential(random, HOUR_MS / world.mailsPerHour)
      }
  }
  const isDown = (destination: string, at: number) => outages.get(destination)?.some(({ from, to }) => at >= from && at < to) === true
  const retriesOf = (of: string) => {
    const delays = parseSchedule(of)
    return bounces.map(({ run, destination, at: bouncedAt }) => {
      const sent: Retry[] = []
      let at = bouncedAt
      for (const delay of delays) {
        at = Math.round(at + delay + maxStaggerMs(delay) * random())
        const accepted = !isDown(destination, at)
        sent.push({ run, destination, retry: sent.length + 1, at, accepted })
        if (accepted) break
      }
      return sent
    })
  }
  return {
    bounces,
    retries: retriesOf(schedule)
      .flat()
      .filter(({ at }) => at < until),
    until,
    truth: (of) => {
      const all = retriesOf(of)
      const times = all.flatMap((sent, i) => (sent.at(-1)?.accepted ? [(sent.at(-1) as Retry).at - (bounces[i] as { at: number }).at] : []))
      times.sort((a, b) => a - b)
      return {
        ...{ delivered: times.length, suppressed: all.length - times.length, retries: all.flat().length },
        medianMs: times[Math.ceil(times.length / 2) - 1] as number,
      }
    },
  }
}

/** The log as it is read from the database. */
export function logOf({ bounces, retries, until }: Simulated): Log {
  const evidence = new Map<string, Evidence[]>()
  const seen = (destination: string, at: number, isRefusal: boolean) => {
    const own = evidence.get(destination) ?? []
    own.push({ at, isRefusal })
    evidence.set(destination, own)
  }
  const lastRefused = new Map<string, number>()
  for (const { destination, at } of bounces) seen(destination, at, true)
  for (const { run, destination, at, accepted } of retries) {
    seen(destination, at, !accepted)
    if (!accepted) lastRefused.set(run, at)
  }
  const messages: Bounced[] = bounces.map(({ run, destination, at }) => ({
    ...{ destination, bouncedAt: at, startedAt: at, isRejected: false },
    lastRefusedAt: lastRefused.get(run) ?? null,
  }))
  messages.sort((a, b) => a.bouncedAt - b.bouncedAt)
  const sorted = [...evidence].map(([destination, own]) => [destination, own.sort((a, b) => a.at - b.at)] as const)
  return { messages, availability: new Map(sorted.map(([destination, own]) => [destination, new Availability(own, until)])) }
}
