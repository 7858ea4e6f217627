/** Automatic responses (RFC 3834), such as vacation notices. They show that the message arrived, so they need no action. */
import { hasReply, isFromApplication, isFromDaemon } from '../gate.js'
import type { Mail } from '../mail.js'
import { noticeOf } from '../notice.js'
import { bare } from '../original.js'
import type { ParsedReport } from '../report.js'
import { timeOf } from '../report-fields.js'
import { saysFailure } from '../words.js'

/** Fields that mark an automatic response, besides `Auto-Submitted: auto-replied`. */
const MARKS = ['x-autoreply', 'x-autorespond', 'x-autoresponder', 'x-auto-reply-from', 'x-ms-exchange-inbox-rules-loop', 'x-vacation']

/** How the subjects of automatic responses begin. */
const SUBJECT =
  /^\s*(?:automatic reply|auto(?:matic)?[ -]?(?:reply|response)|out of (?:the )?office|abwesenheit|automatische antwort|r[ée]ponse automatique|vacation)/i

/** Recognises an automatic response; null if the mail is not one, or is a bounce. */
export function parseRfc3834(mail: Mail): ParsedReport | null {
  const { fields } = mail
  if (mail.parts.some((p) => p.type.startsWith('message/'))) return null
  const submitted = fields.first('auto-submitted')?.toLowerCase() ?? ''
  const marked =
    submitted.startsWith('auto-replied') ||
    MARKS.some((name) => fields.first(name) !== undefined) ||
    /^\s*auto[-_]?reply/i.test(fields.first('precedence') ?? '') ||
    SUBJECT.test(fields.first('subject') ?? '')
  if (!marked || isBounce(mail)) return null
  const date = timeOf(fields.first('date'))
  return { kind: 'automatic answer', recipients: [], returned: 'none', ...(date === undefined ? {} : { date }) }
}

/** True if it is a bounce, which carries `Auto-Submitted: auto-replied` too (RFC 3834 3.1.7). */
function isBounce(mail: Mail): boolean {
  const { fields } = mail
  const from = fields.first('from') ?? ''
  if (isFromDaemon(from) || fields.first('x-failed-recipients') !== undefined || hasReply(noticeOf(mail))) return true
  const isNull = bare(fields.first('return-path')) === undefined
  return isNull && isFromApplication(from) && saysFailure((fields.first('subject') ?? '').toLowerCase())
}
