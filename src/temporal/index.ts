export { describe, ourTrouble, refusal, tryAgain, withDatabase } from './activity-errors.js'
export { isOpen } from './is-running.js'
export { ensureSchedules, SearchAttributes } from './namespace.js'
export { startTracing, type Tracing } from './tracing.js'
