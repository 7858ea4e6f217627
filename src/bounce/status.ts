/**
 * Enhanced mail system status codes (RFC 3463), with the additions of RFC 5248's IANA registry
 * "SMTP Enhanced Status Codes": what each means in plain words, and which party it concerns.
 */

/** A code such as 4.3.2: class 2 (success), 4 (transient) or 5 (permanent), subject and detail 0..999. */
export interface EnhancedStatus {
  readonly class: 2 | 4 | 5
  readonly subject: number
  readonly detail: number
}

/** The party that a status concerns: the mailbox, the receiving system, the network in between, or us (the sender, the message). */
export type Whose = 'mailbox' | 'receiving system' | 'network' | 'ours' | 'unknown'

/** A status in plain words. */
export interface StatusMeaning {
  readonly status: string
  readonly sentence: string
  readonly whose: Whose
}

/** Parses `4.3.2`; null if it is not an enhanced status code by RFC 3463 section 2 (no leading zeros, detail at most 3 digits). */
export function parseStatus(text: string): EnhancedStatus | null {
  const match = /^([245])\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text)
  if (match === null) return null
  return { class: Number(match[1]) as 2 | 4 | 5, subject: Number(match[2]), detail: Number(match[3]) }
}

/** `{ class: 4, subject: 3, detail: 2 }` -> `4.3.2`. */
export function formatStatus(status: EnhancedStatus): string {
  return `${status.class}.${status.subject}.${status.detail}`
}

/** True if the code says no more than its class or its subject (x.0.0, x.y.0): prefer a more specific one beside it. */
export function isGeneric(status: EnhancedStatus): boolean {
  return status.detail === 0
}

/** Permanent statuses about the recipient itself: only these suppress an address for good. */
const LASTING = new Set(['5.1.1', '5.1.2', '5.1.3', '5.1.6', '5.1.10', '5.2.1'])

/** True if the status says that this recipient will never accept mail. */
export const isLasting = (status: string): boolean => LASTING.has(status)

/** Vendors' codes for X.4.7 (Exchange Online: message expired; expired, connection refused; expired, cannot connect). */
const EXPIRED = new Set(['4.7', '4.300', '4.316', '4.317', '4.318'])

/** True if the code means only that the message expired in the sending system (RFC 3463 X.4.7), without the cause. */
export const isExpired = (status: string): boolean => EXPIRED.has(status.slice(2))

const MAILBOX = 'mailbox'
const SYSTEM = 'receiving system'
const NETWORK = 'network'
const OURS = 'ours'

