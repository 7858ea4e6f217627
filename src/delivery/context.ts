/** A delivery's dependencies: settings, database, log and clock. */
import type { AttemptOutcome, Via } from '../bounce/index.js'
import type { Provider } from '../providers/index.js'
import type { ThrottleContext } from '../throttle/index.js'
import type { DkimKey } from './dkim-signer.js'
import type { NextHop, NextHops } from './next-hop.js'
import type { ReturnPaths } from './return-path.js'
import type { SmtpTimeouts } from './smtp/timeouts.js'

/** Delivery to the mail hosts of the recipient's domain, without a relay. */
export interface DirectSettings {
  readonly mtaSts: boolean
  readonly dane: boolean
  readonly dnsServers: readonly string[]
  readonly bindAddresses: readonly string[]
  readonly port: number
  readonly allowPrivateMx: boolean
}

export interface DeliverySettings {
  readonly paths: NextHops
  /** The provider whose presets apply to the relay. */
  readonly relayPreset: Provider | null
  /** The backup relay; null if none is set. */
  readonly backup: NextHop | null
  readonly direct: DirectSettings | null
  /** Keys that sign messages sent without a relay, by their author's domain. */
  readonly dkim: readonly DkimKey[]
  readonly returnPaths: ReturnPaths | null
  readonly ehloDomain: string
  readonly timeouts: SmtpTimeouts
}

/** Metrics of deliveries. */
export interface DeliveryMetrics {
  permitAcquired(waitedMs: number): void
  permitWaited(why: string): void
  attemptAnswered(attempt: Via, outcome: AttemptOutcome, status: string, destination: string): void
}

export interface DeliveryContext extends ThrottleContext {
  readonly settings: ThrottleContext['settings'] & DeliverySettings
  readonly metrics?: DeliveryMetrics
}
