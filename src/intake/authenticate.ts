/**
 * Authenticates reports, which are untrusted input. A report is authentic if it came to a return path that we signed, or if our own mail
 * system generated it and delivered it to an intake that only that system reaches. A known Message-ID and recipient prove nothing: every
 * recipient has both.
 */
import { getDomain } from 'tldts'
import { addressKey, foldDomain, messageIdKey } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import { isWithin, type VerifiedToken, verifyReturnPath } from '../delivery/index.js'
import type { ParsedReport, ReportedRecipient } from '../dsn/index.js'
import { type Database, findSent, type Sent, storeId, storeNumber, wasSent } from '../store/index.js'

/** The envelope of an incoming mail. */
export interface Envelope {
  /** Envelope recipients from the delivering mail system, never from a To field. */
  readonly recipients: readonly string[]
  /** Empty for the null sender; null if it is not known. */
  readonly sender: string | null
}

/** The settings that authentication needs. */
export type AuthenticationSettings = Pick<Settings, 'returnPaths' | 'ownHosts'> & { readonly isTrusted: boolean }

/** A return path that is proven to be ours. */
export interface ProvenReturnPath {
  readonly cameTo: string
  readonly token: VerifiedToken
  readonly sent: Sent
}

/** Why no recipient address is a return path that we know. */
export interface RefusedReturnPath {
  readonly refused: string
  /** We signed it, and its message is in another store: with the right database it would be authentic. */
  readonly isOfAnotherStore?: boolean
}

/** The first recipient address that is a return path of ours; else why the last one was refused. */
export async function provenReturnPath(
  settings: AuthenticationSettings,
  database: Database,
  recipients: readonly string[],
  now: Date,
): Promise<ProvenReturnPath | RefusedReturnPath> {
  if (settings.returnPaths === null) return { refused: 'no returnPath.keys are set, so that no return path can be known for ours' }
  let refusal: RefusedReturnPath = { refused: 'nobody said which return path it came to' }
  for (const cameTo of recipients) {
    const token = verifyReturnPath(settings.returnPaths, cameTo, now)
    if ('refused' in token) refusal = { refused: token.refused }
    else {
      const sent = await findSent(database.db, token.id)
      if (sent !== null) return { cameTo, token, sent }
      refusal = await explainMissingSend(token, database)
    }
  }
  return refusal
}

async function explainMissingSend({ store }: VerifiedToken, database: Database): Promise<RefusedReturnPath> {
  const own = await storeId(database)
  if (store === undefined || store === storeNumber(own))
    return { refused: 'its return path is ours, but its message is no longer kept: it is older than store.messageRetention' }
  return {
    refused: `its return path is ours, but its message is in another store: it was sent with another database.url than that of this intake (store ${own}, ${database.place})`,
    isOfAnotherStore: true,
  }
}

/** A report's entry for the recipient that its return path identifies. */
export interface ReportMatch {
  readonly reported: ReportedRecipient
  /** The entry is about that very address, not about a member of an alias or list, nor a forwarding target. */
  readonly isItself: boolean
}

/**
 * Finds a report's entry for the recipient that its return path identifies, or the reason why there is none.
 * @param isOurs our own mail system generated the report: then its `Remote-MTA` is trusted.
 */
export function recordFor(sent: Sent, notification: ParsedReport, isOurs: boolean): ReportMatch | { readonly refused: string } {
  const { recipients } = notification
  const itself = recipients.find((r) => sameAddress(r.recipient, sent.recipient))
  const named = itself ?? recipients.find((r) => sameAddress(r.originalRecipient, sent.recipient))
  const [only, more] = recipients
  if (only === undefined) return { refused: 'it names no recipient' }
  if (named === undefined && more !== undefined)
    return { refused: `it names ${recipients.length} recipients, and none of them is the one that its return path stands for` }
  const { remoteMta, ...reported } = named ?? only
  // a list member's or forwarding target's host belongs to another destination; and a foreign report must not affect routing
  const isCredible = itself !== undefined && remoteMta !== undefined && (isOurs || sameSystem(remoteMta, sent.recipient))
  return { reported: isCredible ? { ...reported, remoteMta } : reported, isItself: itself !== undefined }
}

/** Whether a host is in the recipient's registrable domain. */
function sameSystem(remoteMta: string, recipient: string): boolean {
  const host = foldDomain(/^\s*([^\s;()[\],]{1,255})/.exec(remoteMta)?.[1] ?? '')
  const domain = host === null ? null : getDomain(host)
  return domain !== null && domain === getDomain(recipient.slice(recipient.lastIndexOf('@') + 1))
}

function sameAddress(given: string | undefined, key: string): boolean {
  try {
    return given !== undefined && addressKey(given) === key
  } catch {
    return false
  }
}

/** Why a report without a signed return path is not authenticated; null if our own mail system generated it. */
export function rejectUntrustedReport(
  settings: AuthenticationSettings,
  notification: ParsedReport,
  envelope: Envelope,
  received: readonly string[],
): string | null {
  if (!settings.isTrusted) return 'the intake is not declared trusted (intake.trusted)'
  if (envelope.sender !== null && envelope.sender !== '')
    return 'its envelope sender is not the null sender, so it is no notification (RFC 3464 2)'
  const { reportingMta } = notification
  if (reportingMta === undefined || !isWithin(reportingMta, settings.ownHosts))
    return `${reportingMta ?? 'a system without a name'} made it, which is not among ownHosts`
  if (received.length === 0) return 'it has no Received field: nothing shows where it came from'
  const outside = firstFromOutside(settings, received)
  return outside === undefined ? null : `it came from outside: Received: ${outside.slice(0, 200)}`
}

