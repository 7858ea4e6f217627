/** Filters a list of addresses against the suppressions: one address a line, or CSV; any length, constant memory. */
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import type { Database } from '../store/index.js'
import { openList } from './read-list.js'
import { suppressedAmong } from './suppressed-among.js'

export interface FilterOptions {
  /** The CSV column with the address, in any case. Default: the first with a usual name; else a list without a header. */
  readonly column?: string
  /** Keep those that are suppressed instead of those that are not. */
  readonly onlySuppressed?: boolean
  /** Gets the rows whose address cannot be read. Without it, such a row is an error: passed through, it could be a suppressed address. */
  readonly unreadable?: Writable
}

/** Row counts. */
export interface Filtered {
  readonly lines: number
  readonly suppressed: number
  readonly unreadable: number
}

/**
 * Writes the rows that may be mailed to `output`, each as it was read, in UTF-8.
 * @throws Error if the list cannot be read, has no such column, or holds a row without an address.
 * @example
 * await filterList(database, createReadStream('list.csv'), createWriteStream('mailable.csv'), { column: 'email' })
 */
export async function filterList(database: Database, input: Readable, output: Writable, options: FilterOptions = {}): Promise<Filtered> {
  const counts = { lines: 0, suppressed: 0, unreadable: 0 }
  const now = new Date()
  const list = await openList(input, options.column)
  await write(output, list.header)
  if (options.unreadable !== undefined) await write(options.unreadable, list.header)
  for await (const batch of list.rows) {
    const wrong = batch.filter(({ address }) => address === null)
    if (wrong[0] !== undefined && options.unreadable === undefined)
      throw new Error(
        `line ${wrong[0].line} holds no address that can be read: ${JSON.stringify(wrong[0].text.trim().slice(0, 80))}; correct it, or collect such lines (--unreadable FILE)`,
      )
    const keys = batch.flatMap(({ address }) => (address === null ? [] : [address]))
    const suppressed = keys.length === 0 ? new Set<string>() : await suppressedAmong(database, keys, now)
    let kept = ''
    for (const { text, address } of batch) {
      if (address === null) continue
      const off = suppressed.has(address)
      if (off) counts.suppressed += 1
      if (options.onlySuppressed ? off : !off) kept += text
    }
    counts.lines += batch.length
    counts.unreadable += wrong.length
    await write(output, kept)
    if (options.unreadable !== undefined) await write(options.unreadable, wrong.map(({ text }) => text).join(''))
  }
  return counts
}

async function write(stream: Writable, text: string): Promise<void> {
  if (text !== '' && !stream.write(text)) await once(stream, 'drain')
}
