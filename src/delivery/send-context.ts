/** What all steps of one send share: the order, its row's key, the deadline, the heartbeat, and how a failing step is reported. */
import { ApplicationFailure, type Context } from '@temporalio/activity'
import { msToNumber } from '@temporalio/common/lib/time.js'
import { addressKey } from '../bounce/index.js'
import { type Answer, type AnsweredRow, type AttemptKey, type AttemptSubject, findAttempt, toAttempt } from '../store/index.js'
import { failedSends, localFailure, retryLater, withDatabase } from '../temporal/index.js'
import { type FeedbackResult, type ObservedAnswer, observationOf } from '../throttle/index.js'
import { commitAnswer } from './commit-answer.js'
import type { DeliveryContext } from './context.js'
import { isLastingRejection } from './outcome.js'
import type { SendOrder, SendResult } from './send-order.js'
import type { SendTransactions } from './send-transactions.js'

const HEARTBEAT_MS = 5_000
/** A heartbeat carries the answer if the database has not taken it by then. */
const SLOW_RECORD_MS = 50
const SECOND_MS = 1000
const MAX_TIMER_MS = 2 ** 31 - 1

/** Heartbeats carry the answer, so that the activity's next attempt has it even if the database could not store it. */
interface Heartbeat {
  readonly answer: Omit<Answer, 'at'> & { readonly at: string }
}

export class SendContext {
  readonly workflowId: string
  /** The attempt's row, without its destination. */
  readonly subject: Omit<AttemptSubject, 'destination'>
  /** For log lines. */
  readonly about: { readonly workflowId: string; readonly retry: number; readonly destination: string }
  /** What the answer's feedback changed, once it is written. */
  feedback: FeedbackResult | null = null
  /** Called with each heartbeat. */
  onHeartbeat: () => void = () => {}
  /** Details of every heartbeat: one without them would replace the earlier ones. */
  #known: Heartbeat | undefined
  readonly #timer: NodeJS.Timeout

  constructor(
    readonly order: SendOrder,
    readonly activity: Context,
    readonly dependencies: DeliveryContext,
    private readonly transactions: SendTransactions,
  ) {
    const { messageId, firstRunId, retry, via, destination } = order
    this.workflowId = activity.info.workflowExecution?.workflowId ?? ''
    this.subject = {
      ...{ firstRunId, retry, messageId, recipient: addressKey(order.recipient), workflowId: this.workflowId },
      ...(via === undefined ? {} : { via }),
    }
    this.about = { workflowId: this.workflowId, retry, destination }
    this.#known = activity.info.heartbeatDetails as Heartbeat | undefined
    this.#timer = setInterval(() => this.#heartbeat(), HEARTBEAT_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
  }

  get key(): AttemptKey {
    return { firstRunId: this.order.firstRunId, retry: this.order.retry }
  }

  get isBackup(): boolean {
    return this.order.via === 'backup-relay'
  }

  now(): Date {
    return this.dependencies.now()
  }

  /** Runs a step on the database; its failure is a local failure. */
  database<T>(step: () => Promise<T>): Promise<T> {
    return withDatabase(failedSends.nextCount(this.activity.info), step)
  }

  localFailure(text: string): ApplicationFailure {
    this.dependencies.log.warn(this.about, text)
    return localFailure(text, failedSends.nextCount(this.activity.info))
  }

  heldUntil(until: Date): ApplicationFailure {
    const text = `another worker holds this retry until ${until.toISOString()}; if there is no answer by then, the message is sent again`
    return retryLater('Waiting', text, until.getTime() - this.now().getTime() + SECOND_MS)
  }

  /** The answer that an earlier try of the activity got, if a heartbeat carried it; else null. */
  async rememberedAnswer(): Promise<SendResult | null> {
    const known = this.#known?.answer
    return known === undefined ? null : this.result(await this.record({ ...known, at: new Date(known.at) }, null))
  }

  /** The answer that the attempt log has, or null. @throws ApplicationFailure if another worker holds the row. */
  async loggedAnswer(): Promise<SendResult | null> {
    const found = await this.database(() => findAttempt(this.dependencies.database.db, this.key, this.now()))
    if (found?.kind === 'held') throw this.heldUntil(found.until)
    return found === null ? null : this.result(found.row)
  }

  /** Includes the answer in every heartbeat from now on. */
  remember(answer: Answer): void {
    this.#known = { answer: { ...answer, at: answer.at.toISOString() } }
  }

  /**
   * Writes the answer, and its feedback.
   * @param claim written only while this claim holds the row; null: in any case.
   */
  async record(answer: Answer, claim: string | null, observed: ObservedAnswer | null = null): Promise<AnsweredRow> {
    const { destination } = this.order
    const observation = observed && observationOf(observed, this.dependencies.settings.throttle)
    const request = { subject: { ...this.subject, destination }, answer, claim, observation }
    // the database has it sooner, and a heartbeat costs the server a write
    const slow = setTimeout(() => this.#heartbeat(), SLOW_RECORD_MS)
    try {
      const { row, feedback } = await commitAnswer(this.transactions, request, failedSends.nextCount(this.activity.info))
      this.feedback = feedback
      return row
    } catch (error) {
      this.#heartbeat()
      throw error
    } finally {
      clearTimeout(slow)
    }
  }

  result(row: AnsweredRow): SendResult {
    const isReply = /^\d{3}[ -]/.test(row.reply)
    return {
      kind: 'answered',
      attempt: toAttempt(row),
      relayed: row.relayed,
      lasting: row.outcome === 'rejected' && isLastingRejection(row),
      ...(row.reported === null ? {} : { failedAtMs: row.reported.at.getTime() }),
      ambiguous: row.maybeDelivered && row.outcome === 'deferred' && row.stage === 'final dot' && !isReply,
    }
  }

  /** `untilMs` has passed. */
  isLate(): boolean {
    const { untilMs } = this.order
    return untilMs !== undefined && this.now().getTime() >= untilMs
  }

  /** The schedule's last retry is due. */
  isPastSchedule(): boolean {
    const { scheduleEndsMs } = this.order
    return scheduleEndsMs !== undefined && this.now().getTime() >= scheduleEndsMs
  }

  /** Shortens the delay before the next try, so that it does not go past `untilMs`. */
  withinDeadline(error: unknown): unknown {
    const { untilMs } = this.order
    if (untilMs === undefined || !(error instanceof ApplicationFailure) || error.nextRetryDelay == null) return error
    const leftMs = Math.max(1, untilMs - this.now().getTime())
    return msToNumber(error.nextRetryDelay) <= leftMs ? error : retryLater('Waiting', error.message, leftMs)
  }

  /** Stops a send whose content has not begun: when the activity is stopped, or at `untilMs`. */
  stopSignal(): AbortSignal {
    const { untilMs } = this.order
    const { cancellationSignal } = this.activity
    if (untilMs === undefined) return cancellationSignal
    const leftMs = Math.min(Math.max(0, untilMs - this.now().getTime()), MAX_TIMER_MS)
    return AbortSignal.any([cancellationSignal, AbortSignal.timeout(leftMs)])
  }

  #heartbeat(): void {
    this.activity.heartbeat(this.#known)
    this.onHeartbeat()
  }
}
