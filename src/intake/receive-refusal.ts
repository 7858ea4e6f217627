/** Receives a refusal of an application's own transporter (`track`): a report about the original send. */
import type { Client } from '@temporalio/client'
import { SoftbounceClient } from '../client/client.js'
import type { Settings } from '../config/index.js'
import { type ParsedReport, type ReportedRecipient, readReported } from '../dsn/index.js'
import { APPLICATION, type Database, findSent, type HandedOver } from '../store/index.js'
import { type IntakeDependencies, type IntakeResult, intakeSettingsOf, ReportHandler, subjectOf } from './apply.js'
import { InboxLoop, type InboxOptions } from './inbox-loop.js'

const POLL_EVERY_MS = 1000

/** What processing handed-over refusals needs of the settings. */
type RefusalSettings = Pick<
  Settings,
  'returnPaths' | 'ownHosts' | 'retryStatuses' | 'intake' | 'relayPreset' | 'encryption' | 'database' | 'taskQueue'
>

/**
 * Starts the retries of refusals that applications hand over, within two seconds of the refusal. Workers and intakes do this; one is enough.
 * @param temporal a client of the namespace that the workers serve.
 */
export async function processRefusals(
  temporal: Client,
  database: Database,
  settings: RefusalSettings,
  more: Pick<InboxOptions, 'logger' | 'metrics'>,
): Promise<InboxLoop> {
  const client = await SoftbounceClient.open(settings, { temporal, database })
  return watchRefusals({ client, database, settings: intakeSettingsOf(settings), now: () => new Date() }, more)
}

/** The same with a client that is connected already. */
export function watchRefusals(dependencies: IntakeDependencies, more: Pick<InboxOptions, 'logger' | 'metrics'>): InboxLoop {
  const receiver = new RefusalReceiver(dependencies)
  more.metrics?.countMailsFrom(APPLICATION)
  return new InboxLoop(
    dependencies.database,
    { [APPLICATION]: ({ content }) => receiver.take(content) },
    { ...more, pollEveryMs: POLL_EVERY_MS },
  )
}

export class RefusalReceiver {
  readonly #acting: ReportHandler

  constructor(private readonly dependencies: IntakeDependencies) {
    this.#acting = new ReportHandler(dependencies)
  }

  /**
   * Receives one stored refusal. When it returns, everything is done and recorded.
   * @throws Error if Temporal or the database is away: it must be tried again.
   */
  async take(content: string): Promise<IntakeResult[]> {
    const { sentId, token, status, reply, at } = JSON.parse(content) as HandedOver
    const came = { at: this.dependencies.now(), source: APPLICATION, cameTo: null }
    const sent = await findSent(this.dependencies.database.db, sentId)
    if (sent === null)
      return this.#acting.record(came, null, [[null, { disposition: 'ignored', why: 'the message was forgotten before it was retried' }]])
    const reported: ReportedRecipient = readReported({
      ...{ recipient: sent.envelopeRecipient, action: 'failed', status, diagnostic: reply, at: new Date(at) },
    })
    const report: ParsedReport = { kind: 'bounce', recipients: [reported], messageId: sent.messageId, returned: 'none', date: new Date(at) }
    const handled = await this.#acting.act(subjectOf(sent, { send: 0, text: token }), { reported, isItself: true }, report, status)
    return this.#acting.record({ ...came, sent }, report, [[reported, handled]])
  }
}
