/** Imports suppressions: our own export, and those of Amazon SES, SendGrid, Mailgun, Postmark, Postal, listmonk and Mautic, by their columns. */
import type { Readable } from 'node:stream'
import { parseTime } from '../bounce/index.js'
import type { Database, SuppressionReason } from '../store/index.js'
import { jsonRecords } from './json-records.js'
import { activeSuppressions } from './look-up.js'
import { addressIn, decoded, inBatches, openText, peeked } from './read-list.js'
import { suppressLastingly } from './suppressions.js'

export interface ImportOptions {
  /** For rows that name none; default `manual`. */
  readonly reason?: Exclude<SuppressionReason, 'unavailable'>
  /** When they expire, for rows that name no time. Default: never. */
  readonly until?: Date
  /** Only counts. */
  readonly dryRun?: boolean
  /** Who imports, for the history. */
  readonly by: string
  /** The column with the address, if it has no usual name. */
  readonly column?: string
  /** Called after each batch. */
  readonly progress?: (counts: Imported) => void
}

/** Row counts. */
export interface Imported {
  readonly rows: number
  readonly imported: number
  /** Suppressed already, at least as long. */
  readonly already: number
  /** Their time is over. */
  readonly expired: number
  /** A temporary failure, or an address that is not suppressed there: nothing that lasts. */
  readonly notSuppressed: number
  /** No address can be read. */
  readonly unreadable: number
}

interface Entry {
  readonly address: string
  readonly reason: Exclude<SuppressionReason, 'unavailable'>
  readonly until: Date | null
  readonly status: string | null
  readonly reply: string | null
}

type Judged = Entry | 'expired' | 'notSuppressed' | 'unreadable'

const BATCH = 500
const ADDRESS = ['address', 'email', 'emailaddress', 'recipient', 'email_address', 'e-mail']
const REASON = ['reason', 'suppressionreason', 'type', 'dnc_reason', 'doNotContact'].map((name) => name.toLowerCase())
const UNTIL = ['until', 'keep_until', 'expires', 'expires_at']
const TEXT = ['reply', 'error', 'description', 'reason', 'comments']
const TYPES = ['type', 'bouncetype', 'bounce_type', 'subtype']
const CODE = ['code', 'smtp_code', 'status']

/**
 * Imports a CSV or JSON file, in constant memory.
 * @throws Error if it cannot be read; what was imported before stays, and importing it again changes nothing.
 */
export async function importSuppressions(database: Database, input: Readable, options: ImportOptions): Promise<Imported> {
  const counts = { rows: 0, imported: 0, already: 0, expired: 0, notSuppressed: 0, unreadable: 0 }
  const now = new Date()
  for await (const batch of await batchesOf(input, options.column)) {
    const entries: Entry[] = []
    for (const row of batch) {
      counts.rows += 1
      const judged = judge(row, options, now)
      if (typeof judged === 'string') counts[judged] += 1
      else entries.push(judged)
    }
    const { imported, already } = await write(database, entries, options, now)
    counts.imported += imported
    counts.already += already
    options.progress?.({ ...counts })
  }
  if (counts.rows === 0) throw new Error('the list holds no rows that can be read: no lines, and no JSON objects')
  return counts
}

type Row = Readonly<Record<string, string>>

