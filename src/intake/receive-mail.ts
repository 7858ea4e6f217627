/**
 * Receives a mail: parses it, authenticates it, applies it, and records its disposition with the reason. A mail that comes twice acts once.
 */
import { createHash } from 'node:crypto'
import { sentId } from '../delivery/index.js'
import {
  type Mail,
  originalFields,
  type ParsedReport,
  type Reading,
  type ReportedRecipient,
  readOwn,
  takeApart,
  UnreadableMail,
} from '../dsn/index.js'
import { findSent } from '../store/index.js'
import { type About, type Handled, type IntakeDependencies, type IntakeResult, ReportHandler, subjectOf } from './apply.js'
import {
  cameFromInside,
  type Envelope,
  type ProvenReturnPath,
  provenReturnPath,
  type RefusedReturnPath,
  recordFor,
  rejectOtherRecipient,
  rejectUnsentMessage,
  rejectUntrustedReport,
} from './authenticate.js'
import { complaintReturnPaths, mayBeComplaint } from './feedback-report.js'
import { UrgentFirst } from './urgent-first.js'

/** Mail of strangers; the mail system keeps the rest of a flood. */
const STRANGERS = { together: 4, aSecond: 1000 }

export class MailReceiver {
  readonly #acting: ReportHandler
  readonly #lanes = new UrgentFirst(STRANGERS)
  readonly #takenApart = new WeakMap<Uint8Array, Promise<Mail>>()

  constructor(private readonly dependencies: IntakeDependencies) {
    this.#acting = new ReportHandler(dependencies)
  }

  /**
   * Receives one mail. When it returns, everything is applied and recorded.
   * @param source where it came in: `lmtp`, `pipe`, `maildir` or `imap`.
   * @throws Error if Temporal or the database is unavailable: the mail must stay at its source, and be retried.
   */
  async take(mail: Uint8Array, envelope: Envelope, source: string): Promise<IntakeResult[]> {
    try {
      const taken = await this.#take(mail, envelope, source)
      this.dependencies.metrics?.mailCame(source, 'accepted')
      return taken
    } catch (error) {
      this.dependencies.metrics?.mailCame(source, 'failed')
      throw error
    }
  }

