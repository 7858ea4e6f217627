/**
 * One send: one SMTP transaction for one recipient. The row of the attempt log is claimed first, and the answer is written as soon as it is
 * read: after a crash in between, at most the one message whose reply was in flight is sent twice.
 */
import type { Context } from '@temporalio/activity'
import { ApplicationFailure } from '@temporalio/common'
import { envelopeAddress, parseAddress } from '../bounce/index.js'
import {
  AttemptClaim,
  type ConnectionPool,
  conclude,
  DeliveryAttempt,
  type DeliveryOutcome,
  OutgoingMessage,
  type Route,
  type Router,
  type Routing,
  SendContext,
  type SendOrder,
  type SendResult,
  type SendTransactions,
  takeAttempt,
  waitWhilePaused,
} from '../delivery/index.js'
import { findSuppression, type Suppression } from '../suppression/index.js'
import { describe, failedSends } from '../temporal/index.js'
import { actOnFeedback, cancelReservation, type ObservedAnswer } from '../throttle/index.js'
import type { ActivityContext } from './context.js'

/** Shared by a worker's sends: cached routes, idle connections, and transactions. */
export interface SharedBySends {
  readonly router: Router
  readonly connections: ConnectionPool
  readonly transactions: SendTransactions
}

/** Sends, or returns the logged answer. Throws only if it must wait, or after a local failure or a cancellation. */
export async function sendMessage(
  order: SendOrder,
  context: Context,
  dependencies: ActivityContext,
  shared: SharedBySends,
): Promise<SendResult> {
  let hasFailed = false
  try {
    return await trySending(order, context, dependencies, shared)
  } catch (error) {
    hasFailed = error instanceof ApplicationFailure && error.type === 'LocalFailure'
    throw error
  } finally {
    failedSends.note(context.info, hasFailed)
  }
}

async function trySending(order: SendOrder, context: Context, dependencies: ActivityContext, shared: SharedBySends): Promise<SendResult> {
  await using send = new SendContext(order, context, dependencies, shared.transactions)
  const earlier = await send.rememberedAnswer()
  if (earlier !== null) return earlier
  try {
    const isOver = send.isLate() || pastDeadline(send) !== null
    const routing = isOver ? null : await resolveRoute(send, shared.router)
    if (routing?.kind === 'way') return await sendBy(routing, send, shared)
    const logged = await send.loggedAnswer()
    if (logged !== null) return logged
    const ended = await endsWithoutSending(send)
    if (ended !== null) return ended
    if (routing?.kind === 'judged') return await concludeUnsent(send, routing.outcome, shared.transactions)
    throw send.localFailure(routing?.text ?? 'its time is over')
  } catch (error) {
    throw send.withinDeadline(error)
  }
}

/** Permit and claim, message, transaction, conclusion, what follows from its feedback. */
async function sendBy(route: Route, send: SendContext, { connections, transactions }: SharedBySends): Promise<SendResult> {
  const { dependencies, activity, order } = send
  const relayed = route.paths[0].kind === 'relay'
  const subject = permitSubject(send)
  const taken = await takeAttempt(send, subject, route, connections, transactions)
  if (taken.kind === 'answered') return send.result(taken.row)
  if (taken.kind === 'held') throw send.heldUntil(taken.until)
  if (taken.kind === 'suppressed') return suppressedBy(taken.suppression)
  await using delivery = new DeliveryAttempt(route, subject, activity, dependencies, connections, transactions, taken.permit)
  send.onHeartbeat = () => delivery.beat()
  await using claim = taken.claim
  const message = await outgoingMessage(send, taken.content, route)
  const unsigned = message.signaturesRanOut(send.now())
  // delivered directly, it is signed anew
  if (unsigned !== null) return send.isBackup ? { kind: 'late' } : { kind: 'expired', reason: unsigned }
  const content = await message.content()
  const delivered = await delivery.deliver({
    ehloDomain: dependencies.settings.ehloDomain,
    timeouts: dependencies.settings.timeouts,
    sender: message.sender,
    recipient: envelopeAddress(parseAddress(order.recipient)),
    content,
    ...(relayed ? { envid: `${order.firstRunId}.${order.retry}` } : {}),
    beforeContent: () => claim.begin(content.length, delivery.leaseId),
    signal: send.stopSignal(),
  })
  const observed = delivery.observed(delivered)
  try {
    const result = await conclude(send, delivered.outcome, claim, taken.row, relayed, delivery.polls, observed)
    if (delivered.outcome.kind === 'accepted') await keepProviderName(send, message, delivered.outcome.reply)
    return result
  } finally {
    const feedback = await feedbackOf(send, delivered, observed, delivery, claim)
    await delivery.keepOpen(delivered.system, feedback?.wanted === true)
  }
}

