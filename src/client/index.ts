/** Start and steer retries from TypeScript; ask and change the suppression list; filter lists. */
export type { Attempt, Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'
export { readSettings, type Settings, WrongSettings } from '../config.js'
export { UnsendableMessage } from '../smtp/index.js'
export type { Suppression } from '../store/index.js'
export type { Progress, State } from '../workflows/retry-bounced-message.js'
export {
  type BounceOf,
  type ClientOptions,
  type RetryOptions,
  type RetryRef,
  SoftbounceClient,
  type StartedRetry,
  TASK_QUEUE,
  UnretryableBounce,
  WORKFLOW_TYPE,
} from './client.js'
export { type DestinationStanding, Destinations, type ReleaseOptions } from './destinations.js'
export { type Filtered, type FilterOptions, filterList } from './filter.js'
export type { Erased } from './forget.js'
export { checkList, type ListCheck, type ListCheckOptions, type ListStatus } from './list-check.js'
export type { RetryStanding } from './standing.js'
export { SuppressedRecipients, type Tracked, type TrackedOptions, type TrackOptions, track } from './track.js'
