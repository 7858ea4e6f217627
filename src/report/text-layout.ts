/** Headings, columns and paragraphs for a terminal of 80 columns. */
import { withoutControls } from '../bounce/index.js'
import { cut } from './format.js'

const WIDTH = 80
const SHORTEST_NAME = 10

export const heading = (text: string) => ['', text.toUpperCase()]

/** Rows in columns, numbers right-aligned; if they exceed the width, the first column is cut. */
export function columns(given: readonly (readonly string[])[], left: readonly number[] = [0]): string[] {
  const rows = given.map((row) => row.map((cell) => withoutControls(cell).replace(/\s/g, ' ')))
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, [...cell].length)
  const total = widths.reduce((sum, width) => sum + width + 2, -2)
  widths[0] = Math.min(widths[0] ?? 0, Math.max(SHORTEST_NAME, (widths[0] ?? 0) - (total - WIDTH)))
  return rows.map((row) =>
    row
      .map((text, i) => {
        const cell = i === 0 ? cut(text, widths[0] as number) : text
        const space = ' '.repeat((widths[i] as number) - [...cell].length)
        return left.includes(i) ? cell + space : space + cell
      })
      .join('  ')
      .trimEnd(),
  )
}

export function wrapped(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
