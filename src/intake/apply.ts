/** Applies and records authenticated reports from all intakes: the only place where intakes decide. */
import { addressKey, type Bounce, judgeBounce, messageIdKey, type RetryStatuses, type Send, withoutControls } from '../bounce/index.js'
import { type RetryOptions, type RetryRef, type SoftbounceClient, UnretryableBounce } from '../client/index.js'
import type { IntakeLimits, Settings } from '../config/index.js'
import { canonicalMessage, UnsendableMessage, withoutReturningTrace } from '../delivery/index.js'
import type { ParsedReport, ReportedRecipient } from '../dsn/index.js'
import type { Provider } from '../providers/index.js'
import type { Metrics } from '../report/metrics.js'
import {
  alreadyHandled,
  type Database,
  type Disposition,
  findEnd,
  hasMessage,
  type InboundReport,
  quarantine,
  type Sent,
  sendAnsweredAt,
} from '../store/index.js'
import { findSuppression, suppressLastingly } from '../suppression/index.js'
import type { AuthenticationSettings, ReportMatch } from './authenticate.js'
import { NON_COMPLAINT_TYPES } from './feedback-report.js'
import { ReportLog } from './report-log.js'
import { asTransient, complaintEvent, effectiveReportStatus, idempotencyKey, isAuthoritative, type ReportSubject } from './report-status.js'

/** What was done with a report, and why. */
export type IntakeResult = Pick<InboundReport, 'recipient' | 'messageId' | 'disposition' | 'why' | 'workflowId'>

export interface IntakeDependencies {
  readonly client: SoftbounceClient
  readonly database: Database
  readonly settings: AuthenticationSettings & {
    readonly retryStatuses: RetryStatuses
    /** The provider that our relay belongs to; null or left out if it is none of those that are known. */
    readonly relayProvider?: Provider | null
    /** Quotas; without them nothing is deleted before its retention ends. */
    readonly limits?: IntakeLimits
  }
  readonly now: () => Date
  readonly metrics?: Metrics
}

/** What intakes use of the settings. */
export const intakeSettingsOf = ({
  returnPaths,
  ownHosts,
  retryStatuses,
  intake,
  relayPreset,
}: Pick<Settings, 'returnPaths' | 'ownHosts' | 'retryStatuses' | 'intake' | 'relayPreset'>): IntakeDependencies['settings'] => ({
  ...{ returnPaths, ownHosts, retryStatuses },
  isTrusted: intake.isTrusted,
  limits: intake.limits,
  relayProvider: relayPreset,
})

/** Which send of which message to whom an authenticated report is about. */
export interface ReportedSend extends ReportSubject {
  readonly sender: string
  /** The message to send again: a key of the store, or the embedded original; null if there is neither. */
  readonly message: { readonly key: string } | { readonly content: Buffer } | null
  readonly token: string | null
  readonly sentAt: Date | null
  readonly options: RetryOptions
}

/** The disposition, and why. */
export interface Handled {
  readonly disposition: Disposition
  readonly why: string
  readonly workflowId?: string
  readonly event?: string | null
}

/** Reported times are clamped to this long after the send. */
const LONGEST_MS = 30 * 24 * 60 * 60 * 1000

/** How a report came in. */
export interface About {
  /** The send that the signed return path identifies; its message and recipient take precedence over the report's. */
  readonly sent?: Sent
  readonly at: Date
  readonly source: string
  readonly cameTo: string | null
}

export class ReportHandler {
  readonly #log: ReportLog

  constructor(private readonly dependencies: IntakeDependencies) {
    this.#log = new ReportLog(dependencies.database, dependencies.settings.limits?.reports ?? null)
  }

