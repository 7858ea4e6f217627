/** Receives a refusal that an application's own transporter met (`track`): a report about the original send, heard by the application itself. */
import type { ParsedReport, ReportedRecipient } from '../dsn/index.js'
import { readReported } from '../dsn/index.js'
import { findSent, type HandedOver } from '../store/index.js'
import { type IntakeDependencies, type IntakeResult, ReportHandler, subjectOf } from './apply.js'

/** The source of these rows in the inbox, and in `softbounce bounces`. */
export const APPLICATION = 'application'

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
      ...{ recipient: sent.envelopeRecipient, action: 'failed', diagnostic: reply, at: new Date(at) },
      ...(status === undefined ? {} : { status }),
    })
    const report: ParsedReport = { kind: 'bounce', recipients: [reported], messageId: sent.messageId, returned: 'none', date: new Date(at) }
    const handled = await this.#acting.act(subjectOf(sent, { send: 0, text: token }), { reported, isItself: true }, report)
    return this.#acting.record({ ...came, sent }, report, [[reported, handled]])
  }
}
