/** Decides what to do about a bounce, and why: retry, suppress for good, refuse without suppressing, or ignore. */
import { effectiveStatus, type ReportedStatus } from './effective-status.js'
import { quotedReply } from './quoted-reply.js'
import { MAX_TEXT, speaksOfOtherThings, speaksOfPolicy } from './recipient-texts.js'
import { withoutControls } from './reply.js'
import { type EnhancedStatus, isLasting, meaningOf, parseStatus } from './status.js'
import { sendOf } from './token.js'

/**
 * - `retry`: the receiving system was unavailable; the message is retried.
 * - `suppress`: the recipient is gone for good; a lasting suppression, no retry.
 * - `refuse`: the message was refused for good, for a reason that is not the recipient's; no retry, nobody is suppressed.
 * - `ignore`: nothing that softbounce acts on.
 */
export type Verdict = 'retry' | 'suppress' | 'refuse' | 'ignore'

/** A verdict, the status it is based on, and the reason as a sentence. */
export interface Judgement {
  readonly verdict: Verdict
  readonly status: string | null
  readonly reason: string
}

/**
 * True if a refusal proves that the recipient is gone for good: a code about the recipient, and a text that is not about rate, quota,
 * policy or reputation. A code that is not at the start of the text may be quoted from elsewhere: then the text must not be about the
 * sender either.
 * @example provesGone('5.1.1', '550 5.1.1 <a@example.org> 192.0.2.7 has sent to too many recipients this hour') // false
 */
export function provesGone(status: string, text = ''): boolean {
  const said = text.slice(0, MAX_TEXT)
  if (!isLasting(status) || speaksOfPolicy(said) || TEMPORARY.test(said)) return false
  // a reply of class 4 is not final, whatever a field makes of it
  const code = quotedReply(said)?.code ?? 0
  if (code >= 400 && code < 500) return false
  const atStart = new RegExp(`^\\d{3}[ -]${status.replaceAll('.', '\\.')}\\b`).test(said) && status !== '5.2.1'
  return atStart || !speaksOfOtherThings(said)
}

/** Even behind a code about the recipient: the sender is meant, or the refusal passes. */
const TEMPORARY = /\bsender\b|\bhelo\b|\btemporar/i

/** A list of statuses to retry, such as `4.3.2,4.4.*`. */
export interface RetryStatuses {
  readonly text: string
  matches(status: EnhancedStatus): boolean
}

/**
 * Reads `4.3.2,4.4.*`: codes of class 4, where `*` stands for any subject or detail.
 * @throws Error naming the entry that is wrong.
 */
export function parseRetryStatuses(text: string): RetryStatuses {
  const patterns = text
    .split(/[\s,]+/)
    .filter((p) => p !== '')
    .map((pattern) => {
      const match = /^4\.(\*|\d{1,3})(?:\.(\*|\d{1,3}))?$/.exec(pattern)
      if (match === null || (match[2] === undefined && match[1] !== '*'))
        throw new Error(`"${pattern}" is not a transient status such as 4.3.2, 4.4.* or 4.* (permanent ones are never retried)`)
      return { subject: match[1], detail: match[2] ?? '*' }
    })
  if (patterns.length === 0) throw new Error('no status is named; the default is 4.3.2')
  return {
    text,
    matches: (status) =>
      status.class === 4 &&
      patterns.some(
        (p) => (p.subject === '*' || Number(p.subject) === status.subject) && (p.detail === '*' || Number(p.detail) === status.detail),
      ),
  }
}

/** Retried by default: 4.3.2, and replies that mean the same (see {@link effectiveStatus}). */
export const DEFAULT_RETRY_STATUSES = '4.3.2'

/**
 * Judges a failed delivery by its status and the reply it quotes.
 * @param bounce `status` as reported (may be missing or generic), `diagnostic` the quoted reply, `token` identifies the send.
 */
export function judgeBounce(bounce: ReportedStatus & { token?: string | undefined }, retry: RetryStatuses): Judgement {
  const text = effectiveStatus(bounce)
  const status = text === null ? null : parseStatus(text)
  if (status === null || text === null) return { verdict: 'ignore', status: null, reason: 'it has no status and quotes no reply' }
  const { sentence, whose } = meaningOf(status, bounce.diagnostic)
  const reason = `${text}: ${sentence}${quote(bounce.diagnostic)}`
  if (retry.matches(status)) return { verdict: 'retry', status: text, reason }
  if (provesGone(text, bounce.diagnostic)) return { verdict: 'suppress', status: text, reason }
  if (status.class === 5) return { verdict: 'refuse', status: text, reason: `${reason}; about: ${whose}; nobody is suppressed` }
  if (status.class === 2) return { verdict: 'ignore', status: text, reason: `${text} reports a success` }
  // a temporary failure of one of our own retries is a failed retry, whatever its status
  const verdict = (sendOf(bounce) ?? 0) !== 0 ? 'retry' : 'ignore'
  return { verdict, status: text, reason: `${reason}; not among the statuses that are retried (${retry.text})` }
}

const MAX_QUOTE = 120

/** The words of a reply behind its codes, in quotation marks; nothing if there are none. */
function quote(reply = ''): string {
  const words = withoutControls(reply)
    .replace(/^(?:\s*smtp\s*;)?[\s\d.-]{0,20}/i, '')
    .replace(/\s+/g, ' ')
    .trim()
  return words === '' ? '' : ` ("${words.length > MAX_QUOTE ? `${words.slice(0, MAX_QUOTE)}…` : words}")`
}
