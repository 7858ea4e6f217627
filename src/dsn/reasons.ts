/** What a notice says about each recipient: the text behind or below its address, or what it says once for all. */

import { quotedReply, statusOfWords } from '../bounce/index.js'
import type { Notice } from './notice.js'
import type { Chosen } from './recipients.js'

/** Lines of a reason, and characters. */
const MAX_LINES = 60
const MAX_REASON = 2000

/** Lines that only announce the reason. */
const LABEL = /^\s*(?:reason|error|the reason was|for the following reason|diagnostic code|remote host said)\s*:\s*$/i
const FORWARDED = /^\s{0,12}\(?(?:ultimately )?(?:generated (?:from|by)|expanded from)/i

/**
 * The reason of each recipient, in their order. The text nearest to the address counts first; if that holds neither a reply nor words that
 * mean a status, the text up to the next recipient; then what stands below or above all of them.
 */
export function reasonsOf(notice: Notice, chosen: readonly Chosen[]): string[] {
  const { lines } = notice
  const at = chosen.map(({ mention }) => mention?.line ?? -1)
  const marks = [...new Set(at)].filter((line) => line >= 0).sort((a, b) => a - b)
  const first = marks[0] ?? 0
  const last = marks.at(-1) ?? -1
  const shared = [...paragraphsOf(lines.slice(last + 1)), ...paragraphsOf(lines.slice(0, first))]
  const whole = joined(lines)
  return chosen.map(({ mention }, i) => {
    const line = at[i] as number
    if (mention === null || line < 0) return cut(firstTelling([...paragraphsOf(lines), whole]))
    const next = marks.find((mark) => mark > line) ?? lines.length
    const own = ownReason(lines, mention, line, next)
    const below = paragraphsOf(lines.slice(line + 1, next))
    return cut(firstTelling([own, ...below, ...shared, whole]))
  })
}

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

/** The first text that tells the reason; else the first that is not empty. */
function firstTelling(texts: readonly string[]): string {
  const said = texts.filter((text) => text !== '')
  return said.find(isTelling) ?? said[0] ?? ''
}

/** A text tells the reason if it holds a reply, or words that mean a specific status. */

function isTelling(text: string): boolean {
  if (quotedReply(text) !== null) return true
  const words = statusOfWords(text, true)
  return words !== null && words !== '5.0.0'
}

/** The text behind the address, and the lines below it up to an empty one. */
function ownReason(lines: readonly string[], { form, behind }: { form: string; behind: string }, line: number, next: number): string {
  const isSentence = form !== 'alone' && form !== 'heads'
  const begin = isSentence ? (lines[line] as string) : form === 'heads' ? behind.replace(/^[>"'”’»\])\s]{0,6}[:;,(]?\s{0,9}/, '') : ''
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
