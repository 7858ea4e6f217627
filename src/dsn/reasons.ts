/** What a notice says about each recipient: the text behind or below its address, or what it says once for all. */

import { quotedReply, statusOfWords } from '../bounce/index.js'
import type { Mention } from './candidates.js'
import type { Notice } from './notice.js'
import { type Choice, type Chosen, LISTED } from './recipients.js'

/** Lines of a reason, and characters. */
const MAX_LINES = 60
const MAX_REASON = 2000

/** Lines that only announce the reason. */
const LABEL = /^\s*(?:reason|error|the reason was|for the following reason|diagnostic code|remote host said)\s*:\s*$/i
const FORWARDED = /^\s{0,12}\(?(?:ultimately )?(?:generated (?:from|by)|expanded from)/i

/**
 * The reason of each recipient, in their order. The text behind and below its address counts first; then what stands below or above all
 * recipients. A text with a reply counts before one whose words only mean a status.
 */
export function reasonsOf(notice: Notice, { chosen, mentions }: Choice): string[] {
  const { lines } = notice
  const named = new Named(chosen, mentions)
  const first = named.marks[0] ?? lines.length
  const last = named.marks.at(-1) ?? -1
  const around = [...paragraphsOf(lines, last + 1, lines.length), ...paragraphsOf(lines, 0, first)].map((p) => ({
    ...p,
    names: named.in(p),
  }))
  const common = around.filter((p) => p.names.size === 0).map((p) => p.text)
  // the same for all, so that it is looked for once
  let found: string | null | undefined
  const said = (): string | undefined => {
    if (found === undefined) found = firstWithStatus(common) ?? null
    return found ?? undefined
  }
  return chosen.map(({ recipient, mentions: places }) => {
    const own = places.map((mention) => ownReason(lines, mention, named.nextMark(mention.line) ?? lines.length))
    // what stands below the last one belongs to all
    const below = places.flatMap(({ line }) => paragraphsOf(lines, line + 1, named.nextMark(line) ?? line + 1))
    const mine = around.filter(({ names }) => names.size === 1 && names.has(recipient.toLowerCase()))
    const near = [...own, ...[...below, ...mine].map((p) => p.text)].filter((text) => text !== '')
    // of several recipients, one with a reason of its own never takes over what is said of another
    if (near.length > 0 && named.several) return cut(firstWithStatus(near) ?? (near[0] as string))
    const whole = named.several ? undefined : firstWithStatus([joined(lines)])
    return cut(firstWithStatus(near) ?? said() ?? whole ?? near[0] ?? common[0] ?? '')
  })
}

/** Which lines name which recipients: a reason ends where another recipient's begins. */
class Named {
  /** Lines where the reason of a recipient begins, in order. */
  readonly marks: readonly number[]
  readonly several: boolean
  readonly #byLine = new Map<number, Set<string>>()

  constructor(chosen: readonly Chosen[], mentions: readonly Mention[]) {
    const own = new Set(chosen.map(({ recipient }) => recipient.toLowerCase()))
    const others = mentions.filter((m) => LISTED.includes(m.form) && m.excludedBecause === undefined && !own.has(m.address.toLowerCase()))
    const recipients = new Set([...own, ...others.map((m) => m.address.toLowerCase())])
    this.several = recipients.size > 1
    this.marks = [...new Set([...chosen.flatMap((c) => c.mentions), ...others].map((m) => m.line))].sort((a, b) => a - b)
    for (const { address, line } of mentions) {
      const key = address.toLowerCase()
      if (recipients.has(key)) this.#byLine.set(line, (this.#byLine.get(line) ?? new Set()).add(key))
    }
  }

  nextMark(line: number): number | undefined {
    return this.marks.find((mark) => mark > line)
  }

  /** The recipients that a paragraph names. */
  in({ from, to }: Paragraph): ReadonlySet<string> {
    const found = new Set<string>()
    for (let line = from; line < to; line += 1) for (const key of this.#byLine.get(line) ?? []) found.add(key)
    return found
  }
}

/** A paragraph as one line, and the lines (from, to) that it takes. */
interface Paragraph {
  readonly text: string
  readonly from: number
  readonly to: number
}

/** The paragraphs between two lines; a line that only announces what follows belongs to the next. */
function paragraphsOf(lines: readonly string[], from: number, to: number): Paragraph[] {
  const found: Paragraph[] = []
  let begin = from
  let announces = false
  for (let i = from; i <= to; i += 1) {
    const line = (lines[i] ?? '').trim()
    if (line !== '') announces = line.endsWith(':')
    if (i < to && (line !== '' || announces)) continue
    const text = joined(lines.slice(begin, i))
    if (text !== '') found.push({ text, from: begin, to: i })
    begin = i + 1
  }
  return found
}

/** The first text that tells the reason: one with a reply, or else one whose words mean a specific status. */
const firstWithStatus = (texts: readonly string[]): string | undefined =>
  texts.find((text) => quotedReply(text) !== null) ?? texts.find(meansAStatus)

const meansAStatus = (text: string): boolean => (statusOfWords(text, true) ?? '5.0.0') !== '5.0.0'

/** The text behind the address, and the lines below it up to an empty one. */
function ownReason(lines: readonly string[], { form, textAfter, line }: Mention, next: number): string {
  const isSentence = form !== 'alone' && form !== 'line start'
  const begin = isSentence
    ? (lines[line] as string)
    : form === 'line start'
      ? textAfter.replace(/^[>"'”’»\])\s]{0,6}[:;,(]?\s{0,9}/, '')
      : ''
  const paragraph = [begin]
  let begun = begin.trim() !== ''
  for (const text of lines.slice(line + 1, Math.min(next, line + MAX_LINES))) {
    if (text.trim() === '') {
      // below `<ann@example.org>:` the reason may follow an empty line
      if (begun || form === 'alone') break
    } else if (!LABEL.test(text) && !FORWARDED.test(text)) {
      paragraph.push(text)
      begun = true
    }
  }
  return withoutBrackets(joined(paragraph))
}

/** `(user not found)` -> `user not found` */
const withoutBrackets = (text: string): string => (/^\([^()]*\)$/.test(text) ? text.slice(1, -1) : text.replace(/^([^()]*)\)$/, '$1'))

const cut = (text: string): string => text.slice(0, MAX_REASON)

/** Joins folded lines into one. */
export const joined = (lines: readonly string[]): string =>
  lines
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ')
