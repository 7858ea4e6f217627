/** softbounce retry: starts retries from bounces in files. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { effectiveStatus, judgeBounce, parseStatus } from '../bounce/index.js'
import type { BounceOf, RetryOptions, SoftbounceClient, StartedRetry } from '../client/index.js'
import { readSettings, type Settings } from '../config/index.js'
import { canonicalMessage } from '../delivery/canonical-message.js'
import { withoutReturningTrace } from '../delivery/returned-original.js'
import { type ParsedReport, parseReport, type ReportedRecipient } from '../dsn/index.js'
import { awaitTaken, type Taken } from './await-taken.js'
import { CommandFailed, json, line, printable, withFault } from './output.js'
import { addressArgument } from './with-client.js'

interface Options {
  readonly message?: string
  readonly recipient?: string
  readonly sender?: string
  readonly status?: string
  readonly messageId?: string
  readonly schedule?: string
  readonly deliverBy?: string
  readonly urgent?: boolean
  readonly via?: string
  readonly again?: boolean
  readonly json?: boolean
}

/** The result for one recipient of a report. */
interface Done {
  readonly file: string
  readonly recipient: string
  readonly verdict: string
  readonly reason: string
  readonly workflowId?: string
  /** What came of the start: it waits, had ended before, or is held. */
  readonly state?: Taken['state']
  readonly result?: string
}

export function addRetry(program: Command): void {
  program
    .command('retry')
    .description(
      'start the retries of bounced messages, each from its delivery status notification (RFC 3464); exit status 1 if one is not retried',
    )
    .argument('<bounce.eml...>', 'reports, with the original inside (or --message)')
    .option('--message <file>', 'the original, if the report does not contain it')
    .option('--recipient <address>', 'the recipient, if the report names none or several')
    .option('--sender <address>', 'the envelope sender of the original, if the report does not name it')
    .option('--status <code>', 'the status, such as 4.3.2, instead of the one in the report')
    .option('--message-id <id>', "the original's Message-ID, if it has none")
    .option('--schedule <delays>', 'another schedule, such as "1h, 4h*2"')
    .option('--deliver-by <time>', 'no retry after this time (ISO 8601)')
    .option('--urgent', 'publish bounce.retrying at once, to events.webhook and events.taskQueue')
    .option('--via <way>', 'urgent, and also sent once, at once, by another relay: backup-relay')
    .option('--again', 'start again although it ended before (cancelled, rejected, expired, delivered)')
    .option('--json', 'print JSON, one object a line')
    .action(async (files: string[], options: Options) => {
      if (options.via !== undefined && options.via !== 'backup-relay')
        throw new CommandFailed(`--via ${options.via} is no way; there is backup-relay`, 2)
      const settings = readSettings()
      if (options.recipient !== undefined) addressArgument(options.recipient)
      if (options.status !== undefined && parseStatus(options.status) === null)
        throw new CommandFailed(`--status ${options.status} is not an enhanced status code such as 4.3.2`, 2)
      let failures = 0
      let notRetried = 0
      const each = async (file: string, work: () => Promise<void> | void) => {
        try {
          await work()
        } catch (error) {
          failures += 1
          process.stderr.write(`softbounce: ${printable(`${file}: ${withFault(error)}`)}\n`)
        }
      }
      const mails = new Map<string, Buffer>()
      for (const file of files) await each(file, () => void mails.set(file, readFileSync(file === '-' ? 0 : file)))
      if (mails.size > 0) {
        const { SoftbounceClient } = await import('../client/index.js')
        const client = await SoftbounceClient.open(settings)
        try {
          for (const [file, mail] of mails)
            await each(file, async () => {
              for (const done of await retryFile(client, settings, file, mail, options)) {
                report(done, options)
                if (done.verdict !== 'ignore' && done.state !== 'waits') notRetried += 1
              }
            })
        } finally {
          await client.close()
        }
      }
      if (failures === 0 && notRetried > 0)
        throw new CommandFailed(
          `${notRetried === 1 ? 'one recipient is' : `${notRetried} recipients are`} held, or not retried, as said above`,
        )
      if (failures > 0) throw new CommandFailed(`${failures} of ${files.length} could not be retried; each stays where it is`)
    })
}

function report(done: Done, options: Options): void {
  if (options.json) json(done)
  else if (done.workflowId === undefined) line(`${done.file}: ${done.recipient}: nothing to retry (${done.reason})`)
  else line(`${done.file}: ${done.recipient}: ${done.state === 'held' ? 'held: ' : ''}${done.result} (${done.reason}; ${done.workflowId})`)
}

