/** Limits per destination: message rate (messages per second) and concurrent connections. */

import type { DestinationGroup } from './destination-groups.js'

/** The bounds within which a destination's rate and connections adapt. */
export interface Limits {
  /** Messages per second: the initial and lowest rate. */
  readonly minMessageRate: number
  /** Messages per second: the highest rate. */
  readonly maxMessageRate: number
  /** Most concurrent connections. */
  readonly connections: number
  /** Messages per connection, which is then closed. */
  readonly maxDeliveriesPerConnection: number
}

/** Settings for permits that apply to all destinations. */
export interface AdmissionSettings {
  readonly limits: Limits
  /** Failures in a row until a destination counts as down. */
  readonly failuresBeforeDown: number
  /** How often a destination that is down is probed. */
  readonly probeIntervalMs: number
  /** A message waits for a destination that is down at most this long; then it makes its own attempt. */
  readonly maxQueueDelayMs: number
}

/** All settings of the throttle. */
export interface ThrottleSettings extends AdmissionSettings {
  readonly groups: readonly DestinationGroup[]
  readonly destinationLimits: ReadonlyMap<string, PartialLimits>
  /** The relay's limits; its rate does not adapt. */
  readonly relay: Limits
  readonly releaseOnRecovery: boolean
  readonly releaseWithinMs: number
  readonly restoreWithinMs: number
}

const SECOND_MS = 1000
const UNITS: Record<string, number> = { s: SECOND_MS, min: 60 * SECOND_MS, m: 60 * SECOND_MS, h: 3600 * SECOND_MS }
const MAX_RATE = 10_000
const MIN_RATE = 1 / 3600

/**
 * Parses `2/s`, `30/min`, `100/h` into messages per second.
 * @throws Error with the expected format.
 */
export function parseRate(text: string): number {
  const match = /^\s*(\d{1,6}(?:\.\d{1,6})?)\s*\/\s*(s|min|m|h)\s*$/i.exec(text)
  const rate = match === null ? 0 : (Number(match[1]) * SECOND_MS) / (UNITS[(match[2] as string).toLowerCase()] as number)
  if (match === null || rate < MIN_RATE || rate > MAX_RATE)
    throw new Error(
      `"${text.trim().slice(0, 40)}" is not a rate; write a number and a unit of s, min or h, such as 2/s or 30/min, from 1/h to ${MAX_RATE}/s`,
    )
  return rate
}

/** `2/s`, `30/min`, `0.5/s`: in the largest unit that has a whole number, else rounded. */
export function formatRate(rate: number): string {
  for (const [unit, ms] of [
    ['s', SECOND_MS],
    ['min', 60 * SECOND_MS],
    ['h', 3600 * SECOND_MS],
  ] as const) {
    const count = (rate * ms) / SECOND_MS
    if (count >= 1 && Math.abs(count - Math.round(count)) < 1e-6) return `${Math.round(count)}/${unit}`
  }
  return rate >= 1 ? `${rate.toFixed(1)}/s` : `${(rate * 60).toFixed(1)}/min`
}

/** Limits of one destination: configured (`throttle.destinations`), or set by `softbounce destinations limit`. */
export type PartialLimits = Partial<Limits>

/** The limits of one destination: later arguments override earlier ones; the lowest rate is never above the highest. */
export function limitsOf(general: Limits, ...own: readonly (PartialLimits | undefined)[]): Limits {
  const limits: Limits = Object.assign({}, general, ...own)
  return { ...limits, minMessageRate: Math.min(limits.minMessageRate, limits.maxMessageRate) }
}

const RELAY = 'relay:'

/** The key of a relay's limiter. */
export const relayKey = (host: string): string => `${RELAY}${host}`

/** The relay whose limiter has this key; null if it is a destination's. */
export const relayOf = (name: string): string | null => (name.startsWith(RELAY) ? name.slice(RELAY.length) : null)

/** The configured limits of a destination, or of the relay. */
export function configuredLimits(
  settings: { readonly limits: Limits; readonly destinationLimits: ReadonlyMap<string, PartialLimits>; readonly relay: Limits },
  name: string,
): Limits {
  return relayOf(name) === null ? limitsOf(settings.limits, settings.destinationLimits.get(name)) : settings.relay
}

/** The limits, overridden by those set by hand; null if there are none. */
export function withManualLimits(
  limits: Limits,
  byHand: { readonly rate: number | null; readonly connections: number | null } | null,
): Limits {
  return limitsOf(limits, {
    ...(byHand?.rate == null ? {} : { maxMessageRate: byHand.rate }),
    ...(byHand?.connections == null ? {} : { connections: byHand.connections }),
  })
}
