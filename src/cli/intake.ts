/** softbounce intake: receives bounces by LMTP, Maildir, IMAP, webhooks, or from standard input. */
import type { Server } from 'node:http'
import type { Command } from 'commander'
import { keyDigests, parseListen, readSettings, type Settings, WrongSettings } from '../config/index.js'
import type { IntakeDependencies } from '../intake/index.js'
import type { Logger } from '../logger.js'
import { requirePackages } from '../optional-packages.js'
import { PROVIDERS } from '../providers/index.js'
import type { Metrics } from '../report/metrics.js'
import type { Database, DatabaseWatch } from '../store/index.js'
import { CommandFailed, json, line, printable, withFault } from './output.js'

export function addIntake(program: Command): void {
  program
    .command('intake')
    .description('receive bounces by LMTP, from a Maildir, a mailbox or providers’ webhooks, until SIGTERM or SIGINT')
    .option('--lmtp <address>', 'listen there, such as 127.0.0.1:2003 or unix:/run/softbounce/lmtp.sock (default: intake.listen)')
    .option('--maildir <folder>', 'watch this Maildir')
    .option('--imap', 'read the mailbox of intake.imap.url, and wait for more')
    .action((options: IntakeOptions) => run(options))
  program
    .command('take')
    .description('process one bounce from standard input (for a pipe in an alias); exit status 75: try again')
    .option(
      '--recipient <address>',
      'the address it came to: the envelope recipient (default: from the environment, or the fields that delivery adds)',
    )
    .option('--sender <address>', 'its envelope sender; empty for the null sender')
    .option('--json', 'print JSON, one object for each recipient')
    .action((options: { recipient?: string; sender?: string; json?: boolean }) => take(options))
}

interface IntakeOptions {
  readonly lmtp?: string
  readonly maildir?: string
  readonly imap?: boolean
}

async function run(options: IntakeOptions): Promise<void> {
  const settings = readSettings()
  // with --maildir or --imap, the configured LMTP address is not used
  const byDefault = options.maildir === undefined && !options.imap ? settings.intake.listen : null
  const listen = options.lmtp === undefined ? byDefault : listenOf(options.lmtp)
  if (options.imap && settings.mailbox === null) throw new CommandFailed('--imap: intake.imap.url is not set', 2)
  if (options.imap) await requirePackages('reading a mailbox (softbounce intake --imap)')
  const providers = PROVIDERS.filter((provider) => settings.providers[provider] !== undefined)
  if (providers.length > 0 && settings.httpPort === null)
    throw new CommandFailed(`notifications of ${providers.join(', ')} come in by HTTP, and http.port is not set`, 2)
  if (listen === null && options.maildir === undefined && !options.imap && providers.length === 0)
    throw new CommandFailed(
      "nothing says where bounces come in: set intake.listen or a provider's secret, or give --lmtp, --maildir or --imap",
      2,
    )
  if (listen !== null || options.maildir !== undefined || options.imap) requireAuthentication(settings)
  const { createLogger } = await import('../logger.js')
  const { EventReceiver, WebhookReceiver, serveLmtp, watchImap, watchMaildir, watchRefusals } = await import('../intake/index.js')
  const logger = createLogger(settings.logLevel)
  const { Metrics } = await import('../report/metrics.js')
  const metrics = settings.httpPort === null ? null : new Metrics()
  const { announceProcess, DatabaseWatch } = await import('../store/index.js')
  const watch = new DatabaseWatch(logger)
  await withIntake(settings, metrics, watch, async (intake, database, dependencies) => {
    watch.start(database)
    const stopped = new Promise<string>((resolve) => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
    })
    const lmtp = listen === null ? null : await serveLmtp(intake, { ...settings.intake, listen }, logger)
    const maildir = options.maildir === undefined ? null : await watchMaildir(intake, options.maildir, settings.intake.maxBytes, logger)
    const { mailbox: at, intake: limits } = settings
    const mailbox =
      options.imap && at !== null
        ? watchImap(intake, database, { ...at, maxBytes: limits.maxBytes, rememberedForMs: settings.messageRetentionMs }, logger)
        : null
    const more = {
      secrets: settings.providers,
      maxWaiting: settings.intake.limits.waitingWebhooks,
      ...(metrics === null ? {} : { metrics }),
    }
    const notifications = providers.length === 0 ? null : new WebhookReceiver(new EventReceiver(dependencies), database, more, logger)
    const { connection, options: temporalOptions } = dependencies.client.temporal
    const { warnAtStart } = await import('../doctor/index.js')
    void warnAtStart('intake', { settings, database, connection, namespace: temporalOptions.namespace, log: logger })
    const retire = announceProcess(database, 'intake', keyDigests(settings))
    const inbox = watchRefusals(dependencies, { logger, ...(metrics === null ? {} : { metrics }) })
    const http = await servePages(settings, metrics, database, watch, notifications, logger)
    logger.info(
      {
        lmtp: listen === null ? undefined : 'path' in listen ? listen.path : `${listen.host}:${lmtp?.port}`,
        maildir: options.maildir,
        ...(mailbox === null ? {} : { imap: at?.host }),
        ...(notifications === null ? {} : { notifications: providers }),
      },
      'the intake is ready',
    )
    await stopped
    http?.close()
    await Promise.all([lmtp?.close(), maildir?.close(), mailbox?.close(), notifications?.close(), inbox.close()])
    retire()
    watch.stop()
    logger.info({}, 'the intake has stopped')
  })
}

