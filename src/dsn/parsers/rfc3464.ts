/** Delivery status reports (RFC 3464; RFC 6533 for international addresses). */
import type { Mail } from '../mail.js'
import { embeddedOriginal } from '../original.js'
import type { ParsedReport } from '../report.js'
import { groupsOf, reportOfFields } from '../report-fields.js'

const REPORTS = ['message/delivery-status', 'message/global-delivery-status']

/** Reads a report by its message/delivery-status part; null if there is none, or it names nobody. */
export function parseRfc3464(mail: Mail): ParsedReport | null {
  const report = mail.parts.find((p) => REPORTS.includes(p.type))
  if (report === undefined) return null
  const groups = groupsOf(report.text())
  const fromPostfix = groups.some((group) => [...group.keys()].some((name) => name.startsWith('x-postfix-')))
  const notification = reportOfFields(mail, groups, embeddedOriginal(mail, fromPostfix))
  // a report that names recipients and tells of no delivery (an address that was only verified, say) is read, and says nothing
  return notification.recipients.length > 0 || groups.some((g) => g.has('final-recipient') || g.has('original-recipient'))
    ? notification
    : null
}
