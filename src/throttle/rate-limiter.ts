/**
 * Whose turn it is: the way of GCRA. Each message that asks gets the next free moment, and comes back for it; starts lie at least an
 * interval apart, whatever comes back early or late. A system that is down is asked once a minute, and no message waits for that longer
 * than it may: then it makes its own try, one after another at the lowest rate.
 */
import type { Limits, TurnSettings } from './limits.js'

/** What is known of a receiving system (or a relay); times are ms of the database's clock. */
export interface SystemState {
  /** No start before this. */
  readonly nextAt: number
  /** The first moment that nobody has reserved. */
  readonly frontier: number
  /** The same for those whose moment has passed, because many came at once: right behind the next start. */
  readonly lateFrontier: number
  /** Messages a second, as learnt. */
  readonly rate: number
  /** Connections at once, as learnt; whole ones count. */
  readonly connections: number
  /** How long a message takes, from connecting to the end; a moving average, ms. */
  readonly serviceMs: number
  /** Failures in a row. */
  readonly failures: number
  /** The first failure since it last took a message; null where there is none. */
  readonly failingSince: number | null
  readonly downSince: number | null
  /** While it is down: the next minute that nobody asks in. */
  readonly askAt: number
  /** It asked us not to come before this. */
  readonly notBefore: number
  readonly pausedSince: number | null
  /** Reservations of another epoch are void: it went down, or came back. */
  readonly epoch: number
  /** When an asker last found every connection taken. */
  readonly wantedAt: number
}

/** A message's place. */
export interface Reservation {
  /** When it asked first: what it waits counts from here. */
  readonly askedAt: number
  /** Its moment. */
  readonly slotAt: number
  /** The moment is its own to the millisecond: the next start was set behind it. */
  readonly allotted: boolean
  readonly epoch: number
}

export interface Asking {
  readonly mine: Reservation | null
  /** Connections that are held now, without this asker's own; and for how long the oldest of them. */
  readonly held: number
  readonly heldForMs: number
  /** It has an open connection to use (or needs none of its own). */
  readonly hasConnection: boolean
  readonly now: number
  /** From 0 (inclusive) to 1 (exclusive). */
  readonly random: number
}

export type WaitReason = 'pace' | 'connections' | 'down' | 'asked to wait' | 'paused'

/** Go now; or wait until then. `slotAt` is when it goes, as far as is known now; null where nothing is. */
export type Decision =
  | { readonly kind: 'go'; readonly state: SystemState }
  | {
      readonly kind: 'wait'
      readonly state: SystemState
      readonly mine: Reservation
      readonly why: WaitReason
      readonly slotAt: number | null
      /** When to ask again. */
      readonly askAgainAt: number
    }

/** A moment within this is waited for in place: shorter than what the engine's timers are good for. */
export const PATIENCE_MS = 3000
/** Whoever comes back from the engine comes this much before the moment: its timers tick by the second. */
const EARLY_MS = 2500
/** A moment this near is now; one that lies this far back is missed. */
const NOW_MS = 15
const MISSED_MS = 30
/** Starts lie this much further apart than the rate asks for, so that the way to the receiving system may take longer once, and shorter then. */
export const SLACK = 1.1
const SHORTEST_CONNECTION_WAIT_MS = 50
const LONGEST_CONNECTION_WAIT_MS = 1000

export function newState(limits: Limits, now: number): SystemState {
  return {
    nextAt: now,
    frontier: now,
    lateFrontier: now,
    rate: limits.lowestRate,
    connections: 1,
    serviceMs: 0,
    failures: 0,
    failingSince: null,
    downSince: null,
    askAt: now,
    notBefore: 0,
    pausedSince: null,
    epoch: 0,
    wantedAt: 0,
  }
}

/** The rate in use: what was learnt, within the limits; the lowest while it is down. */
export function rateOf(state: Pick<SystemState, 'rate' | 'downSince'>, limits: Limits): number {
  if (state.downSince !== null) return limits.lowestRate
  return Math.min(Math.max(state.rate, limits.lowestRate), limits.highestRate)
}

