/**
 * The durable processes. Deterministic: they import only src/bounce, and types of src/activities. A change that alters the commands of
 * running workflows goes behind a patch; test/histories holds recorded ones that must replay.
 */
export { purgeKeptMessages, releaseDestination, removeAtProvider } from './maintenance.js'
export { publishEvent } from './publish-event.js'
export { retryBouncedMessage } from './retry-bounced-message.js'
export { sendByBackupRelay } from './send-by-backup-relay.js'
