/**
 * Notices with one paragraph per recipient, which begins with the address: qmail and its descendants (Yahoo, Yandex), Postfix if the
 * report part is missing, OpenSMTPD, GMX, Courier. They differ only in wording.
 */

import { ADDRESS, type Found, joined, noticeOf, reportFromNotice } from '../free-text.js'
import type { Mail } from '../mail.js'
import type { ParsedReport } from '../report.js'

/** Phrases that introduce such paragraphs, in lower case. */
const OPENINGS = [
  // qmail
  'this is the qmail-send program',
  "wasn't able to deliver your message",
  // Postfix
  'this is the postfix program',
  'this is the mail system at host',
  'could not be delivered',
  // Yahoo
  'we were unable to deliver your message',
  'unable to deliver message to the following address',
  // OpenSMTPD
  'an error has occurred while attempting to deliver a message',
  'following list of recipients',
  'a message is delayed',
  // GMX, MXLogic, and Exim's phrase in others
  'could not be delivered to one or more',
  'this is a permanent error',
  // Courier
  'your message could not be delivered',
  'undeliverable',
]

/** `<ann@example.org>:` with the reason after or below it; or the bracketed address alone on its line. */
const BRACKETED = new RegExp(`^\\s{0,3}<(${ADDRESS})>(?:\\s{0,2}\\([^)]{0,200}\\))?(?:\\s{0,2}:\\s{0,4}(.*)|\\s{0,4})$`)
/** `ann@example.org: 550 …`, as OpenSMTPD writes it. */
const BARE = new RegExp(`^(${ADDRESS}): (.*)$`)

/** Lines that only announce the reason. */
const LABEL = /^\s*(?:reason|error|the reason was|for the following reason)\s*:\s*$/i

/** Reads a notice with a paragraph for each recipient; null if it is none. */
export function parseQmailStyle(mail: Mail): ParsedReport | null {
  const notice = noticeOf(mail)
  if (!OPENINGS.some((words) => notice.lower.includes(words))) return null
  const found: Found[] = []
  for (const [i, line] of notice.lines.entries()) {
    const match = BRACKETED.exec(line) ?? BARE.exec(line)
    if (match === null || found.some((f) => f.recipient === match[1])) continue
    const reason = joined([match[2] ?? '', ...paragraphBelow(notice.lines, i + 1, (match[2] ?? '').trim() !== '')])
    found.push({ recipient: match[1] as string, reason })
    if (found.length === 1000) break
  }
  return reportFromNotice(mail, notice, found)
}

/** The lines up to the next empty line or recipient; empty lines before the reason begins are skipped. */
function paragraphBelow(lines: readonly string[], from: number, begun: boolean): string[] {
  const paragraph: string[] = []
  for (const line of lines.slice(from, from + 60)) {
    if (BRACKETED.test(line) || BARE.test(line)) break
    if (line.trim() === '') {
      if (begun || paragraph.length > 0) break
    } else if (!LABEL.test(line)) paragraph.push(line)
  }
  return paragraph
}
