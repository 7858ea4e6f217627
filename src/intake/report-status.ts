/** What an authenticated report means for a send: its effective status, and its idempotency key. */
import { createHash } from 'node:crypto'
import { effectiveStatus, isExpired, isLasting, provesGone, type Send } from '../bounce/index.js'
import { sentId } from '../delivery/index.js'
import type { ReportedRecipient } from '../dsn/index.js'

/**
 * The status to act on. An expired message is a temporary failure, even if the system gave up with class 5 (RFC 3463 X.4.7). A status
 * of a missing recipient counts only if the report is about that very address and nothing else; a failure without a status is temporary.
 */
export function effectiveReportStatus(reported: ReportedRecipient, isItself: boolean): string {
  const { status, statusFrom, diagnostic = '' } = reported
  if (status === undefined) return reported.action === 'failed' ? '4.0.0' : '2.0.0'
  // unrecognised wording shows only that delivery failed
  if (status === '5.0.0' && statusFrom === 'text') return '4.0.0'
  if (isExpired(status) || (statusFrom === 'text' && /^5\.4\.[134]$/.test(status))) return asTransient(status)
  if (!isLasting(status)) return status
  return isItself && provesGone(status, diagnostic) ? status : '5.0.0'
}

/** The same status as a temporary failure: class 5 becomes 4. */
export const asTransient = (status: string): string => (status.startsWith('5') ? `4${status.slice(1)}` : status)

/** True if the status acted on differs from the one its reply implies: then the reply must not override it. */
export const isAuthoritative = ({ diagnostic }: ReportedRecipient, actedOn: string): boolean =>
  diagnostic !== undefined && effectiveStatus({ status: actedOn, diagnostic }) !== actedOn

/** The idempotency key of a complaint: one per message and recipient. */
export const complaintEvent = (messageId: string, recipient: string): string =>
  createHash('sha256')
    .update([sentId(messageId, recipient), 'complaint'].join('\0'))
    .digest('hex')

/** The message, recipient and send that a report is about. */
export interface ReportSubject {
  readonly messageId: string
  readonly recipient: string
  /** Null if unknown. */
  readonly send: Send | null
}

/**
 * The key under which a report is applied once: a send fails once per class and is delivered once; a delay may be reported again with
 * a later day. Null if the send is unknown. `at` is the time of that send: retry numbers repeat after a manual restart.
 */
export function idempotencyKey(
  subject: ReportSubject,
  action: ReportedRecipient['action'],
  status: string,
  at: Date | null,
  willRetryUntil: string | undefined,
): string | null {
  if (subject.send === null) return null
  const what =
    action === 'failed'
      ? `failed ${status.charAt(0)}`
      : action === 'delayed'
        ? `delayed ${willRetryUntil?.slice(0, 10) ?? ''}`
        : 'delivered'
  return createHash('sha256')
    .update([sentId(subject.messageId, subject.recipient), subject.send, at?.getTime(), what].join('\0'))
    .digest('hex')
}
