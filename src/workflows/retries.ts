/** Prepare; then for each retry of the schedule: wait, send, and where a relay took it wait for word; finally suppress. */
import { CancellationScope, CancelledFailure, log, patched, setCurrentDetails, sleep, workflowInfo } from '@temporalio/workflow'
import type { Prepared, Report, SendResult, Subject } from '../activities/index.js'
import {
  type Attempt,
  BACKUP_RETRY,
  BACKUP_SEND,
  type Bounce,
  type BouncedMessage,
  checkBounce,
  checkBouncedMessage,
  dueAt,
  formatDuration,
  isLasting,
  isRetry,
  MOST_AHEAD_MS,
  type Outcome,
  type RetryResult,
  sendOf,
} from '../bounce/index.js'
import { quickly, recordIfQuick, refuse, send, suppress } from './activities.js'
import { asReported, isAbout, isFinal, isOfEarlierSend, isSuccess, statusOf, timeOf, triedUntil } from './notices.js'
import { showBounce, showOutcome } from './search-attributes.js'
import { isTold, tell, tellAsBefore, tellEnd } from './telling.js'
import { bare, details, fairnessKey, plain, type State, timerSummary, utc } from './words.js'

/** Where it stands. `retry` is numbered from 1 over all runs; times are ISO 8601. */
export interface Progress {
  retry: number
  of: number
  state: State
  nextRetryAt: string | null
  lastAttempt: Attempt | null
}

/** @throws CancelledFailure where the run was cancelled, whatever was waited for. */
function stopIfCancelled(): void {
  if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('cancelled')
}

/** A second press of "retry now" within this time is the same press, even where the retry has been answered in between. */
const DOUBLE_PRESS_MS = 10_000
/** What the backup relay gets at least, also where the first retry is due already. */
const LEAST_FOR_BACKUP_MS = 60_000

/** The retries of one message for one recipient. */
export class Retries {
  readonly #message: BouncedMessage
  #prepared: Prepared | null = null
  #state: State = 'preparing'
  #note = ''
  #retry = 0
  #nextAtMs: number | null = null
  /** What the next delay counts from. */
  #fromMs = 0
  /** The last failure that was counted: the bounce itself, or that of a retry. */
  #failedAtMs = 0
  readonly #attempts: Attempt[] = []
  /** Every answer of this run was a lost connection: it says nothing against anybody. */
  #onlyAmbiguous = true
  /** Notifications that wait to be judged. */
  #bounces: Bounce[] = []
  #woken = false
  #wokenAtMs = Number.NEGATIVE_INFINITY
  #givenUp = false
  // one of each for all waits and sends, since a scope is not cheap; whatever is cancelled is exchanged
  #timer = new CancellationScope()
  #sending = new CancellationScope()
  /** While it sleeps: whether something has come that ends the sleep. */
  #interrupted: () => boolean = () => false

  constructor(message: BouncedMessage) {
    this.#message = message
    this.#show('preparing', '')
  }

