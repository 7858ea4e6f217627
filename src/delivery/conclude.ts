/** Turns a send's outcome into its result: records an answer; after a local failure or in doubt, releases the claim and retries. */
import { CancelledFailure } from '@temporalio/activity'
import { formatDuration } from '../bounce/index.js'
import { type Answer, type ClaimedRow, otherDestinationReached, otherDestinationSilent } from '../store/index.js'
import { retryLater } from '../temporal/index.js'
import type { ObservedAnswer } from '../throttle/index.js'
import type { AttemptClaim } from './claim.js'
import { MAX_REPLY } from './delivery.js'
import type { Answered, SendOutcome } from './outcome.js'
import type { SendContext } from './send-context.js'
import type { SendResult } from './send-order.js'

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** After a connection is lost behind the final dot, the server gets this long to finish (RFC 1047). */
const RESEND_AFTER_MS = MINUTE_MS
/** After this long, timeouts count as the destination's failure, unless other destinations time out too. */
const MAX_SILENCE_MS = HOUR_MS

/**
 * @param relayed the outcome came from a relay.
 * @param polls how often the permit was polled.
 * @param observed what the outcome says about the destination; written with the answer.
 * @throws ApplicationFailure if the send is to be retried; CancelledFailure if the activity was cancelled before the content.
 */
export async function conclude(
  send: SendContext,
  outcome: SendOutcome,
  claim: AttemptClaim,
  row: ClaimedRow,
  relayed: boolean,
  polls: number,
  observed: ObservedAnswer | null = null,
): Promise<SendResult> {
  const now = send.now()
  const record = (answered: Answered & { kind: Answer['outcome'] }, ambiguous = false) =>
    answer(send, answered, claim, row, { relayed, polls, ambiguous, observed })
  switch (outcome.kind) {
    case 'stopped':
      await send.database(() => claim.giveBack({ notSent: true }))
      if (send.isLate()) return { kind: 'late' }
      if (send.activity.cancellationDetails?.cancelRequested) throw new CancelledFailure('cancelled before the message was sent')
      throw retryLater('Waiting', 'the worker was stopped before the message was sent, or the database did not answer', SECOND_MS)
    case 'local failure':
      await send.database(() => claim.giveBack({ notSent: true, silentSince: null }))
      if (outcome.noRoute && send.isPastSchedule()) return { kind: 'expired', reason: `${outcome.text}; the schedule has ended` }
      throw send.localFailure(outcome.text)
    case 'unreachable': {
      const since = row.silentSince ?? now
      if (await countsAsSilence(send, since, now, outcome.stage === 'MX')) return record({ ...outcome, kind: 'deferred' })
      await send.database(() => claim.giveBack({ silentSince: since }))
      throw send.localFailure(`${outcome.reply}; whether the destination or our own network is silent is not known yet: tried again`)
    }
    case 'ambiguous': {
      if (row.lostAt !== null) return record({ ...outcome, kind: 'deferred' }, true)
      await send.database(() => claim.giveBack({ lostAt: now }))
      const again = `the message may have arrived, and is sent once more in ${formatDuration(RESEND_AFTER_MS)} (RFC 1047)`
      throw retryLater('Waiting', `${outcome.reply}; ${again}`, RESEND_AFTER_MS)
    }
    default:
      return record(outcome)
  }
}

/**
 * Timeouts are the destination's fault if another destination was reached meanwhile; or after an hour, unless others time out too. Failing
 * name servers never count by time alone: a resolver that is cut off looks the same.
 */
async function countsAsSilence(send: SendContext, since: Date, now: Date, nameServers: boolean): Promise<boolean> {
  const { db } = send.dependencies.database
  const { destination } = send.order
  return send.database(async () => {
    if (await otherDestinationReached(db, destination, new Date(Math.max(since.getTime(), now.getTime() - HOUR_MS)))) return true
    if (nameServers || now.getTime() - since.getTime() < MAX_SILENCE_MS) return false
    return !(await otherDestinationSilent(db, destination, new Date(now.getTime() - DAY_MS)))
  })
}

async function answer(
  send: SendContext,
  outcome: Answered & { kind: Answer['outcome'] },
  claim: AttemptClaim,
  row: ClaimedRow,
  {
    relayed,
    polls,
    ambiguous,
    observed,
  }: {
    readonly relayed: boolean
    readonly polls: number
    readonly ambiguous: boolean
    readonly observed: ObservedAnswer | null
  },
): Promise<SendResult> {
  const { status, stage, mailServer, kind } = outcome
  const reply = outcome.reply.slice(0, MAX_REPLY)
  const maybeDelivered = ambiguous || row.lostAt !== null || row.unanswered
  const answered: Answer = { at: send.now(), outcome: kind, status, reply, stage, mailServer, maybeDelivered, relayed }
  send.remember(answered)
  // record an acceptance even if another worker holds the claim by now; anything else only while it is ours
  const recorded = await send.record(answered, kind === 'accepted' ? null : claim.id, observed)
  claim.answered = true
  const { log, metrics } = send.dependencies
  metrics?.attemptAnswered(send.order, kind, status, send.order.destination)
  log.info({ ...send.about, outcome: kind, status, reply, stage, mailServer, polls }, 'a retry was answered')
  return send.result(recorded)
}
