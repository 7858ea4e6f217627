/**
 * What must outlive a process: kept messages, the attempt log with its claims, the ends, and the suppression list, in SQL over SQLite or
 * PostgreSQL. Everything that must hold together happens in one transaction; times come in as arguments.
 */
export * from './attempts.js'
export * from './bounces.js'
export * from './database.js'
export * from './destinations.js'
export * from './ends.js'
export * from './filter.js'
export * from './list-check.js'
export * from './mailboxes.js'
export * from './messages.js'
export { migrateToLatest } from './migrations.js'
export * from './mta-sts.js'
export * from './notifications.js'
export { noteTold, type UntoldOutage, untoldOutages } from './outages.js'
export * from './people.js'
export * from './provider-ids.js'
export * from './sent.js'
export { forgetEnded, waitedFor } from './sleepers.js'
export * from './suppressions.js'
export type * from './tables.js'
export * from './turns.js'
