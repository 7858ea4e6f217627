/** softbounce suppressions: the list, and filtering lists by it. */
import { createReadStream, createWriteStream } from 'node:fs'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { parseDuration } from '../bounce/index.js'
import type { Database } from '../store/index.js'
import {
  findSuppression,
  liftSuppression,
  listSuppressions,
  type Suppression,
  suppressionHistory,
  suppressLastingly,
} from '../suppression/index.js'
import { CommandFailed, json, line, table } from './output.js'
import { addressArgument, operator } from './with-client.js'
import { openingDatabase } from './with-database.js'

export function addSuppressions(program: Command): void {
  const command = program.command('suppressions').description('the suppression list')
  command
    .command('list')
    .description('list the suppressed addresses')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        const rows: string[][] = []
        for await (const entry of listSuppressions(database.db, new Date())) {
          if (options.json) json(shown(entry))
          else rows.push(row(entry))
          if (rows.length === 1000) table(rows.splice(0))
        }
        table(rows)
      }),
    )
  command
    .command('check')
    .description('show whether an address is suppressed, and its history; exit status 1 if it is suppressed')
    .argument('<address>')
    .option('--json', 'print JSON')
    .action((address: string, options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        const key = addressArgument(address)
        const entry = await findSuppression(database.db, key, new Date())
        const history = await suppressionHistory(database.db, key)
        if (options.json) {
          json({ address: key, suppressed: entry !== null, ...(entry === null ? {} : { suppression: shown(entry) }), history })
          return endWith(entry)
        }
        line(
          entry === null
            ? `${key} is not suppressed`
            : `${key} is suppressed ${ends(entry)} (${entry.reason}${entry.reply ? `: ${entry.reply}` : ''})`,
        )
        table(
          history.map((h) => [
            `  ${h.at.toISOString()}`,
            h.change,
            h.reason,
            h.until === null ? '' : `until ${h.until.toISOString()}`,
            h.by,
          ]),
        )
        endWith(entry)
      }),
    )
  command
    .command('add')
    .description('suppress an address')
    .argument('<address>')
    .option('--for <duration>', 'it expires after this, such as 7d; without it, it stays until it is removed')
    .option('--note <text>', 'why')
    .option('--json', 'print JSON')
    .action((address: string, options: { for?: string; note?: string; json?: boolean }) =>
      openingDatabase(async (database) => {
        const key = addressArgument(address)
        const now = new Date()
        const until = options.for === undefined ? null : new Date(now.getTime() + duration(options.for))
        const cause = { status: null, reply: options.note ?? null, by: operator(), destination: null }
        await database.db.transaction().execute((tx) => suppressLastingly(tx, key, 'manual', cause, now, until))
        const entry = (await findSuppression(database.db, key, now)) as Suppression
        if (options.json) json({ address: key, suppressed: true, until: entry.until })
        else line(`${key} is suppressed ${ends(entry)}`)
      }),
    )
  command
    .command('remove')
    .description('lift the suppression of an address')
    .argument('<address>')
    .option('--json', 'print JSON')
    .action((address: string, options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        const key = addressArgument(address)
        const lifted = await database.db.transaction().execute((tx) => liftSuppression(tx, key, operator(), new Date()))
        if (options.json) json({ address: key, lifted })
        else line(lifted ? `${key} is no longer suppressed` : `${key} was not suppressed`)
      }),
    )
  command
    .command('filter')
    .description(
      'print the lines of a list whose addresses are not suppressed; a line without an address stops it, or goes to --unreadable',
    )
    .argument('<file>', 'one address a line, or CSV; - for standard input')
    .option('--column <name>', 'the CSV column that holds the address, if it has no usual name')
    .option('--suppressed', 'print those that are suppressed instead')
    .option('--unreadable <file>', 'write the lines whose address cannot be read there')
    .option('--json', 'print only the counts, as JSON')
    .action(filter)
  command
    .command('import')
    .description(
      'suppress the addresses of a CSV or JSON file: our export, or that of SES, SendGrid, Mailgun, Postmark, Postal, listmonk, Mautic',
    )
    .argument('<file>', '- for standard input')
    .option('--reason <reason>', 'manual, complaint or rejected, for rows that name none', 'manual')
    .option('--until <when>', 'when they expire, for rows that name no time: a duration such as 90d, or a time (ISO 8601)')
    .option('--column <name>', 'the CSV column that holds the address, if it has no usual name')
    .option('--dry-run', 'only count')
    .option('--json', 'print the counts as JSON')
    .action(importList)
  command
    .command('export')
    .description('print the suppression list as CSV (or JSON)')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        if (options.json) {
          for await (const entry of listSuppressions(database.db, new Date())) json(shown(entry))
          return
        }
        const columns = ['address', 'reason', 'since', 'until', 'status', 'reply', 'destination', 'caused_by']
        const { stringify } = await import('csv-stringify')
        const csv = stringify({ header: true, columns, escape_formulas: true })
        await pipeline(records(database), csv, process.stdout, { end: false })
      }),
    )
}

