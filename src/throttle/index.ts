export { askTurn, forgetTurn, type Learnt, learnFrom, noteRestored, type Turn, type TurnOf, wakeWaitingFor } from './acquire.js'
export { IDLE_MS, type TurnSubject, takeOurTurn, waitWhilePaused } from './acquire-permit.js'
export { LEASE_MS, leaseThatHolds, releaseLease, renewLease } from './connection-leases.js'
export { groupOf, parseSystemGroups, type SystemGroup } from './destination-groups.js'
export type { KnownSystem } from './destination-row.js'
export {
  beginRelease,
  destinations,
  findRelease,
  lastRetries,
  limitDestination,
  noteRelease,
  pause,
  pausedAltogether,
  pausedNow,
  purgeDestinations,
  type Release,
  resume,
  STILL_WAITS_MS,
  type Standing,
} from './destinations.js'
export { type Lesson, learn, lessonOf, type SystemAnswer } from './feedback.js'
export {
  formatRate,
  type Limits,
  limitsByHand,
  limitsOf,
  limitsSet,
  parseLimits,
  parseRate,
  relayOf,
  relayTurn,
  type TurnSettings,
} from './limits.js'
export { noteTold, type UntoldOutage, untoldOutages } from './outages.js'
export {
  type Asking,
  connectionsOf,
  intervalOf,
  newState,
  PATIENCE_MS,
  type Reservation,
  rateOf,
  type SystemState,
  takeTurn,
} from './rate-limiter.js'
export { learnFromAnswer } from './record-feedback.js'
export { keepWaking } from './wake-waiting.js'
export { forgetEnded, waitedFor } from './wakeups.js'