async function retryFile(client: SoftbounceClient, settings: Settings, file: string, mail: Buffer, options: Options): Promise<Done[]> {
  const notification: ParsedReport = (await parseReport(mail)) ?? { kind: 'bounce', recipients: [], returned: 'none' }
  const done: Done[] = []
  for (const reported of recipients(notification, options)) {
    const { action } = reported
    const recipient = knownAs(reported)
    if (action !== 'failed') {
      done.push({ file, recipient, verdict: 'ignore', reason: `Action: ${action}: the sending system is still at it, or has delivered it` })
      continue
    }
    const judged = judgeBounce(statusOf(reported, options), settings.retryStatuses)
    if (judged.verdict !== 'retry') {
      done.push({ file, recipient, verdict: judged.verdict, reason: judged.reason })
      continue
    }
    const started = await start(client, notification, reported, options)
    const { state, text } = await awaitTaken(client, started)
    done.push({ file, recipient, verdict: 'retry', reason: judged.reason, workflowId: started.workflowId, state, result: text })
  }
  return done
}

/** The recipient as the message was addressed: Original-Recipient (RFC 3464 2.3.1), if reported. */
const knownAs = (reported: ReportedRecipient): string => reported.originalRecipient ?? reported.recipient

function recipients({ recipients: reported }: ParsedReport, options: Options): ReportedRecipient[] {
  if (options.recipient === undefined) {
    if (reported.length === 0)
      throw new Error(
        'it is no delivery status notification that names a recipient (RFC 3464); give --recipient, --sender, --status and --message',
      )
    return [...reported]
  }
  const wanted = options.recipient.toLowerCase()
  const named = reported.find((r) => knownAs(r).toLowerCase() === wanted || r.recipient.toLowerCase() === wanted)
  if (named !== undefined) return [named]
  if (reported.length > 0) throw new Error(`it does not name ${options.recipient}; it names ${reported.map(knownAs).join(', ')}`)
  return [{ action: 'failed', recipient: options.recipient }]
}

/** Without what the returning systems put on top. */
function returnedOriginal({ original }: ParsedReport, { recipient, originalRecipient = recipient }: ReportedRecipient): Buffer | undefined {
  return original === undefined ? undefined : withoutReturningTrace(canonicalMessage(original), [recipient, originalRecipient])
}

/** Starts the retries with the original from --message, from the report, or from the store. */
async function start(
  client: SoftbounceClient,
  notification: ParsedReport,
  reported: ReportedRecipient,
  options: Options,
): Promise<StartedRetry> {
  const more = retryOptions(options)
  const original = options.message === undefined ? returnedOriginal(notification, reported) : readFileSync(options.message)
  if (original !== undefined) return client.retry(original, bounceOf(notification, reported, options), more)
  const messageId = options.messageId ?? notification.messageId
  const kept = messageId === undefined ? null : await client.kept(messageId, knownAs(reported))
  if (messageId === undefined || kept === null)
    throw new Error('it does not hold the whole original, and none is kept for it; give it with --message')
  const bounce = bounceOf(notification, reported, options, kept.sender)
  return client.retryStored(kept.key, { ...bounce, messageId }, more)
}

/** `--status` overrides the report, whatever reply it quotes. */
const statusOf = (reported: ReportedRecipient, { status }: Options) =>
  status === undefined ? { status: reported.status, diagnostic: reported.diagnostic } : { status }

function bounceOf(notification: ParsedReport, reported: ReportedRecipient, options: Options, sentBy: string | null = null): BounceOf {
  const sender = options.sender ?? sentBy ?? notification.sender
  if (sender === undefined) throw new Error("it does not name the original's envelope sender; give --sender")
  const status = effectiveStatus(statusOf(reported, options))
  const messageId = options.messageId ?? notification.messageId
  const at = reported.lastAttemptAt ?? notification.date ?? new Date()
  return {
    sender,
    recipient: knownAs(reported),
    status: status as string,
    bouncedAt: at.toISOString(),
    // a reply that the report quotes would beat the status that was asked for
    ...(reported.diagnostic === undefined || options.status !== undefined ? {} : { diagnostic: reported.diagnostic }),
    ...(reported.remoteMta === undefined ? {} : { remoteMta: reported.remoteMta }),
    ...(messageId === undefined ? {} : { messageId }),
  }
}

function retryOptions(options: Options): RetryOptions {
  return {
    ...(options.schedule === undefined ? {} : { schedule: options.schedule.split(',').map((delay) => delay.trim()) }),
    ...(options.deliverBy === undefined ? {} : { deliverBy: options.deliverBy }),
    ...(options.via === undefined ? (options.urgent ? { urgent: true } : {}) : { urgent: { via: options.via as 'backup-relay' } }),
    ...(options.again ? { retriesSoFar: 0 } : {}),
  }
}