async function batchesOf(input: Readable, column: string | undefined): Promise<AsyncGenerator<Row[]>> {
  const { start, text } = await peeked(decoded(input), (start) => start.trimStart() !== '')
  const rows = /^\s*[[{]/.test(start) ? fromJson(text) : fromTable(text, column)
  return inBatches(rows, BATCH, (row) => row)
}

async function* fromJson(text: AsyncIterable<string>): AsyncGenerator<Row> {
  for await (const record of jsonRecords(text))
    yield Object.fromEntries(
      Object.entries(record).map(([name, value]) => [name.toLowerCase(), value === null || typeof value === 'object' ? '' : String(value)]),
    )
}

async function* fromTable(text: AsyncGenerator<string>, column: string | undefined): AsyncGenerator<Row> {
  const { columns, rows } = await openText(text, column)
  const names = columns?.map((name) => name.toLowerCase()) ?? []
  // the list's own column is the address, even if the row holds other addresses
  const others = [...names.entries()].filter(([, name]) => !ADDRESS.includes(name))
  const own = column?.toLowerCase() ?? 'address'
  for await (const batch of rows)
    for (const { cells, address } of batch)
      yield { ...Object.fromEntries(others.map(([i, name]) => [name, cells[i] ?? ''])), [own]: address ?? '' }
}

const FOR_A_TIME = /soft|transient|tempor|deferr|delay|autorespon|dns_?error|mailbox full|over quota|greylist/i
/** What a subscriber's status says who is not suppressed there. */
const MAILABLE = /^(enabled|disabled|confirmed|unconfirmed|active|subscribed|delivered|opened|clicked|not .*)$/i

const first = (row: Row, names: readonly string[]): string => names.map((name) => row[name]?.trim() ?? '').find((text) => text !== '') ?? ''

function judge(row: Row, { column, until, reason }: ImportOptions, now: Date): Judged {
  const names = column === undefined ? ADDRESS : [column.toLowerCase()]
  const address = names.map((name) => addressIn(row[name] ?? '')).find((one) => one !== null) ?? null
  if (address === null) return 'unreadable'
  const [code, named, reply, end] = [first(row, CODE), first(row, REASON), first(row, TEXT), first(row, UNTIL)]
  const untilMs = end === '' ? (until?.getTime() ?? null) : timeOf(end)
  // a time that cannot be read is not never
  if (end !== '' && untilMs === null) return 'unreadable'
  const words = [...REASON, ...CODE, ...TYPES].map((name) => row[name]?.trim() ?? '').filter((word) => word !== '')
  if (words.some((word) => MAILABLE.test(word)) || row.donotcontact === '0' || row.dnc_reason === '0') return 'notSuppressed'
  // a temporary failure is no reason to suppress for ever
  const isTemporary =
    words.some((word) => FOR_A_TIME.test(word) || /^(unavailable|4\d\d|4\.\d+\.\d+)$/i.test(word)) ||
    /(?:^|;\s*)4\d\d[ -]|(?:^|[\s;])4\.\d+\.\d+\b/.test(reply)
  if (isTemporary && end === '') return 'notSuppressed'
  if (untilMs !== null && untilMs <= now.getTime()) return 'expired'
  return {
    address,
    reason: reasonOf(named, code, reply) ?? reason ?? 'manual',
    until: untilMs === null ? null : new Date(untilMs),
    status: /^[245]\.\d+\.\d+$/.test(code) ? code : null,
    reply: reply === '' ? null : reply.slice(0, 500),
  }
}

/** ISO 8601, `2026-11-24 08:00:00`, or seconds or milliseconds since 1970; null if it is none. */
function timeOf(text: string): number | null {
  if (/^\d{9,11}$/.test(text)) return Number(text) * 1000
  if (/^\d{12,14}$/.test(text)) return Number(text)
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return null
  const ms = parseTime(text) ?? Date.parse(/^\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?$/.test(text) ? `${text.replace(' ', 'T')}Z` : text)
  return Number.isNaN(ms) ? null : ms
}

function reasonOf(named: string, code: string, reply: string): Entry['reason'] | null {
  if (/complain|spam|abuse/i.test(named)) return 'complaint'
  if (/^(manual|unsubscribed?|admin|customer|manualsuppression|1|3)$/i.test(named) || /unsub|blocklist|blacklist/i.test(`${named} ${code}`))
    return 'manual'
  if (/bounce|^rejected$|invalid|^2$/i.test(named) || /^5\d\d$|^5\.\d+\.\d+$|^605$/.test(code) || /^5\d\d[ -]|^5\.\d+\.\d+ /.test(reply))
    return 'rejected'
  return null
}

const RANK = { manual: 0, rejected: 1, complaint: 2 } as const

/** Of two rows for an address, the one that lasts longer counts; else the graver reason. */
function isStronger(one: Entry, other: Entry): boolean {
  const [a, b] = [one.until?.getTime() ?? Number.POSITIVE_INFINITY, other.until?.getTime() ?? Number.POSITIVE_INFINITY]
  return a === b ? RANK[one.reason] > RANK[other.reason] : a > b
}

async function write(database: Database, entries: readonly Entry[], { by, dryRun }: ImportOptions, now: Date) {
  const strongest = new Map<string, Entry>()
  for (const entry of entries) {
    const before = strongest.get(entry.address)
    if (before === undefined || isStronger(entry, before)) strongest.set(entry.address, entry)
  }
  const latest = [...strongest.values()]
  const known = new Map(
    (
      await activeSuppressions(
        database,
        latest.map(({ address }) => address),
        now,
      )
    ).map((suppression) => [suppression.address, suppression]),
  )
  const fresh = latest.filter(({ address, until }) => {
    const before = known.get(address)
    return before === undefined || (before.until !== null && (until === null || before.until < until))
  })
  if (!dryRun && fresh.length > 0)
    await database.db.transaction().execute(async (tx) => {
      for (const { address, reason, until, status, reply } of fresh)
        await suppressLastingly(tx, address, reason, { status, reply, by, destination: null }, now, until)
    })
  return { imported: fresh.length, already: entries.length - fresh.length }
}
