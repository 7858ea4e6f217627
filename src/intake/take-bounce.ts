/**
 * Takes a bounce in: believed or not, read, judged, done, written down. Every mail ends as a retry started, a retry told, a suppression,
 * nothing to do, not believed, or kept unread; each with its reason. Whatever comes twice acts once.
 */
import { createHash } from 'node:crypto'
import { addressKey, type Bounce, judgeBounce, messageIdKey, type RetryStatuses, retryOfSend, withoutControls } from '../bounce/index.js'
import { type RetryOptions, type SoftbounceClient, UnretryableBounce } from '../client/index.js'
import { type Mail, type Notification, type ReportedRecipient, readItself, takeApart, UnreadableMail } from '../dsn/index.js'
import type { Metrics } from '../metrics/index.js'
import { canonicalMessage, sentId, UnsendableMessage } from '../smtp/index.js'
import {
  type BounceDone,
  type Database,
  findEnd,
  findSent,
  findSuppression,
  hasMessage,
  keepUnread,
  recordBounces,
  retryAnsweredAt,
  type Sent,
  suppressLastingly,
  type TakenBounce,
  wasTaken,
} from '../store/index.js'
import {
  type BeliefSettings,
  cameFromInside,
  type Envelope,
  type ProvenReturnPath,
  provenReturnPath,
  type Record,
  recordFor,
  whyNotItsRecipient,
  whyNotOurs,
  whyNotSentByUs,
} from './believe.js'
import { complaintReturnPaths, mayBeComplaint, NO_COMPLAINTS, originalFields } from './complaint.js'
import { eventOf, meant, repliedWith, type Told } from './meaning.js'

/** What was done about a bounce, and why. */
export type Taken = Pick<TakenBounce, 'recipient' | 'messageId' | 'done' | 'why' | 'workflowId'>

export interface IntakeDependencies {
  readonly client: SoftbounceClient
  readonly database: Database
  readonly settings: BeliefSettings & { readonly retryStatuses: RetryStatuses }
  readonly now: () => Date
  readonly metrics?: Metrics
}

/** Who a believed bounce is about, and which send of it. */
interface Subject extends Told {
  readonly sender: string
  /** The message to send again: a key of the store, or the embedded original; null where it is not there. */
  readonly message: { readonly key: string } | { readonly content: Buffer } | null
  readonly token: string | null
  readonly sentAt: Date | null
  readonly options: RetryOptions
}

/** Done, and why; for the row of the table. */
interface Done {
  readonly done: BounceDone
  readonly why: string
  readonly workflowId?: string
  readonly event?: string | null
}

/** Nothing that is told reaches further than this from its send. */
const LONGEST_MS = 30 * 24 * 60 * 60 * 1000

export class Intake {
  readonly #dependencies: IntakeDependencies

  constructor(dependencies: IntakeDependencies) {
    this.#dependencies = dependencies
  }

  /**
   * Takes one mail in. When it returns, what was to be done is done, and written down.
   * @param source where it came in: `lmtp`, `pipe`, `maildir` or `imap`.
   * @throws Error where Temporal or the database is away: the mail must stay where it was, and come again.
   */
  async take(mail: Uint8Array, envelope: Envelope, source: string): Promise<Taken[]> {
    try {
      const taken = await this.#take(mail, envelope, source)
      this.#dependencies.metrics?.mailCame(source, 'taken')
      return taken
    } catch (error) {
      this.#dependencies.metrics?.mailCame(source, 'failed')
      throw error
    }
  }

