/**
 * Parses bounce reports. Standard formats come first, each by a parser of its own; parsers do not depend on one another. Free text is read
 * only if the mail is a notification at all (gate.ts), by one rule for all mail systems (recipients.ts).
 */

import { quotedReply, readStatus } from '../bounce/index.js'
import { type Circumstances, judge } from './gate.js'
import { type Mail, takeApart } from './mail.js'
import { noticeOf } from './notice.js'
import { readNotice } from './parsers/notice-text.js'
import { parseQuotedFields } from './parsers/quoted-fields.js'
import { parseRfc3464 } from './parsers/rfc3464.js'
import { parseRfc3834 } from './parsers/rfc3834.js'
import { parseRfc5965 } from './parsers/rfc5965.js'
import { parseRfc8098 } from './parsers/rfc8098.js'
import { parseSesNotification } from './parsers/ses-notification.js'
import { parseTranscript } from './parsers/transcript.js'
import type { Candidate } from './recipients.js'
import type { ParsedReport, Parser, ReportedRecipient } from './report.js'

export type { Circumstances } from './gate.js'
export { Fields, headOf, type Mail, takeApart, UnreadableMail } from './mail.js'
export { originalFields } from './original.js'
export type { Candidate } from './recipients.js'
export type { ParsedReport, ReportedRecipient } from './report.js'
export { readReported } from './report-fields.js'

/** Formats that a machine writes for a machine: they need no gate. */
const STANDARD: readonly (readonly [string, Parser])[] = [
  ['rfc3464', parseRfc3464],
  ['rfc5965', parseRfc5965],
  ['rfc8098', parseRfc8098],
  ['rfc3834', parseRfc3834],
  ['ses-notification', parseSesNotification],
]

/** What a mail says, and how that was found. */
export interface Reading {
  /** Null if the mail is no notification. */
  readonly report: ParsedReport | null
  /** The parser that read it, by its file's name; null if none did. */
  readonly format: string | null
  /** Why it is a notification, or why not. */
  readonly why: string
  /** The addresses that a notice in free text names, and why each is its recipient or not. */
  readonly candidates: readonly Candidate[]
}

/**
 * Reads a mail (RFC 5322 bytes).
 * @throws UnreadableMail if it is malformed or exceeds a limit.
 * @example (await read(mail)).report?.recipients[0]?.status // '4.3.2'
 */
export async function read(mail: Uint8Array, known: Circumstances = {}): Promise<Reading> {
  const outer = await takeApart(mail)
  const own = readOwn(outer, known)
  // a report that a gateway wrapped without naming anybody, or that was forwarded as an attachment with no text beside it
  const namesNobody = own.format === 'notice-text' && !own.candidates.some((c) => c.won && c.form !== null)
  const inner = outer.parts.find((p) => p.type === 'message/rfc822')
  if (inner === undefined || inner.content.length === 0 || !(namesNobody || (own.report === null && isBare(outer)))) return own
  // what is attached may be damaged: the outer mail was read
  const parts = await takeApart(inner.content).catch(() => null)
  const attached = parts === null ? null : (parseRfc3464(parts) ?? parseRfc5965(parts))
  return attached === null ? own : { ...own, report: attached, format: 'attached', why: 'a report is attached' }
}

/** Parses a mail; null if it is not a report in a known format. */
export async function parseReport(mail: Uint8Array, known: Circumstances = {}): Promise<ParsedReport | null> {
  return (await read(mail, known)).report
}

/** Reads the report that a mail itself is, not one attached to it. */
export function readOwn(mail: Mail, known: Circumstances = {}): Reading {
  for (const [format, parse] of STANDARD) {
    const report = parse(mail)
    if (report !== null) return { report: withItsText(report, mail), format, why: `its format is ${format}`, candidates: [] }
  }
  const judged = judge(mail, known)
  if ('rejected' in judged) return { report: null, format: null, why: judged.rejected, candidates: [] }
  return readText(mail, judged.accepted, known.recipient)
}

function readText(mail: Mail, because: string, recipient: string | undefined): Reading {
  const fields = parseQuotedFields(mail)
  if (fields !== null) return { report: withItsText(fields, mail), format: 'quoted-fields', why: because, candidates: [] }
  const transcript = withItsNotice(parseTranscript(mail), mail, recipient)
  if (transcript !== null) {
    return {
      report: transcript,
      format: 'transcript',
      why: because,
      // only `softbounce read --explain` asks for them
      get candidates() {
        return readNotice(mail, recipient).candidates
      },
    }
  }
  const { report, candidates } = readNotice(mail, recipient)
  const why = report === null ? `${because}, but names no recipient` : because
  return { report, format: report === null ? null : 'notice-text', why, candidates }
}

/** For recipients of a transcript without a reason, what the notice's text says of them. */
function withItsNotice(transcript: ParsedReport | null, mail: Mail, recipient: string | undefined): ParsedReport | null {
  if (transcript === null || transcript.recipients.every((r) => r.diagnostic !== undefined)) return transcript
  const said = readNotice(mail, recipient).report?.recipients ?? []
  const recipients = transcript.recipients.map((r) =>
    r.diagnostic === undefined ? (said.find((s) => s.recipient.toLowerCase() === r.recipient.toLowerCase()) ?? r) : r,
  )
  return { ...transcript, recipients }
}

/** True if no text stands beside what is attached. */
const isBare = (mail: Mail): boolean => mail.parts.every((p) => !p.type.startsWith('text/') || p.text().trim() === '')

/** For recipients without a quoted reply and with no status better than x.0.0 or x.4.7, uses the reply in the report's text part. */
function withItsText(report: ParsedReport, mail: Mail): ParsedReport {
  if (report.kind !== 'bounce') return report
  // OpenSMTPD reports expired messages as `delayed`; only the text shows that it gave up
  const expired = report.recipients.some((r) => r.action === 'delayed') && noticeOf(mail).lower.includes(': envelope expired')
  const recipients = expired
    ? report.recipients.map((r) => (r.action === 'delayed' ? { ...r, action: 'failed' as const } : r))
    : report.recipients
  const poor = (r: ReportedRecipient) => quotedReply(r.diagnostic ?? '') === null && /^$|\.0\.0$|\.4\.7$/.test(r.status ?? '')
  if (!recipients.some(poor)) return { ...report, recipients }
  // a session tells more than the words around it
  const said = (parseTranscript(mail) ?? readNotice(mail).report)?.recipients ?? []
  return {
    ...report,
    recipients: recipients.map((r) => {
      const text = poor(r)
        ? said.find((t) => t.recipient.toLowerCase() === r.recipient.toLowerCase() && t.replyCode !== undefined)
        : undefined
      if (text?.diagnostic === undefined) return r
      return { ...r, ...readStatus(r.statusField, text.diagnostic), diagnostic: text.diagnostic }
    }),
  }
}
