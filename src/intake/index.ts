/**
 * The intakes for bounces: LMTP, a pipe, a Maildir, an IMAP mailbox, providers' webhooks. Mails (receive-mail.ts) and events
 * (receive-event.ts) are applied in one place (apply.ts); what cannot be processed now stays at its source.
 */
export { type IntakeDependencies, intakeSettingsOf } from './apply.js'
export { watchImap } from './imap-reader.js'
export { serveLmtp, summary } from './lmtp.js'
export { deliveredTo, returnPathOf, watchMaildir } from './maildir.js'
export { EventReceiver } from './receive-event.js'
export { MailReceiver } from './receive-mail.js'
export { processRefusals, watchRefusals } from './receive-refusal.js'
export { WebhookReceiver } from './webhooks.js'
