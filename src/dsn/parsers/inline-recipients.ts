/** Notices that name the recipient within a sentence: DragonFly, IMail, KDDI, MailFoundry, FML, Exchange 5.5 and others. A table of sentences. */

import { ADDRESS, type Found, joined, noticeOf, reportFromNotice } from '../free-text.js'
import type { Mail } from '../mail.js'
import type { ParsedReport } from '../report.js'

/** Patterns of the text before the address, and after it. */
const SENTENCES: readonly (readonly [string, string])[] = [
  // DragonFly Mail Agent
  ['there was an error delivering your mail to', ''],
  // IMail
  ['^unknown user:', ''],
  ['^user mailbox exceeds allowed size:', ''],
  ['^delivery failed \\d{1,4} attempts:', ''],
  ['^invalid final delivery userid:', ''],
  // MailFoundry, KDDI and others
  ['unable to deliver message to:', ''],
  ['could not be delivered to:', ''],
  ['did not reach the following recipient:', ''],
  ['message could not be delivered to', ''],
  ['^failed to deliver to', ''],
  ['^your message to', ' (?:couldn.t be delivered|was not delivered|cannot be delivered)'],
  // Exim, about an address with invalid syntax
  ['', ': malformed address'],
  // Verizon
  ['^rcpt to:', ''],
  // FML
  ['you are not a member of this mailing list', ''],
  ['^duplicated message-id in', ''],
]

/** Phrases of notices that name no recipient, in lower case: they are about the original's only recipient. */
const NAMELESS = ['message could not be delivered to mobile', 'delivery report unavailable', 'failure reasons']

const PATTERNS = SENTENCES.map(
  ([before, behind]) => new RegExp(`${before}\\s{1,4}['"]?<?(?:mailto:)?(${ADDRESS})>?['"]?${behind === '' ? '' : `(?=${behind})`}`, 'i'),
)

/** Reads a notice whose sentence names the recipient; null if it is none. */
export function parseInlineRecipients(mail: Mail): ParsedReport | null {
  const notice = noticeOf(mail)
  const found: Found[] = []
  for (const [i, line] of notice.lines.entries()) {
    const recipient = PATTERNS.map((p) => p.exec(line.trimStart())?.[1]).find((a) => a !== undefined)
    if (recipient === undefined || found.some((f) => f.recipient === recipient)) continue
    const below = notice.lines.slice(i + 1, i + 40)
    const reason = joined(below)
    found.push({ recipient: recipient.replace(/\.$/, ''), reason: reason === '' ? joined([line]) : joined([line, ...below]) })
    if (found.length === 100) break
  }
  const [only, more] = notice.original.to
  if (found.length === 0 && only !== undefined && more === undefined && NAMELESS.some((words) => notice.lower.includes(words)))
    found.push({ recipient: only, reason: joined(notice.lines).slice(0, 2000) })
  return reportFromNotice(mail, notice, found)
}
