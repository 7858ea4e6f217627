/** softbounce read: prints what a bounce reports, and changes nothing. */
import type { Command } from 'commander'
import { type Candidate, type ParsedReport, type Reading, type ReportedRecipient, read } from '../dsn/index.js'
import { mailsOf, type NamedMail } from './mail-files.js'
import { CommandFailed, json, line, printable } from './output.js'

export function addRead(program: Command): void {
  program
    .command('read')
    .description('print what mails report: recipient, status and reply of each bounce; nothing is started or stored')
    .argument('<file...>', 'mails, mbox files or Maildirs; - for standard input')
    .option('--json', 'print JSON, one object a file: {"file", "bounces": [...]}, with "why" if there is none')
    .option('--explain', 'also show which addresses were candidates, and why one won')
    .action(async (paths: string[], options: { json?: boolean; explain?: boolean }) => {
      let failures = 0
      const complain = (where: string, error: unknown) => {
        failures += 1
        process.stderr.write(`softbounce: ${printable(`${where}: ${(error as Error).message}`)}\n`)
      }
      for (const path of paths) {
        const report = new ReportPrinter(options.json === true, options.explain === true)
        try {
          for await (const { file, number, reading } of ahead(mailsOf(path))) {
            const where = number === undefined ? file : `${file}#${number}`
            report.begin(file)
            try {
              report.add(file, await reading, where, number)
            } catch (error) {
              report.fault(file, error)
              complain(where, error)
            }
          }
        } catch (error) {
          report.fault(path, error)
          complain(path, error)
        }
        report.end()
      }
      if (failures > 0) throw new CommandFailed(`${failures} could not be read`)
    })
}

/** How many mails are parsed at once. */
const AT_ONCE = 32

/** Parses ahead, and yields the results in order. */
async function* ahead(mails: AsyncIterable<NamedMail>) {
  const waiting: (Omit<NamedMail, 'mail'> & { reading: Promise<Reading> })[] = []
  for await (const { mail, ...named } of mails) {
    const reading = read(mail)
    // no unhandled rejection: the consumer awaits it later
    reading.catch(() => {})
    waiting.push({ ...named, reading })
    if (waiting.length >= AT_ONCE) yield waiting.shift() as (typeof waiting)[number]
  }
  yield* waiting
}

/** What is said of one file, as JSON. */
interface FileResult {
  readonly file: string
  readonly bounces: object[]
  readonly why: string[]
  readonly explain: object[]
  error?: string
  automaticAnswer?: true
}

/** Prints the results: text at once, JSON as one object for each file. */
class ReportPrinter {
  readonly #asJson: boolean
  readonly #explains: boolean
  #current: FileResult | null = null

  constructor(asJson: boolean, explains: boolean) {
    this.#asJson = asJson
    this.#explains = explains
  }

  begin(file: string): FileResult {
    if (this.#current?.file !== file) this.end()
    this.#current ??= { file, bounces: [], why: [], explain: [] }
    return this.#current
  }

  /** Records that a file or mail could not be read. */
  fault(file: string, error: unknown): void {
    this.begin(file).error = (error as Error).message
  }

  add(file: string, reading: Reading, where: string, number: number | undefined): void {
    if (!this.#asJson) {
      for (const text of sentencesOf(reading)) line(`${where}: ${text}`)
      if (this.#explains) for (const text of explanationOf(reading)) line(`  ${text}`)
      return
    }
    const current = this.begin(file)
    const { report } = reading
    if (report?.kind === 'automatic answer') current.automaticAnswer = true
    const numbered = number === undefined ? {} : { mail: number }
    const bounces = report === null ? [] : bouncesOf(report)
    for (const bounce of bounces) current.bounces.push({ ...bounce, ...numbered })
    if (bounces.length === 0) current.why.push(whyNone(reading))
    if (this.#explains) current.explain.push({ ...numbered, format: reading.format, why: reading.why, candidates: reading.candidates })
  }

  end(): void {
    const current = this.#current
    this.#current = null
    if (current === null || !this.#asJson) return
    const { why, explain, bounces, ...rest } = current
    const none = bounces.length === 0 && why.length > 0 ? { why: why.join('; ') } : {}
    json({ ...rest, bounces, ...none, ...(explain.length > 0 ? { explain } : {}) })
  }
}

/** Why a mail reports no bounce. */
function whyNone({ report, why }: Reading): string {
  if (report?.kind === 'automatic answer') return 'an automatic answer; nothing to do'
  return report === null ? why : 'it reports no failed delivery'
}

function sentencesOf(reading: Reading): string[] {
  const { report } = reading
  if (report === null || report.recipients.length === 0) return [report === null ? `no bounce: ${reading.why}` : whyNone(reading)]
  return report.recipients.map((bounce) => sentence(report, bounce))
}

/** The candidates of a mail, the best first, a line each. */
function explanationOf({ format, why, candidates }: Reading): string[] {
  const sorted = [...candidates].sort((a, b) => Number(b.won) - Number(a.won) || b.score - a.score)
  return [`read by ${format ?? 'none'}: ${why}`, ...sorted.map(candidateLine)]
}

function candidateLine({ address, line: at, score, won, why }: Candidate): string {
  return `${won ? '*' : '-'} ${address}, ${score} points${at === null ? '' : `, line ${at}`}: ${why}`
}

/** One object for each recipient of a report, with the report's own fields added. */
export function bouncesOf(notification: ParsedReport): object[] {
  const { recipients, kind, returned, original: _, ...whole } = notification
  return recipients.map(({ recipient, status, ...rest }) => ({
    recipient,
    kind,
    ...(status === undefined ? {} : { class: status.charAt(0), status }),
    ...rest,
    ...whole,
    original: returned,
  }))
}

function sentence({ kind, messageId }: ParsedReport, bounce: ReportedRecipient): string {
  const what = kind === 'complaint' ? 'complaint' : `${bounce.action}${bounce.status === undefined ? '' : ` ${bounce.status}`}`
  const why = bounce.diagnostic === undefined ? '' : ` (${bounce.diagnostic.replace(/\s+/g, ' ').slice(0, 200)})`
  return `${bounce.recipient}: ${what}${why}${messageId === undefined ? '' : `, message ${messageId}`}`
}
