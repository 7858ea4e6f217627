/**
 * How bounces come in: LMTP, a pipe, a Maildir, a mailbox. One place believes, reads, judges and acts (take-bounce.ts); each way in keeps a bounce that
 * cannot be dealt with now where it was.
 */

export type { Envelope } from './believe.js'
export { type LmtpServer, logTaken, serveLmtp, summary } from './lmtp.js'
export { type MailboxOptions, type MailboxWatch, watchMailbox } from './mailbox.js'
export { deliveredTo, type MaildirWatch, returnPathOf, watchMaildir } from './maildir.js'
export { Intake, type IntakeDependencies, type Taken } from './take-bounce.js'
