/**
 * How bounces come in: LMTP, a pipe, a Maildir, an IMAP mailbox, a provider's webhook. Mails (receive-mail.ts) and events
 * (receive-event.ts) are acted on in one place (apply.ts); each entrance keeps what cannot be dealt with now where it was.
 */
export type { IntakeDependencies } from './apply.js'
export { watchImap } from './imap.js'
export { serveLmtp, summary } from './lmtp.js'
export { deliveredTo, returnPathOf, watchMaildir } from './maildir.js'
export { EventReceiver } from './receive-event.js'
export { MailReceiver } from './receive-mail.js'
export { WebhookReceiver } from './webhooks.js'
