/**
 * What must outlive a process: kept messages, the attempt log with its claims, the ends, and the suppression list, in SQL over SQLite or
 * PostgreSQL. Everything that must hold together happens in one transaction; times come in as arguments.
 */
export {
  type Answer,
  type AnsweredRow,
  type AttemptKey,
  type AttemptSubject,
  answeredAttempts,
  beginSend,
  type Claim,
  claimAttempt,
  type GivenBack,
  lookAtAttempt,
  otherDestinationReached,
  otherDestinationSilent,
  recordAnswer,
  recordReport,
  releaseClaim,
  renewClaim,
  sendAnsweredAt,
  toAttempt,
} from './attempts.js'
export { clockOf, type Database, databaseKind, given, oneAtATime, openDatabase, timeOf, withoutWaiting } from './database.js'
export { type Forgotten, forget, historyOf } from './erasure.js'
export { holdMailbox, leaveMailbox, type MailboxPlace, noteMailbox } from './imap-cursors.js'
export { findUnread, keepUnread, listBounces, purgeBounces, recordBounces, type TakenBounce, wasTaken } from './inbound.js'
export {
  hasMessage,
  holdMessage,
  loadMessage,
  messageKey,
  purgeMessages,
  releaseHolds,
  staleHolds,
  storeMessage,
  touchMessage,
} from './messages.js'
export { migrateToLatest } from './migrations.js'
export { findPolicy, keepPolicy } from './mta-sts-policies.js'
export { findProviderId, noteProviderId, purgeProviderIds } from './provider-ids.js'
export { type End, findEnd, keptFor, noteTerminated, openOf, recordEnd, recordStart, workflowIdsOf } from './runs.js'
export { findSent, noteSent, purgeSent, type Sent, storeSent, wasSent } from './sent.js'
export type {
  AttemptsTable,
  BounceDone,
  DestinationsTable,
  EndsTable,
  SuppressionChange,
  SuppressionReason,
  SuppressionsTable,
  Tables,
  TurnsTable,
} from './tables.js'
export { keepNotifications, nextNotification, notificationDone, notificationLater, purgeNotifications } from './webhook-inbox.js'
