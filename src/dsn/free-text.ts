/** Bounces in free text: splits a mail into the notice and the returned original below it. */

import { readStatus } from '../bounce/index.js'
import type { Mail } from './mail.js'
import { embeddedOriginal, quotedOriginal, type Returned } from './original.js'
import type { Action, ParsedReport, ReportedRecipient } from './report.js'
import { addressesOf, timeOf } from './report-fields.js'

export interface Notice {
  /** The notice's lines, without the original below them. */
  readonly lines: readonly string[]
  /** The lines joined into one, in lower case, for phrase matching. */
  readonly lower: string
  readonly original: Returned
  /** `X-Failed-Recipients`, which Exim, Gmail and Mail.ru write. */
  readonly failedRecipients: readonly string[]
}

/** Lines read of a text: notices are short. */
const MAX_LINES = 2000
/** Longer lines are cut to this many characters. */
const MAX_LINE = 4000

/** Lines that separate the notice from the original, reduced to lower-case words. */
const SEPARATORS = new Set([
  'below is a copy of the original message',
  'below this line is a copy of the message',
  'below this line is the original bounce',
  'copy of your message including all the headers is attached',
  'enclosed is a copy of the message',
  'included is a copy of the message header',
  'message header follows',
  'message headers follow',
  'message text follows',
  'original mail as follows',
  'original message',
  'original message follows',
  'original message headers',
  'original message header',
  'original mail info',
  'original text',
  'returned message',
  'returned message follows',
  'the header of the original message is following',
  'the original message follows',
  'this is a copy of the message including all the headers',
  'this is a copy of the headers of the original message',
  'this is a copy of your message including all the headers',
  'unsent message follows',
  'unsent message below',
])

const HEADER =
  /^[ >]{0,4}(?:from|to|date|subject|message-id|received|return-path|mime-version|delivered-to|dkim-signature|x-[a-z0-9-]{1,40}|content-type|arc-[a-z-]{1,30}|domainkey-signature|sender|reply-to)\s{0,3}:/i
/** Each separator line has one of these words: a cheap check before the full one. */
const ANNOUNCING = /original|copy|header|message|bounce/i
const FIRST_HEADER = /^(?:received|return-path|x-originating-ip|dkim-signature|x-google-[a-z-]{1,30})\s{0,3}:/i

const notices = new WeakMap<Mail, Notice>()

/** Splits the text of a mail into notice and original; cached for the other parsers. */
export function noticeOf(mail: Mail): Notice {
  const known = notices.get(mail)
  if (known !== undefined) return known
  const notice = splitNotice(mail)
  notices.set(mail, notice)
  return notice
}

function splitNotice(mail: Mail): Notice {
  const text = mail.parts.find((p) => p.type === 'text/plain')?.text() ?? ''
  const all = text.split(/\r?\n/, MAX_LINES).map((line) => (line.length > MAX_LINE ? line.slice(0, MAX_LINE) : line))
  const [end, at] = split(all)
  const lines = all.slice(0, end)
  let original: Returned | undefined
  return {
    lines,
    lower: lines.join(' ').replace(/\s+/g, ' ').toLowerCase(),
    get original() {
      original ??= originalBehind(mail, all.slice(at))
      return original
    },
    failedRecipients: mail.fields.all('x-failed-recipients').flatMap(addressesOf).slice(0, 1000),
  }
}

function originalBehind(mail: Mail, lines: readonly string[]): Returned {
  const embedded = embeddedOriginal(mail)
  if (embedded.returned !== 'none' || embedded.messageId !== undefined) return embedded
  const behind = mail.parts
    .filter((p) => p.type.startsWith('text/'))
    .slice(1)
    .map((p) => p.text())
    .filter((t) => FIRST_HEADER.test(t.trimStart()))
  return [lines.join('\n'), ...behind].map(quotedOriginal).find((o) => o.returned !== 'none') ?? { returned: 'none', to: [] }
}

