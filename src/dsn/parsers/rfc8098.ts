/**
 * Message disposition notifications (RFC 8098). Most say what a person did with a message, and are no bounces; but a mail system may refuse
 * a message by one (RFC 5429 2.2.1), as Dovecot does.
 */

import { readStatus } from '../../bounce/index.js'
import type { Mail } from '../mail.js'
import { noticeOf } from '../notice.js'
import { bare, embeddedOriginal, reportedOf } from '../original.js'
import { joined } from '../reasons.js'
import type { ParsedReport } from '../report.js'
import { addressOf, groupsOf, timeOf, withoutType } from '../report-fields.js'

const REFUSED = /reject|refus|not accept|could not be delivered|cannot be delivered|not delivered|quota exceeded|mailbox (?:is )?full/

/** Reads a disposition notification; null if the mail is none. It has recipients only if it refuses the message. */
export function parseRfc8098(mail: Mail): ParsedReport | null {
  const part = mail.parts.find((p) => p.type === 'message/disposition-notification' || p.type === 'message/global-disposition-notification')
  if (part === undefined) return null
  const fields = groupsOf(part.text())[0]
  const original = reportedOf(embeddedOriginal(mail))
  const notice = noticeOf(mail)
  const subject = (mail.fields.first('subject') ?? '').toLowerCase()
  const disposition = fields?.get('disposition')?.toLowerCase() ?? ''
  // "deleted without being read" is a person's doing, so that the words count, too
  const isRefused =
    /;\s*(?:deleted|denied|failed|error|rejected)/.test(disposition) &&
    !notice.lower.includes('without being read') &&
    (REFUSED.test(notice.lower) || /^reject/.test(subject))
  const recipient = addressOf(fields?.get('final-recipient')) ?? addressOf(fields?.get('original-recipient'))
  const messageId = bare(fields?.get('original-message-id')) ?? original.messageId
  const reportingMta = withoutType(fields?.get('reporting-ua'))?.match(/^[a-z0-9.-]{1,253}/i)?.[0]
  const date = timeOf(mail.fields.first('date'))
  const reason = joined(notice.lines).slice(0, 2000)
  return {
    kind: isRefused ? 'bounce' : 'automatic answer',
    recipients:
      isRefused && recipient !== undefined ? [{ recipient, action: 'failed', ...readStatus(undefined, reason), diagnostic: reason }] : [],
    ...original,
    ...(messageId === undefined ? {} : { messageId }),
    ...(reportingMta === undefined ? {} : { reportingMta }),
    ...(date === undefined ? {} : { date }),
  }
}
