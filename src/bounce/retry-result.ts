/** The result of `retryBouncedMessage`: the outcome of each attempt, and the final one. */

/** Stage of an SMTP session (RFC 5321 section 4.1.1); `final dot` is the reply to the message itself. */
export type Stage = 'MX' | 'connect' | 'banner' | 'EHLO' | 'STARTTLS' | 'AUTH' | 'MAIL' | 'RCPT' | 'DATA' | 'final dot'

/** Outcome of one attempt: accepted (2xx), deferred (4xx) or rejected (5xx). */
export type AttemptOutcome = 'accepted' | 'deferred' | 'rejected'

/** One attempt: a retry of the schedule, or the send by the backup relay. */
export interface Attempt {
  /** Numbered from 1, over all runs for this message and recipient; 0 with `via`. */
  retry: number
  /** Sent by the backup relay; not a retry of the schedule. */
  via?: 'backup-relay'
  /** When the reply was received, ISO 8601. */
  at: string
  outcome: AttemptOutcome
  /** Enhanced status code of the reply. */
  status: string
  /** The reply, unchanged, or what happened if there was none. */
  reply: string
  /** The host that replied: name or address. */
  mailServer?: string
  /** The connection was lost after the final dot: the message may have arrived (RFC 1047). */
  maybeDelivered?: boolean
}

/** Final outcome. */
export type Outcome = 'delivered' | 'rejected' | 'suppressed' | 'expired'

/** What `retryBouncedMessage` returns. */
export interface RetryResult {
  outcome: Outcome
  /** With `delivered`: whether the receiving system itself, or a report, confirmed it. */
  confirmed?: boolean
  /** Retries made so far for this message and recipient, over all runs. */
  retries: number
  attempts: Attempt[]
  /** With `suppressed`: when the suppression ends, ISO 8601; omitted if it is permanent. */
  suppressedUntil?: string
}
