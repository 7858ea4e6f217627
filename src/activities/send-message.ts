/**
 * One send: one SMTP transaction for one recipient. The row of the attempt log is claimed first, and the answer is written as soon as it is
 * read: after a crash in between, at most the one message whose reply was in flight is sent twice.
 */
import type { Context } from '@temporalio/activity'
import { envelopeAddress, parseAddress } from '../bounce/index.js'
import {
  AttemptClaim,
  type ConnectionPool,
  conclude,
  DeliveryAttempt,
  OutgoingMessage,
  type Route,
  type Router,
  SendContext,
  type SendOrder,
  type SendResult,
  waitWhilePaused,
} from '../delivery/index.js'
import { loadMessage } from '../store/index.js'
import { findSuppression } from '../suppression/index.js'
import { describe } from '../temporal/index.js'
import { cancelReservation } from '../throttle/index.js'
import type { ActivityContext } from './context.js'

/** Shared by a worker's sends: cached routes and idle connections. */
export interface SharedBySends {
  readonly router: Router
  readonly connections: ConnectionPool
}

/** Sends, or returns the logged answer. Throws only if it must wait, or after a local failure or a cancellation. */
export async function sendMessage(
  order: SendOrder,
  context: Context,
  dependencies: ActivityContext,
  shared: SharedBySends,
): Promise<SendResult> {
  await using send = new SendContext(order, context, dependencies)
  const earlier = await send.earlierAnswer()
  if (earlier !== null) return earlier
  try {
    const ended = await endsWithoutSending(send)
    if (ended !== null) return ended
    const routing = await resolveRoute(send, shared.router)
    if (routing.kind === 'judged') return await concludeUnsent(send, routing.outcome)
    return await sendBy(routing, send, shared)
  } catch (error) {
    throw send.withinDeadline(error)
  }
}

/** Permit, claim, message, transaction, conclusion, feedback. */
async function sendBy(route: Route, send: SendContext, { connections }: SharedBySends): Promise<SendResult> {
  const { dependencies, activity, order } = send
  const relayed = route.paths[0].kind === 'relay'
  await using delivery = await DeliveryAttempt.begin(route, permitSubject(send), activity, dependencies, connections)
  send.onHeartbeat = () => delivery.beat()
  await using claim = new AttemptClaim(send.subject, send.about, dependencies)
  const claimed = await send.database(() => claim.take(route.system))
  if (claimed.kind === 'answered') return send.result(claimed.row)
  if (claimed.kind === 'held') throw send.heldUntil(claimed.until)
  const message = await outgoingMessage(send, route)
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
  try {
    const result = await conclude(send, delivered.outcome, claim, claimed, relayed, delivery.polls)
    if (delivered.outcome.kind === 'accepted') await keepProviderName(send, message, delivered.outcome.reply)
    return result
  } finally {
    // an answer is feedback even if it could not be logged; a timeout only if it was logged as one
    const counts = delivered.outcome.kind !== 'unreachable' || claim.answered
    const feedback = counts ? await delivery.applyFeedback(delivered) : null
    await delivery.keepOpen(delivered.system, feedback?.wanted === true)
  }
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
  if (found === null || found.until !== null) return null
  const status = found.status ? `, ${found.status}` : ''
  return { kind: 'suppressed', reason: `suppressed since ${found.since.toISOString()}: ${found.reason}${status}` }
}

function pastDeadline(send: SendContext): SendResult | null {
  const { deliverByMs } = send.order
  if (deliverByMs === undefined || send.now().getTime() <= deliverByMs) return null
  return { kind: 'expired', reason: `it was to be delivered by ${new Date(deliverByMs).toISOString()}` }
}

async function resolveRoute(send: SendContext, router: Router) {
  const { recipient, destination } = send.order
  if (send.isBackup) {
    const backup = router.backupTo()
    // this worker's settings differ from those of the worker that prepared the message
    if (backup === null) throw send.localFailure(`no backup relay is set (relay.backupUrl)`)
    return backup
  }
  const routing = await send.database(() => router.resolve(recipient, destination))
  if (routing.kind === 'none') throw send.localFailure(routing.text)
  return routing
}

/** Concludes from the look-up alone, for example if the domain accepts no mail (RFC 7505). */
async function concludeUnsent(send: SendContext, outcome: Parameters<typeof conclude>[1]): Promise<SendResult> {
  const { destination } = send.order
  await waitWhilePaused(destination, send.activity, send.dependencies)
  await using claim = new AttemptClaim(send.subject, send.about, send.dependencies)
  const claimed = await send.database(() => claim.take(destination))
  if (claimed.kind === 'answered') return send.result(claimed.row)
  if (claimed.kind === 'held') throw send.heldUntil(claimed.until)
  return await conclude(send, outcome, claim, claimed, false, 0)
}

function permitSubject(send: SendContext) {
  const { deliverByMs } = send.order
  return { ...send.key, workflowId: send.workflowId, ...(deliverByMs === undefined ? {} : { deliverByMs }) }
}

async function outgoingMessage(send: SendContext, route: Route): Promise<OutgoingMessage> {
  const { order, dependencies } = send
  const content = await send.database(() => loadMessage(dependencies.database.db, order.messageKey))
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
