/** Start, signal and query retries from TypeScript; read and change the suppression list; filter recipient lists. */
export type {
  Attempt,
  AttemptOutcome,
  Bounce,
  BouncedMessage,
  MessageSource,
  Outcome,
  RetryOptions,
  RetryResult,
  SoftbounceEvent,
  Urgent,
} from '../bounce/index.js'
export { TASK_QUEUE, WORKFLOW_TYPE } from '../bounce/index.js'
export { type Config, fromEnvironment, WrongSettings } from '../config/index.js'
export { UnsendableMessage } from '../delivery/canonical-message.js'
export type { Filtered, FilterOptions, ListCheck, ListCheckOptions, ListStatus } from '../suppression/index.js'
export type { Suppression, SuppressionReason } from '../suppression/look-up.js'
export type { Release } from '../throttle/index.js'
export type { Progress, State } from '../workflows/retry-bounced-message.js'
export { SoftbounceClient } from './client.js'
export type { RetryDescription } from './describe.js'
export { type DestinationInfo, Destinations, type ReleaseOptions } from './destinations.js'
export type { Erased } from './erase.js'
export { type BounceOf, type ClientOptions, type RetryRef, type StartedRetry, UnretryableBounce } from './options.js'
export { RecipientLists } from './recipient-lists.js'
export { RequestRefused } from './requests.js'
export { track } from './track.js'
export * from './track-options.js'
