/**
 * Reads lists of addresses as people have them: one address a line, or CSV with any usual separator; UTF-8 or UTF-16, with a byte order
 * mark or without; any length, in constant memory.
 */
import { Readable } from 'node:stream'
import { parse as parseCsv } from 'csv-parse'
import { addressKey } from '../bounce/index.js'

/** A row of a list. */
export interface ListRow {
  /** Its line in the list, from 1. */
  readonly line: number
  /** As it was read, with its line end. */
  readonly text: string
  readonly cells: readonly string[]
  /** Folded; null if no address can be read. */
  readonly address: string | null
}

export interface List {
  /** The names of the columns; null for a list without a header. */
  readonly columns: readonly string[] | null
  /** The header's text, with its line end; empty without one. */
  readonly header: string
  /** In batches. */
  readonly rows: AsyncGenerator<readonly ListRow[]>
}

const BATCH = 2000
const MAX_LINE = 1_000_000
const USUAL = ['email', 'e-mail', 'email address', 'emailaddress', 'mail', 'address', 'recipient']
const SEPARATORS = [',', ';', '\t', '|'] as const
/** Spaces, controls, and characters that nobody sees: zero-width, soft hyphens, byte order marks, direction marks. */
const HIDDEN = '\\p{Cc}\\p{Default_Ignorable_Code_Point}\\u2028\\u2029\\u2800\\ufff9-\\ufffb'
const INVISIBLE = `[\\s${HIDDEN}]+`
const AT_THE_ENDS = new RegExp(`^${INVISIBLE}|${INVISIBLE}$`, 'gu')
/** Within an address they would make another one of it, which nobody sees. */
const HIDDEN_INSIDE = new RegExp(`[${HIDDEN}]`, 'u')
const FAST = /^[a-z0-9._+=-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+$/

/** The address in a cell, folded: `ann@example.org`, `Ann <ann@example.org>`, `<ann@example.org>`, `mailto:ann@example.org`; null if there is none. */
export function addressIn(text: string): string | null {
  // most lines of a list are folded already
  const trimmed = text.trim()
  if (FAST.test(trimmed)) return trimmed
  // spreadsheets put an apostrophe before what could be a formula
  const visible = text.replace(AT_THE_ENDS, '').replace(/^'(?=.*@)/, '')
  const [, name = '', inAngles] = /^([^<>]*)<([^<>]+)>$/.exec(visible) ?? []
  // a name that is an address itself: which of the two is meant is not clear
  if (name.includes('@')) return null
  const named = (inAngles ?? visible).replace(AT_THE_ENDS, '')
  const [, to, query = ''] = /^mailto:([^?]+)(?:\?(.*))?$/i.exec(named) ?? []
  if (/(?:^|&)(?:to|cc|bcc)=/i.test(query)) return null
  try {
    const address = to === undefined ? named : decodeURIComponent(to).replace(AT_THE_ENDS, '')
    return HIDDEN_INSIDE.test(address) ? null : addressKey(address)
  } catch {
    return null
  }
}

/** UTF-16 without a byte order mark has a zero byte in each ASCII character. */
function encodingOf(head: Buffer): string {
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le'
  if (head[0] === 0xfe && head[1] === 0xff) return 'utf-16be'
  const zeros = [0, 1].map((odd) => head.filter((byte, i) => i % 2 === odd && byte === 0).length)
  const many = head.length / 4
  return (zeros[1] as number) > many ? 'utf-16le' : (zeros[0] as number) > many ? 'utf-16be' : 'utf-8'
}

/** @throws Error if it is no text in UTF-8 or UTF-16. */
export async function* decoded(input: AsyncIterable<Buffer | string>): AsyncGenerator<string> {
  let decoder: InstanceType<typeof TextDecoder> | null = null
  let encoding = 'utf-8'
  const decode = (bytes?: Buffer) => {
    try {
      return bytes === undefined ? (decoder?.decode() ?? '') : (decoder as InstanceType<typeof TextDecoder>).decode(bytes, { stream: true })
    } catch {
      throw new Error(`the list is not valid ${encoding.toUpperCase()}: save it as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8 FILE)`)
    }
  }
  let head = Buffer.alloc(0)
  for await (const chunk of input) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    if (decoder !== null) {
      yield decode(bytes)
      continue
    }
    head = Buffer.concat([head, bytes])
    if (head.length < 4) continue
    encoding = encodingOf(head.subarray(0, 4096))
    decoder = new TextDecoder(encoding, { fatal: true })
    yield decode(head)
  }
  if (decoder === null) {
    decoder = new TextDecoder('utf-8', { fatal: true })
    yield decode(head)
  }
  yield decode()
}

/** The separator that the line has most of, outside quotes; null if it has none. */
function separatorOf(line: string): string | null {
  const bare = line.replace(/"[^"]*"/g, '')
  const counted = SEPARATORS.map((separator) => [separator, bare.split(separator).length - 1] as const)
  const [best] = counted.sort(([, one], [, other]) => other - one)
  return best !== undefined && best[1] > 0 ? best[0] : null
}

/** Reads a text until its start is enough. @returns the start, and the whole text once more. */
export async function peeked(
  source: AsyncGenerator<string>,
  isEnough: (start: string) => boolean,
): Promise<{ readonly start: string; readonly text: AsyncGenerator<string> }> {
  let start = ''
  while (!isEnough(start)) {
    const { value, done } = await source.next()
    if (done) break
    start += value
  }
  const text = (async function* () {
    yield start
    yield* source
  })()
  return { start, text }
}

/** Items as rows, in batches. */
export async function* inBatches<Item, Row>(items: AsyncIterable<Item>, size: number, rowOf: (item: Item) => Row): AsyncGenerator<Row[]> {
  let batch: Row[] = []
  for await (const item of items) {
    batch.push(rowOf(item))
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  yield batch
}

/**
 * Opens a list.
 * @param column the name of the column with the address, in any case. Default: the first with a usual name; else a list without a header.
 * @throws Error if there is no such column, or if none can be chosen.
 */
export const openList = (input: Readable, column?: string): Promise<List> => openText(decoded(input), column)

/** The same for a list that is decoded already. */
export async function openText(source: AsyncGenerator<string>, column?: string): Promise<List> {
  const { start, text } = await peeked(source, (start) => /\n/.test(start.trimStart()) || start.length >= MAX_LINE)
  const first = start.trimStart().split(/\r\n|\n|\r/)[0] ?? ''
  const isAddress = addressIn(first) !== null
  const separator = isAddress ? null : separatorOf(first)
  const cells = await cellsOf(first, separator ?? ',')
  const hasAddress = cells.some((cell) => addressIn(cell) !== null)
  // a row with an address is no header
  const at = hasAddress ? -1 : columnIn(cells, column)
  if (column === undefined && (isAddress || first === '' || (at < 0 && separator === null && !first.includes('@'))))
    return { columns: null, header: '', rows: lines(text) }
  if (at < 0 && (column !== undefined || addressIn(cells[0] ?? '') === null))
    throw new Error(
      column === undefined
        ? `${JSON.stringify(first.slice(0, 80))} is neither an address nor a header with a column ${USUAL.slice(0, 4).join(', ')}; name the column that holds the address (--column)`
        : `the list has no column "${column}"; its columns are ${cells.map((name) => `"${name}"`).join(', ')}`,
    )
  return table(text, separator ?? ',', at)
}

function columnIn(cells: readonly string[], column: string | undefined): number {
  const names = cells.map((name) => name.replace(AT_THE_ENDS, '').toLowerCase())
  if (column !== undefined) return names.indexOf(column.toLowerCase())
  const usual = names.filter((name) => USUAL.includes(name))
  if (usual.length > 1)
    throw new Error(`the columns ${usual.map((name) => `"${name}"`).join(' and ')} could each hold the address: name one (--column)`)
  return names.findIndex((name) => USUAL.includes(name))
}

async function cellsOf(line: string, delimiter: string): Promise<string[]> {
  for await (const record of Readable.from([line]).pipe(parseCsv({ delimiter, relax_quotes: true, relax_column_count: true })))
    return record as string[]
  return []
}

/** A list with one address a line. */
async function* lines(text: AsyncIterable<string>): AsyncGenerator<ListRow[]> {
  let line = 0
  let rest = ''
  const rowsOf = (all: readonly string[]) =>
    all.flatMap((one): ListRow[] => {
      line += 1
      return one.trim() === '' ? [] : [{ line, text: one, cells: [one.trim()], address: addressIn(one) }]
    })
  for await (const chunk of text) {
    const all = `${rest}${chunk}`.split(/(?<=\n)/)
    rest = all.at(-1)?.endsWith('\n') === false ? (all.pop() as string) : ''
    if (rest.length > MAX_LINE) throw new Error(`a line of the list is longer than ${MAX_LINE} characters`)
    yield rowsOf(all)
  }
  if (rest !== '') yield rowsOf([`${rest}\n`])
}

/** Without a header, another cell with an address leaves open which one is meant. */
const onlyAddressIn = (cells: readonly string[]): string | null =>
  cells.slice(1).some((cell) => cell.includes('@') && addressIn(cell) !== null) ? null : addressIn(cells[0] ?? '')

/** CSV. @param at the column with the address; -1: the first one, of a list without a header. */
async function table(text: AsyncIterable<string>, delimiter: string, at: number): Promise<List> {
  const options = {
    delimiter,
    record_delimiter: ['\r\n', '\n', '\r'],
    raw: true,
    info: true,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: MAX_LINE,
  }
  const source = Readable.from(text)
  const parser = source.pipe(parseCsv(options))
  source.on('error', (error) => parser.destroy(error))
  const records = parser[Symbol.asyncIterator]() as AsyncIterableIterator<{ record: string[]; raw: string; info: { lines: number } }>
  const head = at < 0 ? null : await records.next()
  const withEnd = (raw: string) => (raw.endsWith('\n') ? raw : `${raw}\n`)
  return {
    columns: head?.value?.record.map((name: string) => name.replace(AT_THE_ENDS, '')) ?? null,
    header: head === null ? '' : withEnd(head.value?.raw ?? ''),
    rows: inBatches(records, BATCH, ({ record, raw, info }) => ({
      line: info.lines,
      text: withEnd(raw),
      cells: record,
      address: at < 0 ? onlyAddressIn(record) : addressIn(record[at] ?? ''),
    })),
  }
}
