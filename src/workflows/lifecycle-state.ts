/** The state of one bounced message, the commands and the events of its lifecycle (lifecycle.ts). Times are epoch ms. */
import type { AttemptReport, Prepared, SendResult } from '../activities/index.js'
import type { Attempt, Bounce, Outcome, RetryResult } from '../bounce/index.js'

/** The state of a message's retries. The last five are final. */
export type State =
  | 'preparing'
  | 'waiting'
  | 'sending'
  | 'confirming'
  | 'suppressing'
  | 'delivered'
  | 'rejected'
  | 'suppressed'
  | 'expired'
  | 'cancelled'

/** The result of `prepare`, and the bounce that started the workflow. */
export type Plan = Pick<
  Prepared,
  'bouncedAtMs' | 'fromMs' | 'delaysMs' | 'retriesSoFar' | 'confirmWithinMs' | 'deliverByMs' | 'ended' | 'permanent'
> & {
  readonly bounce: Bounce
  /** No retry starts before this, unless the backup relay's workflow ends earlier; epoch ms. */
  readonly backupUntilMs?: number
}

export interface Clock {
  readonly nowMs: number
  /** From 0 (inclusive) to 1 (exclusive); called once for each wait before a retry. */
  readonly random: () => number
}

/** Why it waits or ended; web-ui.ts turns this into a sentence. */
export type Reason =
  | { readonly kind: 'ended before' }
  | { readonly kind: 'accepted'; readonly atMs: number }
  | { readonly kind: 'no bounce came' }
  | { readonly kind: 'maybe delivered' }
  | { readonly kind: 'report confirmed' }
  | { readonly kind: 'report rejected'; readonly status: string }
  | { readonly kind: 'permanent bounce'; readonly text: string }
  | { readonly kind: 'message rejected' }
  | { readonly kind: 'recipient rejected'; readonly status: string }
  | { readonly kind: 'already suppressed'; readonly text: string }
  | { readonly kind: 'deadline passed'; readonly text: string | null }
  | { readonly kind: 'gave up'; readonly until?: string | undefined }
  | { readonly kind: 'every retry failed'; readonly until?: string | undefined }

/** A wait and its purpose. Times are epoch ms. */
export interface Wait {
  readonly kind: 'retry' | 'deadline' | 'backup' | 'confirmation'
  readonly untilMs: number
  /** The schedule's delay, and the random stagger added to it. */
  readonly delayMs: number
  readonly jitterMs: number
}

export interface Delivery {
  readonly plan: Plan
  readonly state: State
  /** The retry that waits or is under way, numbered from 1 over all runs. */
  readonly retry: number
  readonly attempts: readonly Attempt[]
  /** The next delay counts from here, epoch ms. */
  readonly countFromMs: number
  /** The last failure that was counted (the bounce itself, or a retry's), epoch ms. */
  readonly failedAtMs: number
  /** Every answer of this run was a connection lost after the final dot, which is no evidence about the address. */
  readonly allAmbiguous: boolean
  readonly wait: Wait | null
  /** Reports that have not been evaluated yet. */
  readonly reports: readonly Bounce[]
  /** `retryNow` was signalled for the waiting retry, and when, epoch ms. */
  readonly retryNow: boolean
  readonly retryNowAtMs: number
  readonly givenUp: boolean
  /** The backup relay may still send. */
  readonly backupIsOpen: boolean
  /** The backup relay's acceptance, until it has been processed. */
  readonly backup: Accepted | null
  /** The row of the backup relay's attempt, if there is one. */
  readonly backupRow: Accepted['row'] | null
  /** The end that is being recorded. */
  readonly ending: Ending | null
  readonly reason: Reason | null
}

/** An acceptance by the backup relay. */
export interface Accepted {
  readonly attempt: Attempt
  /** Its row in the attempt log. */
  readonly row: Pick<AttemptReport, 'firstRunId' | 'retry'>
  /** True if a relay accepted it, not the destination itself. */
  readonly relayed: boolean
}

/** An end that no other activity records in its own transaction. */
export interface Ending {
  readonly outcome: Outcome
  readonly confirmed: boolean
  /** The report that ended it. */
  readonly report?: AttemptReport
}

export type Command =
  /** Wait until then, or until `isInterrupted`. */
  | { readonly kind: 'wait'; readonly untilMs: number }
  | { readonly kind: 'send'; readonly retry: number }
  /** Record that a retry which a relay had accepted failed after all. */
  | { readonly kind: 'record report'; readonly report: AttemptReport }
  /** Record the end. */
  | ({ readonly kind: 'record end' } & Ending)
  | {
      readonly kind: 'suppress'
      readonly because: 'unavailable' | 'rejected'
      readonly status: string
      readonly reply: string
      /** An operator gave up. */
      readonly givenUp?: true
    }
  | { readonly kind: 'end'; readonly result: RetryResult }

/** The result of a command. */
export type Event =
  | { readonly kind: 'woke' }
  | { readonly kind: 'sent'; readonly result: SendResult }
  /** The send was cancelled by `giveUp`. */
  | { readonly kind: 'send stopped' }
  | { readonly kind: 'recorded' }
  | { readonly kind: 'suppressed'; readonly until?: string | undefined }

/** A signal of the public contract. */
export type Signal =
  | { readonly kind: 'retryNow'; readonly retry?: number | undefined }
  | { readonly kind: 'bouncedAgain'; readonly bounce: Bounce }
  | { readonly kind: 'giveUp' }
  /** From the child workflow. */
  | ({ readonly kind: 'acceptedByBackup' } & Accepted)
  /** The child workflow has ended. */
  | { readonly kind: 'backupEnded' }

export interface Next {
  readonly delivery: Delivery
  readonly command: Command
}
