/** The state of one bounced message, the commands and the events of its lifecycle (lifecycle.ts). Times are epoch ms. */
import type { AttemptReport, Prepared, SendResult } from '../activities/index.js'
import type { Attempt, Bounce, Outcome, RetryResult } from '../bounce/index.js'

/** Where a message stands. The last five are ends. */
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

/** What `prepare` found out, and the bounce that started the workflow. */
export type Plan = Pick<
  Prepared,
  'bouncedAtMs' | 'fromMs' | 'delaysMs' | 'retriesSoFar' | 'confirmWithinMs' | 'deliverByMs' | 'ended' | 'permanent'
> & {
  readonly bounce: Bounce
  /** The backup relay may send until then, epoch ms: no retry goes before, unless it ends earlier. */
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
  | { readonly kind: 'gave up' }
  | { readonly kind: 'every retry failed'; readonly until?: string | undefined }

/** What a wait is for. Times are epoch ms. */
export interface Wait {
  readonly kind: 'retry' | 'deadline' | 'backup' | 'confirmation'
  readonly untilMs: number
  /** The delay of the schedule, and what was added to it at random. */
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
  /** Every answer of this run was a connection lost after the final dot: it says nothing about the address. */
  readonly allAmbiguous: boolean
  readonly wait: Wait | null
  /** Reports that wait to be judged. */
  readonly reports: readonly Bounce[]
  /** Somebody asked for the retry that waits, and when, epoch ms. */
  readonly retryNow: boolean
  readonly retryNowAtMs: number
  readonly givenUp: boolean
  /** The backup relay may still send. */
  readonly backupIsOpen: boolean
  /** The backup relay accepted the message, and that has not been looked at yet. */
  readonly backup: Accepted | null
  /** The row of the backup relay's attempt, if there is one. */
  readonly backupRow: Accepted['row'] | null
  /** The end that is being written down. */
  readonly ending: Ending | null
  readonly reason: Reason | null
}

/** The send by the backup relay. */
export interface Accepted {
  readonly attempt: Attempt
  /** Its row in the attempt log. */
  readonly row: Pick<AttemptReport, 'firstRunId' | 'retry'>
  /** A relay accepted it, not the receiving system itself. */
  readonly relayed: boolean
}

/** How it ends, if no other activity writes that down with its own work. */
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
  /** Write down that a retry which a relay had accepted failed after all. */
  | { readonly kind: 'record report'; readonly report: AttemptReport }
  /** Write down the end. */
  | ({ readonly kind: 'record end' } & Ending)
  | { readonly kind: 'suppress'; readonly because: 'unavailable' | 'rejected'; readonly status: string; readonly reply: string }
  | { readonly kind: 'end'; readonly result: RetryResult }

/** What came of a command. */
export type Event =
  | { readonly kind: 'woke' }
  | { readonly kind: 'sent'; readonly result: SendResult }
  /** The send was stopped because somebody gave up. */
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
