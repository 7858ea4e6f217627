/** What a transporter's error says of the receiving side: a reply, or that nobody answered. Pure. */
import { judgeBounce, type RetryStatuses } from '../bounce/index.js'

/** As a report would say it. */
export interface Refusal {
  /** If no reply was read: 4.4.1, nobody answered; 4.4.2, the connection was lost. */
  readonly status?: string
  /** The reply, or what happened instead. */
  readonly reply: string
}

/** What nodemailer's errors carry. */
interface TransporterError extends Error {
  readonly code?: string
  readonly command?: string
  readonly response?: unknown
  readonly rejectedErrors?: readonly TransporterError[]
}

/** Nodemailer's codes for a connection that failed or was lost; EDNS is our own resolver's. */
const CONNECTION_CODES = new Set(['ECONNECTION', 'ESOCKET', 'ETIMEDOUT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

/**
 * The refusal of one envelope with one recipient; null if the error says nothing of the receiving side (a wrong login, an API's error, no
 * route, a message that cannot be built).
 * @example refusalOf(error) // { reply: '421 4.3.2 System not accepting network messages' }
 */
export function refusalOf(error: Error): Refusal | null {
  const { code, command, response, message } = ((error as TransporterError).rejectedErrors?.[0] ?? error) as TransporterError
  if (typeof response === 'string' && /^[245]\d\d/.test(response)) return { reply: response }
  if (code === undefined || !CONNECTION_CODES.has(code)) return null
  if (/ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL/.test(message)) return null
  return { status: command === undefined || command === 'CONN' ? '4.4.1' : '4.4.2', reply: message }
}

/** Whether it is to be retried: by the same rule as every report. */
export const isRetried = ({ status, reply }: Refusal, statuses: RetryStatuses): boolean =>
  judgeBounce({ status, diagnostic: reply }, statuses).verdict === 'retry'