  /**
   * Applies an authenticated report about one recipient.
   * @param promised the status by which an application has promised a retry: it is not judged again.
   */
  async act(
    subject: ReportedSend,
    { reported, isItself }: ReportMatch,
    notification: ParsedReport,
    promised: string | null = null,
  ): Promise<Handled> {
    const { client, database, settings, now } = this.dependencies
    // a permanent rejection of the backup relay's send is not final: the receiving system may still accept the message from us
    const read = promised ?? effectiveReportStatus(reported, isItself)
    const status = subject.send === 'backup' ? asTransient(read) : read
    const { send } = subject
    const isOriginal = send === null || send === 0
    const at = isOriginal ? subject.sentAt : await sendAnsweredAt(database.db, subject.messageId, addressKey(subject.recipient), send)
    const bounce = this.#bounceOf(subject, reported, notification, status, at ?? subject.sentAt)
    const event = idempotencyKey(subject, reported.action, status, at, bounce.willRetryUntil)
    const ref = { recipient: subject.recipient, messageId: subject.messageId }
    const workflowId = client.workflowId(ref.recipient, ref.messageId)
    if (event !== null && (await alreadyHandled(database.db, event)))
      return { disposition: 'ignored', why: 'it was reported before, and handled then', workflowId }
    const signalled = async (why: string): Promise<Handled> => {
      const refused = await this.#signal(ref, bounce)
      return refused === null
        ? { disposition: 'retry-updated', why, workflowId, event }
        : { disposition: 'ignored', why: `${why}; ${refused}` }
    }
    if (reported.action !== 'failed') return signalled(`it was ${reported.action}`)
    if (promised !== null) return this.#retry(subject, reported.recipient, bounce, workflowId, `${promised}: sendMail was refused`, event)
    const judged = judgeBounce({ status, token: subject.token ?? undefined }, settings.retryStatuses)
    if (judged.verdict === 'suppress') {
      const cause = {
        status: judged.status,
        reply: reported.diagnostic === undefined ? null : withoutControls(reported.diagnostic),
        by: workflowId,
        destination: null,
      }
      await database.db.transaction().execute((tx) => suppressLastingly(tx, addressKey(subject.recipient), 'rejected', cause, now()))
      await this.#signal(ref, bounce)
      return { disposition: 'suppressed', why: judged.reason, workflowId, event }
    }
    if (judged.verdict !== 'retry') return signalled(judged.reason)
    return this.#retry(subject, reported.recipient, bounce, workflowId, judged.reason, event)
  }