/** Indexes of the lines where the notice ends and the original begins; both are the line count if there is no original. */
function split(lines: readonly string[]): readonly [number, number] {
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i] as string
    if (FIRST_HEADER.test(line) && i > 0 && /^[\s-]{0,200}$/.test(lines[i - 1] as string)) return [i, i]
    if (!ANNOUNCING.test(line)) continue
    const words = line
      .toLowerCase()
      .replace(/[^a-z]+/g, ' ')
      .trim()
    const offset = lines.slice(i + 1, i + 5).findIndex((l) => /\w/.test(l))
    const next = offset < 0 ? undefined : lines[i + 1 + offset]
    const announces = /original message|copy of|headers?\b/.test(words) && words.length < 100 && next !== undefined && HEADER.test(next)
    if (SEPARATORS.has(words) || announces) return [i, i + 1 + Math.max(offset, 0)]
  }
  return [lines.length, lines.length]
}

/** Phrases that mean the reporting system keeps retrying. */
const STILL_TRYING = [
  'has been delayed',
  'not yet been delivered',
  'this is a warning message only',
  'delivery attempts will continue',
  'you do not need to resend',
]

/** A recipient with the reason that the notice gives for it. */
export interface Found {
  readonly recipient: string
  readonly originalRecipient?: string
  readonly reason: string
  readonly remoteMta?: string
}

/** Builds the report from a notice and the recipients found in it; null if none of them failed. */
export function reportFromNotice(mail: Mail, notice: Notice, found: readonly Found[]): ParsedReport | null {
  // notices may list delivered recipients in the same form
  const failed = found.filter(({ reason }) => !/\b250 2\.\d\.\d\b/.test(reason))
  if (failed.length === 0) return null
  const action: Action = STILL_TRYING.some((words) => notice.lower.includes(words)) ? 'delayed' : 'failed'
  const { to: _, ...returned } = notice.original
  const date = timeOf(mail.fields.first('date'))
  const reportingMta = /(?:program at host|program at|mail agent v[\d.]{1,10} at|mail system at host) ([a-z0-9.-]{1,253}[a-z0-9])/.exec(
    notice.lower,
  )?.[1]
  return {
    kind: 'bounce',
    recipients: failed.map((one) => recipientOf(one, action)),
    ...returned,
    ...(reportingMta === undefined ? {} : { reportingMta }),
    ...(date === undefined ? {} : { date }),
  }
}

function recipientOf({ recipient, originalRecipient, reason, remoteMta }: Found, action: Action): ReportedRecipient {
  const host = remoteMta ?? remoteMtaIn(reason)
  return {
    recipient,
    ...(originalRecipient === undefined ? {} : { originalRecipient }),
    action,
    ...readStatus(undefined, reason, action === 'failed'),
    ...(reason === '' ? {} : { diagnostic: reason }),
    ...(host === undefined ? {} : { remoteMta: host }),
  }
}

const REMOTE = [
  /\bhost ((?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,63}) ?\[/i,
  /\b(?:talking to|server|by) ([a-z0-9.-]{1,253}\.[a-z]{2,63})\.?(?: ?\[|[:,. ]|$)/i,
  /^([a-z0-9.-]{1,253}\.[a-z]{2,63}) \[/i,
]

/** The host that gave the reply, if the text names it. */
export function remoteMtaIn(text: string): string | undefined {
  for (const pattern of REMOTE) {
    const host = pattern.exec(text)?.[1]
    if (host !== undefined) return host.toLowerCase()
  }
  return undefined
}

/** Joins folded lines into one. */
export const joined = (lines: readonly string[]): string =>
  lines
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ')

/** An address as notices write it. */
export const ADDRESS = '[^\\s<>()\\[\\]:;,"\\\\@|]{1,64}@[^\\s<>()\\[\\]:;,"\\\\@|]{1,253}'
