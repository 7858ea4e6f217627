/**
 * One retry: one SMTP transaction for one recipient. The row of the attempt log is claimed first, the answer is written as soon as it is
 * read; whatever dies in between, at most the one message whose reply was in flight is sent twice.
 */
import { ApplicationFailure, CancelledFailure, type Context } from '@temporalio/activity'
import { msToNumber } from '@temporalio/common/lib/time.js'
import { type Attempt, addressKey, envelopeAddress, formatDuration, parseAddress } from '../bounce/index.js'
import type { ActivityContext, Route, Router } from '../delivery/index.js'
import {
  type Answered,
  AttemptClaim,
  type ConnectionPool,
  DeliveryAttempt,
  isLastingRejection,
  MAX_REPLY,
  OutgoingMessage,
  recordSend,
  type SendOutcome,
} from '../delivery/index.js'
import {
  type Answer,
  type AnsweredRow,
  type AttemptKey,
  type Claim,
  findAttempt,
  loadMessage,
  otherDestinationReached,
  otherDestinationSilent,
  type ReleaseReason,
  toAttempt,
} from '../store/index.js'
import { findSuppression } from '../suppression/index.js'
import { describe, localFailure, retryLater, withDatabase } from '../temporal/index.js'
import { cancelReservation, waitWhilePaused } from '../throttle/index.js'

/** What the workflow orders. */
export interface SendOrder {
  readonly messageId: string
  readonly sender: string
  readonly recipient: string
  readonly messageKey: string
  readonly destination: string
  /** The retry's number over all runs. */
  readonly retry: number
  /** The backup relay, which is no retry of the schedule. */
  readonly via?: 'backup-relay'
  readonly firstRunId: string
  readonly deliverByMs?: number
  /** Nothing is begun after that: it goes another way then. */
  readonly untilMs?: number
}

/** What came of it. */
export type SendResult =
  | {
      readonly kind: 'answered'
      readonly attempt: Attempt
      /** A relay took it: whether it arrives is not known yet. */
      readonly relayed: boolean
      /** Rejected for the recipient, for good. */
      readonly lasting: boolean
      /** With a retry that a relay took and a notification told of: when it failed. */
      readonly failedAtMs?: number
      /** Nothing but a lost connection is known: it says nothing against anybody. */
      readonly ambiguous: boolean
    }
  /** The message is of no use any more. */
  | { readonly kind: 'expired'; readonly reason: string }
  /** Its time (`untilMs`) was over before it was sent. */
  | { readonly kind: 'late' }
  /** The recipient is suppressed for good: nothing was sent. */
  | { readonly kind: 'suppressed'; readonly reason: string }

const HEARTBEAT_MS = 5_000
const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** After a connection lost behind the final dot: time for the other side to finish what it has (RFC 1047). */
const RESEND_AFTER_MS = MINUTE
/** How long a host may stay silent before that counts as its answer. */
const SILENT_FOR_MS = HOUR

/** What a heartbeat carries, so that the next try of the activity knows the answer even where the database did not take it. */
interface Heartbeat {
  readonly answer: Omit<Answer, 'at'> & { readonly at: string }
}

/** Sends, or finds out that it was sent. Ends as a failure only for trouble of our own, a claim of another, or a cancellation. */
export async function sendMessage(
  order: SendOrder,
  context: Context,
  dependencies: ActivityContext,
  means: SendContext,
): Promise<SendResult> {
  const sending = new Sending(order, context, dependencies, means)
  const beat = setInterval(() => sending.heartbeat(), HEARTBEAT_MS)
  try {
    return await sending.run()
  } finally {
    clearInterval(beat)
  }
}

/** What sends share: the ways that were looked up, the sessions that are open. */
export interface SendContext {
  readonly ways: Router
  readonly sessions: ConnectionPool
}

type Claimed = Extract<Claim, { kind: 'claimed' }>

class Sending {
  readonly #order: SendOrder
  readonly #context: Context
  readonly #dependencies: ActivityContext
  readonly #recipient: string
  readonly #key: AttemptKey
  readonly #claim: AttemptClaim
  /** What each heartbeat carries: a later one without it would take it back. */
  #known: Heartbeat | undefined
  readonly #means: SendContext
  #meeting: DeliveryAttempt | null = null
  /** Nobody answered, and that counts as the receiving system's answer. */
  #silenceCounted = false