  async #take(mail: Uint8Array, envelope: Envelope, source: string): Promise<IntakeResult[]> {
    const { database, settings, now } = this.dependencies
    const proven = await provenReturnPath(settings, database, envelope.recipients, now())
    const about: About = {
      at: now(),
      source,
      cameTo: 'refused' in proven ? (envelope.recipients[0] ?? null) : proven.cameTo,
      ...('refused' in proven ? {} : { sent: proven.sent }),
    }
    if (!('refused' in proven) || settings.isTrusted) return this.#lanes.urgent(() => this.#process(mail, envelope, about, proven))
    if (proven.isOfAnotherStore) return this.#lanes.urgent(() => this.#keepForAnotherStore(mail, about, proven.refused))
    return this.#lanes.other(() =>
      mayBeComplaint(mail)
        ? this.#process(mail, envelope, about, proven)
        : // mail that is not to a return path of ours is not even parsed
          this.#acting.record(about, null, [[null, { disposition: 'unauthenticated', why: proven.refused }]]),
    )
  }

  async #process(
    mail: Uint8Array,
    envelope: Envelope,
    about: About,
    proven: ProvenReturnPath | RefusedReturnPath,
  ): Promise<IntakeResult[]> {
    const { settings } = this.dependencies
    let parts: Mail
    let reading: Reading
    try {
      parts = await this.#apart(mail)
      reading = readOwn(parts, {
        nullSender: envelope.sender === '',
        ...('refused' in proven ? {} : { recipient: proven.sent.recipient }),
      })
    } catch (error) {
      if (!(error instanceof UnreadableMail)) throw error
      return this.#unread(mail, about, error.message, 'refused' in proven ? proven.refused : null)
    }
    const notification = reading.report
    const unknown = `it is no bounce, complaint or automatic answer that is known: ${reading.why}`
    if (!('refused' in proven)) {
      if (notification === null) return this.#unread(mail, about, unknown, null)
      return this.#acting.record(about, notification, [
        await this.#answerTo(
          proven,
          notification,
          rejectUntrustedReport(settings, notification, envelope, parts.fields.all('received')) === null,
        ),
      ])
    }
    if (notification?.kind === 'complaint') return this.#acting.record(about, notification, [await this.#complaint(notification, parts)])
    if (notification === null) {
      const ours = envelope.sender === '' && cameFromInside(settings, parts.fields.all('received'))
      return this.#unread(mail, about, unknown, ours ? null : proven.refused)
    }
    const refused = rejectUntrustedReport(settings, notification, envelope, parts.fields.all('received'))
    if (refused !== null)
      return this.#acting.record(about, notification, refusedAll(notification, settings.isTrusted ? refused : proven.refused))
    const done: [ReportedRecipient | null, Handled][] = []
    for (const reported of notification.recipients) done.push([reported, await this.#fromOurOwnSystem(notification, reported, parts)])
    return this.#acting.record(
      about,
      notification,
      done.length > 0 ? done : [[null, { disposition: 'ignored', why: whyNothing(notification) }]],
    )
  }

  /** Splits a mail once, even if it has several recipients. */
  #apart(mail: Uint8Array): Promise<Mail> {
    const known = this.#takenApart.get(mail)
    if (known !== undefined) return known
    const parts = takeApart(mail)
    this.#takenApart.set(mail, parts)
    return parts
  }

  /** A report to one of our return paths, which identifies message, recipient and send; the report adds only status and text. */
  async #answerTo(
    { token, sent }: ProvenReturnPath,
    notification: ParsedReport,
    isOurs: boolean,
  ): Promise<[ReportedRecipient | null, Handled]> {
    if (notification.kind === 'automatic answer') return [null, { disposition: 'ignored', why: whyNothing(notification) }]
    const subject = subjectOf(sent, { send: token.send, text: token.text })
    if (notification.kind === 'complaint') return [null, await this.#acting.complain(subject, notification.feedbackType)]
    const record = recordFor(sent, notification, isOurs)
    if ('refused' in record)
      return [null, { disposition: notification.recipients.length === 0 ? 'ignored' : 'unauthenticated', why: record.refused }]
    return [record.reported, await this.#acting.act(subject, record, notification)]
  }

  /** A report that our own mail system generated. */
  async #fromOurOwnSystem(notification: ParsedReport, reported: ReportedRecipient, mail: Mail): Promise<Handled> {
    const { database, settings } = this.dependencies
    const { messageId, sender, original } = notification
    const recipient = reported.originalRecipient ?? reported.recipient
    if (notification.kind !== 'bounce') return { disposition: 'ignored', why: whyNothing(notification) }
    if (messageId === undefined) return { disposition: 'ignored', why: 'it does not name the message that it is about' }
    let id: string
    try {
      id = sentId(messageId, recipient)
    } catch (error) {
      return { disposition: 'ignored', why: (error as Error).message }
    }
    const foreign = rejectUnsentMessage(settings, originalFields(mail).all('received'))
    if (foreign !== null) return { disposition: 'unauthenticated', why: foreign }
    const sent = await findSent(database.db, id)
    const stranger = await rejectOtherRecipient(database, messageId, recipient, sent)
    if (stranger !== null) return { disposition: 'unauthenticated', why: stranger }
    const record = { reported, isItself: reported.originalRecipient === undefined }
    if (sent !== null) return this.#acting.act(subjectOf(sent, null), record, notification)
    if (sender === undefined) return { disposition: 'ignored', why: "it does not name the original's envelope sender" }
    return this.#acting.act(
      {
        messageId,
        recipient,
        sender,
        message: original === undefined ? null : { content: original },
        send: null,
        token: null,
        sentAt: notification.arrivalDate ?? null,
        options: {},
      },
      record,
      notification,
    )
  }

  /** Authenticates a complaint that did not come to a return path by the return path of the mail that it is about. */
  async #complaint(notification: ParsedReport, mail: Mail): Promise<[ReportedRecipient | null, Handled]> {
    const { settings, database, now } = this.dependencies
    const proven = await provenReturnPath(settings, database, complaintReturnPaths(notification, mail), now())
    const reported = notification.recipients[0] ?? null
    if ('refused' in proven) return [reported, { disposition: 'unauthenticated', why: `the mail that is complained of: ${proven.refused}` }]
    return [reported, await this.#acting.complain(subjectOf(proven.sent, null), notification.feedbackType)]
  }

  async #unread(mail: Uint8Array, about: About, why: string, refused: string | null): Promise<IntakeResult[]> {
    if (refused !== null) return this.#acting.record(about, null, [[null, { disposition: 'unauthenticated', why: refused }]])
    return this.#acting.record(about, null, [[null, { disposition: 'unreadable', why: await this.#quarantined(mail, about, why) }]])
  }

  /** A bounce that came to an intake with another database is kept: `softbounce bounces --show` and `take` process it elsewhere. */
  async #keepForAnotherStore(mail: Uint8Array, about: About, why: string): Promise<IntakeResult[]> {
    return this.#acting.record(about, null, [[null, { disposition: 'unauthenticated', why: await this.#quarantined(mail, about, why) }]])
  }

  #quarantined(mail: Uint8Array, about: About, why: string): Promise<string> {
    return this.#acting.quarantine(about, mail, createHash('sha256').update(mail).digest('hex'), why)
  }
}

const whyNothing = (notification: ParsedReport): string =>
  notification.kind === 'automatic answer' ? 'an automatic answer: its author has the message' : 'it reports no failed delivery'

const refusedAll = (notification: ParsedReport, why: string): [ReportedRecipient | null, Handled][] =>
  notification.recipients.length === 0
    ? [[null, { disposition: 'unauthenticated', why }]]
    : notification.recipients.slice(0, 100).map((reported) => [reported, { disposition: 'unauthenticated', why }])
