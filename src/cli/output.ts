/** Output of the commands: text, or with --json one JSON object per line; errors in one line, with the remedy. */
import { WrongSettings } from '../config/wrong-settings.js'
import { databaseFault } from '../store/database-fault.js'

/** Ends the command with this error line (none if empty) and exit status. 1: failure; 2: wrong usage. */
export class CommandFailed extends Error {
  override name = 'CommandFailed'
  constructor(
    text: string,
    readonly status: 1 | 2 = 1,
  ) {
    super(text)
  }
}

/** Characters that a terminal interprets: controls, and those that change the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what is taken out
const ACTED_ON = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g

/** Makes untrusted text safe for a terminal: control characters become spaces. */
export function printable(text: string): string {
  return text.replace(ACTED_ON, ' ')
}

/** One line. */
export function line(text: string): void {
  process.stdout.write(`${printable(text)}\n`)
}

/** One JSON object. */
export function json(value: unknown): void {
  // escape what a terminal would interpret, as JSON escapes other control characters
  const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
  const text = JSON.stringify(value).replace(ACTED_ON, (run) => run.split('').map(escaped).join(''))
  process.stdout.write(`${text}\n`)
}

/** Rows in aligned columns; the last column is not padded. */
export function table(rows: readonly (readonly string[])[]): void {
  const shown = rows.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of shown) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, [...cell].length)
  for (const row of shown) {
    const cells = row.map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat((widths[i] as number) - [...cell].length)))
    process.stdout.write(`${cells.join('  ').trimEnd()}\n`)
  }
}

/** Prints an error as the command's last line, and returns the exit status. */
export function failed(error: unknown): number {
  if (error instanceof WrongSettings) {
    for (const fault of error.faults) process.stderr.write(`softbounce: ${printable(fault)}\n`)
    return 2
  }
  if (error instanceof CommandFailed && error.message === '') return error.status
  const { message, code } = error as NodeJS.ErrnoException
  const first = error instanceof AggregateError ? ((error.errors[0] as Error | undefined)?.message ?? message) : message
  const said = first === '' || first === undefined ? String(code ?? error) : first
  process.stderr.write(`softbounce: ${printable(explain(error instanceof CommandFailed ? said : withFault(error, said)))}\n`)
  return error instanceof CommandFailed ? error.status : 1
}

/** The text of an error; if the database has a fault, with what that is and what to do. */
export function withFault(error: unknown, said = (error as Error).message): string {
  const fault = databaseFault(error)
  return fault === null ? said : `the database (database.url) cannot be used: ${fault.text} (${said}); ${fault.action}`
}

/** Temporal's packages, which an application that only tracks does without. */
const PEERS =
  'npm install @temporalio/worker @temporalio/client @temporalio/workflow @temporalio/activity @temporalio/common @temporalio/envconfig'

/** Shortens errors of Temporal's native client, and adds the remedy. */
function explain(text: string): string {
  const missing = /Cannot find (?:package|module) '(@temporalio\/[^'/]+)/.exec(text)?.[1]
  if (missing !== undefined) return `this command needs ${missing}, which is not installed: ${PEERS}`
  return text.replace(/: Status \{[\s\S]*$/, '; set TEMPORAL_NAMESPACE to one that is there')
}
