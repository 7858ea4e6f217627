/** What the workflow orders of a send, and what comes back: they stand in the history. */
import type { Attempt } from '../bounce/index.js'

export interface SendOrder {
  readonly messageId: string
  readonly sender: string
  readonly recipient: string
  readonly messageKey: string
  readonly destination: string
  /** The retry's number over all runs. */
  readonly retry: number
  /** The backup relay, which is no retry of the schedule. */
  readonly via?: 'backup-relay'
  readonly firstRunId: string
  readonly deliverByMs?: number
  /**
   * When the schedule's last retry is due, epoch ms, an hour from now at least: a message that this machine cannot route at all is held no
   * longer.
   */
  readonly scheduleEndsMs?: number
  /** Nothing is begun after that, epoch ms. */
  readonly untilMs?: number
}

export type SendResult =
  | {
      readonly kind: 'answered'
      readonly attempt: Attempt
      /** A relay accepted it: whether it arrives is not known yet. */
      readonly relayed: boolean
      /** Rejected for the recipient, for good. */
      readonly lasting: boolean
      /** When a retry that a relay had accepted failed, as a report said later; epoch ms. */
      readonly failedAtMs?: number
      /** Nothing but a lost connection is known: it says nothing about the address. */
      readonly ambiguous: boolean
    }
  /** The message is of no use any more. */
  | { readonly kind: 'expired'; readonly reason: string }
  /** `untilMs` passed before it was sent. */
  | { readonly kind: 'late' }
  /** The recipient is suppressed for good: nothing was sent. */
  | { readonly kind: 'suppressed'; readonly reason: string }
