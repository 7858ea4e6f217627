/** Splits a mail into the notice that a mail system wrote and the returned original below it. */

import { textOfHtml } from './html.js'
import type { Mail, Part } from './mail.js'
import { embeddedOriginal, holdsOriginal, NO_ORIGINAL, quotedOriginal, type Returned } from './original.js'
import { addressesOf } from './report-fields.js'

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

/** A field that a message's header has, perhaps quoted or indented. */
const FIELD =
  /^[ >\t]{0,4}(received|return-path|message-id|from|to|date|subject|mime-version|content-type|dkim-signature|domainkey-signature|delivered-to|sender|reply-to|cc|x-[a-z0-9-]{1,40}|arc-[a-z-]{1,30}|user-agent|content-transfer-encoding|list-[a-z-]{1,20}|references|in-reply-to|received-spf|authentication-results)[ \t]{0,3}:/i
/** Any field at all, as a header may have between those. */
const ANY_FIELD = /^[ >\t]{0,4}[A-Za-z][A-Za-z0-9-]{1,60}:/
/** Fields that no summary in a notice shows: with one of them, a block is the original's header. */
const ENVELOPE = new Set(['received', 'return-path', 'message-id', 'dkim-signature', 'mime-version', 'content-type'])

/** A line that announces the original, reduced to lower-case words. */
const ANNOUNCES =
  /\b(?:original|returned|unsent|undelivered|bounced|rejected) (?:bounce|e ?mail|mail|message|text)\b|\bcop(?:y|ies) of\b|\b(?:message|mail|headers?|text|lines of the message) follows?\b|\bheaders? of the\b|\bmessage headers?\b|\bbelow this line\b|\bmessage body follows\b/
/** Each such line has one of these words: a cheap check before the full one. */
const MAY_ANNOUNCE = /returned|message|mail|text|cop[yi]|header|below/i
const lettersOf = (line: string): string =>
  line
    .toLowerCase()
    .replace(/[^a-z]+/g, ' ')
    .trim()
/** A line that is decorated: `----- Original message -----`. */
const DECORATED = /^[-=_*#|<>+~]{2}|[-=_*#|<>+~]{2}$/
const isDecorated = (line: string): boolean => DECORATED.test(line.trim())

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
  const all = textOf(mail)
    .replaceAll('\r\n', '\n')
    // a soft line break of quoted-printable that nobody declared
    .replaceAll('=\n@', '@')
    .split('\n', MAX_LINES)
    .map((line) => (line.length > MAX_LINE ? line.slice(0, MAX_LINE) : line))
  const [end, at] = split(all)
  const lines = all.slice(0, end)
  let original: Returned | undefined
  return {
    lines,
    lower: lines
      .join(' ')
      .toLowerCase()
      .replace(/\s{2,}|[\t\r\n]/g, ' '),
    get original() {
      original ??= originalBehind(mail, all.slice(at))
      return original
    },
    failedRecipients: mail.fields.all('x-failed-recipients').flatMap(addressesOf).slice(0, 1000),
  }
}

/**
 * The texts before the original, one below the other: plain ones, or HTML if there is no plain one. If the original stands first, the
 * texts behind it.
 */
function textOf(mail: Mail): string {
  const at = mail.parts.findIndex((p) => isOriginal(p))
  const before = at < 0 ? mail.parts : mail.parts.slice(0, at)
  return textOfParts(before) || (at < 0 ? '' : textOfParts(mail.parts.slice(at + 1)))
}

function textOfParts(parts: readonly Part[]): string {
  const plain = textsOf(parts, 'text/plain')
  return plain.trim() === '' ? textsOf(parts, 'text/html') : plain
}

const MAX_TEXTS = 5
const textsOf = (parts: readonly Part[], type: string): string =>
  parts
    .filter((p) => p.type === type)
    .slice(0, MAX_TEXTS)
    .map((p) => (type === 'text/html' ? textOfHtml(p.text()) : p.text()))
    .join('\n\n')

/** A part that is the original, or begins with its header. */
function isOriginal(part: Part): boolean {
  if (holdsOriginal(part.type)) return true
  if (!(part.type.startsWith('text/') || part.type === 'application/octet-stream') || !FIELD.test(part.text().trimStart().slice(0, 200)))
    return false
  return headerAt(part.text().trimStart().slice(0, 8000).split(/\r?\n/, 60), 0) === 'original'
}

function originalBehind(mail: Mail, lines: readonly string[]): Returned {
  const embedded = embeddedOriginal(mail)
  if (embedded.returned !== 'none' || embedded.messageId !== undefined) return embedded
  const texts = mail.parts.filter((p) => isOriginal(p)).map((p) => p.text())
  return [lines.join('\n'), ...texts].map(quotedOriginal).find((o) => o.returned !== 'none') ?? NO_ORIGINAL
}

/** Indexes of the lines where the notice ends and the original begins; both are the line count if there is no original. */
function split(lines: readonly string[]): readonly [number, number] {
  let inHeader = false
  for (let i = 0; i < lines.length; i += 1) {
    const line = lines[i] as string
    const begins: boolean = !inHeader && line.includes(':') && FIELD.test(line)
    inHeader = begins || (inHeader && line.trim() !== '')
    if (begins && i > 0 && headerAt(lines, i) === 'original') return [i, i]
    const from = announced(lines, i)
    if (from !== null) return [i, from]
  }
  return [lines.length, lines.length]
}

/** If a line announces the original, the index of the line where that begins; else null. */
function announced(lines: readonly string[], i: number): number | null {
  const line = (lines[i] as string).trim()
  if (line === '' || line.length > 120) return null
  const decorated = DECORATED.test(line)
  const words = MAY_ANNOUNCE.test(line) ? lettersOf(line) : ''
  const speaks = words !== '' && words.length < 100 && ANNOUNCES.test(words)
  if (!decorated && !speaks && !line.endsWith(':')) return null
  let next = i + 1
  const between = decorated ? isBetween : isEmpty
  while (next < lines.length && next < i + 9 && between(lines[next] as string)) next += 1
  if (FIELD.test(lines[next] ?? '')) {
    const header = headerAt(lines, next)
    if (header === 'original' || (header === 'summary' && (decorated || speaks))) return next
    return speaks && words.length < 60 ? next : null
  }
  return speaks && decorated ? i + 1 : null
}

const isEmpty = (line: string): boolean => line.trim() === ''

/** A line that may stand between the announcement and the original. */
const isBetween = (line: string): boolean => isEmpty(line) || isDecorated(line)

/**
 * What the block of fields that begins at a line is: the header of an original, a summary of one (From, To and Subject alone), or
 * neither.
 */
function headerAt(lines: readonly string[], from: number): 'original' | 'summary' | null {
  const names = new Set<string>()
  let indented = 0
  let fields = 0
  for (let i = from; i < lines.length && i < from + 60; i += 1) {
    const line = lines[i] as string
    if (line.trim() === '' || line.trim() === '>') break
    const name = FIELD.exec(line)?.[1]?.toLowerCase()
    if (name !== undefined) {
      names.add(name)
      fields += 1
      if (/^[ \t]/.test(line)) indented += 1
    } else if (!ANY_FIELD.test(line) && !/^[> ]{0,4}[ \t]/.test(line)) break
  }
  const enveloped = [...names].filter((name) => ENVELOPE.has(name)).length
  // an indented block is a summary within the notice
  if (names.has('received') || (names.has('return-path') && names.size >= 2)) return 'original'
  if (enveloped > 0 && names.size >= 3 && indented < fields) return 'original'
  return names.size >= 2 ? 'summary' : null
}
