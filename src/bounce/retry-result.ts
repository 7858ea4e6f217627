/** What a retry of the schedule came to, and what the whole came to: the result that `retryBouncedMessage` returns. */

/** Where in the dialogue something was said (RFC 5321 section 4.1.1); `final dot` is the reply to the message itself. */
export type Stage = 'MX' | 'connect' | 'banner' | 'EHLO' | 'STARTTLS' | 'AUTH' | 'MAIL' | 'RCPT' | 'DATA' | 'final dot'

/** How one retry ended: taken (2xx), not now (4xx), never (5xx). */
export type AttemptOutcome = 'accepted' | 'deferred' | 'rejected'

/** One retry of the schedule, as it stands in the result. */
export interface Attempt {
  /** Numbered from 1, over all runs for this message and recipient; 0 with `via`. */
  retry: number
  /** It went by the backup relay, and is no retry of the schedule. */
  via?: 'backup-relay'
  /** When the answer was read, ISO 8601. */
  at: string
  outcome: AttemptOutcome
  /** Enhanced status code of the answer. */
  status: string
  /** The reply, unchanged, or what happened where there was none. */
  reply: string
  /** Who answered: host name or address. */
  mailServer?: string
  /** The connection was lost after the final dot: the message may have arrived (RFC 1047). */
  maybeDelivered?: boolean
}

/** How the whole ended. */
export type Outcome = 'delivered' | 'rejected' | 'suppressed' | 'expired'

/** What `retryBouncedMessage` returns. */
export interface RetryResult {
  outcome: Outcome
  /** With `delivered`: whether the receiving system itself, or a report, said so. */
  confirmed?: boolean
  /** Retries made so far for this message and recipient, over all runs. */
  retries: number
  attempts: Attempt[]
  /** With `suppressed`: until when, ISO 8601; left out if it lasts. */
  suppressedUntil?: string
}