/** The connections in use: what was learnt, within the limits; one while it is down. */
export function connectionsOf(state: Pick<SystemState, 'connections' | 'downSince'>, limits: Limits): number {
  return state.downSince !== null ? 1 : Math.max(1, Math.min(Math.floor(state.connections + 1e-9), limits.connections))
}

/** How far starts lie apart, ms. */
export const intervalOf = (rate: number): number => (1000 / rate) * SLACK

/** How far messages come apart that need a connection each, ms: where they take long, connections are what limits it. */
export function stepOf(state: SystemState, limits: Limits): number {
  return Math.max(intervalOf(rateOf(state, limits)), state.serviceMs / connectionsOf(state, limits))
}

/** Decides, and gives the state that follows. */
export function takeTurn(state: SystemState, asking: Asking, limits: Limits, settings: TurnSettings): Decision {
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
  const wait = (why: WaitReason, slot: Reservation, after: SystemState): Decision => ({
    kind: 'wait',
    state: after,
    mine: slot,
    why: after.notBefore > now ? 'asked to wait' : after.downSince !== null ? 'down' : why,
    slotAt: slot.slotAt,
    askAgainAt: slot.slotAt - now <= PATIENCE_MS ? slot.slotAt : Math.min(slot.slotAt - EARLY_MS, lookAgainAt(asking, settings)),
  })
  if (mine.slotAt - now > PATIENCE_MS) return wait('pace', mine, next)
  if (!mine.allotted || mine.slotAt < now - MISSED_MS || mine.slotAt < next.notBefore) {
    const at = Math.max(now, next.nextAt, next.notBefore)
    if (at - now > PATIENCE_MS) {
      // many have come at once; its place was counted when it was reserved
      const slotAt = Math.max(next.lateFrontier, at)
      return wait('pace', { ...mine, slotAt, allotted: false }, { ...next, lateFrontier: slotAt + step })
    }
    mine = { ...mine, slotAt: at, allotted: true }
    next = { ...next, nextAt: at + interval }
  }
  if (mine.slotAt - now > NOW_MS) return wait('pace', mine, next)
  if (!asking.hasConnection && asking.held >= most) {
    const unused = next.nextAt === mine.slotAt + interval ? mine.slotAt : next.nextAt
    const free = Math.max(state.serviceMs, asking.heldForMs) / most
    const crowded = { ...next, nextAt: unused, wantedAt: now }
    if (free <= LONGEST_CONNECTION_WAIT_MS) {
      const slotAt = now + Math.max(free, SHORTEST_CONNECTION_WAIT_MS) * (1 + asking.random)
      return wait('connections', { ...mine, slotAt, allotted: false }, crowded)
    }
    const slotAt = Math.max(next.frontier, now + free)
    return wait('connections', { ...mine, slotAt, allotted: false }, { ...crowded, frontier: slotAt + free })
  }
  return { kind: 'go', state: next }
}

/** The message's moment: the one that it has, or a better one, or the next free one. */
function reserve(state: SystemState, asking: Asking, step: number, settings: TurnSettings): { mine: Reservation; state: SystemState } {
  const { now } = asking
  const mine = asking.mine?.epoch === state.epoch ? asking.mine : null
  const askedAt = asking.mine?.askedAt ?? now
  const free = Math.max(state.frontier, state.nextAt, state.notBefore, now)
  if (mine !== null && (mine.slotAt - now <= PATIENCE_MS || state.downSince !== null || free >= mine.slotAt)) return { mine, state }
  const at = (slotAt: number) => ({ askedAt, slotAt, allotted: false, epoch: state.epoch })
  if (state.downSince === null) return { mine: at(free), state: { ...state, frontier: free + step } }
  const ownTry = askedAt + settings.longestWaitMs
  const askAt = Math.max(state.askAt, state.nextAt, state.notBefore, now)
  if (askAt <= ownTry) return { mine: at(askAt), state: { ...state, askAt: askAt + settings.askEveryMs } }
  const slotAt = Math.max(free, ownTry)
  return { mine: at(slotAt), state: { ...state, frontier: slotAt + step } }
}

/** Nobody sleeps longer than that without looking again: limits, pauses and recoveries are noticed within it. */
const lookAgainAt = ({ now, random }: Asking, { longestWaitMs }: TurnSettings): number => now + longestWaitMs * (0.5 + random / 2)
