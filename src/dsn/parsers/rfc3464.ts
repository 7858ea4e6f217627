/** Delivery status notifications (RFC 3464; RFC 6533 for international addresses). */
import type { Mail } from '../mail.js'
import { noticeOf } from '../notice.js'
import { embeddedOriginal } from '../original.js'
import type { ParsedReport } from '../report.js'
import { groupsOf, reportOfFields } from '../report-fields.js'

const REPORTS = ['message/delivery-status', 'message/global-delivery-status']

/** Reads a report by its message/delivery-status part; null if there is none, or it names no recipient. */
export function parseRfc3464(mail: Mail): ParsedReport | null {
  const reports = mail.parts.filter((p) => REPORTS.includes(p.type))
  if (reports.length === 0) return null
  const groups = groupsOf(reports.map((p) => p.text()).join('\n\n'))
  const fromPostfix = groups.some((group) => [...group.keys()].some((name) => name.startsWith('x-postfix-')))
  const embedded = embeddedOriginal(mail, fromPostfix)
  // a report without the original may have its header in the text beside it
  const original = embedded.messageId === undefined && embedded.returned === 'none' ? noticeOf(mail).original : embedded
  const notification = reportOfFields(mail, groups, original)
  // a report without delivery results (e.g. about an address that was only verified) is recognised, but has no recipients to act on
  return notification.recipients.length > 0 || groups.some((g) => g.has('final-recipient') || g.has('original-recipient'))
    ? notification
    : null
}
