export { canonicalMessage, MAX_MESSAGE_BYTES, UnsendableMessage } from './canonical-message.js'
export { AttemptClaim } from './claim.js'
export type { DeliverySettings, Dependencies, Log } from './context.js'
export { MAX_REPLY, Meeting } from './delivery.js'
export { deriveDestination } from './destination.js'
export { isAuthoredBy, signaturesExpireAt } from './dkim-expiry.js'
export { type DkimKey, signMessage } from './dkim-signer.js'
export { isAllowed } from './mta-sts.js'
export { isOutside, type MailHostOptions, mailHosts, resolverOf } from './mx.js'
export { nameOf, type Path, type Paths, parseRoutes, pathFor } from './next-hop.js'
export { type Answered, isLastingRejection, judgeDialogue, judgeLookUp, type SendOutcome } from './outcome.js'
export { Outgoing } from './outgoing-message.js'
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
export { type OpenWay, peerOf, type Way, Ways } from './routing.js'
export { type Dialogue, Session } from './smtp/client.js'
export { type HeldSession, Sessions } from './smtp/connection-pool.js'
export { DEFAULT_TIMEOUTS, type SmtpTimeouts } from './smtp/timeouts.js'
export { converse, type Transaction, transact } from './smtp/transaction.js'
export { allowedHosts, asksForNext, deliver, pathTo, reachableHosts } from './smtp/try-hosts.js'