interface FilterFlags {
  readonly column?: string
  readonly suppressed?: boolean
  readonly unreadable?: string
  readonly json?: boolean
}

function filter(file: string, options: FilterFlags): Promise<void> {
  return openingDatabase(async (database) => {
    const { Writable } = await import('node:stream')
    const { finished } = await import('node:stream/promises')
    const { filterList } = await import('../suppression/filter-list.js')
    const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
    if (options.unreadable !== undefined && file !== '-' && resolve(options.unreadable) === resolve(file))
      throw new CommandFailed('--unreadable: it must be another file than the list', 2)
    const unreadable = options.unreadable === undefined ? null : createWriteStream(options.unreadable)
    const counts = await filterList(database, inputOf(file), options.json ? nowhere : process.stdout, {
      ...(options.column === undefined ? {} : { column: options.column }),
      ...(unreadable === null ? {} : { unreadable }),
      onlySuppressed: options.suppressed === true,
    })
    unreadable?.end()
    if (unreadable !== null) await finished(unreadable)
    if (options.json) json(counts)
    else
      process.stderr.write(
        `softbounce: ${counts.lines} addresses, ${counts.suppressed} suppressed, ${counts.unreadable} without an address that can be read\n`,
      )
  })
}

interface ImportFlags {
  readonly reason: string
  readonly until?: string
  readonly column?: string
  readonly dryRun?: boolean
  readonly json?: boolean
}

const REASONS = ['manual', 'complaint', 'rejected'] as const

async function importList(file: string, options: ImportFlags): Promise<void> {
  const reason = REASONS.find((one) => one === options.reason)
  if (reason === undefined) throw new CommandFailed(`--reason ${options.reason}: it must be ${REASONS.join(', ')}`, 2)
  const until = options.until === undefined ? undefined : timeOf(options.until)
  await openingDatabase(async (database) => {
    const { importSuppressions } = await import('../suppression/import-list.js')
    const shows = process.stderr.isTTY && !options.json
    const counts = await importSuppressions(database, inputOf(file), {
      ...{ reason, by: operator(), dryRun: options.dryRun === true },
      ...(until === undefined ? {} : { until }),
      ...(options.column === undefined ? {} : { column: options.column }),
      progress: ({ rows }) => {
        if (shows) process.stderr.write(`\r${rows} rows`)
      },
    })
    if (shows) process.stderr.write('\r\u001b[K')
    if (options.json) return json({ ...counts, dryRun: options.dryRun === true })
    const { rows, imported, already, expired, notSuppressed, unreadable } = counts
    line(
      `${rows} rows: ${imported} ${options.dryRun ? 'would be suppressed' : 'suppressed'}, ${already} suppressed already, ${expired} expired, ${notSuppressed} not suppressed there or only for a time, ${unreadable} without an address that can be read`,
    )
  })
}

const inputOf = (file: string) => (file === '-' ? process.stdin : createReadStream(file))

/** A time, or a duration from now. */
function timeOf(text: string): Date {
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  const time = Number.isNaN(at) ? Date.now() + duration(text, '--until') : at
  if (time <= Date.now()) throw new CommandFailed(`--until ${text} is over`, 2)
  return new Date(time)
}

async function* records(database: Database): AsyncGenerator<(string | null)[]> {
  for await (const e of listSuppressions(database.db, new Date()))
    yield [e.address, e.reason, e.since.toISOString(), e.until?.toISOString() ?? null, e.status, e.reply, e.destination, e.causedBy]
}

/** Suppressed: exit status 1, without a message of its own. */
function endWith(entry: Suppression | null): void {
  if (entry !== null) throw new CommandFailed('')
}

/** For JSON, without what only the next suppression's length needs. */
const shown = ({ step: _, ...entry }: Suppression): Omit<Suppression, 'step'> => entry

const ends = (entry: Suppression) => (entry.until === null ? 'until it is removed' : `until ${entry.until.toISOString()}`)

const row = (entry: Suppression) => [entry.address, ends(entry), entry.reason, entry.status ?? '', entry.reply ?? '']

function duration(text: string, option = '--for'): number {
  try {
    return parseDuration(text)
  } catch (error) {
    throw new CommandFailed(`${option} ${(error as Error).message}`, 2)
  }
}
