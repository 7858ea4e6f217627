/**
 * Amazon SES notifications that Amazon SNS delivers by email: JSON in a text part.
 * https://docs.aws.amazon.com/ses/latest/dg/report-contents.html
 */

import { readStatus } from '../../bounce/index.js'
import type { Mail } from '../mail.js'
import { bare } from '../original.js'
import type { ParsedReport, ReportedRecipient } from '../report.js'
import { timeOf } from '../report-fields.js'

type Fields = Readonly<Record<string, unknown>>

/** Reads the JSON of a bounce or complaint; null if it is none. */
export function parseSesNotification(mail: Mail): ParsedReport | null {
  const text = mail.parts.find((p) => p.type === 'text/plain')?.text() ?? ''
  if (!text.trimStart().startsWith('{')) return null
  const outer = parsed(text)
  const message = typeof outer?.Message === 'string' ? parsed(outer.Message) : outer
  const type = message?.notificationType
  if (message == null || (type !== 'Bounce' && type !== 'Complaint')) return null
  const about = fieldsOf(message[type.toLowerCase()])
  const original = fieldsOf(message.mail)
  const recipients = type === 'Bounce' ? about.bouncedRecipients : about.complainedRecipients
  const date = timeOf(string(about.timestamp))
  const sender = string(original.source)
  const messageId = bare(string(fieldsOf(original.commonHeaders).messageId))
  const reportingMta = string(about.reportingMTA)?.replace(/^\s*\w{1,10}\s*;\s*/, '')
  return {
    kind: type === 'Bounce' ? 'bounce' : 'complaint',
    recipients: (Array.isArray(recipients) ? recipients.slice(0, 1000) : [])
      .map(fieldsOf)
      .map((r) => recipientOf(r, string(about.complaintFeedbackType)))
      .filter((r) => r !== null),
    returned: 'none',
    ...(messageId === undefined ? {} : { messageId }),
    ...(sender === undefined ? {} : { sender }),
    ...(date === undefined ? {} : { date }),
    ...(reportingMta === undefined ? {} : { reportingMta }),
  }
}

function recipientOf(fields: Fields, feedbackType: string | undefined): ReportedRecipient | null {
  const recipient = string(fields.emailAddress)
  if (recipient === undefined || !recipient.includes('@')) return null
  const diagnostic = (string(fields.diagnosticCode) ?? feedbackType)?.replace(/^\s*smtp\s*;\s*/i, '')
  const status = feedbackType === undefined ? readStatus(string(fields.status), diagnostic) : {}
  return { recipient, action: 'failed', ...status, ...(diagnostic === undefined ? {} : { diagnostic }) }
}

/** The JSON object at the start of a text; text after its last brace is ignored. */
function parsed(text: string): Fields | null {
  const end = text.lastIndexOf('}')
  try {
    // remove the line breaks that mail transport put into its strings
    return fieldsOf(JSON.parse(text.slice(0, end + 1).replace(/\r?\n\s?/g, '')))
  } catch {
    return null
  }
}

const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})
const string = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
