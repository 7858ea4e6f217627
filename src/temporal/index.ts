/** Temporal helpers: activity errors, search attributes, schedules, tracing. */

export { describe, localFailure, nonRetryable, retryLater, withDatabase } from './activity-errors.js'
export { FailuresInARow, failedSends } from './failures-in-a-row.js'
export { isRunning } from './is-running.js'
export { ensureSchedules, requireNamespace, SearchAttributes } from './namespace.js'
export { startTracing, type Tracing } from './tracing.js'
