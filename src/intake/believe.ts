/**
 * Whose bounce is it? A bounce is data from a stranger. It is believed where it came to a return path that carries our signature, or where
 * our own mail system made it and handed it to an intake that only that system reaches. A known Message-ID with a recipient is no proof:
 * every recipient knows both.
 */
import { addressKey, messageIdKey } from '../bounce/index.js'
import type { Settings } from '../config.js'
import type { Notification, ReportedRecipient } from '../dsn/index.js'
import { isWithin, type VerifiedToken, verifyReturnPath } from '../smtp/index.js'
import { type Database, findSent, type Sent, wasSent } from '../store/index.js'

/** How a mail came in. */
export interface Envelope {
  /** The recipients it came to, as the mail system that handed it over says: never those of a To field. */
  readonly recipients: readonly string[]
  /** Empty for the null sender; null where it is not known. */
  readonly sender: string | null
}

/** The settings that believing needs. */
export type BeliefSettings = Pick<Settings, 'returnPaths' | 'ownSystems'> & { readonly isTrusted: boolean }

/** A return path of ours, or why it is none. */
export interface ProvenReturnPath {
  readonly cameTo: string
  readonly token: VerifiedToken
  readonly sent: Sent
}

/** The return path among those that a mail came to that is ours; else the reason of the last one. */
export async function provenReturnPath(
  settings: BeliefSettings,
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

/** What a believed report says of the recipient that its return path names; or why it says nothing of that one. */
export function recordFor(sent: Sent, notification: Notification): ReportedRecipient | { readonly refused: string } {
  const { recipients } = notification
  const named = recipients.find((r) => sameAddress(r.originalRecipient, sent.recipient) || sameAddress(r.recipient, sent.recipient))
  if (named !== undefined) return named
  const [only, more] = recipients
  if (only === undefined) return { refused: 'it names no recipient' }
  if (more !== undefined)
    return { refused: `it names ${recipients.length} recipients, and none of them is the one that its return path stands for` }
  // where a forwarder's target failed, it speaks of another system than the recipient's
  const { remoteMta: _, ...rest } = only
  return rest
}

function sameAddress(given: string | undefined, key: string): boolean {
  try {
    return given !== undefined && addressKey(given) === key
  } catch {
    return false
  }
}

/** Why a report without a signed return path is not believed; null where our own mail system made it. */
export function whyNotOurs(
  settings: BeliefSettings,
  notification: Notification,
  envelope: Envelope,
  received: readonly string[],
): string | null {
  if (!settings.isTrusted) return 'the intake is not declared trusted (INTAKE_IS_TRUSTED)'
  if (envelope.sender !== null && envelope.sender !== '')
    return 'its envelope sender is not the null sender, so it is no notification (RFC 3464 2)'
  const { reportingMta } = notification
  if (reportingMta === undefined || !isWithin(reportingMta, settings.ownSystems))
    return `${reportingMta ?? 'a system without a name'} made it, which is not among OWN_SYSTEMS`
  const outside = received.find((line) => !isFromInside(line, settings.ownSystems))
  return outside === undefined ? null : `it came from outside: Received: ${outside.slice(0, 200)}`
}

/**
 * Why the original within a report of our own mail system was not sent by us; null where it was. Whoever writes our address as the sender
 * of a mail to our own system gets its report delivered to us: then the original's Received fields, from the top, show a step from outside
 * that nobody logged in for (RFC 3848: an A in the protocol's name).
 */
export function whyNotSentByUs(settings: BeliefSettings, received: readonly string[]): string | null {
  if (received.length === 0) return 'nothing shows that the original was sent by us: it has no Received field'
  for (const line of received) {
    if (isFromInside(line, settings.ownSystems)) continue
    if (/\bwith (?:utf8)?(?:e?smtps?a|lmtps?a)\b/i.test(line)) return null
    return `the original came from outside: Received: ${line.slice(0, 200)}`
  }
  return null
}

/** Whether a mail went through our own systems alone, as its Received fields show; and through one at least. */
export const cameFromInside = (settings: BeliefSettings, received: readonly string[]): boolean =>
  settings.isTrusted && received.length > 0 && received.every((line) => isFromInside(line, settings.ownSystems))

/**
 * Whether a Received field (RFC 5321 4.4) shows a step within our own systems: no `from` at all, or one whose verified name or address,
 * which stands in parentheses, is ours. The name in front of them is what the other side called itself.
 */
function isFromInside(received: string, ownSystems: readonly string[]): boolean {
  if (!/^\s*\(?from\s/i.test(received)) return true
  // `(Postfix, from userid 1000)`, `(qmail 1 invoked by uid 0)`: made on the machine itself
  const verified = /^\s*from\s{1,4}\S{1,255}\s{1,4}\(([^()]{1,300})\)/i.exec(received)?.[1]
  if (verified === undefined) return /^\s*from\s{1,4}localhost\s/i.test(received) && /\bwith (?:local|lmtp)\b/i.test(received)
  const address = /\[(?:ipv6:)?([0-9a-f.:]{2,45})\]/i.exec(verified)?.[1]
  const name = /^\s*([a-z0-9.-]{1,253})\s{0,4}\[/i.exec(verified)?.[1]
  if (address !== undefined && (/^127\./.test(address) || address === '::1' || isWithin(address, ownSystems))) return true
  return name !== undefined && name.toLowerCase() !== 'unknown' && isWithin(name, ownSystems)
}

/**
 * Why a report of our own mail system says nothing that is acted on; null where it does. A message that we sent had its own recipients: a
 * report of another one is none of ours.
 */
export async function whyNotItsRecipient(
  database: Database,
  messageId: string,
  recipient: string,
  sent: Sent | null,
): Promise<string | null> {
  if (sent !== null || !(await wasSent(database.db, messageIdKey(messageId)))) return null
  return `${recipient} was not a recipient of ${messageId}`
}
