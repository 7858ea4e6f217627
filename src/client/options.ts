/** What callers of the client pass and get, and its error. */
import type { Client } from '@temporalio/client'
import type { Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import type { Database } from '../store/index.js'

/** The bounce, with the sender, recipient and Message-ID of the bounced message. */
export interface BounceOf extends Bounce, Pick<BouncedMessage, 'sender' | 'recipient'> {
  /** Default: the message's own Message-ID. */
  readonly messageId?: string
}

/** Optional fields of BouncedMessage beside the bounce. */
export type RetryOptions = Pick<BouncedMessage, 'destination' | 'schedule' | 'retriesSoFar' | 'urgent' | 'deliverBy'>

/** The workflow that was started, or signalled if it was already open. */
export interface StartedRetry {
  readonly workflowId: string
  readonly runId: string
  /** Waits until the workflow ends; rejects if it failed or was cancelled. */
  result(): Promise<RetryResult>
}

export interface ClientOptions {
  /** Default: connects by Temporal's profile file and environment. If encryption keys are set, they replace its data converter. */
  readonly temporal?: Client
  /** Default: opened by DATABASE_URL. */
  readonly database?: Database
  /** Default: from the environment. With `temporal` and `database` given, only the encryption keys are used. */
  readonly settings?: Pick<Settings, 'databaseUrl' | 'encryption'>
}

/** Identifies retries: by message and recipient, or by workflow ID. */
export type RetryRef = { readonly recipient: string; readonly messageId: string } | { readonly workflowId: string }

/** A bounce that can never be started or signalled in its present form; the message names every fault. */
export class UnretryableBounce extends Error {
  override name = 'UnretryableBounce'
}
