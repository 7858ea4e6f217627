/** Reads the fields of a delivery status notification (RFC 3464 sections 2.2 and 2.3), in a part of their own or in a text. */

import { readStatus } from '../bounce/index.js'
import type { Mail } from './mail.js'
import { bare, type Returned, recipientsIn, reportedOf } from './original.js'
import type { Action, ParsedReport, ReportedRecipient } from './report.js'

export type Group = ReadonlyMap<string, string>

/** Characters and groups read of a report: enough for 1,000 recipients. */
const MAX_REPORT_LENGTH = 1024 * 1024
const MAX_GROUPS = 1001

/** Per-recipient fields: a group with any of them is a recipient's, even in a report that lost its empty lines. */
const OF_RECIPIENT = new Set(['original-recipient', 'final-recipient', 'action', 'status', 'remote-mta', 'diagnostic-code'])

/** The groups of fields, separated by empty lines: the first is about the message, each other about a recipient (section 2.1). */
export function groupsOf(report: string): Group[] {
  const found: Map<string, string>[] = []
  let fields: Map<string, string> | null = null
  let last = ''
  for (const line of report.slice(0, MAX_REPORT_LENGTH).split(/\r?\n/)) {
    if (line.trim() === '') {
      fields = null
      last = ''
      continue
    }
    // folded, or a fold that lost its space behind `rfc822;`; what an empty line separates from its field continues nothing
    if (/^[ \t]/.test(line) || (!line.includes(':') && fields?.get(last)?.endsWith(';') === true)) {
      if (last !== '') fields?.set(last, `${fields.get(last) ?? ''} ${line.trim()}`)
      continue
    }
    const colon = line.indexOf(':')
    last = /^[A-Za-z0-9-]{1,60}$/.test(line.slice(0, Math.max(colon, 0)).trim()) ? line.slice(0, colon).trim().toLowerCase() : ''
    // a second Final-Recipient begins the next recipient, where the empty line between them was lost
    if (fields === null || (last === 'final-recipient' && fields.has(last))) {
      if (found.length >= MAX_GROUPS) break
      fields = new Map()
      found.push(fields)
    }
    // the first field of a name counts
    if (last !== '' && !fields.has(last)) fields.set(last, line.slice(colon + 1).trim())
    else last = ''
  }
  return found
}

/** Builds a report from groups of fields. */
export function reportOfFields(mail: Mail, groups: readonly Group[], original: Returned): ParsedReport {
  const ofMessage = groups.find((g) => g.has('reporting-mta') || g.has('arrival-date') || g.has('original-envelope-id')) ?? groups[0]
  const returned = reportedOf(original)
  // a report may name a mailbox file or a route instead of the address: then use the message's only recipient
  const failed = mail.fields.first('x-failed-recipients')
  const only = (): readonly string[] => (failed === undefined ? recipientsIn(original.header) : addressesOf(failed))
  const reportingMta = withoutType(ofMessage?.get('reporting-mta'))
  const sender = withoutType(ofMessage?.get('x-postfix-sender')) ?? returned.sender
  const arrivalDate = timeOf(ofMessage?.get('arrival-date'))
  const date = timeOf(mail.fields.first('date'))
  return {
    kind: 'bounce',
    recipients: ofRecipients(groups)
      .map((g) => recipientOf(g, only))
      .filter((r) => r !== null),
    ...belowTheReport(groups),
    ...returned,
    ...(reportingMta === undefined ? {} : { reportingMta }),
    ...(sender === undefined ? {} : { sender }),
    ...(date === undefined ? {} : { date }),
    ...(arrivalDate === undefined ? {} : { arrivalDate }),
  }
}

/**
 * The groups about recipients. Where empty lines separate the fields of one recipient, too, a group that names none continues the one
 * before, unless that has such a field already.
 */
function ofRecipients(groups: readonly Group[]): Group[] {
  const found: Group[] = []
  for (const group of groups) {
    const names = [...group.keys()]
    if (!names.some((name) => OF_RECIPIENT.has(name))) continue
    const last = found.at(-1)
    const continues = !group.has('final-recipient') && !group.has('original-recipient') && !names.some((name) => last?.has(name))
    if (last !== undefined && continues) found[found.length - 1] = new Map([...last, ...group])
    else found.push(group)
  }
  return found
}

/** The original's fields, if a wrong MIME boundary made its part run into the report. */
function belowTheReport(groups: readonly Group[]): Pick<ParsedReport, 'messageId' | 'sender'> {
  const group = groups.findLast((g) => g.has('message-id'))
  const messageId = bare(group?.get('message-id'))
  const sender = addressOf(group?.get('return-path'))
  return { ...(messageId === undefined ? {} : { messageId }), ...(sender === undefined ? {} : { sender }) }
}

/** `a@example.org, b@example.org`, as X-Failed-Recipients has them. */
export function addressesOf(list: string): string[] {
  return list
    .split(',', 1001)
    .map(addressOf)
    .filter((a) => a !== undefined && !/\s/.test(a)) as string[]
}

const ACTIONS: readonly Action[] = ['failed', 'delayed', 'delivered', 'relayed', 'expanded']

