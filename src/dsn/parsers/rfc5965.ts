/** Complaints (RFC 5965, the Abuse Reporting Format), and two other forms: Hotmail's junk mail reports and Apple's unsubscribe requests. */
import { headOf, type Mail } from '../mail.js'
import { addressesIn, embeddedOriginal, recipientsIn, reportedOf } from '../original.js'
import type { ParsedReport, ReportedRecipient } from '../report.js'
import { addressOf, groupsOf, timeOf, withoutType } from '../report-fields.js'

/** Reads a feedback report; null if the mail is not one. Its feedback type becomes the diagnostic. */
export function parseRfc5965(mail: Mail): ParsedReport | null {
  const report = mail.parts.find((p) => p.type === 'message/feedback-report')
  const junkMailReport =
    /^complaint about message from /i.test(mail.fields.first('subject') ?? '') && mail.parts.some((p) => p.type === 'message/rfc822')
  const unsubscribes = mail.fields.first('x-apple-unsubscribe')?.toLowerCase() === 'true'
  if (report === undefined && !junkMailReport && !unsubscribes) return null
  const fields = report === undefined ? undefined : groupsOf(report.text())[0]
  const reported = report === undefined ? [] : allOf(report.text(), 'original-rcpt-to')
  const embedding = embeddedOriginal(mail)
  const original = reportedOf(embedding)
  const embedded = mail.parts.find((p) => p.type === 'message/rfc822' || p.type === 'text/rfc822-headers')
  const head = embedded === undefined ? undefined : headOf(embedded.content)
  const recipients = unsubscribes
    ? addressesIn(mail.fields.first('from') ?? '').slice(0, 1)
    : reported.length > 0
      ? reported
      : [...addressesIn(head?.first('x-hmxmroriginalrecipient') ?? ''), ...recipientsIn(embedding.header)].slice(0, 1)
  const feedbackType = fields?.get('feedback-type')?.toLowerCase().trim() ?? (unsubscribes ? 'unsubscribe' : 'complaint')
  const remoteMta = withoutType(fields?.get('source-ip')) ?? withoutType(fields?.get('reported-domain'))
  const reportingMta = withoutType(fields?.get('reporting-mta'))
  const arrivalDate = timeOf(fields?.get('arrival-date') ?? fields?.get('received-date'))
  const date = timeOf(mail.fields.first('date'))
  const sender = addressOf(fields?.get('original-mail-from')) ?? original.sender
  return {
    kind: 'complaint',
    feedbackType,
    recipients: recipients.map(
      (recipient): ReportedRecipient => ({
        recipient,
        action: 'failed',
        diagnostic: feedbackType,
        ...(remoteMta === undefined ? {} : { remoteMta }),
      }),
    ),
    ...original,
    ...(sender === undefined ? {} : { sender }),
    ...(reportingMta === undefined ? {} : { reportingMta }),
    ...(arrivalDate === undefined ? {} : { arrivalDate }),
    ...(date === undefined ? {} : { date }),
  }
}

/** The addresses of a field that may stand several times (RFC 5965 3.3), each once. */
function allOf(report: string, name: string): string[] {
  const values = report
    .slice(0, 64 * 1024)
    .split(/\r?\n/)
    .filter((line) => line.toLowerCase().startsWith(`${name}:`))
    .map((line) => addressOf(line.slice(name.length + 1)))
    .filter((a) => a !== undefined)
  return [...new Set(values)].slice(0, 1000)
}
