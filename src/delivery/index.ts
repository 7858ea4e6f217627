/** How one message reaches a destination: routing, permit, claim, SMTP transaction, outcome; and what is sent: bytes, return path, signature. */
export { waitWhilePaused } from './acquire-permit.js'
export { canonicalMessage, MAX_MESSAGE_BYTES, UnsendableMessage } from './canonical-message.js'
export { scheduleFor } from './chosen-schedule.js'
export { AttemptClaim } from './claim.js'
export { conclude } from './conclude.js'
export type { DeliveryContext, DirectSettings } from './context.js'
export { DeliveryAttempt, type DeliveryOutcome } from './delivery.js'
export { deriveDestination } from './destination.js'
export { isAuthoredBy, signaturesExpireAt } from './dkim-expiry.js'
export { type DkimKey, signMessage } from './dkim-signer.js'
export { isAllowed } from './mta-sts.js'
export { isOutside, type MailHostOptions, mailHosts, resolverOf } from './mx.js'
export { type NextHop, type NextHops, nameOf, nextHopFor } from './next-hop.js'
export { type Answered, classifyLookup, classifyResult, isLastingRejection, type SendOutcome } from './outcome.js'
export { OutgoingMessage } from './outgoing-message.js'
export { isWithin } from './own-hosts.js'
export {
  dayOf,
  parseReturnPathTemplate,
  type ReturnPaths,
  sentId,
  signReturnPath,
  signToken,
  type VerifiedToken,
  verifyReturnPath,
  verifyToken,
} from './return-path.js'
export { withoutReturningTrace } from './returned-original.js'
export { type Route, Router, type Routing } from './routing.js'
export { SendContext } from './send-context.js'
export type { SendOrder, SendResult } from './send-order.js'
export { SendTransactions } from './send-transactions.js'
export { SmtpSession } from './smtp/client.js'
export { ConnectionPool } from './smtp/connection-pool.js'
export { DEFAULT_TIMEOUTS, type SmtpTimeouts } from './smtp/timeouts.js'
export { converse, type Transaction, transact } from './smtp/transaction.js'
export type { TransactionResult } from './smtp/transaction-result.js'
export { allowedHosts, asksForNext, deliver, nextHopTo, reachableHosts } from './smtp/try-hosts.js'
export { takeAttempt } from './take-attempt.js'
