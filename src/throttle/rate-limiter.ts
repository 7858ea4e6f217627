/**
 * The rate limiter: GCRA. Each message reserves the next free start time and polls again then; starts are at least one interval apart. A
 * destination that is down is probed once per `probeIntervalMs`. A message that has waited `maxQueueDelayMs` makes its own attempt; such
 * attempts follow one another at the lowest rate.
 */
import type { AdmissionSettings, Limits } from './limits.js'

/** The state of a destination's limiter (or a relay's); times are epoch ms of the database's clock. */
export interface LimiterState {
  /** No start before this. */
  readonly nextStartAt: number
  /** The first start time that is not reserved. */
  readonly reservedUntil: number
  /** Likewise for waiters that missed their time because many polled at once: they queue right behind the next start. */
  readonly overflowUntil: number
  /** Messages per second, as adapted. */
  readonly rate: number
  /** Concurrent connections, as adapted; only whole ones count. */
  readonly connections: number
  /** How long a message takes, from connecting to the end: a moving average, ms. */
  readonly serviceMs: number
  /** Failures in a row. */
  readonly failures: number
  /** The first failure since it last accepted a message; null if there is none. */
  readonly failingSince: number | null
  readonly downSince: number | null
  /** While it is down: the next free time for a probe. */
  readonly nextProbeAt: number
  /** No start before this, because the destination asked us to wait. */
  readonly notBefore: number
  readonly pausedSince: number | null
  /** Reservations of another epoch are void, for example after it went down or recovered. */
  readonly epoch: number
  /** When a waiter last found every connection in use. */
  readonly starvedAt: number
}

/** A message's place in the queue. */
export interface Reservation {
  /** When it first polled: its wait counts from here. */
  readonly askedAt: number
  /** Its start time. */
  readonly slotAt: number
  /** The start time is final: the next start has been set behind it. */
  readonly allotted: boolean
  readonly epoch: number
}

export interface AdmissionRequest {
  readonly mine: Reservation | null
  /** Connections in use by others, and for how long the oldest of them. */
  readonly held: number
  readonly heldForMs: number
  /** It has an open connection, or needs none of its own. */
  readonly hasConnection: boolean
  readonly now: number
  /** From 0 (inclusive) to 1 (exclusive). */
  readonly random: number
}

export type WaitReason = 'rate limit' | 'connection limit' | 'down' | 'retry after' | 'paused'

/** `go` now, or `wait`. `slotAt`: the expected start time; null if unknown. */
export type Admission =
  | { readonly kind: 'go'; readonly state: LimiterState }
  | {
      readonly kind: 'wait'
      readonly state: LimiterState
      readonly mine: Reservation
      readonly why: WaitReason
      readonly slotAt: number | null
      /** When to poll again. */
      readonly askAgainAt: number
    }

/** Shorter waits happen inside the activity: Temporal's timers are too coarse for them. */
export const MAX_IN_PLACE_WAIT_MS = 3000
/** A waiting activity is retried this much before its start time, because Temporal's timers tick by the second. */
const EARLY_MS = 2500
/** A time this near is now; one this long ago was missed. */
const NOW_MS = 15
const MISSED_MS = 30
/** Factor on the interval between starts, because network delay varies from one message to the next. */
export const SLACK = 1.1
const SHORTEST_CONNECTION_WAIT_MS = 50
const LONGEST_CONNECTION_WAIT_MS = 1000

export function newLimiterState(limits: Limits, now: number): LimiterState {
  return {
    nextStartAt: now,
    reservedUntil: now,
    overflowUntil: now,
    rate: limits.minMessageRate,
    connections: 1,
    serviceMs: 0,
    failures: 0,
    failingSince: null,
    downSince: null,
    nextProbeAt: now,
    notBefore: 0,
    pausedSince: null,
    epoch: 0,
    starvedAt: 0,
  }
}

/** The state after a change of the next hop: reset, and not down. Keeps `failingSince`, so that the outage can end. */
export const forgetNextHop = (state: LimiterState, limits: Limits, now: number): LimiterState => ({
  ...newLimiterState(limits, now),
  nextStartAt: state.nextStartAt,
  failingSince: state.failingSince,
  pausedSince: state.pausedSince,
  epoch: state.epoch + 1,
})

/** The rate in use: as adapted, within the limits; the lowest while it is down. */
export function rateOf(state: Pick<LimiterState, 'rate' | 'downSince'>, limits: Limits): number {
  if (state.downSince !== null) return limits.minMessageRate
  return Math.min(Math.max(state.rate, limits.minMessageRate), limits.maxMessageRate)
}

/** The connections in use: as adapted, within the limits; one while it is down. */
export function connectionsOf(state: Pick<LimiterState, 'connections' | 'downSince'>, limits: Limits): number {
  return state.downSince !== null ? 1 : Math.max(1, Math.min(Math.floor(state.connections + 1e-9), limits.connections))
}