  async run(): Promise<RetryResult> {
    const prepared = await this.#prepare()
    if (prepared.ended !== undefined) return this.#end(prepared.ended, 'It had ended before; this bounce changes nothing.')
    if (prepared.permanent !== undefined) return this.#rejectByBounce(prepared.permanent.lasting, prepared.permanent.reason)
    if (prepared.tellAlternative) tellAsBefore(prepared, this.#message.bounce)
    if (isTold(prepared, 'bounce.retrying')) await tell(prepared, this.#message.bounce, 'bounce.retrying', prepared.bouncedAtMs, {})
    stopIfCancelled()
    if (prepared.backup) {
      const ended = await this.#sendByBackup(prepared)
      if (ended !== null) return ended
    }
    for (this.#retry = prepared.retriesSoFar + 1; this.#retry <= prepared.delaysMs.length; this.#retry += 1) {
      const ended = await this.#retryOnce(prepared)
      if (ended !== null) return ended
    }
    // what came while the last retry was under way
    this.#dropLateNotices()
    const notice = this.#givenUp ? undefined : this.#bounces.shift()
    if (notice !== undefined && patched('a final notice of the last retry')) return this.#endByNotice(notice)
    return this.#suppress(prepared)
  }

  /** Tells how it ended, where somebody wants to know. What had ended before was told then. */
  told(result: RetryResult): Promise<void> | undefined {
    const prepared = this.#prepared
    if (prepared === null || prepared.ended !== undefined || !isTold(prepared, `bounce.${result.outcome}`)) return
    return tellEnd(prepared, this.#message.bounce, result)
  }

  async #prepare(): Promise<Prepared> {
    const { workflowId, firstExecutionRunId, executionTimeoutMs, runTimeoutMs } = workflowInfo()
    const prepared = await quickly('check the bounce, keep the message', ({ prepare }, form) =>
      // an ordinary activity's argument stands in the history: it reads the message from the first event, which has it already
      prepare(form === 'local' ? this.#message : { inStartEvent: true }, {
        workflowId,
        firstRunId: firstExecutionRunId,
        ...(executionTimeoutMs === undefined ? {} : { executionTimeoutMs }),
        ...(runTimeoutMs === undefined ? {} : { runTimeoutMs }),
      }),
    )
    this.#prepared = prepared
    this.#fromMs = prepared.fromMs
    this.#failedAtMs = prepared.bouncedAtMs
    if (prepared.searchAttributes) showBounce(prepared, this.#message.bounce.status)
    return prepared
  }

  /** Waits for one retry, and sends it. A result where it ends here, null where the next retry follows. */
  async #retryOnce(prepared: Prepared): Promise<RetryResult | null> {
    const { untilMs, summary, expiresFirst } = this.#nextWait(prepared)
    const interrupted = () => this.#woken || this.#givenUp || this.#bounces.length > 0
    const leftMs = untilMs - Date.now()
    try {
      if (leftMs > 0 && !interrupted()) await this.#sleep(leftMs, summary, interrupted)
    } catch (error) {
      if (!interrupted()) throw error
    }
    stopIfCancelled()
    const woken = this.#woken
    this.#woken = false
    if (this.#givenUp) return this.#suppress(prepared)
    const notice = this.#bounces.shift()
    if (notice !== undefined) return this.#endByNotice(notice)
    if (expiresFirst && !woken) return this.#expire(`It was to be delivered by ${utc(untilMs)}.`)
    this.#show('sending', 'Where that takes long, Pending Activities says what it waits for.')
    let result: SendResult | null
    try {
      result = await this.#send(prepared)
    } catch (error) {
      result = this.#notSent(error)
    }
    if (result?.kind === 'answered') {
      this.#noteAnswer(result)
      this.#fromMs = result.failedAtMs ?? Date.parse(result.attempt.at)
      if (!result.ambiguous) this.#onlyAmbiguous = false
    }
    return result === null || result.kind === 'late' ? this.#suppress(prepared) : this.#judge(prepared, result)
  }

  /** Until when the retry waits, and says so; late notices are dropped. */
  #nextWait(prepared: Prepared): { untilMs: number; summary: string; expiresFirst: boolean } {
    const delayMs = prepared.delaysMs[this.#retry - 1] as number
    const due = dueAt(this.#fromMs, delayMs, Date.now(), Math.random())
    const expiresFirst = prepared.deliverByMs !== undefined && prepared.deliverByMs < due.atMs
    const untilMs = expiresFirst ? (prepared.deliverByMs as number) : due.atMs
    const after = !this.#attempts.some(isRetry) ? 'the bounce' : `retry ${this.#retry - 1}`
    const summary = timerSummary(this.#retry, delayMs, due.staggerMs, after)
    this.#show('waiting', expiresFirst ? `It is of no use after ${utc(untilMs)}, and ends then.` : `${capital(summary)}.`, untilMs)
    this.#dropLateNotices()
    return { untilMs, summary: expiresFirst ? `expires before ${summary}` : summary, expiresFirst }
  }

  /** Like `condition` with a time, but rejects where it is interrupted, and makes few promises: each costs a worker a stack trace. */
  #sleep(ms: number, summary: string, interrupted: () => boolean): Promise<void> {
    if (this.#timer.consideredCancelled) this.#timer = new CancellationScope()
    this.#interrupted = interrupted
    return this.#timer.run(() => sleep(ms, { summary }))
  }

  #wake(): void {
    if (this.#interrupted()) this.#timer.cancel()
  }

  /** Before the next retry a notification is a late notice: it counts nothing, and only what is final changes something. */
  #dropLateNotices(): void {
    this.#bounces = this.#bounces.filter(
      (bounce) =>
        isFinal(bounce) &&
        (isSuccess(bounce) ? this.#attempts.length > 0 && !this.#isOfEarlierSend(bounce) : sendOf(bounce) !== BACKUP_SEND),
    )
  }

  /**
   * What cannot wait goes by the backup relay first, once: no retry of the schedule, which goes on where that way does not take it, or has
   * not by the time the first retry is due.
   */
  async #sendByBackup(prepared: Prepared): Promise<RetryResult | null> {
    this.#retry = BACKUP_RETRY
    // the bounce that began this is told to it too, and is none of this send
    this.#dropLateNotices()
    this.#show('sending', 'By the backup relay; where that takes long, Pending Activities says what it waits for.')
    const dueMs = prepared.fromMs + (prepared.delaysMs[prepared.retriesSoFar] ?? 0)
    if (this.#givenUp && patched('given up before the backup')) return this.#suppress(prepared)
    let result: SendResult | null
    try {
      result = await this.#send(prepared, Math.max(dueMs, Date.now() + LEAST_FOR_BACKUP_MS))
    } catch (error) {
      result = this.#notSent(error)
    }
    stopIfCancelled()
    if (result?.kind === 'answered') this.#noteAnswer(result)
    // a refusal of this way says nothing of the receiving system
    if (result === null || result.kind === 'late' || (result.kind === 'answered' && result.attempt.outcome !== 'accepted'))
      return this.#givenUp ? this.#suppress(prepared) : null
    return this.#judge(prepared, result)
  }

  #noteAnswer({ attempt, failedAtMs }: Extract<SendResult, { kind: 'answered' }>): void {
    this.#attempts.push(attempt)
    if (failedAtMs !== undefined) this.#failedAtMs = failedAtMs
  }

  #judge(prepared: Prepared, result: Exclude<SendResult, { kind: 'late' }>): Promise<RetryResult | null> | RetryResult | null {
    stopIfCancelled()
    if (result.kind === 'expired') return this.#expire(`${capital(result.reason)}.`)
    if (result.kind === 'suppressed') return this.#recordedEnd({ outcome: 'suppressed' }, `Nothing was sent: ${plain(result.reason)}.`)
    const { attempt } = result
    if (attempt.outcome === 'rejected') {
      if (result.lasting) return this.#suppressLastingly(attempt.status, attempt.reply)
      return this.#end(this.#result('rejected'), `The message was refused for good; nobody is suppressed.`)
    }
    if (attempt.outcome === 'deferred') return this.#givenUp ? this.#suppress(prepared) : null
    if (result.relayed) return this.#confirm(prepared, attempt)
    return this.#end(this.#result('delivered', { confirmed: true }), `The receiving system took it at ${utc(Date.parse(attempt.at))}.`)
  }

  /** `untilMs`: it begins nothing after that. */
  #send(prepared: Prepared, untilMs?: number): Promise<SendResult> {
    const { workflowId: _, ...subject } = this.#subject()
    const order = {
      ...subject,
      sender: prepared.sender,
      messageKey: prepared.messageKey,
      destination: prepared.destination,
      retry: this.#retry,
      ...(prepared.deliverByMs === undefined ? {} : { deliverByMs: prepared.deliverByMs }),
      ...(untilMs === undefined ? {} : { untilMs }),
    }
    const which = isRetry(order) ? `retry ${this.#retry} of ${prepared.delaysMs.length}` : 'by the backup relay'
    const summary = `${which} to ${bare(prepared.recipient)}`
    return this.#sending.run(() => send(summary, fairnessKey(prepared.destination))(order))
  }

