/**
 * Does a report answer mail that we sent? It is data from a stranger. It is authenticated if it came to a return path with our signature, or
 * if our own mail system made it and handed it to an intake that only that system reaches. A known Message-ID with a recipient is no proof:
 * every recipient knows both.
 */
import { getDomain } from 'tldts'
import { addressKey, foldDomain, messageIdKey } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import { isWithin, type VerifiedToken, verifyReturnPath } from '../delivery/index.js'
import type { ParsedReport, ReportedRecipient } from '../dsn/index.js'
import { type Database, findSent, type Sent, wasSent } from '../store/index.js'

/** How a mail came in. */
export interface Envelope {
  /** The recipients it came to, as the mail system that handed it over says: never those of a To field. */
  readonly recipients: readonly string[]
  /** Empty for the null sender; null if it is not known. */
  readonly sender: string | null
}

/** The settings that authentication needs. */
export type AuthenticationSettings = Pick<Settings, 'returnPaths' | 'ownHosts'> & { readonly isTrusted: boolean }

/** A return path of ours, or why it is none. */
export interface ProvenReturnPath {
  readonly cameTo: string
  readonly token: VerifiedToken
  readonly sent: Sent
}

/** The return path among those that a mail came to that is ours; else the reason of the last one. */
export async function provenReturnPath(
  settings: AuthenticationSettings,
  database: Database,
  recipients: readonly string[],
  now: Date,
): Promise<ProvenReturnPath | { readonly refused: string }> {
  if (settings.returnPaths === null) return { refused: 'no RETURN_PATH_KEYS are set, so that no return path can be known for ours' }
  let refused = 'nobody said which return path it came to'
  for (const cameTo of recipients) {
    const token = verifyReturnPath(settings.returnPaths, cameTo, now)
    if ('refused' in token) refused = token.refused
    else {
      const sent = await findSent(database.db, token.id)
      if (sent !== null) return { cameTo, token, sent }
      refused = 'its return path is ours, and what was sent from it is no longer kept'
    }
  }
  return { refused }
}

/** What a report says of the recipient that its return path names. */
export interface ReportMatch {
  readonly reported: ReportedRecipient
  /** It speaks of that very address: not of a member of an alias or list, nor of where it was forwarded to. */
  readonly isItself: boolean
}

/**
 * What an authenticated report says of the recipient that its return path names; or why it says nothing of that one.
 * @param isOurs our own mail system made it: then the host that it names counts.
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
  // if a member's or a forwarder's target failed, the host is another destination's; and a stranger's report routes no mail
  const believed = itself !== undefined && remoteMta !== undefined && (isOurs || sameSystem(remoteMta, sent.recipient))
  return { reported: believed ? { ...reported, remoteMta } : reported, isItself: itself !== undefined }
}

/** Whether a host is of the recipient's own domain. */
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

/** Why a report without a signed return path is not authenticated; null if our own mail system made it. */
export function rejectUntrustedReport(
  settings: AuthenticationSettings,
  notification: ParsedReport,
  envelope: Envelope,
  received: readonly string[],
): string | null {
  if (!settings.isTrusted) return 'the intake is not declared trusted (INTAKE_IS_TRUSTED)'
  if (envelope.sender !== null && envelope.sender !== '')
    return 'its envelope sender is not the null sender, so it is no notification (RFC 3464 2)'
  const { reportingMta } = notification
  if (reportingMta === undefined || !isWithin(reportingMta, settings.ownHosts))
    return `${reportingMta ?? 'a system without a name'} made it, which is not among OWN_SYSTEMS`
  if (received.length === 0) return 'it has no Received field, so that nothing shows where it came from'
  const outside = firstFromOutside(settings, received)
  return outside === undefined ? null : `it came from outside: Received: ${outside.slice(0, 200)}`
}

/**
 * Why the original within a report of our own mail system was not sent by us; null if it was. Whoever writes our address as the sender
 * of a mail to our own system gets its report delivered to us: then the original's Received fields, from the top, show a step from outside
 * that nobody logged in for (RFC 3848: an A in the protocol's name).
 */
export function rejectUnsentMessage(settings: AuthenticationSettings, received: readonly string[]): string | null {
  if (received.length === 0) return 'nothing shows that the original was sent by us: it has no Received field'
  const outside = firstFromOutside(settings, received)
  if (outside === undefined || LOGGED_IN.test(protocolOf(outside))) return null
  return `the original came from outside: Received: ${outside.slice(0, 200)}`
}

const LOGGED_IN = /^(?:utf8)?(?:e?smtps?a|lmtps?a)$/i

/**
 * The protocol's name of a Received field: behind the last `by HOST`. Not where the sender may have written it: in a quoted string, a comment,
 * an address, or what it called itself.
 */
function protocolOf(received: string): string {
  const clauses = [...bare(received).matchAll(/\bby\s{1,9}\S{1,255}\s{1,9}(?:via\s{1,9}\S{1,255}\s{1,9})?with\s{1,9}(\S{1,99})/gi)]
  return clauses.at(-1)?.[1] ?? ''
}

/** Without quoted strings, comments and what stands in angle brackets; nothing if one of them does not close. */
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

/** Whether a mail went through our own systems alone, as its Received fields show; and through one at least. */
export const cameFromInside = (settings: AuthenticationSettings, received: readonly string[]): boolean =>
  settings.isTrusted && received.length > 0 && firstFromOutside(settings, received) === undefined

/** The first of the Received fields, from the top, that shows a step from outside. */
const firstFromOutside = ({ ownHosts }: AuthenticationSettings, received: readonly string[]): string | undefined =>
  received.find((line) => !isFromInside(line, ownHosts))

/**
 * Whether a Received field (RFC 5321 4.4) shows a step within our own systems: made on the machine itself, or handed over by an address that
 * is ours. Only the address counts, and only if the receiving system itself puts it: a name in front of it is what the other side called
 * itself, and one beside it may be anybody's reverse DNS.
 */
function isFromInside(received: string, ownHosts: readonly string[]): boolean {
  // `by …`, `(Postfix, from userid 1000)`, `(qmail 1 invoked by uid 0)`
  if (!/^\s*\(?from\s/i.test(received)) return true
  // Exim's word for what was submitted on its own machine
  if (/^\s*from \S{1,255} by \S{1,255} with local\b/i.test(received)) return true
  // Sendmail's own mail
  if (/^\s*from localhost \(localhost\) by /i.test(received)) return true
  const address = handedOverBy(received)
  return address !== null && (address === 'local' || /^127\./.test(address) || address === '::1' || isWithin(address, ownHosts))
}

/** The address of the other side, as Postfix, Sendmail, OpenSMTPD, Exim, Exchange and qmail write it; null if it stands nowhere for sure. */
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
 * Why a report of our own mail system says nothing that is acted on; null if it does. A message that we sent had its own recipients: a
 * report of another one is none of ours.
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
