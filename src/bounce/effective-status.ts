/**
 * Which status counts: one rule for replies, reports, providers' events and callers. The quoted reply comes from the receiving system;
 * the `Status` field is another system's interpretation of it (RFC 3464 2.3.6). docs/reading-bounces.md has the table.
 */

import { type QuotedReply, quotedReply, specificity } from './quoted-reply.js'
import { recipientDetail } from './recipient-texts.js'
import { parseReply, refusesRecipient, statusOfReply } from './reply.js'
import { isExpired, isLasting, parseStatus } from './status.js'
import { statusOfWords } from './status-words.js'

/**
 * Where a status was read: the `Status` field (RFC 3464 2.3.4), the enhanced code of a reply (RFC 2034), its basic code (RFC 5321 4.2),
 * or the words of a text.
 */
export type StatusSource = 'field' | 'enhanced code' | 'basic code' | 'text'

/** A status, its source, and the codes it was derived from. */
export interface ReadStatus {
  readonly status?: string
  readonly statusFrom?: StatusSource
  readonly statusField?: string
  readonly replyCode?: number
}

/** The parts of a report that determine its status. */
export interface ReportedStatus {
  /** The `Status` field. */
  readonly status?: string | undefined
  /** The reply that it quotes (RFC 3464 Diagnostic-Code). */
  readonly diagnostic?: string | undefined
  /** True: the field alone counts. */
  readonly authoritative?: boolean | undefined
}

interface Found {
  readonly status: string
  readonly statusFrom: StatusSource
}

const MAX_TEXT = 10_000

/**
 * Derives the status from the `Status` field and the diagnostic's reply or wording. Both may be missing.
 * @param givenUp the system will not try again.
 * @example readStatus('5.3.2', '421 4.3.2 System not accepting network messages').status // '4.3.2'
 */
export function readStatus(field: string | undefined, diagnostic: string | undefined, givenUp = true): ReadStatus {
  const own = /^\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)/.exec(field ?? '')?.[1] ?? null
  // a field without an enhanced code may hold a reply (`553 Exceeded maximum message size`)
  const text = (diagnostic ?? (own === null ? field : undefined))?.slice(0, MAX_TEXT)
  const reply = text === undefined ? null : quotedReply(text)
  const known = {
    ...(field === undefined ? {} : { statusField: field }),
    ...(reply === null || reply.code === 0 ? {} : { replyCode: reply.code }),
  }
  const said = reply === null ? null : statusOfQuoted(reply, text as string, own === null)
  if (said !== null && (own === null || countsMore(said, reply as QuotedReply, own))) return { ...said, ...known }
  if (own !== null && parseStatus(own) !== null) return { status: own, statusFrom: 'field', ...known }
  const words = text === undefined ? null : statusOfWords(text, givenUp)
  return words === null ? known : { status: words, statusFrom: 'text', ...known }
}

/** The status of a reply: its enhanced code; else what its basic code means; else its wording, if there is no field; else its class. */
function statusOfQuoted({ code, status }: QuotedReply, text: string, alone: boolean): Found | null {
  if (status !== null) return { status, statusFrom: 'enhanced code' }
  if (code === 0) return null
  const bare = statusOfReply({ code, status: null, text: `${code} ${text}` }) as string
  if (specificity(bare) > 1 || !alone) return { status: bare, statusFrom: 'basic code' }
  if (refusesRecipient({ code, text })) return { status: `5.${recipientDetail(text)}`, statusFrom: 'text' }
  const words = statusOfWords(text, code >= 500)
  return words !== null && specificity(words) > 1 ? { status: words, statusFrom: 'text' } : { status: bare, statusFrom: 'basic code' }
}

/** Whether the reply is more specific than the field, or as specific and more reliable. */
function countsMore({ status, statusFrom }: Found, reply: QuotedReply, field: string): boolean {
  // the receiving system answered with class 4: that is not final, whatever the field makes of it
  if (reply.code >= 400 && reply.code < 500 && isLasting(field)) return true
  const difference = specificity(status) - specificity(field)
  if (difference !== 0) return difference > 0
  if (status === field) return false
  // expiry is not the cause of a failure (RFC 3463 X.4.7)
  if (isExpired(field)) return true
  // an enhanced code without a basic code may refer to anything
  if (statusFrom === 'enhanced code') return reply.code !== 0
  // a specific basic code outweighs a field of another class, but not one of its own class
  return specificity(status) > 1 && status.charAt(0) !== field.charAt(0)
}

/** The status of a report; null if it has none. */
export function effectiveStatus({ status, diagnostic, authoritative }: ReportedStatus): string | null {
  const field = status?.trim()
  if (field !== undefined && parseStatus(field) !== null && (authoritative || diagnostic === undefined)) return field
  const reply = diagnostic?.replace(/^\s*smtp\s*;\s*/i, '')
  const read = readStatus(field, reply)
  if (read.statusFrom !== 'text') return read.status ?? null
  // a caller's diagnostic counts only if it is a reply
  return reply === undefined ? null : statusOfReply(parseReply(reply))
}
