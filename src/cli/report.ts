/** softbounce report: figures as text, JSON or HTML. */
import { rename, writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { MAX_RETRIES, parseSchedule } from '../bounce/index.js'
import { readSettings } from '../config/index.js'
import type { Figures } from '../report/figures.js'
import { sinceOf } from '../report/since.js'
import type { WhatIf, WhatIfRequest } from '../report/what-if/index.js'
import type { Window } from '../report/window.js'
import type { Database } from '../store/index.js'
import { CommandFailed, json, line } from './output.js'
import { openingDatabase } from './with-database.js'

interface Options {
  readonly since: string
  readonly format: string
  readonly output?: string
  readonly json?: boolean
  readonly whatIf?: readonly string[]
  readonly suggest?: string
  readonly destination?: string
}

export function addReport(program: Command): void {
  program
    .command('report')
    .description('report unreliable destinations, the share of 4.3.2, and what each retry achieves')
    .option('--since <when>', 'from then on: a duration such as 30d, or a day such as 2026-06-01 (UTC)', '30d')
    .option('--format <format>', 'text, json or html', 'text')
    .option('--json', 'as --format json')
    .option('--output <file>', 'write it there')
    .option('--destination <name>', 'of this destination only')
    .option('--what-if <schedule>', 'what this schedule would have earned, such as "30m, 2h, 8h, 24h"; may be repeated', collected)
    .option('--suggest <retries>', 'the best schedule of so many retries, from 1 to 20')
    .action(report)
}

const collected = (schedule: string, earlier: readonly string[] = []) => [...earlier, schedule]

async function report({ since, json: asJson, output, destination, ...options }: Options): Promise<void> {
  const format = asJson ? 'json' : options.format
  if (!['text', 'json', 'html'].includes(format)) throw new CommandFailed(`--format ${format}: it must be text, json or html`, 2)
  const asked = askedSchedules(options)
  const until = new Date()
  const from = startOf(since, until)
  await openingDatabase(async (database) => {
    const { figures } = await import('../report/figures.js')
    const window = { since: from, until, ...(destination === undefined ? {} : { destination }) }
    const counted = await figures(database, window)
    const found = asked === null ? counted : { ...counted, whatIf: await tried(database, window, asked) }
    if (format === 'json' && output === undefined) return json(found)
    const text = format === 'json' ? `${JSON.stringify(found)}\n` : await rendered(format, found)
    if (output === undefined) process.stdout.write(text)
    else {
      await writeWhole(output, text)
      line(`${output}: the report since ${from.toISOString()}`)
    }
  })
}

function startOf(since: string, now: Date): Date {
  try {
    return sinceOf(since, now)
  } catch (error) {
    throw new CommandFailed(`--since: ${(error as Error).message}`, 2)
  }
}

/** What `--what-if` and `--suggest` ask for; null if neither is given. */
function askedSchedules({ whatIf = [], suggest }: Pick<Options, 'whatIf' | 'suggest'>): Omit<WhatIfRequest, 'currentMs'> | null {
  if (whatIf.length === 0 && suggest === undefined) return null
  const retries = suggest === undefined ? null : Number(suggest)
  if (retries !== null && !(Number.isInteger(retries) && retries >= 1 && retries <= MAX_RETRIES))
    throw new CommandFailed(`--suggest ${suggest}: it must be a number of retries from 1 to ${MAX_RETRIES}`, 2)
  const schedulesMs = whatIf.map((schedule) => {
    try {
      return parseSchedule(schedule)
    } catch (error) {
      throw new CommandFailed(`--what-if: ${(error as Error).message}`, 2)
    }
  })
  return { schedulesMs, suggest: retries }
}

async function tried(database: Database, window: Window, asked: Omit<WhatIfRequest, 'currentMs'>): Promise<WhatIf> {
  const { whatIf } = await import('../report/what-if/index.js')
  return whatIf(database, window, { ...asked, currentMs: readSettings().scheduleMs })
}

async function rendered(format: string, found: Figures): Promise<string> {
  const { htmlReport } = await import('../report/html.js')
  const { textReport } = await import('../report/text.js')
  return format === 'html' ? htmlReport(found) : textReport(found)
}

/** Replaces the file atomically: a reader sees the old or the new one. */
async function writeWhole(file: string, text: string): Promise<void> {
  const fresh = `${file}.${process.pid}.new`
  try {
    await writeFile(fresh, text)
    await rename(fresh, file)
  } catch (error) {
    throw new CommandFailed(`${file} cannot be written: ${(error as Error).message}`)
  }
}
