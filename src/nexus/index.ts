/**
 * The Nexus service through which workflows of other namespaces start and control retries. It holds names and types alone, so that a
 * caller's workflow can import it. docs/protocol.md describes it for other languages.
 */
import * as nexus from 'nexus-rpc'
import type { BouncedMessage, RetryResult } from '../bounce/index.js'
import type { Progress } from '../workflows/retry-bounced-message.js'

export type { Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'
export type { Progress } from '../workflows/retry-bounced-message.js'

/** Identifies retries: by message and recipient, or by workflow ID. */
export type RetryReference = { readonly recipient: string; readonly messageId: string } | { readonly workflowId: string }

export type RetryNowInput = RetryReference & {
  /** Number of a retry: it is sent only if it is the one that waits. */
  readonly retry?: number
}

/**
 * - `retry` starts the retries of a bounced message, or reports a bounce to those that are open. It completes with their result when they
 *   end; cancelling the operation cancels the retries, which suppresses no address.
 * - `retryNow` sends the waiting retry now, `giveUp` stops retrying and suppresses the address; both return the progress, and fail with
 *   the reason if the workflow refuses.
 * - `progress` returns the progress.
 * How to call it: docs/how-to/other-namespaces.md.
 */
export const softbounceService = nexus.service('softbounce', {
  retry: nexus.operation<BouncedMessage, RetryResult>(),
  retryNow: nexus.operation<RetryNowInput, Progress>(),
  giveUp: nexus.operation<RetryReference, Progress>(),
  progress: nexus.operation<RetryReference, Progress>(),
})
