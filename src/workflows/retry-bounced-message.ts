/**
 * retryBouncedMessage: one bounced message for one recipient, from its bounce to its end. This file is the public contract
 * (docs/protocol.md): the workflow type, its argument and result, its signals, its query, its search attributes.
 */
import { CancellationScope, CancelledFailure, defineQuery, defineSignal, isCancellation, setHandler } from '@temporalio/workflow'
import type { Attempt, Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'
import { type Progress, Retries } from './retries.js'
import type { State } from './words.js'

export { BounceDestination, BounceOutcome, BounceRecipient, BounceStatus } from './search-attributes.js'
export type { Attempt, Bounce, BouncedMessage, Progress, RetryResult, State }

/** Sends the retry that waits now, at once. With `retry`: only while that one waits. Never kept for a later one. */
export const retryNow = defineSignal<[{ retry?: number }?]>('retryNow')
/** Another notification for this message and recipient came. */
export const bouncedAgain = defineSignal<[Bounce]>('bouncedAgain')
/** Stop retrying, and suppress the address now. */
export const giveUp = defineSignal('giveUp')
export const progress = defineQuery<Progress>('progress')

/**
 * Fails with InvalidBouncedMessage, MessageNotFound or MessageTooLarge where the input is refused; a cancelled one ends as Cancelled and
 * suppresses nobody.
 */
export async function retryBouncedMessage(message: BouncedMessage): Promise<RetryResult> {
  const retries = new Retries(message)
  // set first: a signal may come together with the start
  setHandler(retryNow, (which) => retries.retryNow(which))
  setHandler(bouncedAgain, (bounce) => retries.bouncedAgain(bounce))
  setHandler(giveUp, () => retries.giveUp())
  setHandler(progress, () => retries.progress())
  try {
    const result = await retries.run()
    const told = retries.told(result)
    if (told !== undefined) await told
    return result
  } catch (error) {
    if (!isCancellation(error) && !CancellationScope.current().consideredCancelled) throw error
    await CancellationScope.nonCancellable(() => retries.cancelled())
    throw isCancellation(error) ? error : new CancelledFailure('cancelled')
  }
}
