/** softbounce suppressions: the list, and filtering lists by it. */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { addressKey, parseDuration } from '../bounce/index.js'
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
import { operator } from './with-client.js'
import { openingDatabase } from './with-database.js'

export function addSuppressions(program: Command): void {
  const command = program.command('suppressions').description('the suppression list')
  command
    .command('list')
    .description('who is suppressed now')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        const rows: string[][] = []
        for await (const entry of listSuppressions(database.db, new Date())) {
          if (options.json) json(entry)
          else rows.push(row(entry))
          if (rows.length === 1000) table(rows.splice(0))
        }
        table(rows)
      }),
    )
  command
    .command('check')
    .description('whether an address is suppressed, and what happened to it')
    .argument('<address>')
    .option('--json', 'print JSON')
    .action((address: string, options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        const key = keyOf(address)
        const entry = await findSuppression(database.db, key, new Date())
        const history = await suppressionHistory(database.db, key)
        if (options.json) {
          json({ address: key, suppressed: entry !== null, ...(entry === null ? {} : { suppression: entry }), history })
          return
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
      }),
    )
  command
    .command('add')
    .description('take an address off the active list')
    .argument('<address>')
    .option('--for <duration>', 'lapses after this, such as 7d; lasts until it is removed when left out')
    .option('--note <text>', 'why')
    .option('--json', 'print JSON')
    .action((address: string, options: { for?: string; note?: string; json?: boolean }) =>
      openingDatabase(async (database) => {
        const key = keyOf(address)
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
    .description('put an address back on the active list')
    .argument('<address>')
    .option('--json', 'print JSON')
    .action((address: string, options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        const key = keyOf(address)
        const lifted = await database.db.transaction().execute((tx) => liftSuppression(tx, key, operator(), new Date()))
        if (options.json) json({ address: key, lifted })
        else line(lifted ? `${key} is on the active list again` : `${key} was not suppressed`)
      }),
    )
  command
    .command('filter')
    .description('print the lines of a list whose addresses are not suppressed')
    .argument('<file>', 'one address a line, or CSV with --column; - for standard input')
    .option('--column <name>', 'the CSV column that holds the address')
    .option('--suppressed', 'print those that are suppressed instead')
    .option('--json', 'print only the counts, as JSON')
    .action((file: string, options: { column?: string; suppressed?: boolean; json?: boolean }) =>
      openingDatabase(async (database) => {
        const input = file === '-' ? process.stdin : createReadStream(file)
        const { Writable } = await import('node:stream')
        const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
        const { filterList } = await import('../suppression/filter-list.js')
        const counts = await filterList(database, input, options.json ? nowhere : process.stdout, {
          ...(options.column === undefined ? {} : { column: options.column }),
          onlySuppressed: options.suppressed === true,
        })
        if (options.json) json(counts)
        else
          process.stderr.write(
            `softbounce: ${counts.lines} addresses, ${counts.suppressed} suppressed, ${counts.unreadable} without an address that can be read\n`,
          )
      }),
    )
  command
    .command('export')
    .description('print the suppression list as CSV (or JSON)')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) =>
      openingDatabase(async (database) => {
        if (options.json) {
          for await (const entry of listSuppressions(database.db, new Date())) json(entry)
          return
        }
        const columns = ['address', 'reason', 'since', 'until', 'status', 'reply', 'destination', 'caused_by']
        const { stringify } = await import('csv-stringify')
        const csv = stringify({ header: true, columns, escape_formulas: true })
        await pipeline(records(database), csv, process.stdout, { end: false })
      }),
    )
}

async function* records(database: Database): AsyncGenerator<(string | null)[]> {
  for await (const e of listSuppressions(database.db, new Date()))
    yield [e.address, e.reason, e.since.toISOString(), e.until?.toISOString() ?? null, e.status, e.reply, e.destination, e.causedBy]
}

const ends = (entry: Suppression) => (entry.until === null ? 'until it is removed' : `until ${entry.until.toISOString()}`)

const row = (entry: Suppression) => [entry.address, ends(entry), entry.reason, entry.status ?? '', entry.reply ?? '']

function keyOf(address: string): string {
  try {
    return addressKey(address)
  } catch (error) {
    throw new CommandFailed((error as Error).message, 2)
  }
}

function duration(text: string): number {
  try {
    return parseDuration(text)
  } catch (error) {
    throw new CommandFailed(`--for ${(error as Error).message}`, 2)
  }
}
