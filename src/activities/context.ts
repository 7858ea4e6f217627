/** The activities' dependencies. */
import type { Settings } from '../config/index.js'
import type { ConnectionPool, DeliveryContext } from '../delivery/index.js'
import type { Metrics } from '../report/metrics.js'

/** The settings that activities use. */
export type ActivitySettings = DeliveryContext['settings'] &
  Pick<
    Settings,
    | 'unlistBy'
    | 'ownHosts'
    | 'scheduleMs'
    | 'trialSchedules'
    | 'retryStatuses'
    | 'confirmWithinMs'
    | 'suppressionStepsMs'
    | 'messageRetentionMs'
    | 'events'
    | 'encryption'
    | 'taskQueue'
  >

export interface ActivityContext extends DeliveryContext {
  readonly settings: ActivitySettings
  /** Idle connections, for the next message. The creator of the pool closes it before the database. */
  readonly sessions?: ConnectionPool
  readonly metrics?: Metrics
  /** Whether the search attributes are registered; an unregistered one would fail every workflow task. */
  readonly searchAttributesKnown: () => boolean
}
