/** What callers of the client pass and get, and its error. */
import type { Client } from '@temporalio/client'
import type { Bounce, BouncedMessage, RetryResult } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import type { Database } from '../store/index.js'

/** Who is to be retried, and what the report said. */
export interface BounceOf extends Bounce, Pick<BouncedMessage, 'sender' | 'recipient'> {
  /** Default: the message's own Message-ID. */
  readonly messageId?: string
}

/** What may be said of a retry beside the bounce; the fields of BouncedMessage. */
export type RetryOptions = Pick<BouncedMessage, 'destination' | 'schedule' | 'retriesSoFar' | 'urgent' | 'deliverBy'>

/** A retry that was started, or that the bounce was told to. */
export interface StartedRetry {
  readonly workflowId: string
  readonly runId: string
  /** Waits for the end. Rejects where it failed, or was cancelled. */
  result(): Promise<RetryResult>
}

export interface ClientOptions {
  /** Default: connected by Temporal's own profile file and environment variables. Where keys are set, payloads are encrypted over it. */
  readonly temporal?: Client
  /** Default: opened by DATABASE_URL. */
  readonly database?: Database
  /** Default: from the environment; with `temporal` and `database` given, only the keys of the encryption are of use. */
  readonly settings?: Pick<Settings, 'databaseUrl' | 'encryption'>
}

/** Message and recipient, or the workflow ID that stands for both. */
export type RetryRef = { readonly recipient: string; readonly messageId: string } | { readonly workflowId: string }

/** A bounce that cannot be retried, or told, as it is, however often it comes; names every fault. */
export class UnretryableBounce extends Error {
  override name = 'UnretryableBounce'
}
