/** What an authenticated report means for a send: the status that is acted on, and which event it tells of. */
import { createHash } from 'node:crypto'
import { effectiveStatus, isExpired, isLasting, provesGone, type Send } from '../bounce/index.js'
import { sentId } from '../delivery/index.js'
import type { ReportedRecipient } from '../dsn/index.js'

/**
 * The status that is acted on. An expired message is a temporary failure, also if a system gave up with a 5 (RFC 3463 X.4.7). That the
 * recipient is gone counts only if the report is about that very address and about nothing else; a report that says nothing is no refusal.
 */
export function effectiveReportStatus(reported: ReportedRecipient, isItself: boolean): string {
  const { status, statusFrom, diagnostic = '' } = reported
  if (status === undefined) return reported.action === 'failed' ? '4.0.0' : '2.0.0'
  // unknown words say only that it failed
  if (status === '5.0.0' && statusFrom === 'text') return '4.0.0'
  if (isExpired(status) || (statusFrom === 'text' && /^5\.4\.[134]$/.test(status))) return `4${status.slice(1)}`
  if (!isLasting(status)) return status
  return isItself && provesGone(status, diagnostic) ? status : '5.0.0'
}

/** The same as a temporary failure. */
export const asTransient = (status: string): string => (status.startsWith('5') ? `4${status.slice(1)}` : status)

/** The status that is acted on is not the one that its reply would give: then the reply must not be read again. */
export const isAuthoritative = ({ diagnostic }: ReportedRecipient, actedOn: string): boolean =>
  diagnostic !== undefined && effectiveStatus({ status: actedOn, diagnostic }) !== actedOn

/** The event that a complaint tells of: one for each message and recipient. */
export const complaintEvent = (messageId: string, recipient: string): string =>
  createHash('sha256')
    .update([sentId(messageId, recipient), 'complaint'].join('\0'))
    .digest('hex')

/** Which send of which message it is about. */
export interface ReportSubject {
  readonly messageId: string
  readonly recipient: string
  /** Null if nothing says so. */
  readonly send: Send | null
}

/**
 * The key under which a report acts once: a send fails once and is delivered once; a delay may be reported again with a later day. Null if the send
 * is unknown. `at` is when that send was: a retry's number comes again after a restart by hand.
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
