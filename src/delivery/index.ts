export { canonicalMessage, MAX_MESSAGE_BYTES, UnsendableMessage } from './canonical-message.js'
export { AttemptClaim } from './claim.js'
export type { ActivityContext, DeliverySettings, Log } from './context.js'
export { DeliveryAttempt, MAX_REPLY } from './delivery.js'
export { deriveDestination } from './destination.js'
export { isAuthoredBy, signaturesExpireAt } from './dkim-expiry.js'
export { type DkimKey, signMessage } from './dkim-signer.js'
export { isAllowed } from './mta-sts.js'
export { isOutside, type MailHostOptions, mailHosts, resolverOf } from './mx.js'
export { type NextHop, type NextHops, nameOf, nextHopFor, parseRoutes } from './next-hop.js'
export { type Answered, classifyLookup, classifyResult, isLastingRejection, type SendOutcome } from './outcome.js'
export { OutgoingMessage } from './outgoing-message.js'
export { isWithin } from './own-hosts.js'
export { recordSend } from './record-answer.js'
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
export { connectionKey, type Route, Router, type Routing } from './routing.js'
export { SmtpSession, type TransactionResult } from './smtp/client.js'
export { ConnectionPool, type PooledConnection } from './smtp/connection-pool.js'
export { DEFAULT_TIMEOUTS, type SmtpTimeouts } from './smtp/timeouts.js'
export { converse, type Transaction, transact } from './smtp/transaction.js'
export { allowedHosts, asksForNext, deliver, nextHopTo, reachableHosts } from './smtp/try-hosts.js'