/** subject.detail -> sentence and party. Order and meaning follow the IANA registry. */
const REGISTRY: Record<string, readonly [string, Whose]> = {
  '0.0': ['nothing more is said', 'unknown'],
  '1.0': ['something is wrong with the address', MAILBOX],
  '1.1': ['there is no such mailbox', MAILBOX],
  '1.2': ['the domain does not exist or takes no mail', MAILBOX],
  '1.3': ['the address is not written as an address', MAILBOX],
  '1.4': ['the address fits more than one mailbox', MAILBOX],
  '1.5': ['the address is valid', MAILBOX],
  '1.6': ['the mailbox has moved, and no new address is known', MAILBOX],
  '1.7': ["the sender's address is not written as an address", OURS],
  '1.8': ["the sender's domain does not exist or takes no mail", OURS],
  '1.9': ['the message was relayed to a mail system that does not keep the rules', SYSTEM],
  '1.10': ['the domain says that it takes no mail at all (null MX)', MAILBOX],
  '2.0': ['something is wrong with the mailbox', MAILBOX],
  '2.1': ['the mailbox is disabled and takes no messages', MAILBOX],
  '2.2': ['the mailbox is full', MAILBOX],
  '2.3': ['the message is longer than this mailbox allows', MAILBOX],
  '2.4': ['the mailing list could not be expanded', MAILBOX],
  '3.0': ['something is wrong with the mail system', SYSTEM],
  '3.1': ["the mail system's storage is full", SYSTEM],
  '3.2': ['the mail system takes no messages from the network just now', SYSTEM],
  '3.3': ['the mail system cannot do what the message asks for', SYSTEM],
  '3.4': ['the message is larger than the mail system takes', SYSTEM],
  '3.5': ['the mail system is configured wrongly', SYSTEM],
  '3.6': ['the mail system changed the requested priority', SYSTEM],
  '4.0': ['something is wrong with the network or the routing', NETWORK],
  '4.1': ['the host did not answer', NETWORK],
  '4.2': ['the connection broke', NETWORK],
  '4.3': ['the directory of mail routes failed', NETWORK],
  '4.4': ['no way to the host is known', NETWORK],
  '4.5': ['the mail system is congested', SYSTEM],
  '4.6': ['the message went round in a loop', NETWORK],
  '4.7': ['the message was too long under way', NETWORK],
  '5.0': ['something is wrong with the mail dialogue', OURS],
  '5.1': ['a command was out of order or unknown', OURS],
  '5.2': ['a command could not be understood', OURS],
  '5.3': ['there were too many recipients', OURS],
  '5.4': ['a command had wrong arguments', OURS],
  '5.5': ['the protocol versions do not fit', OURS],
  '5.6': ['a line of the login was too long', OURS],
  '6.0': ['something is wrong with the content', OURS],
  '6.1': ['the kind of content is not taken', OURS],
  '6.2': ['the content would need a conversion that is not allowed', OURS],
  '6.3': ['the content would need a conversion that the system cannot do', OURS],
  '6.4': ['the content was converted with loss', OURS],
  '6.5': ['the conversion of the content failed', OURS],
  '6.6': ['the content could not be fetched', OURS],
  '6.7': ['addresses beyond ASCII are not taken', SYSTEM],
  '6.8': ['the reply would need UTF-8, which was not allowed', OURS],
  '6.9': ['a header in UTF-8 could not be passed on', SYSTEM],
  '6.10': ['the reply would need UTF-8, which was not allowed', OURS],
  '7.0': ['the message was refused by policy', OURS],
  '7.1': ['the sender may not send to this address', OURS],
  '7.2': ['the sender may not send to this mailing list', OURS],
  '7.3': ['the message would need a security conversion', OURS],
  '7.4': ['the security that the message asks for is not there', SYSTEM],
  '7.5': ['a cryptographic step failed', OURS],
  '7.6': ['the cryptographic algorithm is not known', OURS],
  '7.7': ['the message was changed under way', OURS],
  '7.8': ['the login is wrong', OURS],
  '7.9': ['the way of logging in is too weak', OURS],
  '7.10': ['encryption is needed', OURS],
  '7.11': ['this way of logging in needs encryption', OURS],
  '7.12': ['the password must be moved to a new way of logging in', OURS],
  '7.13': ["the sender's account is disabled", OURS],
  '7.14': ['the systems must trust each other first', OURS],
  '7.15': ['the priority is too low', OURS],
  '7.16': ['the message is too big for its priority', OURS],
  '7.17': ['the mailbox belongs to another person now', MAILBOX],
  '7.18': ['the domain belongs to another owner now', MAILBOX],
  '7.19': ['whether the mailbox still belongs to the same person could not be checked', SYSTEM],
  '7.20': ['no DKIM signature passed', OURS],
  '7.21': ['no acceptable DKIM signature was found', OURS],
  '7.22': ["no DKIM signature of the author's domain passed", OURS],
  '7.23': ['the SPF check failed', OURS],
  '7.24': ['the SPF check ran into an error', OURS],
  '7.25': ["the sending host's reverse DNS is wrong", OURS],
  '7.26': ['several authentication checks failed', OURS],
  '7.27': ["the sender's domain says that it takes no mail (null MX)", OURS],
  '7.28': ['too much mail came from this sender', OURS],
  '7.29': ['the ARC check failed', OURS],
  '7.30': ['encryption all the way was asked for, and is not there', SYSTEM],
}

const SUBJECTS: readonly Whose[] = ['unknown', MAILBOX, MAILBOX, SYSTEM, NETWORK, OURS, OURS, OURS]

/** Codes that some systems use with another meaning (Exchange Online's 5.4.1 and 5.1.10), recognised by the text of the reply. */
const OTHER_MEANINGS: Readonly<Record<string, readonly [RegExp, string, Whose]>> = {
  '1.10': [/not ?found|unknown|not exist/i, 'there is no such recipient', MAILBOX],
  '4.1': [/denied|rejected/i, 'the receiving system denied access', OURS],
}

/**
 * Explains a code in plain words, with the party it concerns. Unregistered codes fall back to their subject (RFC 3463 section 3).
 * @param reply the reply's text: some systems use a code with another meaning.
 */
export function meaningOf(status: EnhancedStatus, reply = ''): StatusMeaning {
  const text = formatStatus(status)
  const [pattern, said, by] = OTHER_MEANINGS[`${status.subject}.${status.detail}`] ?? []
  if (pattern?.test(reply)) return { status: text, sentence: said as string, whose: by as Whose }
  const [sentence, whose] = REGISTRY[`${status.subject}.${status.detail}`] ??
    REGISTRY[`${status.subject}.0`] ?? ['an unregistered status code', SUBJECTS[status.subject] ?? 'unknown']
  return { status: text, sentence, whose }
}

/** All registered statuses, as `subject.detail`. */
export const REGISTERED: readonly string[] = Object.keys(REGISTRY)