  /** What a send that failed means: null where it was stopped because somebody gave up, however it ended. */
  #notSent(error: unknown): null {
    stopIfCancelled()
    if (this.#givenUp) return null
    refuse(error)
    throw error
  }

  /** A relay took it. Waits for word of it; silence ends as delivered, unconfirmed. Null where it came back and the next retry follows. */
  async #confirm(prepared: Prepared, attempt: Attempt): Promise<RetryResult | null> {
    let untilMs = Date.parse(attempt.at) + prepared.confirmWithinMs
    for (;;) {
      this.#show('confirming', `Silence until then counts as delivered, unconfirmed. A bounce makes it a failed retry.`, untilMs)
      const leftMs = untilMs - Date.now()
      const interrupted = () => this.#givenUp || this.#bounces.length > 0
      const summary = isRetry(attempt) ? `word of retry ${this.#retry} from the relay` : 'word from the backup relay'
      try {
        if (leftMs > 0 && !interrupted()) await this.#sleep(leftMs, summary, interrupted)
      } catch (error) {
        if (!interrupted()) throw error
      }
      stopIfCancelled()
      if (this.#givenUp) return this.#suppress(prepared)
      const bounce = this.#bounces.shift()
      if (bounce === undefined) {
        if (Date.now() < untilMs) continue
        const ended = await this.#recordedEnd(
          { outcome: 'delivered', confirmed: false },
          `No bounce came within ${formatDuration(prepared.confirmWithinMs)}.`,
        )
        // one may have come while that was written down
        if (this.#bounces.length === 0) return ended
        continue
      }
      // what the second way refuses for good, the first may still take
      const refusedByBackup = !isRetry(attempt) && !isSuccess(bounce) && (sendOf(bounce) ?? BACKUP_SEND) === BACKUP_SEND
      if (this.#isOfEarlierSend(bounce)) continue
      if (isFinal(bounce) && !refusedByBackup) return this.#endByNotice(bounce)
      // a failure that was counted already, or one of an earlier send
      if (!isAbout(attempt, bounce, this.#failedAtMs)) continue
      if (bounce.action === 'delayed') {
        untilMs = Math.max(untilMs, triedUntil(bounce))
        continue
      }
      await this.#cameBack(bounce)
      return null
    }
  }

  #isOfEarlierSend(bounce: Bounce): boolean {
    const { bouncedAtMs } = this.#prepared as Prepared
    return isOfEarlierSend(bounce, this.#attempts.at(-1) as Attempt, Math.max(this.#failedAtMs, bouncedAtMs))
  }

  /** The retry that a relay had taken failed after all. */
  async #cameBack(bounce: Bounce): Promise<void> {
    const atMs = timeOf(bounce)
    this.#reportedAs(bounce, 'deferred')
    this.#failedAtMs = atMs
    // later ones count from the reported failure
    if (this.#attempts.some(isRetry)) this.#fromMs = Math.min(Math.max(atMs, this.#fromMs), Date.now())
    await quickly(`write down that retry ${this.#retry} came back`, ({ recordReport }) =>
      recordReport({ ...this.#subject(), report: this.#report(bounce) }),
    )
    stopIfCancelled()
  }

  #reportedAs(bounce: Bounce, outcome: Attempt['outcome']): void {
    const last = this.#attempts.at(-1) as Attempt
    if (isRetry(last)) this.#onlyAmbiguous = false
    this.#attempts[this.#attempts.length - 1] = asReported(last, bounce, outcome)
  }

  #report(bounce: Bounce): Report {
    return {
      retry: this.#attempts.at(-1)?.retry ?? this.#retry,
      atMs: timeOf(bounce),
      status: statusOf(bounce),
      ...(bounce.diagnostic === undefined ? {} : { reply: bounce.diagnostic }),
    }
  }

  /** A notification that is final: a proven delivery, or a permanent refusal. */
  async #endByNotice(bounce: Bounce): Promise<RetryResult> {
    if (isSuccess(bounce)) {
      this.#reportedAs(bounce, 'accepted')
      return this.#recordedEnd({ outcome: 'delivered', confirmed: true }, 'A notification confirmed it.', this.#report(bounce))
    }
    const status = statusOf(bounce)
    if (this.#attempts.at(-1)?.outcome === 'accepted') this.#reportedAs(bounce, 'rejected')
    if (isLasting(status)) return this.#suppressLastingly(status, bounce.diagnostic ?? status)
    return this.#recordedEnd({ outcome: 'rejected' }, `A notification said ${plain(status)}; nobody is suppressed.`, this.#report(bounce))
  }

  /** The bounce that started it is permanent itself. */
  async #rejectByBounce(lasting: boolean, reason: string): Promise<RetryResult> {
    const { status, diagnostic } = this.#message.bounce
    if (lasting) return this.#suppressLastingly(statusOf(this.#message.bounce), diagnostic ?? status)
    return this.#recordedEnd({ outcome: 'rejected' }, `Nothing is retried: ${plain(reason)}.`)
  }

  #expire(note: string): Promise<RetryResult> {
    return this.#recordedEnd({ outcome: 'expired' }, note)
  }

  /** Every retry failed, or somebody gave up: the address is taken off the active list for a while. Once begun, this finishes. */
  async #suppress(prepared: Prepared): Promise<RetryResult> {
    if (!this.#givenUp && this.#attempts.some(isRetry) && this.#onlyAmbiguous)
      return this.#recordedEnd(
        { outcome: 'delivered', confirmed: false },
        'Each time the connection was lost after the whole message was sent: it may have arrived, and nobody is suppressed for that.',
      )
    this.#show('suppressing', this.#givenUp ? 'Somebody gave up.' : '')
    const last = this.#attempts.at(-1)
    const { bounce } = this.#message
    const suppressed = await CancellationScope.nonCancellable(() =>
      suppress(`suppress ${bare(prepared.recipient)} for a while`)({
        ...this.#subject(),
        kind: 'unavailable',
        status: last?.status ?? bounce.status,
        reply: last?.reply ?? bounce.diagnostic ?? '',
        destination: prepared.destination,
        outageFromMs: prepared.bouncedAtMs,
      }),
    )
    const { until } = suppressed
    const note =
      until === undefined
        ? 'A lasting suppression stood already.'
        : `Suppressed until ${utc(Date.parse(until))}; that lapses by itself, and a delivery lifts it.`
    return this.#end(this.#result('suppressed', until === undefined ? {} : { suppressedUntil: until }), note)
  }

