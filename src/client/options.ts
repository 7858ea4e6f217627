/** What callers of the client pass and get, and its error. */
import type { Client } from '@temporalio/client'
import type { Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'

import type { Config } from '../config/index.js'

/** The bounce, with the sender, recipient and Message-ID of the bounced message. */
export interface BounceOf extends Bounce, Pick<BouncedMessage, 'sender' | 'recipient'> {
  /** Default: the message's own Message-ID. */
  readonly messageId?: string
}

/** The workflow that was started, or signalled if it was already open. */
export interface StartedRetry {
  readonly workflowId: string
  readonly runId: string
  /** Waits until the workflow ends; rejects if it failed or was cancelled. */
  result(): Promise<RetryResult>
}

/** Options in the shape of `softbounce.yaml`; sections that the client does not use are ignored. */
export interface ClientOptions extends Config {
  /** Default: connects by Temporal's profile file and environment. If encryption keys are set, they replace its data converter. */
  readonly temporal?: Client
}

/** Identifies retries: by message and recipient, or by workflow ID. */
export type RetryRef = { readonly recipient: string; readonly messageId: string } | { readonly workflowId: string }

/** A bounce that can never be started or signalled in its present form; the message names every fault. */
export class UnretryableBounce extends Error {
  override name = 'UnretryableBounce'
}
