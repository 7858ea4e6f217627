/** The demo's output: a line for each event as it happens, and tables at the end. */
import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

const coloured = process.stdout.isTTY === true && process.env.NO_COLOR === undefined
const paint = (style: Style, text: string) => (coloured ? styleText(style, text) : text)

export const bold = (text: string) => paint('bold', text)
export const dim = (text: string) => paint('gray', text)
export const good = (text: string) => paint('green', text)
export const bad = (text: string) => paint('red', text)
export const soft = (text: string) => paint('yellow', text)

export class Timeline {
  readonly #beganMs = Date.now()
  readonly #width: number

  constructor(names: readonly string[]) {
    this.#width = Math.max(...names.map((name) => name.length))
  }

  /** `hour  5  ann@comes-back.example  retry 2: …`: an hour is a second. */
  say(name: string, text: string): void {
    const hours = Math.floor((Date.now() - this.#beganMs) / 1000)
    process.stdout.write(`  ${dim(`hour ${String(hours).padStart(2)}`)}  ${name.padEnd(this.#width)}  ${text}\n`)
  }
}

export function heading(text: string): void {
  process.stdout.write(`\n${bold(text)}\n`)
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Rows in aligned columns; the first row is the header. */
export function table(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)))
  for (const [n, row] of rows.entries()) {
    const text = row.map((cell, i) => cell.padEnd(widths[i] as number)).join('  ')
    print(`  ${n === 0 ? dim(text.trimEnd()) : text.trimEnd()}`)
  }
}
