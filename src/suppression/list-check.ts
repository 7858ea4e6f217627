/** Checks each address of a list: suppressed, destination down, often unavailable, or ok. Any length, constant memory. */
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { parse as parseCsv } from 'csv-parse'
import { stringify } from 'csv-stringify/sync'
import { getDomain } from 'tldts'
import { addressKey } from '../bounce/index.js'
import type { Database } from '../store/index.js'
import { destinationsDown, type RecipientStats, recipientStats } from './recipient-stats.js'

/** The status of an address, as written in the column `softbounce`. */
export type ListStatus = 'ok' | 'suppressed until' | 'system down since' | 'often unavailable' | 'permanently rejected' | 'no address'

export interface ListCheckOptions {
  /** The CSV column with the address. Default: the first named email, e-mail, mail, address or recipient; else a list without header. */
  readonly column?: string
}

/** Line counts: all, and by status. */
export type ListCheck = { readonly lines: number } & Readonly<Record<ListStatus, number>>

const BATCH = 1000
const MAX_LINE = 1_000_000
const USUAL = ['email', 'e-mail', 'mail', 'address', 'recipient']
const ADDED = ['softbounce', 'softbounce_time', 'softbounce_why'] as const
const LOOK_BACK_MS = 90 * 24 * 3_600_000
/** `often unavailable`: this many deferred retries and this share of all, or this many suppressions, within 90 days. */
const OFTEN = { deferred: 3, share: 0.5, suppressions: 2 } as const

/**
 * Writes CSV: each row, followed by the columns `softbounce`, `softbounce_time` (ISO 8601) and `softbounce_why`.
 * @throws Error if the CSV cannot be read, or has no such column.
 */
export async function checkList(database: Database, input: Readable, output: Writable, options: ListCheckOptions = {}): Promise<ListCheck> {
  const counts: Record<ListStatus, number> & { lines: number } = {
    ...{
      lines: 0,
      ok: 0,
      'suppressed until': 0,
      'system down since': 0,
      'often unavailable': 0,
      'permanently rejected': 0,
      'no address': 0,
    },
  }
  const now = new Date()
  const down = await destinationsDown(database)
  const parser = input.pipe(
    parseCsv({ bom: true, relax_column_count: true, skip_empty_lines: true, trim: true, max_record_size: MAX_LINE }),
  )
  input.on('error', (error) => parser.destroy(error))
  let at: number | null = null
  let width = 1
  let batch: string[][] = []
  const write = async () => {
    const keys = batch.map((record) => keyOf(record[at as number] ?? ''))
    const wanted = keys.filter((key) => key !== null)
    const known =
      wanted.length === 0
        ? new Map<string, RecipientStats>()
        : await recipientStats(database, [...new Set(wanted)], new Date(now.getTime() - LOOK_BACK_MS), now)
    const rows = batch.map((record, i) => {
      const key = keys[i] ?? null
      const { status, time, why } = key === null ? { status: 'no address' as const, time: '', why: '' } : judge(key, known.get(key), down)
      counts.lines += 1
      counts[status] += 1
      return [...record, ...new Array<string>(Math.max(0, width - record.length)).fill(''), status, time, asText(why)]
    })
    batch = []
    if (rows.length > 0 && !output.write(stringify(rows))) await once(output, 'drain')
  }
  for await (const record of parser as AsyncIterable<string[]>) {
    if (at === null) {
      at = columnOf(record, options.column)
      if (at >= 0) {
        width = record.length
        output.write(stringify([[...record, ...ADDED]]))
        continue
      }
      at = 0
      width = record.length
      output.write(stringify([['address', ...new Array<string>(width - 1).fill(''), ...ADDED]]))
    }
    batch.push(record)
    if (batch.length >= BATCH) await write()
  }
  await write()
  return counts
}

/** The index of the address column; -1 if the list has no header row. */
function columnOf(head: readonly string[], column: string | undefined): number {
  const names = head.map((name) => name.trim())
  if (column !== undefined) {
    const at = names.indexOf(column)
    if (at < 0) throw new Error(`the list has no column "${column}"; its columns are ${names.map((name) => `"${name}"`).join(', ')}`)
    return at
  }
  const at = names.findIndex((name) => USUAL.includes(name.toLowerCase()))
  if (at < 0 && head.length > 1 && keyOf(head[0] ?? '') === null)
    throw new Error(`no column of the list is named ${USUAL.join(', ')}; name the one that holds the address (--column)`)
  return at
}

function keyOf(text: string): string | null {
  try {
    return addressKey(text)
  } catch {
    return null
  }
}

function judge(
  key: string,
  known: RecipientStats | undefined,
  down: ReadonlyMap<string, number>,
): { status: ListStatus; time: string; why: string } {
  const iso = (ms: number) => new Date(ms).toISOString()
  const suppressed = known?.suppressed ?? null
  if (suppressed !== null) {
    const why = `${suppressed.reason}${suppressed.reply ? `: ${suppressed.reply}` : ''}`
    if (suppressed.until === null && suppressed.reason === 'rejected')
      return { status: 'permanently rejected', time: iso(suppressed.since), why }
    return { status: 'suppressed until', time: suppressed.until === null ? 'lifted' : iso(suppressed.until), why }
  }
  const system = known?.system ?? destinationOf(key)
  const since = down.get(system)
  if (since !== undefined) return { status: 'system down since', time: iso(since), why: system }
  if (known === undefined) return { status: 'ok', time: '', why: '' }
  const { answered, deferred, timesSuppressed } = known
  const share = answered === 0 ? 0 : deferred / answered
  if ((deferred >= OFTEN.deferred && share >= OFTEN.share) || timesSuppressed >= OFTEN.suppressions)
    return {
      status: 'often unavailable',
      time: '',
      why: `${deferred} of ${answered} retries deferred, ${timesSuppressed} times suppressed within 90 days`,
    }
  return { status: 'ok', time: '', why: '' }
}

/** The destination of an address without recent attempts: its registrable domain. */
function destinationOf(key: string): string {
  const domain = key.slice(key.lastIndexOf('@') + 1)
  return getDomain(domain) ?? domain
}

/** Keeps spreadsheets from evaluating a server's reply as a formula. */
const asText = (text: string) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text)
