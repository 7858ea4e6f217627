/** What the activities need besides their arguments. */
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
    | 'retryStatuses'
    | 'confirmWithinMs'
    | 'suppressionStepsMs'
    | 'messageRetentionMs'
    | 'events'
    | 'encryption'
  >

export interface ActivityContext extends DeliveryContext {
  readonly settings: ActivitySettings
  /** Idle connections wait here for the next message. Whoever made it closes it before the database. */
  readonly sessions?: ConnectionPool
  readonly metrics?: Metrics
  /** Whether the server knows the search attributes; an unknown one would fail every workflow task. */
  readonly searchAttributesKnown: () => boolean
}