  constructor(order: SendOrder, context: Context, dependencies: ActivityContext, means: SendContext) {
    this.#order = order
    this.#context = context
    this.#dependencies = dependencies
    this.#means = means
    this.#recipient = addressKey(order.recipient)
    this.#key = { firstRunId: order.firstRunId, retry: order.retry }
    this.#known = context.info.heartbeatDetails as Heartbeat | undefined
    const { messageId } = order
    this.#claim = new AttemptClaim(
      { ...this.#key, ...this.#via, workflowId: this.#workflowId, messageId, recipient: this.#recipient },
      this.#about,
      dependencies,
    )
  }

  heartbeat(): void {
    this.#context.heartbeat(this.#known)
    this.#meeting?.beat()
  }

  async run(): Promise<SendResult> {
    if (this.#known?.answer !== undefined) {
      const answer = { ...this.#known.answer, at: new Date(this.#known.answer.at) }
      return this.#answered(await this.#record(answer, null))
    }
    const known = await this.#database(() => findAttempt(this.#dependencies.database.db, this.#key, this.#now()))
    if (known?.kind === 'answered') return this.#answered(known.row)
    if (known?.kind === 'held') throw this.#held(known.until)
    try {
      return await this.#sendInTime()
    } catch (error) {
      throw this.#sooner(error)
    }
  }

  async #sendInTime(): Promise<SendResult> {
    const ended = this.#isLate() ? ({ kind: 'late' } as const) : await this.#endsBefore()
    if (ended !== null) {
      await this.#database(() => cancelReservation(this.#dependencies.database.db, this.#key))
      return ended
    }
    if (this.#isBackup) {
      const way = this.#means.ways.backupTo(this.#order.destination)
      // a worker with other settings than the one that prepared it
      if (way === null)
        throw this.#trouble(`no backup relay is set for ${this.#order.destination}: neither BACKUP_RELAY_URL nor a route in BACKUP_ROUTES`)
      return this.#takingTurn(way)
    }
    const way = await this.#database(() => this.#means.ways.resolve(this.#order.recipient, this.#order.destination))
    if (way.kind === 'none') throw this.#trouble(way.text)
    if (way.kind === 'judged') {
      await waitWhilePaused(this.#order.destination, this.#context, this.#dependencies)
      return this.#withClaim(this.#order.destination, (claim) => this.#conclude(way.outcome, false, claim))
    }
    return this.#takingTurn(way)
  }

  #isLate(): boolean {
    const { untilMs } = this.#order
    return untilMs !== undefined && this.#now().getTime() >= untilMs
  }

  /** Whatever it waits for: no longer than it has time. */
  #sooner(error: unknown): unknown {
    const { untilMs } = this.#order
    if (untilMs === undefined || !(error instanceof ApplicationFailure) || error.nextRetryDelay == null) return error
    const leftMs = Math.max(1, untilMs - this.#now().getTime())
    return msToNumber(error.nextRetryDelay) <= leftMs ? error : retryLater('Waiting', error.message, leftMs)
  }

