/**
 * The workflows. Deterministic: they import only src/bounce, and types of src/activities. A change that alters the commands of running
 * workflows needs a patch; test/histories holds recorded histories that must replay.
 */
export type { EventOrder } from '../bounce/index.js'
export { purgeKeptMessages, releaseDestination, removeAtProvider } from './maintenance.js'
export { publishEvent } from './publish-event.js'
export { retryBouncedMessage } from './retry-bounced-message.js'
export { type BackupOrder, sendByBackupRelay } from './send-by-backup-relay.js'
