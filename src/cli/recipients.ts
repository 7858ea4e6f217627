/** softbounce list-check, history, forget: checks lists of recipients, shows the history of one, and erases one. */
import { createReadStream, createWriteStream, statSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Command } from 'commander'
import { historyOf } from '../store/index.js'
import { CommandFailed, json, line, table } from './output.js'
import { addressArgument, withClient } from './with-client.js'
import { openingDatabase } from './with-database.js'

/** `list-check`, `history` and `forget`. */
export function addRecipients(program: Command): void {
  program
    .command('list-check')
    .description('check each address of a list: suppressed, destination down, often unavailable, or ok')
    .argument('<file>', 'CSV, or one address a line; - for standard input')
    .option('--column <name>', 'the CSV column that holds the address (default: email, e-mail, mail, address or recipient)')
    .option('--output <file>', 'write the CSV there; else to standard output')
    .option('--json', 'print only the counts, as JSON')
    .action((file: string, options: ListOptions) => listCheck(file, options))
  program
    .command('history')
    .description('show all that is recorded about an address: bounces, retries, ends, suppressions')
    .argument('<address>')
    .option('--json', 'print JSON, one object a line')
    .action((address: string, options: { json?: boolean }) => history(addressArgument(address), options.json === true))
  program
    .command('forget')
    .description('erase a recipient from every table and from Temporal; figures are kept')
    .argument('<address>')
    .option('--yes', 'confirm; without it nothing is erased')
    .option('--json', 'print JSON')
    .action((address: string, options: { yes?: boolean; json?: boolean }) => forget(addressArgument(address), options))
}

interface ListOptions {
  readonly column?: string
  readonly output?: string
  readonly json?: boolean
}

const BAR = 30

/** Progress bar for reading the file, on a terminal only. */
function progress(total: number) {
  let read = 0
  let shown = -1
  const shows = process.stderr.isTTY && total > 0
  return {
    add(bytes: number): void {
      read += bytes
      const percent = Math.floor((read / total) * 100)
      if (!shows || percent === shown) return
      shown = percent
      const full = Math.round((read / total) * BAR)
      process.stderr.write(`\r${'█'.repeat(full)}${'░'.repeat(Math.max(0, BAR - full))} ${percent} %`)
    },
    end: () => {
      if (shows && shown >= 0) process.stderr.write('\r\u001b[K')
    },
  }
}

async function listCheck(file: string, options: ListOptions): Promise<void> {
  const size = file === '-' ? 0 : sizeOf(file)
  const { checkList } = await import('../suppression/list-check.js')
  await openingDatabase(async (database) => {
    const input: Readable = file === '-' ? process.stdin : createReadStream(file)
    const bar = progress(size)
    input.on('data', (chunk: Buffer) => bar.add(chunk.length))
    const { PassThrough } = await import('node:stream')
    const fresh = options.output === undefined ? null : `${options.output}.${process.pid}.new`
    const output: Writable = fresh !== null ? createWriteStream(fresh) : options.json ? new PassThrough().resume() : process.stdout
    const broken = new Promise<never>((_, reject) =>
      output.once('error', (error: Error) => reject(new CommandFailed(`${options.output ?? 'standard output'}: ${error.message}`))),
    )
    const check = async () => {
      const counts = await checkList(database, input, output, options.column === undefined ? {} : { column: options.column })
      if (fresh !== null) {
        output.end()
        await finished(output)
        await rename(fresh, options.output as string)
      }
      return counts
    }
    const counts = await Promise.race([check(), broken])
      .catch(async (error: Error) => {
        // remove the partial output
        if (fresh !== null) await rm(fresh, { force: true })
        throw error
      })
      .finally(bar.end)
    if (options.json) return json(counts)
    const { lines, ...kinds } = counts
    const said = Object.entries(kinds).flatMap(([kind, n]) =>
      n === 0 ? [] : [`${n} ${kind === 'suppressed until' ? 'suppressed' : kind === 'system down since' ? 'system down' : kind}`],
    )
    process.stderr.write(`${lines} ${lines === 1 ? 'address' : 'addresses'}${said.length === 0 ? '' : `: ${said.join(', ')}`}\n`)
  })
}

function sizeOf(file: string): number {
  try {
    return statSync(file).size
  } catch (error) {
    throw new CommandFailed(`${file} cannot be read: ${(error as Error).message}`)
  }
}

async function history(address: string, asJson: boolean): Promise<void> {
  await openingDatabase(async (database) => {
    const events = await historyOf(database, address)
    if (asJson) for (const event of events) json(event)
    else if (events.length === 0) line(`nothing is known of ${address}`)
    else
      table(events.map(({ at, what, status, detail, messageId }) => [at.toISOString(), what, status ?? '', messageId ?? '', detail ?? '']))
  })
}

async function forget(address: string, options: { yes?: boolean; json?: boolean }): Promise<void> {
  if (!options.yes)
    throw new CommandFailed(`this erases ${address} from every table and from Temporal, and lifts its suppression; say --yes`, 2)
  await withClient(async (client) => {
    const { cancelled, histories, historiesLeft, tables } = await client.forget(address)
    if (options.json) return json({ address, cancelled, histories, historiesLeft, tables })
    line(`${address} is forgotten: ${cancelled} open ${cancelled === 1 ? 'retry was' : 'retries were'} stopped`)
    const rows = Object.entries(tables).map(([name, n]) => [`  ${name}`, String(n)])
    if (rows.length > 0) table(rows)
    line(`  Temporal: ${histories} ${histories === 1 ? 'history was' : 'histories were'} deleted`)
    if (historiesLeft !== null)
      line(`  other histories stay until the namespace's retention time is over, and hold the address: ${historiesLeft}`)
    line('  copies elsewhere (logs, backups, what was mailed) are not reached from here')
  })
}
