/** Delivery status notifications (RFC 3464; RFC 6533 for international addresses). */
import type { Mail } from '../mail.js'
import { embeddedOriginal } from '../original.js'
import type { ParsedReport } from '../report.js'
import { groupsOf, reportOfFields } from '../report-fields.js'

const REPORTS = ['message/delivery-status', 'message/global-delivery-status']

/** Reads a report by its message/delivery-status part; null if there is none, or it names no recipient. */
export function parseRfc3464(mail: Mail): ParsedReport | null {
  const report = mail.parts.find((p) => REPORTS.includes(p.type))
  if (report === undefined) return null
  const groups = groupsOf(report.text())
  const fromPostfix = groups.some((group) => [...group.keys()].some((name) => name.startsWith('x-postfix-')))
  const notification = reportOfFields(mail, groups, embeddedOriginal(mail, fromPostfix))
  // a report without delivery results (e.g. about an address that was only verified) is recognised, but has no recipients to act on
  return notification.recipients.length > 0 || groups.some((g) => g.has('final-recipient') || g.has('original-recipient'))
    ? notification
    : null
}
