/** The throttle's dependencies. */
import type { EventChannels } from '../bounce/index.js'
import type { Log } from '../logger.js'
import type { Database } from '../store/index.js'
import type { ThrottleSettings } from './limits.js'

export interface ThrottleContext {
  readonly database: Database
  readonly settings: { readonly throttle: ThrottleSettings; readonly events: EventChannels }
  readonly log: Log
  readonly now: () => Date
}
