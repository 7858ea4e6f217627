/** softbounce read: prints what a bounce reports, and changes nothing. */
import type { Command } from 'commander'
import { type ParsedReport, parseReport, type ReportedRecipient } from '../dsn/index.js'
import { mailsOf, type NamedMail } from './mail-files.js'
import { CommandFailed, json, line, printable } from './output.js'

export function addRead(program: Command): void {
  program
    .command('read')
    .description('say what bounce mails tell; nothing is started, and nothing is written down')
    .argument('<file...>', 'mails, mbox files or Maildirs; - for standard input')
    .option('--json', 'print JSON, one object a file: {"file", "bounces": [...]}')
    .action(async (paths: string[], options: { json?: boolean }) => {
      let failures = 0
      const complain = (where: string, error: unknown) => {
        failures += 1
        process.stderr.write(`softbounce: ${printable(`${where}: ${(error as Error).message}`)}\n`)
      }
      for (const path of paths) {
        const report = new ReportPrinter(options.json === true)
        try {
          for await (const { file, number, read } of ahead(mailsOf(path))) {
            const where = number === undefined ? file : `${file}#${number}`
            report.begin(file)
            try {
              report.add(await read, where, number)
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
  const waiting: (Omit<NamedMail, 'mail'> & { read: Promise<ParsedReport | null> })[] = []
  for await (const { mail, ...named } of mails) {
    const read = parseReport(mail)
    // no unhandled rejection: the consumer awaits `read` later
    read.catch(() => {})
    waiting.push({ ...named, read })
    if (waiting.length >= AT_ONCE) yield waiting.shift() as (typeof waiting)[number]
  }
  yield* waiting
}

/** Prints the results: text at once, JSON as one object for each file. */
class ReportPrinter {
  #file: string | null = null
  #bounces: object[] = []
  #error: string | null = null
  #automatic = false

  constructor(readonly asJson: boolean) {}

  begin(file: string): void {
    if (this.#file !== file) this.end()
    this.#file = file
  }

  /** Records that a file or mail could not be read. */
  fault(file: string, error: unknown): void {
    this.begin(file)
    this.#error = (error as Error).message
  }

  add(notification: ParsedReport | null, where: string, number: number | undefined): void {
    if (this.asJson) {
      if (notification?.kind === 'automatic answer') this.#automatic = true
      const numbered = number === undefined ? {} : { mail: number }
      for (const bounce of notification === null ? [] : bouncesOf(notification)) this.#bounces.push({ ...bounce, ...numbered })
    } else if (notification === null) line(`${where}: no bounce`)
    else if (notification.kind === 'automatic answer') line(`${where}: an automatic answer; nothing to do`)
    else for (const bounce of notification.recipients) line(`${where}: ${sentence(notification, bounce)}`)
  }

  end(): void {
    const error = this.#error === null ? {} : { error: this.#error }
    const automatic = this.#automatic ? { automaticAnswer: true } : {}
    if (this.asJson && this.#file !== null) json({ file: this.#file, bounces: this.#bounces, ...automatic, ...error })
    this.#file = null
    this.#bounces = []
    this.#error = null
    this.#automatic = false
  }
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
