/**
 * Decides whether a mail is a notification at all, before its free text is read: a person may write of a failed delivery, too. A
 * notification comes from the null sender (RFC 5321 4.5.5), is marked as automatic (RFC 3834), or comes from a mail system's own address.
 */

import { quotedReply } from '../bounce/index.js'
import type { Mail } from './mail.js'
import { type Notice, noticeOf } from './notice.js'
import { saysFailure, saysMail } from './words.js'

/** What is known of a mail besides its bytes. */
export interface Circumstances {
  /** The recipient that the signed return path stands for, if the mail came to one. */
  readonly recipient?: string
  /** True if it came with the null sender. */
  readonly nullSender?: boolean
}

/** Local parts of addresses that only mail systems write from. */
const DAEMON = /^(?:.{0,20}mailer-?daemon.{0,20}|mail-?daemon|double-bounce|smtpd?-?daemon|mmdf|mdaemon)$/i
/** The local part of a mail system's postmaster, who may be a person too. */
const POSTMASTER = /^post[._-]?master$/i
/** Local parts that mail systems share with persons, lists and applications. */
const SYSTEM_LIKE =
  /^(?:.{1,60}-(?:admin|owner|request|bounces?)|bounces?|no-?reply|do-?not-?reply|sysadmin|system|administrator|admin|mta|ndr|maildelivery|mail[._-]delivery.{0,20}|notifications?|daemon|root)$/i
/** Names that mail systems write under. */
const SYSTEM_NAME =
  /mail(?:er)?[ _.-]{0,2}(?:delivery|daemon|system|administrator|router)|delivery (?:sub)?system|system administrator|microsoft outlook|post ?master|\bmta\b|\bmdaemon\b|mail gateway|smtp server/i

/** How the subject of a person's answer begins, and of what a person forwards. */
const AN_ANSWER = /^\s{0,3}(?:re|aw|sv|antw|r|fw|fwd|wg|tr|rv|enc|vs)\s?:/i
/** Subjects that mail systems give their notices. */
const NAMES_A_BOUNCE =
  /(?:undeliver|(?:mail|message)\b.{0,30}not delivered|could not be delivered|delivery (?:status|failure|report|notification|has failed|problem)|failure notice|returned mail|mail delivery|unzustellbar|non remis|onbestelbaar|no entregado|não entregue|退信)/i

interface Author {
  /** True if the field stands there and names nobody: `From: <>`. */
  readonly isNobody: boolean
  readonly local: string
  readonly address: string
  readonly name: string
}

export type Judgement = { readonly accepted: string } | { readonly rejected: string }

/**
 * Why a mail counts as a notification; or why it does not.
 * @example judge(mail, {}) // { accepted: 'it comes from mailer-daemon@mx.example.org' }
 */
export function judge(mail: Mail, known: Circumstances): Judgement {
  const { fields } = mail
  if (fields.first('x-failed-recipients') !== undefined) return { accepted: 'it has X-Failed-Recipients' }
  const report = /report-type\s{0,9}=\s{0,9}"?([a-z-]{1,40})/i.exec(fields.first('content-type') ?? '')?.[1]?.toLowerCase()
  if (report !== undefined && report !== 'delivery-status') return { rejected: `it is a report of another type, ${report}` }
  if (mail.type === 'multipart/report' || mail.parts.some((p) => /^message\/(?:global-)?delivery-status$/.test(p.type)))
    return { accepted: 'its type is that of a report' }
  const author = authorOf(fields.first('from') ?? fields.first('sender') ?? '')
  const who = author.address || 'an unknown author'
  const subject = fields.first('subject') ?? ''
  const returnPath = fields.first('return-path')
  const sender = returnPath === undefined ? undefined : bareAddress(returnPath)
  const isNull = known.nullSender === true || sender === '' || DAEMON.test(localOf(sender ?? ''))
  // the token says already which message and recipient it is about
  const likeASystem = POSTMASTER.test(author.local) || SYSTEM_LIKE.test(author.local) || SYSTEM_NAME.test(author.name)
  if (known.recipient !== undefined && (isNull || likeASystem) && hasReply(noticeOf(mail)) && !isPersonal(mail, author, known.recipient))
    return { accepted: 'it came to a signed return path, with a reply' }
  if (author.isNobody) return { accepted: 'its From field is empty (<>)' }
  if (fields.first('list-unsubscribe') !== undefined) return { rejected: 'it is a newsletter (List-Unsubscribe)' }
  if (DAEMON.test(author.local)) return { accepted: `it comes from ${author.address}` }
  const answers = AN_ANSWER.test(subject) && noticeOf(mail).original.returned === 'none'
  if (POSTMASTER.test(author.local) && (isNull || (sender === undefined && !answers)))
    return { accepted: `it comes from ${author.address}` }
  if (isNull) return fromNullSender(mail, noticeOf(mail), likeASystem)
  const automatic = /^\s*auto-/i.test(fields.first('auto-submitted') ?? '')
  if (!automatic && !likeASystem)
    return {
      rejected: `${who} wrote it: no mail system, not the null sender, and not marked as automatic (RFC 5321 4.5.5, RFC 3834)`,
    }
  // an application or a mailing list writes so too: only a message that it returns shows that it is a bounce
  const notice = noticeOf(mail)
  const isAnswer = AN_ANSWER.test(subject) || notice.lines.some((line) => line.startsWith('>'))
  const isOfAList = fields.first('list-id') !== undefined || fields.first('in-reply-to') !== undefined
  if (!isAnswer && !isOfAList && saysFailure(notice.lower)) {
    if (returnsAMessage(notice)) return { accepted: `${author.address} returns a message` }
    // whose return path is not known
    if (sender === undefined && SYSTEM_NAME.test(author.name) && NAMES_A_BOUNCE.test(subject))
      return { accepted: `${author.address} wrote it, under the subject of a bounce` }
  }
  if (fields.first('x-mlserver') !== undefined && saysFailure(notice.lower)) return { accepted: `${author.address} manages a mailing list` }
  return { rejected: `${who} wrote it, and it returns no message` }
}

