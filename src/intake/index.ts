/**
 * How bounces come in: LMTP, a pipe, a Maildir, a mailbox, a provider's notifications. Mails (take-bounce.ts) and notifications
 * (take-event.ts) are acted on in one place (act.ts); each way in keeps a bounce that cannot be dealt with now where it was.
 */

export type { IntakeDependencies, Taken } from './act.js'
export type { Envelope } from './believe.js'
export { type LmtpServer, logTaken, serveLmtp, summary } from './lmtp.js'
export { type MailboxOptions, type MailboxWatch, watchMailbox } from './mailbox.js'
export { deliveredTo, type MaildirWatch, returnPathOf, watchMaildir } from './maildir.js'
export { type NotificationOptions, Notifications } from './notifications.js'
export { Intake } from './take-bounce.js'
export { EventIntake } from './take-event.js'