  /** Signals the bounce to the open retry. @returns null, or the reason if that failed. */
  async #signal(ref: RetryRef, bounce: Bounce): Promise<string | null> {
    try {
      return (await this.dependencies.client.bouncedAgain(ref, bounce)) ? null : 'no retry of it is open'
    } catch (error) {
      // it would fail every time, and block later reports
      if (error instanceof UnretryableBounce) return error.message
      throw error
    }
  }

  async #retry(
    subject: ReportedSend,
    expandedTo: string,
    bounce: Bounce,
    workflowId: string,
    why: string,
    event: string | null,
  ): Promise<Handled> {
    const { client, database, now } = this.dependencies
    const open = await client.isOpen({ workflowId })
    const { messageId, recipient, sender, message } = subject
    const listed = open ? null : await findSuppression(database.db, addressKey(recipient), now())
    if (listed !== null && listed.until === null)
      return { disposition: 'ignored', why: `${why}; the recipient is suppressed for good (${listed.reason})`, workflowId }
    const end = open ? null : await findEnd(database.db, messageIdKey(messageId), addressKey(recipient))
    if (end !== null && (end.confirmed || end.outcome === 'cancelled' || end.outcome === 'rejected' || end.outcome === 'expired'))
      return {
        disposition: 'ignored',
        why: `${why}; its retries ended before, as ${end.outcome}, and a bounce does not start them again`,
        workflowId,
      }
    if (message === null || ('key' in message && !(await hasMessage(database.db, message.key)))) {
      if (open && (await this.#signal({ workflowId }, bounce)) === null) return { disposition: 'retry-updated', why, workflowId, event }
      return { disposition: 'ignored', why: `${why}; the original is no longer kept, and did not come back whole` }
    }
    const of = { messageId, recipient, sender, ...bounce }
    try {
      if ('key' in message) await client.retryStored(message.key, of, subject.options)
      else await client.retry(withoutReturningTrace(canonicalMessage(message.content), [recipient, expandedTo]), of, subject.options)
    } catch (error) {
      // it would fail every time
      if (error instanceof UnsendableMessage || error instanceof UnretryableBounce)
        return { disposition: 'ignored', why: `${why}; ${error.message}` }
      throw error
    }
    return { disposition: open ? 'retry-updated' : 'retry-started', why, workflowId, event }
  }

  /** The bounce for the workflow, with its time clamped: not before the send that it is about, and not in the future. */
  #bounceOf(subject: ReportedSend, reported: ReportedRecipient, notification: ParsedReport, status: string, sentAt: Date | null): Bounce {
    const { now } = this.dependencies
    const latest = now().getTime()
    const earliest = sentAt?.getTime() ?? latest - LONGEST_MS
    const reply = reported.diagnostic
    const said = (reported.lastAttemptAt ?? notification.date ?? now()).getTime()
    const at = Math.min(Math.max(said, earliest), latest)
    const until = reported.willRetryUntil?.getTime()
    return {
      status,
      bouncedAt: new Date(at).toISOString(),
      action: reported.action,
      ...(reply === undefined ? {} : { diagnostic: withoutControls(reply).slice(0, 2000) }),
      ...(reported.remoteMta === undefined ? {} : { remoteMta: withoutControls(reported.remoteMta).slice(0, 255) }),
      ...(isAuthoritative(reported, status) ? { authoritative: true } : {}),
      ...(subject.token === null ? {} : { token: subject.token }),
      ...(until === undefined || until < latest ? {} : { willRetryUntil: new Date(Math.min(until, earliest + LONGEST_MS)).toISOString() }),
    }
  }

  /** Suppresses the recipient for good after a complaint, and cancels open retries. */
  async complain({ recipient, messageId }: ReportedSend, feedbackType: string | undefined): Promise<Handled> {
    const { client, database, now } = this.dependencies
    if (feedbackType !== undefined && NON_COMPLAINT_TYPES.includes(feedbackType))
      return { disposition: 'ignored', why: `a report of ${feedbackType} is no complaint` }
    const workflowId = client.workflowId(recipient, messageId)
    const event = complaintEvent(messageId, recipient)
    if (await alreadyHandled(database.db, event))
      return { disposition: 'ignored', why: 'it was reported before, and handled then', workflowId }
    const cause = { status: null, reply: 'complaint', by: workflowId, destination: null }
    await database.db.transaction().execute((tx) => suppressLastingly(tx, addressKey(recipient), 'complaint', cause, now()))
    const cancelled = await client.cancelAll(recipient)
    return {
      disposition: 'suppressed',
      why: cancelled === 0 ? 'a complaint' : `a complaint; ${cancelled} open ${cancelled === 1 ? 'retry' : 'retries'} cancelled`,
      workflowId,
      event,
    }
  }

  /** Quarantines a mail or webhook. @returns why, and as what it is kept. */
  async quarantine({ sent: _, ...came }: About, content: Uint8Array, digest: string, why: string): Promise<string> {
    const { database, settings } = this.dependencies
    const limit = settings.limits?.quarantineBytes ?? Number.POSITIVE_INFINITY
    const isKept = await quarantine(database.db, { ...came, digest, content, why }, limit)
    return isKept ? `${why}; kept as ${digest}` : `${why}; not kept, since too much is kept already`
  }

  /** Records the disposition of each recipient. */
  async record(
    { sent, ...came }: About,
    notification: ParsedReport | null,
    done: readonly (readonly [ReportedRecipient | null, Handled])[],
  ): Promise<IntakeResult[]> {
    const rows = done.map(
      ([reported, one]): InboundReport => ({
        ...came,
        reportingMta: notification?.reportingMta ?? null,
        messageId: sent?.messageId ?? notification?.messageId ?? null,
        recipient: sent?.recipient ?? (reported === null ? null : (reported.originalRecipient ?? reported.recipient)),
        kind: notification?.kind ?? null,
        action: reported?.action ?? null,
        status: reported?.status ?? null,
        diagnostic: reported?.diagnostic ?? null,
        disposition: one.disposition,
        why: one.why,
        workflowId: one.workflowId ?? null,
        event: one.event ?? null,
      }),
    )
    await this.#log.add(rows)
    return rows
  }
}

/** The send that a report is about, from our own record of it. */
export function subjectOf(sent: Sent, token: { readonly send: Send; readonly text: string | null } | null): ReportedSend {
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
