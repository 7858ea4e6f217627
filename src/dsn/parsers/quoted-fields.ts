/** RFC 3464 fields in a text part: reports whose MIME parts are missing, and forwarded bounces. */

import type { Mail } from '../mail.js'
import { noticeOf } from '../notice.js'
import type { ParsedReport } from '../report.js'
import { groupsOf, reportOfFields } from '../report-fields.js'

/** Reads `Final-Recipient` and the fields around it in the text; null if there is none. */
export function parseQuotedFields(mail: Mail): ParsedReport | null {
  const notice = noticeOf(mail)
  if (!notice.lower.includes('-recipient:')) return null
  const plain = notice.lines.filter((line) => !line.startsWith('>')).join('\n')
  const notification = reportOfFields(mail, groupsOf(plain), notice.original)
  return notification.recipients.length === 0 ? null : notification
}
