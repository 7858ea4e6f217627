/**
 * The state that outlives a process, in SQLite or PostgreSQL: stored messages, the attempt log with its claims, outcomes, reports. Changes
 * that belong together share one transaction; times are passed in.
 */

export { type RecordRequest, recordAnswer, recordAnswers, recordReport } from './attempt-answers.js'
export {
  type Answer,
  type AnsweredRow,
  type AttemptKey,
  type AttemptSubject,
  answeredAttempts,
  countAttempts,
  findSoleSend,
  recipientsWithAttempts,
  sendAnsweredAt,
  toAttempt,
} from './attempt-rows.js'
export {
  type BeginRequest,
  beginSend,
  beginSends,
  type Claim,
  type ClaimedRow,
  type ClaimRequest,
  claimAttempt,
  findAttempt,
  findAttempts,
  type ReleaseReason,
  releaseClaim,
  renewClaim,
  tryToClaim,
} from './attempts.js'
export { Batcher } from './batcher.js'
export {
  advisoryLock,
  among,
  type Database,
  databaseNow,
  givenRows,
  nowExpression,
  openDatabase,
  valuesTable,
} from './database.js'
export { databaseFault } from './database-fault.js'
export { DatabaseWatch, writeProbe } from './database-watch.js'
export { type Forgotten, forget } from './erasure.js'
export { advanceImapCursor, holdImapCursor, type ImapCursor, releaseImapCursor } from './imap-cursors.js'
export {
  alreadyHandled,
  findQuarantined,
  type InboundReport,
  listBounces,
  purgeInbound,
  quarantine,
  recordInbound,
  trimInbound,
} from './inbound.js'
export {
  type AddedRows,
  APPLICATION,
  addAllToInbox,
  addToInbox,
  type HandedOver,
  type InboxRow,
  markInboxDone,
  type NewInboxRow,
  nextInboxRow,
  postponeInboxRow,
  purgeInbox,
  waitingInInbox,
} from './inbox.js'
export {
  hasMessage,
  holdMessage,
  loadMessage,
  loadMessages,
  messageKey,
  purgeMessages,
  releaseHolds,
  staleHolds,
  storeInGroup,
  storeMessage,
  useMessage,
} from './messages.js'
export { migrateToLatest, pendingMigrations, SchemaAhead } from './migrations.js'
export { findPolicy, keepPolicy } from './mta-sts-policies.js'
export { otherDestinationReached, otherDestinationSilent } from './own-network-evidence.js'
export { announceProcess, type ProcessInfo, runningProcesses } from './processes.js'
export { findProviderId, purgeProviderIds, recordProviderId } from './provider-ids.js'
export { historyOf } from './recipient-history.js'
export { inWords, lacksRights } from './rights.js'
export { beginRun, type End, findEnd, keptFor, recordEnd, workflowIdsOf } from './runs.js'
export { findSent, purgeSent, recordSent, type Sent, storeSent, wasSent } from './sent.js'
export { Statement } from './statement.js'
export { identityOf, NoTables, parseStoredKey, storedKey, storeId, storeNumber, storeOfIdentity } from './store-id.js'
export type {
  AttemptsTable,
  Disposition,
  OutcomesTable,
  SuppressionChange,
  SuppressionReason,
  SuppressionsTable,
  Tables,
} from './tables.js'
export type { ConnectionLeasesTable, DestinationsTable, OutagesTable, WaitersTable } from './throttle-tables.js'
export { all, asyncCommit, type Commit, transact } from './transaction.js'
