/**
 * Delivery: one SMTP transaction for one recipient, over the relay or to the receiving system itself, and what its replies mean.
 * The message's bytes are sent as they are; the dialogue's every ending is an outcome, none an exception.
 */
export { canonicalMessage, fieldName, headerFields, MAX_MESSAGE_BYTES, UnsendableMessage } from './canonical-message.js'
export { allowedHosts, asksForNext, type DirectOptions, deliver, pathTo, reachableHosts } from './delivery.js'
export { isAuthoredBy, signaturesExpireAt } from './dkim-expiry.js'
export { type DkimKey, signMessage } from './dkim-signer.js'
export { isOutside, type MailHost, type MailHostOptions, type MailHosts, mailHosts, type Resolve, resolverOf } from './mail-hosts.js'
export { isAllowed, type PolicyStore, StsPolicies, type StsPolicy } from './mta-sts.js'
export { type Answered, isLastingRejection, judgeDialogue, judgeLookUp, type SendOutcome } from './outcome.js'
export { isWithin } from './own-systems.js'
export { nameOf, type Path, type Paths, parseRoutes, pathFor, type Route, type TlsMode } from './path.js'
export * from './return-path.js'
export { BLOCK_BYTES, type Dialogue, type Mail, Session } from './session.js'
export { type HeldSession, Sessions } from './sessions.js'
export { DEFAULT_TIMEOUTS, type SmtpTimeouts } from './timeouts.js'
export { type Conversed, converse, type Transaction, transact } from './transaction.js'