  async #take(mail: Uint8Array, envelope: Envelope, source: string): Promise<Taken[]> {
    const { database, settings, now } = this.#dependencies
    const proven = await provenReturnPath(settings, database, envelope.recipients, now())
    const about: About = {
      at: now(),
      source,
      cameTo: 'refused' in proven ? (envelope.recipients[0] ?? null) : proven.cameTo,
      ...('refused' in proven ? {} : { sent: proven.sent }),
    }
    // what comes to no return path of ours, at an intake that anybody reaches, is not even read
    if ('refused' in proven && !settings.isTrusted && !mayBeComplaint(mail))
      return this.#record(about, null, [[null, { done: 'not believed', why: proven.refused }]])
    let parts: Mail
    let notification: Notification | null
    try {
      parts = await takeApart(mail)
      notification = readItself(parts)
    } catch (error) {
      if (!(error instanceof UnreadableMail)) throw error
      return this.#unread(mail, about, error.message, 'refused' in proven ? proven.refused : null)
    }
    if (!('refused' in proven)) {
      if (notification === null) return this.#unread(mail, about, UNKNOWN, null)
      return this.#record(about, notification, [
        await this.#answerTo(proven, notification, whyNotOurs(settings, notification, envelope, parts.fields.all('received')) === null),
      ])
    }
    if (notification?.kind === 'complaint') return this.#record(about, notification, [await this.#complaint(notification, parts)])
    if (notification === null) {
      const ours = envelope.sender === '' && cameFromInside(settings, parts.fields.all('received'))
      return this.#unread(mail, about, UNKNOWN, ours ? null : proven.refused)
    }
    const refused = whyNotOurs(settings, notification, envelope, parts.fields.all('received'))
    if (refused !== null) return this.#record(about, notification, refusedAll(notification, settings.isTrusted ? refused : proven.refused))
    const done: [ReportedRecipient | null, Done][] = []
    for (const reported of notification.recipients) done.push([reported, await this.#fromOurOwnSystem(notification, reported, parts)])
    return this.#record(about, notification, done.length > 0 ? done : [[null, { done: 'nothing to do', why: whyNothing(notification) }]])
  }

  /** A bounce to a return path of ours: that names message, recipient and send; the report gives only status and text. */
  async #answerTo(
    { token, sent }: ProvenReturnPath,
    notification: Notification,
    isOurs: boolean,
  ): Promise<[ReportedRecipient | null, Done]> {
    if (notification.kind === 'automatic answer') return [null, { done: 'nothing to do', why: whyNothing(notification) }]
    const subject = subjectOf(sent, { send: token.send, text: token.text })
    if (notification.kind === 'complaint') return [null, await this.#complain(subject, notification)]
    const record = recordFor(sent, notification, isOurs)
    if ('refused' in record)
      return [null, { done: notification.recipients.length === 0 ? 'nothing to do' : 'not believed', why: record.refused }]
    return [record.reported, await this.#act(subject, record, notification)]
  }

  /** A notification that our own mail system made. */
  async #fromOurOwnSystem(notification: Notification, reported: ReportedRecipient, mail: Mail): Promise<Done> {
    const { database, settings } = this.#dependencies
    const { messageId, sender, original } = notification
    const recipient = reported.originalRecipient ?? reported.recipient
    if (notification.kind !== 'bounce') return { done: 'nothing to do', why: whyNothing(notification) }
    if (messageId === undefined) return { done: 'nothing to do', why: 'it does not name the message that it is about' }
    let id: string
    try {
      id = sentId(messageId, recipient)
    } catch (error) {
      return { done: 'nothing to do', why: (error as Error).message }
    }
    const foreign = whyNotSentByUs(settings, originalFields(mail).all('received'))
    if (foreign !== null) return { done: 'not believed', why: foreign }
    const sent = await findSent(database.db, id)
    const stranger = await whyNotItsRecipient(database, messageId, recipient, sent)
    if (stranger !== null) return { done: 'not believed', why: stranger }
    const record = { reported, isItself: reported.originalRecipient === undefined }
    if (sent !== null) return this.#act(subjectOf(sent, null), record, notification)
    if (sender === undefined) return { done: 'nothing to do', why: "it does not name the original's envelope sender" }
    return this.#act(
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

  /** Does what a believed report of one recipient asks for. */
  async #act(subject: Subject, { reported, isItself }: Record, notification: Notification): Promise<Done> {
    const { client, database, settings, now } = this.#dependencies
    const status = meant(reported, isItself)
    const retry = subject.send === null ? null : retryOfSend(subject.send)
    const at = retry === null ? subject.sentAt : await retryAnsweredAt(database.db, subject.messageId, addressKey(subject.recipient), retry)
    const event = eventOf(subject, reported, status, at)
    const ref = { recipient: subject.recipient, messageId: subject.messageId }
    const workflowId = await client.openWorkflowId(ref.recipient, ref.messageId)
    if (event !== null && (await wasTaken(database.db, event)))
      return { done: 'nothing to do', why: 'it was told before, and acted on then', workflowId }
    const bounce = this.#bounceOf(subject, reported, notification, status, at ?? subject.sentAt)
    const told = async (why: string): Promise<Done> =>
      (await client.tell(ref, bounce))
        ? { done: 'retry told', why, workflowId, event }
        : { done: 'nothing to do', why: `${why}; no retry of it is open` }
    if (reported.action !== 'failed') return told(`it was ${reported.action}`)
    const judged = judgeBounce({ status, token: subject.token ?? undefined }, settings.retryStatuses)
    if (judged.verdict === 'suppress') {
      const cause = { status: judged.status, reply: reported.diagnostic ?? null, by: workflowId, destination: null }
      await database.db.transaction().execute((tx) => suppressLastingly(tx, addressKey(subject.recipient), 'rejected', cause, now()))
      await client.tell(ref, bounce)
      return { done: 'suppressed', why: judged.reason, workflowId, event }
    }
    if (judged.verdict !== 'retry') return told(judged.reason)
    return this.#retry(subject, bounce, workflowId, judged.reason, event)
  }

  async #retry(subject: Subject, bounce: Bounce, workflowId: string, why: string, event: string | null): Promise<Done> {
    const { client, database, now } = this.#dependencies
    const open = await client.isOpen({ workflowId })
    const { messageId, recipient, sender, message } = subject
    const listed = open ? null : await findSuppression(database.db, addressKey(recipient), now())
    if (listed !== null && listed.until === null)
      return { done: 'nothing to do', why: `${why}; the recipient is suppressed for good (${listed.reason})`, workflowId }
    const end = open ? null : await findEnd(database.db, messageIdKey(messageId), addressKey(recipient))
    if (end !== null && (end.confirmed || end.outcome === 'cancelled' || end.outcome === 'rejected' || end.outcome === 'expired'))
      return {
        done: 'nothing to do',
        why: `${why}; its retries ended before, as ${end.outcome}, and a bounce does not start them again`,
        workflowId,
      }
    if (message === null || ('key' in message && !(await hasMessage(database.db, message.key)))) {
      if (open && (await client.tell({ workflowId }, bounce))) return { done: 'retry told', why, workflowId, event }
      return { done: 'nothing to do', why: `${why}; the original is no longer kept, and did not come back whole` }
    }
    const of = { messageId, recipient, sender, ...bounce }
    try {
      if ('key' in message) await client.retryStored(message.key, of, subject.options)
      else await client.retry(canonicalMessage(message.content), of, subject.options)
    } catch (error) {
      // it would be refused again, however often it came
      if (error instanceof UnsendableMessage || error instanceof UnretryableBounce)
        return { done: 'nothing to do', why: `${why}; ${error.message}` }
      throw error
    }
    return { done: open ? 'retry told' : 'retry started', why, workflowId, event }
  }

  /** The bounce as the workflow gets it, its time within bounds: not before the send that it is about, and not in the future. */
  #bounceOf(subject: Subject, reported: ReportedRecipient, notification: Notification, status: string, sentAt: Date | null): Bounce {
    const { now } = this.#dependencies
    const latest = now().getTime()
    const earliest = sentAt?.getTime() ?? latest - LONGEST_MS
    const reply = repliedWith(reported, status)
    const said = (reported.lastAttemptAt ?? notification.date ?? now()).getTime()
    const at = Math.min(Math.max(said, earliest), latest)
    const until = reported.willRetryUntil?.getTime()
    return {
      status,
      bouncedAt: new Date(at).toISOString(),
      action: reported.action,
      ...(reply === undefined ? {} : { diagnostic: withoutControls(reply).slice(0, 2000) }),
      ...(reported.remoteMta === undefined ? {} : { remoteMta: reported.remoteMta }),
      ...(subject.token === null ? {} : { token: subject.token }),
      ...(until === undefined || until < latest ? {} : { willRetryUntil: new Date(Math.min(until, earliest + LONGEST_MS)).toISOString() }),
    }
  }

  /** A complaint that came to no return path is believed by the return path that the complained-of mail had. */
  async #complaint(notification: Notification, mail: Mail): Promise<[ReportedRecipient | null, Done]> {
    const { settings, database, now } = this.#dependencies
    const proven = await provenReturnPath(settings, database, complaintReturnPaths(notification, mail), now())
    const reported = notification.recipients[0] ?? null
    if ('refused' in proven) return [reported, { done: 'not believed', why: `the mail that is complained of: ${proven.refused}` }]
    return [reported, await this.#complain(subjectOf(proven.sent, null), notification)]
  }

  /** Whoever complains gets no more mail, also none that is on its way. */
  async #complain({ recipient, messageId }: Subject, { feedbackType }: Notification): Promise<Done> {
    const { client, database, now } = this.#dependencies
    if (feedbackType !== undefined && NO_COMPLAINTS.includes(feedbackType))
      return { done: 'nothing to do', why: `a report of ${feedbackType} is no complaint` }
    const workflowId = client.workflowId(recipient, messageId)
    const cause = { status: null, reply: 'complaint', by: workflowId, destination: null }
    await database.db.transaction().execute((tx) => suppressLastingly(tx, addressKey(recipient), 'complaint', cause, now()))
    const cancelled = await client.cancelAll(recipient)
    return {
      done: 'suppressed',
      why: cancelled === 0 ? 'a complaint' : `a complaint; ${cancelled} open ${cancelled === 1 ? 'retry' : 'retries'} cancelled`,
      workflowId,
    }
  }

  async #unread(mail: Uint8Array, about: About, why: string, refused: string | null): Promise<Taken[]> {
    if (refused !== null) return this.#record(about, null, [[null, { done: 'not believed', why: refused }]])
    const digest = createHash('sha256').update(mail).digest('hex')
    const { sent: _, ...came } = about
    const kept = await keepUnread(this.#dependencies.database.db, { ...came, digest, content: mail, why })
    return this.#record(about, null, [
      [null, { done: 'unread', why: kept ? `${why}; kept as ${digest}` : `${why}; not kept, since too many are kept already` }],
    ])
  }

  async #record(
    { sent, ...came }: About,
    notification: Notification | null,
    done: readonly (readonly [ReportedRecipient | null, Done])[],
  ): Promise<Taken[]> {
    const rows = done.map(
      ([reported, one]): TakenBounce => ({
        ...came,
        reportingMta: notification?.reportingMta ?? null,
        messageId: sent?.messageId ?? notification?.messageId ?? null,
        recipient: sent?.recipient ?? (reported === null ? null : (reported.originalRecipient ?? reported.recipient)),
        kind: notification?.kind ?? null,
        action: reported?.action ?? null,
        status: reported?.status ?? null,
        diagnostic: reported?.diagnostic ?? null,
        done: one.done,
        why: one.why,
        workflowId: one.workflowId ?? null,
        event: one.event ?? null,
      }),
    )
    await recordBounces(this.#dependencies.database.db, rows)
    return rows
  }
}

interface About {
  /** Whom and what the return path stands for: that is named, whatever the report says. */
  readonly sent?: Sent
  readonly at: Date
  readonly source: string
  readonly cameTo: string | null
}

const UNKNOWN = 'it is no bounce, complaint or automatic answer that is known'

const whyNothing = (notification: Notification): string =>
  notification.kind === 'automatic answer' ? 'an automatic answer: whoever wrote it has the message' : 'it tells of no delivery that failed'

const refusedAll = (notification: Notification, why: string): [ReportedRecipient | null, Done][] =>
  notification.recipients.length === 0
    ? [[null, { done: 'not believed', why }]]
    : notification.recipients.slice(0, 100).map((reported) => [reported, { done: 'not believed', why }])

function subjectOf(sent: Sent, token: { readonly send: number; readonly text: string } | null): Subject {
  return {
    messageId: sent.messageId,
    recipient: sent.envelopeRecipient,
    sender: sent.sender,
    message: { key: sent.messageKey },
    send: token?.send ?? null,
    token: token?.text ?? null,
    sentAt: sent.sentAt,
    options: sent.options === null ? {} : (JSON.parse(sent.options) as RetryOptions),
  }
}
