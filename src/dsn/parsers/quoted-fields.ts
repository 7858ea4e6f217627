/** RFC 3464 fields in a text part: reports whose MIME parts are missing, and forwarded bounces. */

import type { Mail } from '../mail.js'
import { noticeOf } from '../notice.js'
import type { ParsedReport } from '../report.js'
import { groupsOf, reportOfFields } from '../report-fields.js'

/** Reads `Final-Recipient` and the fields around it in the text; null if there is none. */
export function parseQuotedFields(mail: Mail): ParsedReport | null {
  const text = mail.parts
    .filter((p) => p.type.startsWith('text/'))
    .map((p) => p.text())
    .find((t) => /^[> \t]{0,10}(?:final|original)-recipient:/im.test(t))
  if (text === undefined) return null
  const plain = text
    .split(/\r?\n/)
    .map((line) => line.replace(/^(?:>[> ]{0,8})/, ''))
    .join('\n')
  const notification = reportOfFields(mail, groupsOf(plain), noticeOf(mail).original)
  return notification.recipients.length === 0 ? null : notification
}
