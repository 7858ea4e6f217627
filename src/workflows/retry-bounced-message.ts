/**
 * retryBouncedMessage: one bounced message for one recipient, from its bounce to its end. This file is the public contract
 * (docs/protocol.md): the workflow type, its argument and result, its signals, its query, its search attributes. Below it is the loop that
 * performs the lifecycle's commands.
 */
import {
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  setHandler,
} from '@temporalio/workflow'
import type { Prepared } from '../activities/index.js'
import type { Attempt, Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'
import { eventOf, eventOfFailure, perform, prepare, recordCancellation } from './commands.js'
import { Inbox } from './inbox.js'
import { begin, step } from './lifecycle.js'
import type { Clock, Event, State } from './lifecycle-state.js'
import { isSubscribed, publish, publishEnd } from './publish.js'
import { whyNotGiveUp, whyNotRetryNow } from './receive.js'
import { showBounce, showOutcome } from './search-attributes.js'
import { acceptedByBackup, readAccepted, startBackup } from './send-by-backup-relay.js'
import { showCancelled, showDelivery, showPreparing } from './web-ui.js'

export { BounceDestination, BounceOutcome, BounceRecipient, BounceStatus } from './search-attributes.js'
export type { Attempt, Bounce, BouncedMessage, RetryResult, State }

/** Sends the waiting retry at once. With `retry`: only if that one is waiting. Never applies to a later one. */
export const retryNow = defineSignal<[{ retry?: number }?]>('retryNow')
/** Another report for this message and recipient arrived. */
export const bouncedAgain = defineSignal<[Bounce]>('bouncedAgain')
/** Stop retrying, and suppress the address now. */
export const giveUp = defineSignal('giveUp')
/** As the signal `retryNow`, with an answer: rejected with the reason if the retry cannot be sent now. */
export const retryNowUpdate = defineUpdate<Progress, [{ retry?: number } | undefined]>('retryNow')
/** As the signal `giveUp`, with an answer: rejected with the reason if it would change nothing. */
export const giveUpUpdate = defineUpdate<Progress>('giveUp')
/** The progress of the retries. `retry` is numbered from 1 over all runs; times are ISO 8601. */
export interface Progress {
  retry: number
  of: number
  state: State
  nextRetryAt: string | null
  lastAttempt: Attempt | null
}
export const progress = defineQuery<Progress>('progress')

/**
 * Fails with InvalidBouncedMessage, MessageNotFound or MessageTooLarge if the input is refused. If cancelled, it ends as Cancelled and
 * suppresses nobody.
 */
export async function retryBouncedMessage(message: BouncedMessage): Promise<RetryResult> {
  const inbox = new Inbox()
  let prepared: Prepared | null = null
  let cancelled = false
  // set first: a signal may arrive together with the start
  setHandler(retryNow, (which) => inbox.receive({ kind: 'retryNow', retry: which?.retry }))
  setHandler(bouncedAgain, (bounce) => inbox.receiveBounce(bounce))
  setHandler(giveUp, () => inbox.receive({ kind: 'giveUp' }))
  setHandler(
    retryNowUpdate,
    (which) => {
      inbox.receive({ kind: 'retryNow', retry: which?.retry })
      return progressOf(inbox, cancelled)
    },
    { validator: (which) => refuse(inbox.delivery && whyNotRetryNow(inbox.delivery, which?.retry, Date.now())) },
  )
  setHandler(
    giveUpUpdate,
    () => {
      inbox.receive({ kind: 'giveUp' })
      return progressOf(inbox, cancelled)
    },
    { validator: () => refuse(inbox.delivery && whyNotGiveUp(inbox.delivery)) },
  )
  setHandler(acceptedByBackup, (input) => {
    const accepted = readAccepted(input)
    if (accepted !== null) inbox.receive({ kind: 'acceptedByBackup', ...accepted })
  })
  setHandler(progress, () => progressOf(inbox, cancelled))
  showPreparing(message)
  try {
    prepared = await prepare(message)
    if (prepared.searchAttributes) showBounce(prepared, message.bounce.status)
    return await retry(message, prepared, inbox)
  } catch (error) {
    if (!isCancellation(error) && !isCancelled()) throw error
    cancelled = true
    showCancelled(message, prepared, inbox.delivery)
    await CancellationScope.nonCancellable(() => recordCancellation(message, prepared))
    throw isCancellation(error) ? error : new CancelledFailure('cancelled')
  }
}

/** Performs the lifecycle's commands until it ends. */
async function retry(message: BouncedMessage, prepared: Prepared, inbox: Inbox): Promise<RetryResult> {
  const { bounce } = message
  const isRetried = prepared.ended === undefined && prepared.permanent === undefined
  if (isRetried && isSubscribed(prepared, 'bounce.retrying')) await publish(prepared, bounce, 'bounce.retrying', prepared.bouncedAtMs, {})
  if (prepared.ended === undefined) stopIfCancelled()
  const givenUp = inbox.early.some(({ signal }) => signal.kind === 'giveUp')
  const onBackupEnd = () => inbox.receive({ kind: 'backupEnded' })
  const backupUntilMs = isRetried && prepared.backup && !givenUp ? await startBackup(prepared, onBackupEnd) : null
  let next = begin({ ...prepared, bounce, ...(backupUntilMs === null ? {} : { backupUntilMs }) }, clock(), inbox.early)
  for (;;) {
    inbox.delivery = next.delivery
    showDelivery(prepared, next.delivery)
    if (next.command.kind === 'end') break
    let event: Event
    try {
      event = eventOf(next.command, await perform(next.command, next.delivery, prepared, inbox))
    } catch (error) {
      event = eventOfFailure(next.command, error, inbox)
    }
    // a suppression that has begun is completed
    if (event.kind !== 'suppressed') stopIfCancelled()
    next = step(inbox.delivery, event, clock())
  }
  const { result } = next.command
  if (prepared.searchAttributes) showOutcome(result.outcome)
  // an earlier end was published when it happened
  if (prepared.ended === undefined && isSubscribed(prepared, `bounce.${result.outcome}`)) await publishEnd(prepared, bounce, result)
  return result
}

const clock = (): Clock => ({ nowMs: Date.now(), random: Math.random })

const isCancelled = (): boolean => CancellationScope.current().consideredCancelled

function stopIfCancelled(): void {
  if (isCancelled()) throw new CancelledFailure('cancelled')
}

/** Rejects an update: nothing of it is in the history. */
function refuse(why: string | null): void {
  if (why !== null) throw ApplicationFailure.nonRetryable(why, 'RequestRefused')
}

function progressOf({ delivery }: Inbox, cancelled: boolean): Progress {
  const state = cancelled ? 'cancelled' : (delivery?.state ?? 'preparing')
  return {
    retry: Math.min(delivery?.retry ?? 0, delivery?.plan.delaysMs.length ?? 0),
    of: delivery?.plan.delaysMs.length ?? 0,
    state,
    nextRetryAt: state === 'waiting' && delivery?.wait ? new Date(delivery.wait.untilMs).toISOString() : null,
    lastAttempt: delivery?.attempts.at(-1) ?? null,
  }
}