/** Nonstandard values of `Action` (an `X-` value is classified by its status). */
const OTHER_ACTIONS: Readonly<Record<string, Action>> = { failure: 'failed', error: 'failed', expired: 'failed', deferred: 'delayed' }

function actionOf(field: string | undefined, status: string | undefined): Action | null {
  const word = (field ?? '').split(/[\s;(]/, 1)[0]?.toLowerCase() ?? ''
  const known = ACTIONS.find((a) => a === word) ?? OTHER_ACTIONS[word]
  if (known !== undefined) return known
  // missing or unknown: only a class 4 or 5 status shows a failure
  return status === undefined || status.startsWith('2') ? null : 'failed'
}

const onlyOf = ([first, more]: readonly string[]): string | undefined => (more === undefined ? first : undefined)

function recipientOf(fields: Group, only: () => readonly string[]): ReportedRecipient | null {
  const final = addressOf(fields.get('final-recipient'))
  const original = xtextAddressOf(fields.get('original-recipient'))
  const recipient = final ?? original ?? onlyOf(only())
  const diagnostic = withoutType(fields.get('diagnostic-code'))
  const status = readStatus(fields.get('status'), diagnostic, !/^(?:delayed|deferred)/i.test(fields.get('action') ?? ''))
  const action = actionOf(fields.get('action'), status.status)
  if (recipient === undefined || action === null) return null
  const remoteMta = withoutType(fields.get('remote-mta'))
  const lastAttemptAt = timeOf(fields.get('last-attempt-date'))
  const willRetryUntil = timeOf(fields.get('will-retry-until'))
  return {
    recipient,
    ...(original === undefined || original.toLowerCase() === recipient.toLowerCase() ? {} : { originalRecipient: original }),
    action,
    ...status,
    ...(diagnostic === undefined ? {} : { diagnostic }),
    ...(remoteMta === undefined ? {} : { remoteMta }),
    ...(lastAttemptAt === undefined ? {} : { lastAttemptAt }),
    ...(willRetryUntil === undefined ? {} : { willRetryUntil }),
  }
}

/** `dns; mx.example.org` -> `mx.example.org`; a value without a type stays as it is. */
export function withoutType(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  const semicolon = value.indexOf(';')
  const text = (semicolon >= 0 && /^[A-Za-z0-9-]{1,30}\s*$/.test(value.slice(0, semicolon)) ? value.slice(semicolon + 1) : value).trim()
  return text === '' ? undefined : text
}

/** The same fields from another source than a mail, such as a provider's webhook. */
export interface RecipientFields {
  readonly recipient: string
  readonly action: Action
  readonly status?: string | undefined
  readonly diagnostic?: string | undefined
  readonly remoteMta?: string | undefined
  readonly at?: Date | undefined
  readonly until?: Date | undefined
}

/** Reads them by the same rules as the fields of a report. */
export function readReported(fields: RecipientFields): ReportedRecipient {
  const diagnostic = withoutType(fields.diagnostic)
  return {
    recipient: fields.recipient,
    action: fields.action,
    // the reply to a delivered message is kept as text; its codes do not count
    ...(fields.action === 'delivered' ? { status: '2.0.0' } : readStatus(fields.status, diagnostic, fields.action === 'failed')),
    ...(diagnostic === undefined ? {} : { diagnostic }),
    ...(fields.remoteMta === undefined ? {} : { remoteMta: fields.remoteMta }),
    ...(fields.at === undefined ? {} : { lastAttemptAt: fields.at }),
    ...(fields.until === undefined ? {} : { willRetryUntil: fields.until }),
  }
}

/** Without stray brackets, quotation marks and punctuation around it. */
function withoutStray(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const begun = text.includes('"') ? text.trim() : text.replace(/^[<\s']{1,9}/, '')
  let end = begun.length
  while (end > 0 && "> \t,;.'|".includes(begun.charAt(end - 1))) end -= 1
  return begun.slice(0, end)
}

/** A pipe, a file, or whatever else holds a space outside quotation marks (RFC 5322 3.4.1). */
const NO_ADDRESS = /^[@|/\\]|^[^"]{0,998}\s/

/** The address of `rfc822; ann@example.org` or `utf-8; …`; UTF-8 escapes (RFC 6533 3) are decoded. */
export function addressOf(value: string | undefined): string | undefined {
  const text = withoutType(value)
  const address = withoutStray(/<([^<>]{1,998})>/.exec(text ?? '')?.[1] ?? text?.replace(/\s\([^()]{0,200}\)$/, ''))
  if (address === undefined || address.lastIndexOf('@') < 1 || address.length > 998 || NO_ADDRESS.test(address)) return undefined
  return address.replace(/\\x\{([0-9A-Fa-f]{2,6})\}/g, (whole, hex) => {
    const code = Number.parseInt(hex, 16)
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })
}

/** The same for Original-Recipient, whose + and = are encoded as xtext (RFC 3461 4). */
const xtextAddressOf = (value: string | undefined): string | undefined => addressOf(value?.replace(/\+2B/g, '+').replace(/\+3D/g, '='))

/** Parses a date; undefined if it is invalid. */
export function timeOf(value: string | undefined): Date | undefined {
  const at = value === undefined || value.length > 100 ? Number.NaN : Date.parse(value)
  return Number.isNaN(at) ? undefined : new Date(at)
}
