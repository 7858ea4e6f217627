/** Timeouts of the steps of an SMTP session (RFC 5321 section 4.5.3.2 gives the minimum that a client should allow). */
export interface SmtpTimeouts {
  readonly connectMs: number
  readonly bannerMs: number
  /** EHLO, STARTTLS, AUTH. */
  readonly greetingMs: number
  readonly mailMs: number
  readonly rcptMs: number
  readonly dataMs: number
  /** For each block of the message, 64 KiB. */
  readonly blockMs: number
  readonly finalDotMs: number
}

const MINUTE_MS = 60_000

/** RFC 5321 4.5.3.2, and 2 minutes for the TCP connection (4.5.3.2 is silent on it). */
export const DEFAULT_TIMEOUTS: SmtpTimeouts = {
  connectMs: 2 * MINUTE_MS,
  bannerMs: 5 * MINUTE_MS,
  greetingMs: 5 * MINUTE_MS,
  mailMs: 5 * MINUTE_MS,
  rcptMs: 5 * MINUTE_MS,
  dataMs: 2 * MINUTE_MS,
  blockMs: 3 * MINUTE_MS,
  finalDotMs: 10 * MINUTE_MS,
}
