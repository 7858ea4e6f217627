export {
  type Acquisition,
  acquire,
  cancelReservation,
  type FeedbackResult,
  type LimiterKey,
  markRestored,
  nextWakeups,
  writeFeedback,
} from './acquire.js'
export { acquirePermit, IDLE_MS, type PermitSubject, waitWhilePaused } from './acquire-permit.js'
export { LEASE_MS, leaseThatHolds, releaseLease, renewLease } from './connection-leases.js'
export { type DestinationGroup, groupOf, parseDestinationGroups } from './destination-groups.js'
export type { DestinationStatus } from './destination-row.js'
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
export {
  type AdmissionSettings,
  configuredLimits,
  formatRate,
  type Limits,
  limitsOf,
  parseLimits,
  parseRate,
  relayKey,
  relayOf,
  withManualLimits,
} from './limits.js'
export { markPublished, type UnpublishedOutage, unpublishedOutages } from './outages.js'
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
export { recordFeedback } from './record-feedback.js'
export { startWakeupLoop } from './wake-waiting.js'
export { destinationsWithWaiters, removeWaiters } from './wakeups.js'