  /** The recipient is gone for good. */
  async #suppressLastingly(status: string, reply: string): Promise<RetryResult> {
    stopIfCancelled()
    const prepared = this.#prepared as Prepared
    this.#show('suppressing', 'The recipient was rejected.')
    await CancellationScope.nonCancellable(() =>
      suppress(`suppress ${bare(prepared.recipient)} for good`)({
        ...this.#subject(),
        kind: 'rejected',
        status,
        reply,
        destination: prepared.destination,
        outageFromMs: prepared.bouncedAtMs,
      }),
    )
    return this.#end(this.#result('rejected'), `${plain(status)}: the recipient is suppressed until somebody lifts it.`)
  }

  async cancelled(): Promise<void> {
    if (this.#prepared === null) {
      this.#show('cancelled', 'Nothing was sent.')
      const checked = checkBouncedMessage(this.#message)
      // so that a later bounce does not start it; it ends without that where the database is away
      if ('value' in checked) await recordIfQuick({ ...this.#run(), ...pick(checked.value), outcome: 'cancelled', confirmed: false })
      return
    }
    this.#show('cancelled', 'Nothing more is sent, and nobody is suppressed.')
    await quickly('write down that it was cancelled', ({ recordEnd }) =>
      recordEnd({ ...this.#subject(), outcome: 'cancelled', confirmed: false }),
    )
    if (this.#prepared.searchAttributes) showOutcome('cancelled')
  }

  /** Writes the end down, where the activity before did not do so with its own work. */
  async #recordedEnd(end: { outcome: Outcome; confirmed?: boolean }, note: string, report?: Report): Promise<RetryResult> {
    await quickly(`write down that it ended as ${end.outcome}`, ({ recordEnd }) =>
      recordEnd({
        ...this.#subject(),
        outcome: end.outcome,
        confirmed: end.confirmed ?? false,
        ...(report === undefined ? {} : { report }),
      }),
    )
    stopIfCancelled()
    return this.#end(this.#result(end.outcome, end.confirmed === undefined ? {} : { confirmed: end.confirmed }), note)
  }

  #result(outcome: Outcome, more: Pick<RetryResult, 'confirmed' | 'suppressedUntil'> = {}): RetryResult {
    const retries = this.#attempts.filter(isRetry).at(-1)?.retry ?? this.#prepared?.retriesSoFar ?? 0
    return { outcome, ...more, retries, attempts: this.#attempts }
  }

  #end(result: RetryResult, note: string): RetryResult {
    this.#show(result.outcome, note)
    if (this.#prepared?.searchAttributes) showOutcome(result.outcome)
    return result
  }

  /** Sends the retry that waits now; see the signal. */
  retryNow(which: { retry?: number } | null | undefined): void {
    const named = which?.retry
    // while it is being prepared, the first retry is the one that waits
    if ((this.#state !== 'waiting' && this.#state !== 'preparing') || (named != null && named !== this.#retry)) return
    if (named == null && Date.now() - this.#wokenAtMs < DOUBLE_PRESS_MS) return
    this.#woken = true
    this.#wokenAtMs = Date.now()
    this.#wake()
  }

  bouncedAgain(bounce: unknown): void {
    const checked = checkBounce(bounce)
    if ('value' in checked) {
      this.#bounces.push(notOfTheFuture(checked.value))
      if (this.#state === 'waiting') this.#dropLateNotices()
      this.#wake()
    } else log.warn('a bouncedAgain that cannot be read changes nothing', { faults: checked.faults.join('; ') })
  }

  giveUp(): void {
    this.#givenUp = true
    if (this.#state === 'sending') this.#sending.cancel()
    this.#wake()
  }

  progress(): Progress {
    return {
      retry: this.#retry,
      of: this.#prepared?.delaysMs.length ?? 0,
      state: this.#state,
      nextRetryAt: this.#state === 'waiting' && this.#nextAtMs !== null ? new Date(this.#nextAtMs).toISOString() : null,
      lastAttempt: this.#attempts.at(-1) ?? null,
    }
  }

  #subject(): Subject {
    return { ...pick(this.#prepared as Prepared), ...this.#run() }
  }

  #run() {
    const { workflowId, firstExecutionRunId } = workflowInfo()
    return { workflowId, firstRunId: firstExecutionRunId }
  }

  #show(state: State, note: string, nextAtMs: number | null = null): void {
    this.#state = state
    this.#note = note
    this.#nextAtMs = nextAtMs
    const recipient = this.#prepared?.recipient ?? String(this.#message?.recipient ?? '')
    setCurrentDetails(
      details({
        state,
        recipient,
        destination: this.#prepared?.destination ?? '',
        retry: this.#retry,
        of: this.#prepared?.delaysMs.length ?? 0,
        nextAtMs,
        note: this.#note,
        attempts: this.#attempts,
      }),
    )
  }
}

/** A clock may be ahead, by an hour at most; what is told of later than that would outlast every true notice. */
function notOfTheFuture(bounce: Bounce): Bounce {
  if (timeOf(bounce) <= Date.now() + MOST_AHEAD_MS || !patched('no notice of the future')) return bounce
  return { ...bounce, bouncedAt: new Date().toISOString() }
}

const pick = ({ messageId, recipient }: { messageId: string; recipient: string }) => ({ messageId, recipient })

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
