/**
 * Limits per destination that hold across all workers: rate (GCRA), connections, backoff. Decisions are pure (rate-limiter.ts,
 * feedback.ts); the state is a database row, locked for one transaction (acquire.ts); times are the database's.
 */
export { type Acquisition, acquire, type LimiterKey, type PermitRequest, Permits } from './acquire.js'
export { LEASE_MS, leaseThatHolds, releaseLeases, renewLease } from './connection-leases.js'
export type { ThrottleContext } from './context.js'
export { type DestinationGroup, groupOf } from './destination-groups.js'
export {
  beginRelease,
  type DestinationOverview,
  destinations,
  findRelease,
  lastRetries,
  limitDestination,
  pause,
  pausedAltogether,
  pausedNow,
  purgeDestinations,
  type Release,
  recordRelease,
  resume,
  STILL_WAITS_MS,
} from './destinations.js'
export { applyFeedback, classifyFeedback, type DestinationAnswer, type Feedback } from './feedback.js'
export type { ThrottleSettings } from './limits.js'
export {
  type AdmissionSettings,
  configuredLimits,
  formatRate,
  type Limits,
  limitsOf,
  parseRate,
  relayKey,
  relayOf,
  withManualLimits,
} from './limits.js'
export { type EndedOutage, markPublished, markRestored, outagesToRestore, unpublishedOutages } from './outages.js'
export { startPublishing } from './publish-outage.js'
export {
  type AdmissionRequest,
  admit,
  connectionsOf,
  intervalOf,
  type LimiterState,
  MAX_IN_PLACE_WAIT_MS,
  newLimiterState,
  type Reservation,
  rateOf,
} from './rate-limiter.js'
export { actOnFeedback, type ObservedAnswer, observationOf, recordFeedback } from './record-feedback.js'
export { destinationsWithWaiters, removeWaiters } from './select-wakeups.js'
export { cancelReservation, type Waiter } from './waiters.js'
export { startWakeupLoop } from './wake-waiters.js'
export { type FeedbackResult, Feedbacks, nextWakeups, type Observation, writeFeedback } from './write-feedback.js'