/** Whether the recipient wrote it, or its subject is that of an answer or of a forwarded mail. */
const isPersonal = (mail: Mail, author: Author, recipient: string): boolean =>
  author.address.toLowerCase() === recipient.toLowerCase() || AN_ANSWER.test(mail.fields.first('subject') ?? '')

/**
 * The null sender writes other notices too, such as vacation answers. From an address that may be a person's, words in the text alone show
 * no bounce.
 */
function fromNullSender(mail: Mail, notice: Notice, likeASystem: boolean): Judgement {
  const speaks = likeASystem && saysFailure(notice.lower) && saysMail(notice.lower)
  const isBounce = returnsAMessage(notice) || hasReply(notice) || NAMES_A_BOUNCE.test(mail.fields.first('subject') ?? '') || speaks
  return isBounce ? { accepted: 'it comes from the null sender' } : { rejected: 'it comes from the null sender, but speaks of no delivery' }
}

/** True if a message came back that names itself, not only a summary of one. */
const returnsAMessage = ({ original }: Notice): boolean => original.messageId !== undefined || original.sender !== undefined

/** True if a notice, or its subject, says that a delivery failed. */
export const speaksOfFailure = (mail: Mail, notice: Notice): boolean =>
  saysFailure(notice.lower) || saysFailure((mail.fields.first('subject') ?? '').toLowerCase()) || hasReply(notice)

/** True if a notice has a reply code, or a status beside words of failure, outside the lines that it quotes from another mail. */
export const hasReply = (notice: Notice): boolean => notice.lines.some((line) => !/^\s{0,3}>/.test(line) && isReply(line))

function isReply(line: string): boolean {
  const reply = quotedReply(line)
  return reply !== null && (reply.code !== 0 || saysFailure(line.toLowerCase()))
}

/** True if an address is a mail system's own. */
export function isDaemon(address: string): boolean {
  const local = localOf(address)
  return DAEMON.test(local) || POSTMASTER.test(local)
}

/** True if a From field names an address that is no person's, as applications use. */
export function isFromApplication(from: string): boolean {
  return SYSTEM_LIKE.test(authorOf(from).local)
}

/** True if a From field names a mail system. */
export function isFromDaemon(from: string): boolean {
  const { address, name, isNobody } = authorOf(from)
  return isNobody || isDaemon(address) || SYSTEM_NAME.test(name)
}

const localOf = (address: string): string => address.slice(0, address.lastIndexOf('@') < 0 ? undefined : address.lastIndexOf('@'))

/** The text in the last angle brackets, or the whole value. */
const bareAddress = (value: string): string => (/<([^<>]{0,320})>\s{0,9}$/.exec(value)?.[1] ?? value).trim()

function authorOf(from: string): Author {
  const text = from.slice(0, 1000)
  const bracket = text.lastIndexOf('<')
  // `address (name)` is the older form
  const address = bracket >= 0 ? bareAddress(text) : (/^\s{0,9}([^\s()]{1,320})/.exec(text)?.[1] ?? '')
  const name = bracket >= 0 ? text.slice(0, bracket) : text.slice(text.indexOf('(') + 1)
  return { isNobody: /<\s{0,9}>\s{0,9}$/.test(text), address, local: localOf(address), name: name.trim() }
}
