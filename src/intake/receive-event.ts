/**
 * Receives a provider's webhook events. The signature proves that they are the provider's, and only we send through our account there: so
 * they count as reports from our own mail system, and are applied like all others.
 */
import { addressKey, messageIdKey } from '../bounce/index.js'
import { sentId, verifyToken } from '../delivery/index.js'
import type { ParsedReport, ReportedRecipient } from '../dsn/index.js'
import { PROVIDER_NAMES, type Provider, type ProviderEvent, parseWebhook, UnknownEvent, UnreadableWebhook } from '../providers/index.js'
import { Batcher, countAttempts, findProviderId, findSent, findSoleSend, recipientsWithAttempts, type Sent } from '../store/index.js'
import { type Handled, type IntakeDependencies, type IntakeResult, type ReportedSend, ReportHandler, subjectOf } from './apply.js'
import { provenReturnPath, recordFor } from './authenticate.js'

/** The send that an event is about, with our own record of it if there is one; or why it is not known. */
type FoundSubject = { readonly subject: ReportedSend; readonly sent: Sent | null } | { readonly refused: string }

export class EventReceiver {
  readonly #acting: ReportHandler
  /** Whether a retry to a recipient was ever begun. */
  readonly #retriedTo: Batcher<string, boolean>

  constructor(private readonly dependencies: IntakeDependencies) {
    this.#acting = new ReportHandler(dependencies)
    this.#retriedTo = new Batcher(async (recipients) => {
      const known = await recipientsWithAttempts(dependencies.database.db, recipients)
      return recipients.map((recipient) => known.has(recipient))
    }, MAX_BATCH)
  }

  /**
   * Receives one stored webhook. When it returns, everything is applied and recorded; routine events need no action and no record.
   * @param digest SHA-256 of the content, hex: its name in quarantine if it is unreadable.
   * @throws Error if Temporal or the database is unavailable: the webhook must be retried.
   */
  async take(provider: Provider, content: string, digest: string): Promise<IntakeResult[]> {
    let events: readonly ProviderEvent[]
    try {
      events = parseWebhook(provider, content)
    } catch (error) {
      if (!(error instanceof UnreadableWebhook)) throw error
      if (error instanceof UnknownEvent) this.dependencies.metrics?.unknownEventCame(provider)
      return this.#unread(provider, content, digest, error.message)
    }
    const taken: IntakeResult[] = []
    for (const event of events) taken.push(...(await this.#takeOne(provider, event)))
    return taken
  }

  /**
   * How soon a webhook must be processed: `urgent` (a failure, a complaint, or one that cannot be read), `routine` (news of a retry), or
   * `never`, since it can lead to nothing. Most webhooks are about messages that were delivered at once.
   */
  async urgencyOf(provider: Provider, content: string): Promise<'urgent' | 'routine' | 'never'> {
    let recipients: readonly string[]
    try {
      const events = parseWebhook(provider, content).filter(({ recipient }) => recipient !== null)
      if (events.some(({ reported, complaint }) => complaint !== undefined || reported?.action === 'failed')) return 'urgent'
      recipients = events.map(({ recipient }) => addressKey(recipient as string))
    } catch {
      return 'urgent'
    }
    const isRetried = await Promise.all(recipients.map((recipient) => this.#retriedTo.add(recipient)))
    return isRetried.includes(true) ? 'routine' : 'never'
  }

  async #takeOne(provider: Provider, event: ProviderEvent): Promise<IntakeResult[]> {
    const { recipient, reported, complaint, why } = event
    if (recipient === null) return []
    const notification = notificationOf(provider, event)
    const about = { at: this.dependencies.now(), source: provider, cameTo: null }
    const found = await this.#subjectOf(provider, event)
    if ('refused' in found)
      return this.#acting.record(about, notification, [
        [reported ?? notification.recipients[0] ?? null, { disposition: 'ignored', why: found.refused }],
      ])
    const { subject, sent } = found
    const came = sent === null ? about : { ...about, sent }
    if (complaint !== undefined)
      return this.#acting.record(came, notification, [
        [notification.recipients[0] ?? null, await this.#acting.complain(subject, complaint)],
      ])
    if (reported === undefined) return []
    if (reported.action !== 'failed' && !(await this.#wasRetried(subject))) return []
    const record = sent === null ? { reported, isItself: true } : recordFor(sent, notification, true)
    if ('refused' in record)
      return this.#acting.record(came, notification, [[reported, { disposition: 'unauthenticated', why: record.refused }]])
    const done = await this.#acting.act(subject, record, notification)
    if (reported.action !== 'failed' && done.disposition === 'ignored') return []
    return this.#acting.record(came, notification, [[record.reported, explained(done, why)]])
  }

  /** Finds the send by the token, the return path, the provider's message ID, or Message-ID and recipient, in this order. */
  async #subjectOf(provider: Provider, event: ProviderEvent): Promise<FoundSubject> {
    const { database, settings, now } = this.dependencies
    const { db } = database
    const recipient = event.recipient as string
    const { returnPaths } = settings
    const given = event.token === undefined || returnPaths === null ? null : verifyToken(returnPaths, event.token, now())
    const token = given === null || 'refused' in given ? null : given
    const byToken = token === null ? null : await findSent(db, token.id)
    if (token !== null && byToken !== null) return { subject: subjectOf(byToken, token), sent: byToken }
    const proven = event.returnPath === undefined ? null : await provenReturnPath(settings, database, [event.returnPath], now())
    if (proven !== null && !('refused' in proven)) return { subject: subjectOf(proven.sent, proven.token), sent: proven.sent }
    const as = event.providerId === undefined ? null : await findProviderId(db, provider, event.providerId)
    const byName = as === null ? null : await findSent(db, as.sentId)
    if (as !== null && byName !== null) return { subject: subjectOf(byName, { send: as.send, text: null }), sent: byName }
    const messageId = event.messageId ?? (event.providerId === undefined ? undefined : `${event.providerId}@${provider}`)
    if (messageId === undefined && event.isUnnamed && settings.relayProvider === provider) return this.#onlyOneTo(recipient)
    if (messageId === undefined) return { refused: 'it does not name the message that it is about' }
    try {
      const sent = await findSent(db, sentId(messageId, recipient))
      if (sent !== null) return { subject: subjectOf(sent, null), sent }
      return { subject: { ...UNKNOWN, messageId: messageIdKey(messageId), recipient, sender: event.returnPath ?? '' }, sent: null }
    } catch (error) {
      return { refused: (error as Error).message }
    }
  }

  /**
   * A message that our relay's provider refused before it gave it a name: the one that was sent to that recipient, if it was one.
   * @throws Error while a send to that recipient has no answer yet.
   */
  async #onlyOneTo(recipient: string): Promise<FoundSubject> {
    const { database, now } = this.dependencies
    const since = new Date(now().getTime() - REFUSED_WITHIN_MS)
    const only = await findSoleSend(database.db, addressKey(recipient), since)
    if (only.kind === 'pending') throw new Error('a retry to its recipient is being sent')
    const sent = only.kind === 'unclear' ? null : await findSent(database.db, sentId(only.messageId, recipient))
    if (only.kind === 'unclear' || sent === null) return { refused: 'it does not name the message that it is about' }
    return { subject: subjectOf(sent, { send: only.send, text: null }), sent }
  }

  /**
   * Whether the message was retried: reports about the original send need no action.
   * @throws Error if a retry has begun, and its own answer is not recorded yet.
   */
  async #wasRetried({ messageId, recipient }: ReportedSend): Promise<boolean> {
    const { answered, open } = await countAttempts(this.dependencies.database.db, messageIdKey(messageId), addressKey(recipient))
    if (answered === 0 && open > 0) throw new Error('the retry that it is about is being sent')
    return answered > 0
  }

  async #unread(provider: Provider, content: string, digest: string, why: string): Promise<IntakeResult[]> {
    const came = { at: this.dependencies.now(), source: provider, cameTo: null }
    const reason = await this.#acting.quarantine(came, Buffer.from(content), digest, why)
    return this.#acting.record(came, null, [
      [null, { disposition: 'unreadable', why: `a notification of ${PROVIDER_NAMES[provider]}: ${reason}` }],
    ])
  }
}

const MAX_BATCH = 200
/** How long after it accepted a message a provider may still refuse it without naming it. */
const REFUSED_WITHIN_MS = 60 * 60_000

/** A message that was not sent with softbounce: nothing about it is stored. */
const UNKNOWN = { message: null, send: null, token: null, sentAt: null, options: {} } as const

const explained = (done: Handled, why: string | undefined): Handled => (why === undefined ? done : { ...done, why: `${why}; ${done.why}` })

function notificationOf(provider: Provider, { reported, recipient, complaint, at, messageId }: ProviderEvent): ParsedReport {
  const recipients: ReportedRecipient[] = reported !== undefined ? [reported] : [{ recipient: recipient as string, action: 'failed' }]
  return {
    kind: complaint === undefined ? 'bounce' : 'complaint',
    ...(complaint === undefined ? {} : { feedbackType: complaint }),
    recipients,
    reportingMta: PROVIDER_NAMES[provider],
    returned: 'none',
    ...(at === undefined ? {} : { date: at }),
    ...(messageId === undefined ? {} : { messageId }),
  }
}