function listenOf(text: string): Settings['intake']['listen'] {
  try {
    return parseListen(text)
  } catch (error) {
    throw new CommandFailed(`--lmtp ${text}: ${(error as Error).message}`, 2)
  }
}

/** Exit statuses of sysexits.h, which Postfix, Exim, Sendmail and Courier interpret when they pipe to a command. */
const EX_DATAERR = 65
const EX_TEMPFAIL = 75
const EX_CONFIG = 78

async function take(options: { recipient?: string; sender?: string; json?: boolean }): Promise<void> {
  let settings: Settings
  try {
    settings = readSettings()
    requireAuthentication(settings)
  } catch (error) {
    return leave(EX_CONFIG, error)
  }
  try {
    const { deliveredTo, returnPathOf, summary } = await import('../intake/index.js')
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of process.stdin) {
      size += (chunk as Buffer).length
      if (size > settings.intake.maxBytes)
        return leave(EX_DATAERR, new Error(`the mail has more than ${settings.intake.maxBytes} bytes (intake.maxSize)`))
      chunks.push(chunk as Buffer)
    }
    const mail = Buffer.concat(chunks)
    if (mail.length === 0) return leave(EX_DATAERR, new Error('standard input is empty; a bounce is expected there'))
    const to = recipients(options, () => deliveredTo(mail))
    if (to.length === 0 && !settings.intake.isTrusted)
      return leave(EX_CONFIG, new Error('nothing says which address the bounce came to; give --recipient'))
    await withIntake(settings, null, null, async (intake) => {
      const taken = await intake.take(mail, { recipients: to, sender: options.sender ?? process.env.SENDER ?? returnPathOf(mail) }, 'pipe')
      if (options.json)
        for (const one of taken)
          json({
            disposition: one.disposition,
            why: one.why,
            recipient: one.recipient,
            messageId: one.messageId,
            workflowId: one.workflowId,
          })
      else line(`${summary(taken)}: ${taken.map((t) => t.why).join('; ')}`)
    })
  } catch (error) {
    leave(EX_TEMPFAIL, error)
  }
}

function leave(status: number, error: unknown): void {
  const faults = error instanceof WrongSettings ? error.faults : [withFault(error)]
  for (const fault of faults) process.stderr.write(`softbounce: ${printable(fault)}\n`)
  process.exitCode = status
}

/**
 * The envelope recipient: from the option, else from the environment that Postfix (ORIGINAL_RECIPIENT) or qmail (RECIPIENT) sets for a
 * pipe, else from the header fields that the delivering system added.
 */
function recipients(options: { recipient?: string }, delivered: () => string[]): string[] {
  if (options.recipient !== undefined) return [options.recipient]
  const named = [process.env.ORIGINAL_RECIPIENT, process.env.RECIPIENT].filter((a) => a !== undefined && a !== '') as string[]
  return named.length > 0 ? named : delivered()
}

/** @throws WrongSettings if the settings let no bounce be authenticated. */
function requireAuthentication(settings: Settings): void {
  if (settings.returnPaths === null && !settings.intake.isTrusted)
    throw new WrongSettings([
      'returnPath.keys: without a key no bounce can be authenticated; set it (openssl rand -base64 32), or intake.trusted with ownHosts',
    ])
  if (settings.intake.isTrusted && settings.ownHosts.length === 0)
    throw new WrongSettings(['ownHosts: intake.trusted authenticates reports of your own mail hosts, and none is named'])
}

/** If the port is taken (by a worker, say), the intake runs without pages, unless webhooks need them. */
async function servePages(
  settings: Settings,
  metrics: Metrics | null,
  database: Database,
  watch: DatabaseWatch,
  notifications: import('../intake/index.js').WebhookReceiver | null,
  logger: Logger,
): Promise<Server | null> {
  if (settings.httpPort === null || metrics === null) return null
  const { serveHttp } = await import('../report/http-server.js')
  const databaseFault = () => watch.check()
  metrics.watch(database, databaseFault)
  const state = () => ({ name: 'intake', is: 'RUNNING', good: true })
  try {
    return await serveHttp({
      ...{ port: settings.httpPort, host: settings.httpHost, token: settings.httpToken, databaseFault, metrics, state, log: logger },
      ...(notifications === null ? {} : { others: (request, response) => notifications.answer(request, response) }),
    })
  } catch (error) {
    if (notifications !== null) throw error
    logger.warn({ error: (error as Error).message }, 'the intake has no HTTP page; give it an http.port of its own')
    return null
  }
}

async function withIntake(
  settings: Settings,
  metrics: Metrics | null,
  watch: DatabaseWatch | null,
  work: (intake: import('../intake/index.js').MailReceiver, database: Database, dependencies: IntakeDependencies) => Promise<void>,
): Promise<void> {
  const { SoftbounceClient } = await import('../client/index.js')
  const { openDatabase } = await import('../store/index.js')
  const { intakeSettingsOf, MailReceiver } = await import('../intake/index.js')
  const database = openDatabase(settings.database, watch === null ? {} : { onError: watch.onError })
  try {
    const client = await SoftbounceClient.open(settings, { database })
    try {
      const dependencies = {
        ...{ client, database },
        settings: intakeSettingsOf(settings),
        now: () => new Date(),
        ...(metrics === null ? {} : { metrics }),
      }
      await work(new MailReceiver(dependencies), database, dependencies)
    } finally {
      await client.close()
    }
  } finally {
    await database.close()
  }
}
