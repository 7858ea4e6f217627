/** What the activities need of the world. */
import type { Settings } from '../config/index.js'
import type { Metrics } from '../report/metrics.js'
import type { Database } from '../store/index.js'
import type { ConnectionPool } from './smtp/connection-pool.js'

/** Structured logging; pino's shape. Fields never hold a message's content. */
export interface Log {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
}

/** The settings that activities use. */
export type DeliverySettings = Pick<
  Settings,
  | 'paths'
  | 'relayPreset'
  | 'unlistBy'
  | 'backup'
  | 'direct'
  | 'throttle'
  | 'ownHosts'
  | 'scheduleMs'
  | 'retryStatuses'
  | 'confirmWithinMs'
  | 'suppressionStepsMs'
  | 'messageRetentionMs'
  | 'dkim'
  | 'returnPaths'
  | 'events'
  | 'encryption'
  | 'ehloDomain'
  | 'timeouts'
>

export interface ActivityContext {
  readonly database: Database
  /** Where sessions wait for the next message; ended by whoever made it, before the database is closed. */
  readonly sessions?: ConnectionPool
  readonly settings: DeliverySettings
  readonly log: Log
  readonly metrics?: Metrics
  /** The clock. */
  readonly now: () => Date
  /** Whether the server knows the search attributes; an unknown one would fail every workflow task. */
  readonly searchAttributesKnown: () => boolean
}
