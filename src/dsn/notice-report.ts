/** Builds a report from a notice, and from whom and what was found in it. */

import { quotedReply, readStatus } from '../bounce/index.js'
import type { Mail } from './mail.js'
import type { Notice } from './notice.js'
import { reportedOf } from './original.js'
import type { Action, ParsedReport, ReportedRecipient } from './report.js'
import { timeOf } from './report-fields.js'
import { saysDelivered, saysStillTrying } from './words.js'

/** A recipient with the reason that the notice gives for it. */
export interface Found {
  readonly recipient: string
  readonly originalRecipient?: string
  readonly reason: string
  readonly remoteMta?: string
}

/** What notices say of a recipient that accepted the message. */
const ACCEPTED = /^\W{0,3}(?:delivered|sent)\b|\b250[ -](?:2\.\d{1,3}\.\d{1,3}|ok)\b|successfully delivered/i

/** Builds the report from a notice and the recipients found in it; null if none of them failed. */
export function reportFromNotice(mail: Mail, notice: Notice, found: readonly Found[]): ParsedReport | null {
  // notices may list delivered recipients in the same form
  const failed = found.filter(({ reason }) => !ACCEPTED.test(reason) || quotedReply(reason) !== null)
  if (failed.length === 0 || (saysDelivered(notice.lower) && failed.every(({ reason }) => quotedReply(reason) === null))) return null
  const action: Action = saysStillTrying(notice.lower, mail.fields.first('subject') ?? '') ? 'delayed' : 'failed'
  const date = timeOf(mail.fields.first('date'))
  const reportingMta =
    /(?:program at host|program at|mail agent v[\d.]{1,10} at|mail system at host|delivery agent at) ([a-z0-9.-]{1,253}[a-z0-9])/.exec(
      notice.lower,
    )?.[1]
  return {
    kind: 'bounce',
    recipients: failed.map((one) => recipientOf(one, action)),
    ...reportedOf(notice.original),
    ...(reportingMta === undefined ? {} : { reportingMta }),
    ...(date === undefined ? {} : { date }),
  }
}

function recipientOf({ recipient, originalRecipient, reason, remoteMta }: Found, ofNotice: Action): ReportedRecipient {
  // a permanent reply means that this recipient failed, also if the notice speaks of a delay
  const action = (quotedReply(reason)?.code ?? 0) >= 500 ? 'failed' : ofNotice
  const host = remoteMta ?? remoteMtaIn(reason)
  return {
    recipient,
    ...(originalRecipient === undefined ? {} : { originalRecipient }),
    action,
    ...(reason === ''
      ? { status: action === 'failed' ? '5.0.0' : '4.0.0', statusFrom: 'text' as const }
      : readStatus(undefined, reason, action === 'failed')),
    ...(reason === '' ? {} : { diagnostic: reason }),
    ...(host === undefined ? {} : { remoteMta: host }),
  }
}

const REMOTE = [
  /\bhost ((?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}) ?\[/i,
  /\b(?:talking to|server|by) ([a-z0-9.-]{1,253}\.[a-z]{2,63})\.?(?: ?\[|[:,. ]|$)/i,
  /\bserver <([a-z0-9.-]{1,253}\.[a-z]{2,63})>/i,
  /\b(?:mailer|host:?) ((?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}) (?:said|rejected|refused|[245]\d\d|[245]\.\d)/i,
  /^([a-z0-9.-]{1,253}\.[a-z]{2,63}) (?:\[|rejected|said|refused)/i,
]

/** The host that gave the reply, if the text names it. */
export function remoteMtaIn(text: string): string | undefined {
  for (const pattern of REMOTE) {
    const host = pattern.exec(text)?.[1]
    if (host !== undefined) return host.toLowerCase()
  }
  return undefined
}