/**
 * Why the original in a report from our own mail system was not sent by us; null if it was. Anyone can forge our address as the sender
 * of a mail to our own system, whose report then comes to us: the original's Received fields, from the top, show a hop from outside
 * without authentication (RFC 3848: an A in the protocol's name).
 */
export function rejectUnsentMessage(settings: AuthenticationSettings, received: readonly string[]): string | null {
  if (received.length === 0) return 'nothing shows that the original was sent by us: it has no Received field'
  const outside = firstFromOutside(settings, received)
  if (outside === undefined || LOGGED_IN.test(protocolOf(outside))) return null
  return `the original came from outside: Received: ${outside.slice(0, 200)}`
}

const LOGGED_IN = /^(?:utf8)?(?:e?smtps?a|lmtps?a)$/i

/**
 * The protocol in a Received field, after the last `by HOST`. Ignores text that the client controls: quoted strings, comments,
 * addresses, and its HELO name.
 */
function protocolOf(received: string): string {
  const clauses = [...bare(received).matchAll(/\bby\s{1,9}\S{1,255}\s{1,9}(?:via\s{1,9}\S{1,255}\s{1,9})?with\s{1,9}(\S{1,99})/gi)]
  return clauses.at(-1)?.[1] ?? ''
}

/** Removes quoted strings, comments and text in angle brackets; returns an empty string if one of them is not closed. */
function bare(text: string): string {
  let left = ''
  let quoted = false
  let comments = 0
  let angle = false
  for (let at = 0; at < text.length; at += 1) {
    const c = text.charAt(at)
    if (c === '\\') at += 1
    else if (c === '"') quoted = !quoted
    else if (quoted) continue
    else if (c === '(') comments += 1
    else if (c === ')') comments = Math.max(0, comments - 1)
    else if (comments > 0) continue
    else if (c === '<') angle = true
    else if (c === '>') angle = false
    else if (!angle) left += c
  }
  return quoted || comments > 0 || angle ? '' : left
}

/** Whether, at a trusted intake, the Received fields show at least one hop, and only hops within our own systems. */
export const cameFromInside = (settings: AuthenticationSettings, received: readonly string[]): boolean =>
  settings.isTrusted && received.length > 0 && firstFromOutside(settings, received) === undefined

/** The topmost Received field that shows a hop from outside. */
const firstFromOutside = ({ ownHosts }: AuthenticationSettings, received: readonly string[]): string | undefined =>
  received.find((line) => !isFromInside(line, ownHosts))

/**
 * Whether a Received field (RFC 5321 4.4) shows a hop within our own systems: submitted on the host itself, or received from an address
 * of ours. Only the address counts, and only if the receiving system recorded it: the name before it is what the client sent in HELO,
 * and one beside it may come from anybody's reverse DNS.
 */
function isFromInside(received: string, ownHosts: readonly string[]): boolean {
  // `by …`, `(Postfix, from userid 1000)`, `(qmail 1 invoked by uid 0)`
  if (!/^\s*\(?from\s/i.test(received)) return true
  // Exim: submitted on its own host
  if (/^\s*from \S{1,255} by \S{1,255} with local\b/i.test(received)) return true
  // Sendmail: generated by itself
  if (/^\s*from localhost \(localhost\) by /i.test(received)) return true
  const address = handedOverBy(received)
  return address !== null && (address === 'local' || /^127\./.test(address) || address === '::1' || isWithin(address, ownHosts))
}

/** The client's address, as Postfix, Sendmail, OpenSMTPD, Exim, Exchange and qmail write it; null if it is uncertain. */
function handedOverBy(received: string): string | null {
  const match = /^\s*from\s{1,4}(\S{1,255})\s{1,4}\(([^()]{1,300})\)/i.exec(received)
  if (match === null) return null
  const [, first, within] = match as unknown as [string, string, string]
  // `name [address]`, or `[address] helo=…`
  const named =
    /^(?:(?:localhost|unknown|[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){1,20}\.?) )?\[(?:ipv6:)?([0-9a-f.:]{2,45}|local)\](?::\d{1,5})?(?: (?:helo|port|ident)=.*)?$/i.exec(
      within,
    )
  if (named !== null) return (named[1] as string).toLowerCase()
  // Exim without a name: `from [address] (helo=…)`
  if (/^(?:port=\d{1,5} )?helo=/i.test(within)) return /^\[([0-9a-f.:]{2,45})\](?::\d{1,5})?$/i.exec(first)?.[1]?.toLowerCase() ?? null
  // Exchange, qmail: `(address)`
  return /^(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})$/i.test(within) ? within.toLowerCase() : null
}

/**
 * Why a report from our own mail system is rejected for its recipient; null if it is not. If we sent the message, but not to this
 * recipient, the report is not about our mail.
 */
export async function rejectOtherRecipient(
  database: Database,
  messageId: string,
  recipient: string,
  sent: Sent | null,
): Promise<string | null> {
  if (sent !== null || !(await wasSent(database.db, messageIdKey(messageId)))) return null
  return `${recipient} was not a recipient of ${messageId}`
}