  /** What ends it without asking anybody: the recipient is suppressed for good, or the message of no use any more. */
  async #endsBefore(): Promise<SendResult | null> {
    const listed = await this.#database(() => findSuppression(this.#dependencies.database.db, this.#recipient, this.#now()))
    if (listed !== null && listed.until === null)
      return {
        kind: 'suppressed',
        reason: `suppressed since ${listed.since.toISOString()}: ${listed.reason}${listed.status ? `, ${listed.status}` : ''}`,
      }
    const expired = this.#tooLate()
    return expired === null ? null : { kind: 'expired', reason: expired }
  }

  async #takingTurn(way: Route): Promise<SendResult> {
    const { deliverByMs } = this.#order
    const subject = { ...this.#key, workflowId: this.#workflowId, ...(deliverByMs === undefined ? {} : { deliverByMs }) }
    const meeting = await DeliveryAttempt.begin(way, subject, this.#context, this.#dependencies, this.#means.sessions)
    this.#meeting = meeting
    try {
      return await this.#withClaim(way.system, (claim) => this.#sendClaimed(claim, way, meeting))
    } finally {
      meeting.end()
    }
  }

  async #withClaim(system: string, send: (claim: Claimed) => Promise<SendResult>): Promise<SendResult> {
    const claim = await this.#database(() => this.#claim.take(system))
    if (claim.kind === 'answered') return this.#answered(claim.row)
    if (claim.kind === 'held') throw this.#held(claim.until)
    try {
      return await send(claim)
    } catch (error) {
      // whatever stopped us before the content was begun: the next try need not wait for the claim to run out
      if (!this.#claim.begun) await this.#giveBack({}).catch(() => {})
      throw error
    } finally {
      this.#claim.end()
    }
  }

  #held(until: Date) {
    return retryLater(
      'Waiting',
      `another worker holds this retry until ${until.toISOString()}; if it says nothing by then, the message is sent again`,
      until.getTime() - this.#now().getTime() + SECOND,
    )
  }

  async #sendClaimed(claim: Claimed, way: Route, meeting: DeliveryAttempt): Promise<SendResult> {
    const order = this.#order
    const { settings } = this.#dependencies
    const content = await this.#database(() => loadMessage(this.#dependencies.database.db, order.messageKey))
    // it was there when the retries began: a database that was restored from before that
    if (content === null)
      throw localFailure(
        `the database has lost the message ${order.messageKey}: softbounce retry with its bounce, original included, gives it back`,
        this.#context.info.attempt,
      )
    const { kind } = way.paths[0]
    const outgoing = await OutgoingMessage.of(order, content, kind, this.#dependencies, (step) => this.#database(step))
    const expired = outgoing.signaturesRanOut(this.#now())
    if (expired !== null) {
      await this.#giveBack({})
      // where mail goes directly it is signed anew
      return this.#isBackup ? { kind: 'late' } : { kind: 'expired', reason: expired }
    }
    const met = await meeting.deliver({
      ehloDomain: settings.ehloDomain,
      timeouts: settings.timeouts,
      sender: outgoing.sender,
      recipient: envelopeAddress(parseAddress(order.recipient)),
      content: await outgoing.content(),
      ...(kind === 'relay' ? { envid: `${order.firstRunId}.${order.retry}` } : {}),
      beforeContent: () => this.#claim.begin(content.length, meeting.leaseId),
      signal: this.#stopSignal(),
    })
    try {
      const result = await this.#conclude(met.outcome, kind === 'relay', claim)
      if (met.outcome.kind === 'accepted')
        await outgoing.recordProviderName(met.outcome.reply).catch((error) => {
          this.#dependencies.log.warn({ ...this.#about, error: describe(error) }, "the provider's name of the message could not be kept")
        })
      return result
    } finally {
      // whatever came of the answer, the system has given it; silence that blames nobody teaches nothing
      const silent = met.outcome.kind === 'unreachable' && !this.#silenceCounted
      const learnt = silent ? null : await meeting.applyFeedback(met)
      await meeting.keepOpen(met.system, learnt?.wanted === true)
    }
  }

  #tooLate(): string | null {
    const { deliverByMs } = this.#order
    if (deliverByMs === undefined || this.#now().getTime() <= deliverByMs) return null
    return `it was to be delivered by ${new Date(deliverByMs).toISOString()}`
  }

  async #conclude(outcome: SendOutcome, relayed: boolean, claim: Claimed): Promise<SendResult> {
    const now = this.#now()
    switch (outcome.kind) {
      case 'stopped':
        await this.#giveBack({ notSent: true })
        if (this.#isLate()) return { kind: 'late' }
        if (this.#context.cancellationDetails?.cancelRequested) throw new CancelledFailure('cancelled before the message was sent')
        throw retryLater('Waiting', 'the worker was stopped before the message was sent, or the database could not be asked', SECOND)
      case 'our trouble':
        await this.#giveBack({ notSent: true, silentSince: null })
        throw this.#trouble(outcome.text)
      case 'unreachable': {
        const since = claim.silentSince ?? now
        if (!(await this.#countsAsSilence(since, now, outcome.stage === 'MX'))) {
          await this.#giveBack({ silentSince: since })
          throw this.#trouble(`${outcome.reply}; whether that is its trouble or ours is not known: it is asked again`)
        }
        this.#silenceCounted = true
        return this.#answer({ ...outcome, kind: 'deferred' }, relayed, claim, false)
      }
      case 'ambiguous':
        if (claim.lostAt === null) {
          await this.#giveBack({ lostAt: now })
          throw retryLater(
            'Waiting',
            `${outcome.reply}; the message may have arrived, and is sent once more in ${formatDuration(RESEND_AFTER_MS)} (RFC 1047)`,
            RESEND_AFTER_MS,
          )
        }
        return this.#answer({ ...outcome, kind: 'deferred' }, relayed, claim, true)
      default:
        return this.#answer(outcome, relayed, claim, false)
    }
  }

  /**
   * Silence is the other side's where somebody else was reached meanwhile; or after an hour, unless others are silent as well. Name servers
   * that fail prove nothing by time: a resolver that is cut off says the same.
   */
  async #countsAsSilence(since: Date, now: Date, nameServers: boolean): Promise<boolean> {
    const { db } = this.#dependencies.database
    const { destination } = this.#order
    return this.#database(async () => {
      if (await otherDestinationReached(db, destination, new Date(Math.max(since.getTime(), now.getTime() - HOUR)))) return true
      if (nameServers || now.getTime() - since.getTime() < SILENT_FOR_MS) return false
      return !(await otherDestinationSilent(db, destination, new Date(now.getTime() - DAY)))
    })
  }

  async #answer(
    outcome: Answered & { kind: Answer['outcome'] },
    relayed: boolean,
    claim: Claimed,
    ambiguous: boolean,
  ): Promise<SendResult> {
    const answer: Answer = {
      at: this.#now(),
      outcome: outcome.kind,
      status: outcome.status,
      reply: outcome.reply.slice(0, MAX_REPLY),
      stage: outcome.stage,
      mailServer: outcome.mailServer,
      maybeDelivered: ambiguous || claim.lostAt !== null || claim.unanswered,
      relayed,
    }
    this.#known = { answer: { ...answer, at: answer.at.toISOString() } }
    this.heartbeat()
    // an acceptance counts whoever holds the claim by now; anything else only while it is ours
    const row = await this.#record(answer, answer.outcome === 'accepted' ? null : this.#claim.id)
    const { status, reply, stage, mailServer } = answer
    const known = { outcome: answer.outcome, status, reply, stage, mailServer, polls: this.#meeting?.polls ?? 0 }
    this.#dependencies.metrics?.attemptAnswered(this.#order, answer.outcome, status, this.#order.destination)
    this.#dependencies.log.info({ ...this.#about, ...known }, 'a retry was answered')
    return this.#answered(row)
  }

  #record(answer: Answer, claim: string | null): Promise<AnsweredRow> {
    const { messageId, messageKey, destination } = this.#order
    const { info } = this.#context
    return recordSend(
      this.#dependencies,
      { ...this.#key, ...this.#via, messageId, messageKey, destination, recipient: this.#recipient, workflowId: this.#workflowId, claim },
      answer,
      info.attempt,
    )
  }

  #answered(row: AnsweredRow): SendResult {
    return {
      kind: 'answered',
      attempt: toAttempt(row),
      relayed: row.relayed,
      lasting: row.outcome === 'rejected' && isLastingRejection(row),
      ...(row.reported === null ? {} : { failedAtMs: row.reported.at.getTime() }),
      ambiguous: row.maybeDelivered && row.outcome === 'deferred' && row.stage === 'final dot' && !/^\d{3}[ -]/.test(row.reply),
    }
  }

  /** Before the content is begun, a send ends when it is stopped, or its time is over. */
  #stopSignal(): AbortSignal {
    const { untilMs } = this.#order
    const { cancellationSignal } = this.#context
    if (untilMs === undefined) return cancellationSignal
    return AbortSignal.any([cancellationSignal, AbortSignal.timeout(Math.min(Math.max(0, untilMs - this.#now().getTime()), 2 ** 31 - 1))])
  }

  #giveBack(known: ReleaseReason): Promise<void> {
    return this.#database(() => this.#claim.giveBack(known))
  }

  #database<T>(step: () => Promise<T>): Promise<T> {
    return withDatabase(this.#context.info.attempt, step)
  }

  #trouble(text: string) {
    this.#dependencies.log.warn(this.#about, text)
    return localFailure(text, this.#context.info.attempt)
  }

  get #isBackup(): boolean {
    return this.#order.via === 'backup-relay'
  }

  get #via(): Pick<SendOrder, 'via'> {
    return this.#isBackup ? { via: 'backup-relay' } : {}
  }

  get #workflowId(): string {
    return this.#context.info.workflowExecution?.workflowId ?? ''
  }

  /** For log lines. */
  get #about() {
    return { workflowId: this.#workflowId, retry: this.#key.retry, destination: this.#order.destination }
  }

  #now(): Date {
    return this.#dependencies.now()
  }
}
