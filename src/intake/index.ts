/**
 * How bounces come in: LMTP, a pipe, a Maildir. One place believes, reads, judges and acts (take-bounce.ts); each way in keeps a bounce that
 * cannot be dealt with now where it was.
 */

export type { Envelope } from './believe.js'
export { type LmtpServer, logTaken, serveLmtp, summary } from './lmtp.js'
export { deliveredTo, type MaildirWatch, returnPathOf, watchMaildir } from './maildir.js'
export { Intake, type IntakeDependencies, type Taken } from './take-bounce.js'
