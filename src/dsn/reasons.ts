/** What a notice says about each recipient: the text behind or below its address, or what it says once for all. */

import { quotedReply, statusOfWords } from '../bounce/index.js'
import type { Mention } from './candidates.js'
import type { Notice } from './notice.js'
import type { Chosen } from './recipients.js'

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
export function reasonsOf(notice: Notice, chosen: readonly Chosen[]): string[] {
  const { lines } = notice
  const marks = [...new Set(chosen.flatMap(({ mentions }) => mentions.map((m) => m.line)))].sort((a, b) => a - b)
  const first = marks[0] ?? lines.length
  const last = marks.at(-1) ?? -1
  const around = [...paragraphsOf(lines.slice(last + 1)), ...paragraphsOf(lines.slice(0, first))]
  // the same for all, so that it is looked for once
  let found: string | null | undefined
  const said = (): string | undefined => {
    if (found === undefined) found = firstWithStatus(chosen.length === 1 ? [...around, joined(lines)] : around) ?? null
    return found ?? undefined
  }
  return chosen.map(({ mentions }) => {
    const places = mentions.map((mention) => ({ mention, next: marks.find((mark) => mark > mention.line) ?? lines.length }))
    const own = places.map(({ mention, next }) => ownReason(lines, mention, next))
    // what stands below the last one belongs to all
    const below = places.flatMap(({ mention, next }) => (next === lines.length ? [] : paragraphsOf(lines.slice(mention.line + 1, next))))
    const near = [...own, ...below].filter((text) => text !== '')
    // of several recipients, one with a reason of its own never takes over what is said of another
    if (near.length > 0 && chosen.length > 1) return cut(firstWithStatus(near) ?? (near[0] as string))
    return cut(firstWithStatus(near) ?? said() ?? near[0] ?? around[0] ?? '')
  })
}

/** The first text that tells the reason: one with a reply, or else one whose words mean a specific status. */
const firstWithStatus = (texts: readonly string[]): string | undefined =>
  texts.find((text) => quotedReply(text) !== null) ?? texts.find(meansAStatus)

const meansAStatus = (text: string): boolean => !/^5\.0\.0$/.test(statusOfWords(text, true) ?? '5.0.0')

/** The paragraphs of a text, each as one line; a line that only announces what follows belongs to the next. */
function paragraphsOf(lines: readonly string[]): string[] {
  const found: string[][] = [[]]
  for (const line of lines) {
    const current = found.at(-1) as string[]
    if (line.trim() !== '') current.push(line)
    else if (current.length > 0 && !/:\s*$/.test(current.at(-1) as string)) found.push([])
  }
  return found.map(joined).filter((text) => text !== '')
}

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
