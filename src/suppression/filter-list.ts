/** Filters a list of addresses against the suppressions: a text with one address a line, or CSV with a named column; any length, constant memory. */

import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { parse as parseCsv } from 'csv-parse'
import { addressKey } from '../bounce/index.js'
import type { Database } from '../store/index.js'
import { suppressedAmong } from './suppressed-among.js'

export interface FilterOptions {
  /** The CSV column with the address. Default: the list is plain text with one address per line. */
  readonly column?: string
  /** Keep those that are suppressed instead of those that are not. */
  readonly onlySuppressed?: boolean
}

/** Line counts. Lines without an address count as unreadable, and pass like addresses that are not suppressed. */
export interface Filtered {
  readonly lines: number
  readonly suppressed: number
  readonly unreadable: number
}

const BATCH = 2000
const MAX_LINE = 1_000_000

interface Row {
  /** As it was read, with its line end. */
  readonly text: string
  /** Folded; null if it holds no address. */
  readonly key: string | null
}

/**
 * Writes the rows that may be mailed to `output`, each as it was read.
 * @throws Error if the CSV cannot be read, or has no such column.
 * @example
 * await filterList(database, createReadStream('list.csv'), createWriteStream('mailable.csv'), { column: 'email' })
 */
export async function filterList(database: Database, input: Readable, output: Writable, options: FilterOptions = {}): Promise<Filtered> {
  const counts = { lines: 0, suppressed: 0, unreadable: 0 }
  const now = new Date()
  const batches = options.column === undefined ? textRows(input) : csvRows(input, output, options.column)
  for await (const batch of batches) {
    const table = options.column === undefined ? batch.find((row) => row.key === null && row.text.includes('@')) : undefined
    // passed through as it is, a suppressed address could be mailed
    if (table !== undefined)
      throw new Error(
        `${JSON.stringify(table.text.trim().slice(0, 80))} is no address alone on its line; for CSV, name the column that holds it (--column)`,
      )
    const keys = batch.map((row) => row.key).filter((key) => key !== null)
    const suppressed = keys.length === 0 ? new Set<string>() : await suppressedAmong(database, keys, now)
    let kept = ''
    for (const { text, key } of batch) {
      counts.lines += 1
      if (key === null) counts.unreadable += 1
      const off = key !== null && suppressed.has(key)
      if (off) counts.suppressed += 1
      if (options.onlySuppressed ? off : !off) kept += text
    }
    if (kept !== '' && !output.write(kept)) await once(output, 'drain')
  }
  return counts
}

const FAST = /^[a-z0-9._+=-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+$/

function keyOf(text: string): string | null {
  const address = text.trim()
  // most lines of a list are folded already
  if (FAST.test(address)) return address
  try {
    return addressKey(address)
  } catch {
    return null
  }
}

async function* textRows(input: Readable): AsyncGenerator<Row[]> {
  let rest = ''
  input.setEncoding('utf8')
  for await (const chunk of input) {
    const lines = `${rest}${chunk}`.split(/(?<=\n)/)
    rest = lines.at(-1)?.endsWith('\n') === false ? (lines.pop() as string) : ''
    if (rest.length > MAX_LINE) throw new Error(`a line of the list is longer than ${MAX_LINE} characters`)
    yield rowsOf(lines)
  }
  yield rowsOf([rest])
}

const rowsOf = (lines: readonly string[]): Row[] => lines.filter((text) => text.trim() !== '').map((text) => ({ text, key: keyOf(text) }))

async function* csvRows(input: Readable, output: Writable, column: string): AsyncGenerator<Row[]> {
  const parser = input.pipe(parseCsv({ raw: true, bom: true, relax_column_count: true, skip_empty_lines: true, max_record_size: MAX_LINE }))
  input.on('error', (error) => parser.destroy(error))
  let at = -1
  let batch: Row[] = []
  for await (const { record, raw } of parser as AsyncIterable<{ record: string[]; raw: string }>) {
    const text = raw.endsWith('\n') ? raw : `${raw}\n`
    if (at >= 0) {
      batch.push({ text, key: keyOf(record[at] ?? '') })
      if (batch.length < BATCH) continue
      yield batch
      batch = []
      continue
    }
    at = record.findIndex((name) => name.trim() === column)
    if (at < 0) throw new Error(`the list has no column "${column}"; its columns are ${record.map((name) => `"${name}"`).join(', ')}`)
    output.write(text)
  }
  yield batch
}