/** The time between starts, ms. */
export const intervalOf = (rate: number): number => (1000 / rate) * SLACK

/** The time between starts that each need a connection, ms: for slow messages, connections are the limit. */
export function stepOf(state: LimiterState, limits: Limits): number {
  return Math.max(intervalOf(rateOf(state, limits)), state.serviceMs / connectionsOf(state, limits))
}

/** Decides, and returns the next state. */
export function admit(state: LimiterState, asking: AdmissionRequest, limits: Limits, settings: AdmissionSettings): Admission {
  const { now } = asking
  if (state.pausedSince !== null) {
    const askAgainAt = lookAgainAt(asking, settings)
    const mine = { askedAt: asking.mine?.askedAt ?? now, slotAt: askAgainAt, allotted: false, epoch: state.epoch }
    return { kind: 'wait', state, mine, why: 'paused', slotAt: null, askAgainAt }
  }
  const interval = intervalOf(rateOf(state, limits))
  const most = connectionsOf(state, limits)
  const step = asking.hasConnection ? interval : stepOf(state, limits)
  const reserved = reserve(state, asking, step, settings)
  let { mine } = reserved
  let next = reserved.state
  const wait = (why: WaitReason, slot: Reservation, after: LimiterState): Admission => ({
    kind: 'wait',
    state: after,
    mine: slot,
    why: after.notBefore > now ? 'retry after' : after.downSince !== null ? 'down' : why,
    slotAt: slot.slotAt,
    askAgainAt: slot.slotAt - now <= MAX_IN_PLACE_WAIT_MS ? slot.slotAt : Math.min(slot.slotAt - EARLY_MS, lookAgainAt(asking, settings)),
  })
  if (mine.slotAt - now > MAX_IN_PLACE_WAIT_MS) return wait('rate limit', mine, next)
  if (!mine.allotted || mine.slotAt < now - MISSED_MS || mine.slotAt < next.notBefore) {
    const at = Math.max(now, next.nextStartAt, next.notBefore)
    if (at - now > MAX_IN_PLACE_WAIT_MS) {
      // many polled at once; `reservedUntil` already counts this message
      const slotAt = Math.max(next.overflowUntil, at)
      return wait('rate limit', { ...mine, slotAt, allotted: false }, { ...next, overflowUntil: slotAt + step })
    }
    mine = { ...mine, slotAt: at, allotted: true }
    next = { ...next, nextStartAt: at + interval }
  }
  if (mine.slotAt - now > NOW_MS) return wait('rate limit', mine, next)
  if (!asking.hasConnection && asking.held >= most) {
    const unused = next.nextStartAt === mine.slotAt + interval ? mine.slotAt : next.nextStartAt
    const free = Math.max(state.serviceMs, asking.heldForMs) / most
    const crowded = { ...next, nextStartAt: unused, starvedAt: now }
    if (free <= LONGEST_CONNECTION_WAIT_MS) {
      const slotAt = now + Math.max(free, SHORTEST_CONNECTION_WAIT_MS) * (1 + asking.random)
      return wait('connection limit', { ...mine, slotAt, allotted: false }, crowded)
    }
    const slotAt = Math.max(next.reservedUntil, now + free)
    return wait('connection limit', { ...mine, slotAt, allotted: false }, { ...crowded, reservedUntil: slotAt + free })
  }
  return { kind: 'go', state: next }
}

/** The message's start time: the one that it has, an earlier one, or the next free one. */
function reserve(
  state: LimiterState,
  asking: AdmissionRequest,
  step: number,
  settings: AdmissionSettings,
): { mine: Reservation; state: LimiterState } {
  const { now } = asking
  const mine = asking.mine?.epoch === state.epoch ? asking.mine : null
  const askedAt = asking.mine?.askedAt ?? now
  const free = Math.max(state.reservedUntil, state.nextStartAt, state.notBefore, now)
  if (mine !== null && (mine.slotAt - now <= MAX_IN_PLACE_WAIT_MS || state.downSince !== null || free >= mine.slotAt))
    return { mine, state }
  const at = (slotAt: number) => ({ askedAt, slotAt, allotted: false, epoch: state.epoch })
  if (state.downSince === null) return { mine: at(free), state: { ...state, reservedUntil: free + step } }
  const ownTry = askedAt + settings.maxQueueDelayMs
  const nextProbeAt = Math.max(state.nextProbeAt, state.nextStartAt, state.notBefore, now)
  if (nextProbeAt <= ownTry) return { mine: at(nextProbeAt), state: { ...state, nextProbeAt: nextProbeAt + settings.probeIntervalMs } }
  const slotAt = Math.max(free, ownTry)
  return { mine: at(slotAt), state: { ...state, reservedUntil: slotAt + step } }
}

/** Waiters poll at least this often, to notice changed limits, pauses and recoveries. */
const lookAgainAt = ({ now, random }: AdmissionRequest, { maxQueueDelayMs }: AdmissionSettings): number =>
  now + maxQueueDelayMs * (0.5 + random / 2)
