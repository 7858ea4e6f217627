/** Reads the refusal from a transporter's error: an SMTP reply, or a failed connection. Pure. */
import { judgeBounce, type RetryStatuses } from '../bounce/index.js'

/** The status and reply, as a delivery report would give them. */
export interface Refusal {
  /** If no reply was read: 4.4.1 (no answer from the host) or 4.4.2 (connection lost). */
  readonly status?: string
  /** The SMTP reply, or the connection error. */
  readonly reply: string
}

/** What nodemailer's errors carry. */
interface TransporterError extends Error {
  readonly code?: string
  readonly command?: string
  readonly response?: unknown
  readonly rejectedErrors?: readonly TransporterError[]
}

/** Nodemailer's codes for a failed or lost connection. Without EDNS: that is a failure of our own resolver. */
const CONNECTION_CODES = new Set(['ECONNECTION', 'ESOCKET', 'ETIMEDOUT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

/**
 * The refusal of one envelope with one recipient; null if the error is not about the receiving side (a wrong login, an API error, no
 * route, a message that cannot be built).
 * @example refusalOf(error) // { reply: '421 4.3.2 System not accepting network messages' }
 */
export function refusalOf(error: Error): Refusal | null {
  const { code, command, response, message } = ((error as TransporterError).rejectedErrors?.[0] ?? error) as TransporterError
  if (typeof response === 'string' && /^[245]\d\d/.test(response)) return { reply: response }
  if (code === undefined || !CONNECTION_CODES.has(code)) return null
  if (/ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL/.test(message)) return null
  // nodemailer names no step for a connection that broke later
  const neverAnswered =
    (command === undefined || command === 'CONN') && /ECONNREFUSED|ETIMEDOUT|EHOSTDOWN|Connection timeout/i.test(message)
  return { status: neverAnswered ? '4.4.1' : '4.4.2', reply: message }
}

/** The status by which it is retried, by the same rule as every report; null if it is not. */
export function retriedStatus({ status, reply }: Refusal, statuses: RetryStatuses): string | null {
  const judged = judgeBounce({ status, diagnostic: reply }, statuses)
  return judged.verdict === 'retry' ? judged.status : null
}
