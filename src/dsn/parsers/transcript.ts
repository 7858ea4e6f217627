/**
 * Notices that quote the SMTP session: Sendmail (also before version 8), activehunter, ezweb, InterScan, Postfix's notices to its
 * postmaster. They differ in how they mark commands and replies.
 */

import { mentionsIn } from '../candidates.js'
import type { Mail } from '../mail.js'
import { type Notice, noticeOf } from '../notice.js'
import { type Found, reportFromNotice } from '../notice-report.js'
import { recipientsIn } from '../original.js'
import { joined } from '../reasons.js'
import type { ParsedReport } from '../report.js'
import { namesAnotherUser } from '../words.js'

const ADDRESS = '(?:"[^"@]{1,62}"|[^\\s<>()\\[\\]:;,"\\\\@|]{1,64})@[^\\s<>()\\[\\]:;,"\\\\@|]{1,253}'

/** Commands that the reporting system sent, and replies that it received. */
const SAID = /^\s{0,8}(?:>>>|sent <<<|in:)\s{1,4}(.*)$/i
const HEARD = /^\s{0,8}(?:<<<|received >>>|out:)\s{1,4}(.*)$/i
const RCPT = new RegExp(`^rcpt to:\\s{0,3}<(${ADDRESS})>`, 'i')
/** `550 <ann@example.org>... User unknown`, the summary for one recipient. */
const SUMMARY = new RegExp(`^[45]\\d\\d[ -](?:[45]\\.\\d{1,3}\\.\\d{1,3} )?<?(${ADDRESS})>?$`)
const ADDRESSED = new RegExp(`^<?(${ADDRESS})>?$`)
const DOTS = '...'
/** A recipient in the list above the transcript, perhaps with `(reason: …)` below. */
const LISTED = new RegExp(`^\\s{0,8}(?:>>> )?(?:Recipient: )?(?:<(${ADDRESS})>|(${ADDRESS})(?: <${ADDRESS}>)?)\\s{0,4}$`)
const REASON = /^\s{0,8}\(reason: (.*)$/
const EXPANDED = new RegExp(`^\\s{0,8}\\(expanded from: <?(${ADDRESS})>?\\)`, 'i')
/** What a transcript's text contains, in lower case: a mark of a command, a reply, or a heading. */
const MARKS = ['>>>', '<<<', '(reason: ', 'transcript of session', 'had permanent', 'had transient', ' in: ', ' out: ']
const REPLY = /^\s{0,8}[45]\d\d[ -]/

/** Reads a notice with a transcript; null if it is none. */
export function parseTranscript(mail: Mail): ParsedReport | null {
  const notice = noticeOf(mail)
  if (!MARKS.some((mark) => notice.lower.includes(mark))) return null
  const found = new Transcript(notice.lines).found(() => recipientsIn(notice.original.header), notice.lower)
  return reportFromNotice(mail, notice, withoutOthers(notice, found))
}

class Transcript {
  /** Lower-case recipient -> its reason and remote host. */
  readonly #found = new Map<string, { recipient: string; reason: string; isFromSession: boolean; host?: string; from?: string }>()
  /** The current recipient (a key of #found), and the current remote host. */
  #current = ''
  #host = ''
  /** The last reply of that host, and the first reply line that names no recipient. */
  #heard = ''
  /** The recipient that it was given to. */
  #heardOf = ''
  #unnamed = ''

  constructor(lines: readonly string[]) {
    for (const line of lines) this.#read(line)
  }

  found(originals: () => readonly string[], text: string): Found[] {
    const unnamed = this.#heard === '' ? this.#unnamed : this.#heard
    // a transcript that names no recipient is about the original's only recipient
    const to = this.#found.size === 0 && unnamed !== '' ? originals() : []
    if (to.length === 1 && !namesAnotherUser(text, to[0] as string)) this.#add(to[0] as string)
    // a reply that was given to one recipient is not that of another
    const isShared = this.#found.size > 1 && [...this.#found.values()].some(({ reason }) => reason === unnamed)
    return [...this.#found.values()].map(({ recipient, reason, host, from }) => ({
      recipient,
      ...(from === undefined || from.toLowerCase() === recipient.toLowerCase() ? {} : { originalRecipient: from }),
      reason: reason === '' && !isShared ? unnamed : reason,
      ...(host === undefined || host === '' ? {} : { remoteMta: host }),
    }))
  }

  #read(line: string): void {
    const host = /^\W{0,4}while talking to ([a-z0-9.-]{1,253}[a-z0-9])/i.exec(line)?.[1]
    if (host !== undefined) {
      this.#host = host
      this.#heard = ''
      return
    }
    const said = SAID.exec(line)?.[1]
    if (said !== undefined) {
      const rcpt = RCPT.exec(said)?.[1]
      if (rcpt !== undefined) this.#current = this.#add(rcpt, true)
      else if (!LISTED.test(line)) return
    }
    const heard = HEARD.exec(line)?.[1]
    if (heard !== undefined) {
      // accepted: the session is no longer about it
      if (/^2\d\d[ -]/.test(heard) && this.#found.get(this.#current)?.isFromSession === true) this.#found.delete(this.#current)
      if (!REPLY.test(heard)) return
      this.#heard = heard
      this.#heardOf = this.#current
      this.#explain(heard)
      return
    }
    const dots = line.indexOf(DOTS)
    const summary = dots < 0 ? null : SUMMARY.exec(line.slice(0, dots).trim())
    if (summary !== null) {
      const key = this.#add(summary[1] as string)
      const entry = this.#found.get(key)
      if (entry !== undefined && entry.reason === '')
        entry.reason = this.#heard === '' || (this.#heardOf !== '' && this.#heardOf !== key) ? line.trim() : this.#heard
      this.#heard = ''
      return
    }
    // `<ann@example.org>... Deferred: Connection timed out`: words without a code
    const spoken = dots < 0 ? null : ADDRESSED.exec(line.slice(0, dots).trim())
    if (spoken !== null && dots + DOTS.length < line.length) {
      const entry = this.#found.get((spoken[1] as string).toLowerCase())
      if (entry !== undefined && entry.reason === '') entry.reason = line.slice(dots + DOTS.length).trim()
      return
    }
    const reason = REASON.exec(line)?.[1]?.trimEnd()
    if (reason !== undefined) {
      this.#explain(reason.endsWith(')') ? reason.slice(0, -1) : reason)
      return
    }
    const expanded = EXPANDED.exec(line)?.[1]
    const current = this.#found.get(this.#current)
    if (expanded !== undefined && current !== undefined) {
      current.from = expanded
      return
    }
    const listed = LISTED.exec(line)
    if (listed !== null) this.#current = this.#add((listed[1] ?? listed[2]) as string)
    else if (REPLY.test(line) && this.#unnamed === '') this.#unnamed = joined([line])
  }

  #add(recipient: string, isFromSession = false): string {
    const key = recipient.toLowerCase()
    if (!this.#found.has(key) && this.#found.size < 1000)
      this.#found.set(key, { recipient, reason: '', isFromSession, ...(this.#host === '' ? {} : { host: this.#host }) })
    return key
  }

  #explain(reason: string): void {
    const entry = this.#found.get(this.#current)
    if (entry !== undefined && entry.reason === '') entry.reason = reason
  }
}

/** Without addresses that the notice names as the sender's or for contact, if others are left. */
function withoutOthers(notice: Notice, found: readonly Found[]): readonly Found[] {
  if (found.length < 2) return found
  const excluded = new Set(mentionsIn(notice).flatMap((m) => (m.excludedBecause === undefined ? [] : [m.address.toLowerCase()])))
  const left = found.filter(({ recipient }) => !excluded.has(recipient.toLowerCase()))
  return left.length > 0 ? left : found
}
