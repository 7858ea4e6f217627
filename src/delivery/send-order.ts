/** Argument and result of the activity that sends; both are in the workflow's history. */
import type { Attempt } from '../bounce/index.js'

export interface SendOrder {
  readonly messageId: string
  readonly sender: string
  readonly recipient: string
  readonly messageKey: string
  readonly destination: string
  /** The retry's number over all runs. */
  readonly retry: number
  /** Send by the backup relay, outside the schedule. */
  readonly via?: 'backup-relay'
  readonly firstRunId: string
  readonly deliverByMs?: number
  /**
   * When the schedule's last retry is due, at least an hour from now, epoch ms. A message that this machine has no route for at all expires
   * then.
   */
  readonly scheduleEndsMs?: number
  /** No send begins after this, epoch ms. */
  readonly untilMs?: number
}

export type SendResult =
  | {
      readonly kind: 'answered'
      readonly attempt: Attempt
      /** A relay accepted it; delivery is not confirmed yet. */
      readonly relayed: boolean
      /** The recipient is permanently rejected. */
      readonly lasting: boolean
      /** When a retry that a relay had accepted failed, according to a later report; epoch ms. */
      readonly failedAtMs?: number
      /** Only a lost connection is known, which is no evidence about the address. */
      readonly ambiguous: boolean
    }
  /** The message is no longer worth sending. */
  | { readonly kind: 'expired'; readonly reason: string }
  /** `untilMs` passed before it was sent. */
  | { readonly kind: 'late' }
  /** The recipient is suppressed for good: nothing was sent. */
  | { readonly kind: 'suppressed'; readonly reason: string }