/** Acts on the feedback that was written with the answer; an answer that could not be logged is feedback too, but a timeout is not. */
async function feedbackOf(
  send: SendContext,
  delivered: DeliveryOutcome,
  observed: ObservedAnswer | null,
  delivery: DeliveryAttempt,
  claim: AttemptClaim,
) {
  if (!claim.answered) return delivered.outcome.kind === 'unreachable' ? null : delivery.applyFeedback(delivered)
  if (observed !== null && send.feedback !== null) await actOnFeedback(observed, send.feedback, send.dependencies)
  return send.feedback
}

/** The result if no server is to be contacted: too late, past its deadline, or suppressed until lifted. */
async function endsWithoutSending(send: SendContext): Promise<SendResult | null> {
  const { db } = send.dependencies.database
  const ended = send.isLate() ? ({ kind: 'late' } as const) : ((await suppressedForGood(send)) ?? pastDeadline(send))
  if (ended !== null) await send.database(() => cancelReservation(db, send.key))
  return ended
}

async function suppressedForGood(send: SendContext): Promise<SendResult | null> {
  const found = await send.database(() => findSuppression(send.dependencies.database.db, send.subject.recipient, send.now()))
  return found === null || found.until !== null ? null : suppressedBy(found)
}

function suppressedBy({ status, since, reason }: Suppression): SendResult {
  return { kind: 'suppressed', reason: `suppressed since ${since.toISOString()}: ${reason}${status ? `, ${status}` : ''}` }
}

function pastDeadline(send: SendContext): SendResult | null {
  const { deliverByMs } = send.order
  if (deliverByMs === undefined || send.now().getTime() <= deliverByMs) return null
  return { kind: 'expired', reason: `it was to be delivered by ${new Date(deliverByMs).toISOString()}` }
}

async function resolveRoute(send: SendContext, router: Router): Promise<Routing> {
  const { recipient, destination } = send.order
  if (!send.isBackup) return send.database(() => router.resolve(recipient, destination))
  // this worker's settings differ from those of the worker that prepared the message
  return router.backupTo() ?? { kind: 'none', text: 'no backup relay is set (relay.backupUrl)' }
}

/** Concludes from the look-up alone, for example if the domain accepts no mail (RFC 7505). */
async function concludeUnsent(
  send: SendContext,
  outcome: Parameters<typeof conclude>[1],
  transactions: SendTransactions,
): Promise<SendResult> {
  const { destination } = send.order
  await waitWhilePaused(destination, send.activity, send.dependencies)
  await using claim = new AttemptClaim(send.subject, send.about, send.dependencies, transactions)
  const claimed = await send.database(() => claim.take(destination))
  if (claimed.kind === 'answered') return send.result(claimed.row)
  if (claimed.kind === 'held') throw send.heldUntil(claimed.until)
  return await conclude(send, outcome, claim, claimed, false, 0)
}

function permitSubject(send: SendContext) {
  const { deliverByMs } = send.order
  return { ...send.key, workflowId: send.workflowId, ...(deliverByMs === undefined ? {} : { deliverByMs }) }
}

async function outgoingMessage(send: SendContext, content: Buffer | null, route: Route): Promise<OutgoingMessage> {
  const { order, dependencies } = send
  // it was stored when the retries began: the database was restored to an earlier state
  if (content === null)
    throw send.localFailure(
      `the database has lost the message ${order.messageKey}: softbounce retry with its bounce, original included, gives it back`,
    )
  return OutgoingMessage.of(order, content, route.paths[0].kind, dependencies, (step) => send.database(step))
}

/** Records the provider's message ID; without it, bounces are matched by the token and the return path. */
async function keepProviderName(send: SendContext, message: OutgoingMessage, reply: string): Promise<void> {
  try {
    await message.recordProviderName(reply)
  } catch (error) {
    send.dependencies.log.warn({ ...send.about, error: describe(error) }, "the provider's name of the message could not be kept")
  }
}
