/**
 * Parses bounce reports. One parser per format, tried in a fixed order, standard formats first; parsers do not depend on one another.
 * A mail in no known format yields null.
 */

import { quotedReply, readStatus } from '../bounce/index.js'
import { noticeOf } from './free-text.js'
import { type Mail, takeApart } from './mail.js'
import { parseEximStyle } from './parsers/exim-style.js'
import { parseInlineRecipients } from './parsers/inline-recipients.js'
import { parseQmailStyle } from './parsers/qmail-style.js'
import { parseQuotedFields } from './parsers/quoted-fields.js'
import { parseRfc3464 } from './parsers/rfc3464.js'
import { parseRfc3834 } from './parsers/rfc3834.js'
import { parseRfc5965 } from './parsers/rfc5965.js'
import { parseSesNotification } from './parsers/ses-notification.js'
import { parseTranscript } from './parsers/transcript.js'
import type { ParsedReport, Parser, ReportedRecipient } from './report.js'

export { Fields, headOf, type Mail, takeApart, UnreadableMail } from './mail.js'
export { originalFields } from './original.js'
export type { ParsedReport, ReportedRecipient } from './report.js'
export { readReported } from './report-fields.js'

const TEXT_PARSERS: readonly Parser[] = [parseTranscript, parseQmailStyle, parseEximStyle, parseInlineRecipients]
const PARSERS: readonly Parser[] = [parseRfc3464, parseRfc5965, parseRfc3834, parseSesNotification, parseQuotedFields, ...TEXT_PARSERS]

/**
 * Parses a mail (RFC 5322 bytes); null if it is not a report in a known format.
 * @throws UnreadableMail if it is malformed or exceeds a limit.
 */
export async function parseReport(mail: Uint8Array): Promise<ParsedReport | null> {
  return readMail(await takeApart(mail))
}

/** Parses the report that a mail itself is, not one attached to it. */
export function parseOwnReport(mail: Mail): ParsedReport | null {
  const read = firstOf(PARSERS, mail)
  return read?.kind === 'bounce' ? withItsText(read, mail) : read
}

async function readMail(outer: Mail): Promise<ParsedReport | null> {
  const read = parseOwnReport(outer)
  if (read !== null) return read
  // a report that was forwarded as an attachment
  const inner = outer.parts.find((p) => p.type === 'message/rfc822')
  if (inner === undefined || inner.content.length === 0) return null
  return firstOf([parseRfc3464, parseRfc5965], await takeApart(inner.content))
}

/** For recipients without a quoted reply and with no status better than x.0.0 or x.4.7, uses the reply in the report's text part. */
function withItsText(notification: ParsedReport, mail: Mail): ParsedReport {
  // OpenSMTPD reports expired messages as `delayed`; only the text shows that it gave up
  const expired = noticeOf(mail).lower.includes(': envelope expired')
  if (expired)
    notification = {
      ...notification,
      recipients: notification.recipients.map((r) => (r.action === 'delayed' ? { ...r, action: 'failed' as const } : r)),
    }
  const poor = (r: ReportedRecipient) => quotedReply(r.diagnostic ?? '') === null && /^$|\.0\.0$|\.4\.7$/.test(r.status ?? '')
  if (!notification.recipients.some(poor)) return notification
  const told = TEXT_PARSERS.flatMap((reader) => reader(mail)?.recipients ?? [])
  return {
    ...notification,
    recipients: notification.recipients.map((r) => {
      const text = poor(r)
        ? told.find((t) => t.recipient.toLowerCase() === r.recipient.toLowerCase() && t.replyCode !== undefined)
        : undefined
      if (text?.diagnostic === undefined) return r
      return { ...r, ...readStatus(r.statusField, text.diagnostic), diagnostic: text.diagnostic }
    }),
  }
}

function firstOf(readers: readonly Parser[], mail: Mail): ParsedReport | null {
  for (const read of readers) {
    const notification = read(mail)
    if (notification !== null) return notification
  }
  return null
}
