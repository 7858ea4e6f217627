/** Checks each address of a list: suppressed, destination down, often unavailable, or ok. Any length, constant memory. */
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { stringify } from 'csv-stringify/sync'
import { getDomain } from 'tldts'
import type { Database } from '../store/index.js'
import { openList } from './read-list.js'
import { destinationsDown, type RecipientStats, recipientStats } from './recipient-stats.js'

/** The status of an address, as written in the column `softbounce`. */
export type ListStatus = 'ok' | 'suppressed until' | 'system down since' | 'often unavailable' | 'permanently rejected' | 'no address'

export interface ListCheckOptions {
  /** The CSV column with the address, in any case. Default: the first with a usual name; else a list without a header. */
  readonly column?: string
}

/** Line counts: all, and by status. */
export type ListCheck = { readonly lines: number } & Readonly<Record<ListStatus, number>>

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
    lines: 0,
    ok: 0,
    'suppressed until': 0,
    'system down since': 0,
    'often unavailable': 0,
    'permanently rejected': 0,
    'no address': 0,
  }
  const now = new Date()
  const down = await destinationsDown(database)
  const list = await openList(input, options.column)
  let width = list.columns?.length ?? 0
  let hasHead = list.columns !== null
  if (list.columns !== null) output.write(stringify([[...list.columns, ...ADDED]]))
  for await (const batch of list.rows) {
    if (!hasHead && batch[0] !== undefined) {
      width = batch[0].cells.length
      output.write(stringify([['address', ...new Array<string>(width - 1).fill(''), ...ADDED]]))
      hasHead = true
    }
    const wanted = batch.flatMap(({ address }) => (address === null ? [] : [address]))
    const known =
      wanted.length === 0
        ? new Map<string, RecipientStats>()
        : await recipientStats(database, [...new Set(wanted)], new Date(now.getTime() - LOOK_BACK_MS), now)
    const rows = batch.map(({ cells, address }) => {
      const { status, time, why } =
        address === null ? { status: 'no address' as const, time: '', why: '' } : judge(address, known.get(address), down)
      counts.lines += 1
      counts[status] += 1
      const trimmed = cells.map((cell) => cell.trim())
      return [...trimmed, ...new Array<string>(Math.max(0, width - cells.length)).fill(''), status, time, asText(why)]
    })
    if (rows.length > 0 && !output.write(stringify(rows))) await once(output, 'drain')
  }
  return counts
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
