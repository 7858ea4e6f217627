/**
 * One delivery attempt, to a destination or a relay: holds the permit and the lease of the connection, tries the hosts one after another, and
 * records the feedback.
 */
import type { Context } from '@temporalio/activity'
import {
  acquire,
  cancelReservation,
  type FeedbackResult,
  LEASE_MS,
  type ObservedAnswer,
  recordFeedback,
  relayOf,
  renewLease,
} from '../throttle/index.js'
import { acquirePermit, IDLE_MS, type Permit, type PermitSubject } from './acquire-permit.js'
import type { DeliveryContext } from './context.js'
import type { NextHop } from './next-hop.js'
import { classifyResult, type SendOutcome } from './outcome.js'
import { connectionKey, type Route } from './routing.js'
import type { SendTransactions } from './send-transactions.js'
import type { ConnectionPool, PooledConnection } from './smtp/connection-pool.js'
import type { SmtpExchange, Transaction } from './smtp/transaction.js'
import { asksForNext, deliver } from './smtp/try-hosts.js'

/** The outcome, its next hop and destination, and how long it took. */
export interface DeliveryOutcome {
  readonly outcome: SendOutcome
  readonly path: NextHop
  readonly system: string
  readonly tookMs: number
}

/** The lease is renewed after this many heartbeats, well before it expires. */
const RENEW_EVERY_BEATS = 2
/** Longest reply that is stored, in characters. */
export const MAX_REPLY = 2000

export class DeliveryAttempt {
  /** The lease of our connection. */
  readonly leaseId: string
  #open: PooledConnection | null
  #beats = 0
  #countedAt = Date.now()
  #ended = false

  /** How often the permit was polled. */
  readonly polls: number

  constructor(
    private readonly route: Route,
    private readonly subject: PermitSubject,
    private readonly context: Context,
    private readonly dependencies: DeliveryContext,
    private readonly sessions: ConnectionPool,
    private readonly transactions: SendTransactions,
    permit: Permit,
  ) {
    this.leaseId = permit.leaseId
    this.#open = permit.open
    this.polls = permit.polls
  }

  /** Called with each heartbeat of the activity. */
  beat(): void {
    this.#beats += 1
    if (!this.#ended && this.#beats % RENEW_EVERY_BEATS === 0) this.isCounted().catch(() => {})
  }

  /** Renews the lease. False if it has expired, for example while this worker was frozen: then nothing more may be sent. */
  isCounted(): Promise<boolean> {
    const at = Date.now()
    return renewLease(this.dependencies.database, this.leaseId).then(
      (counted) => {
        if (counted) this.#countedAt = at
        return counted
      },
      () => false,
    )
  }

  /** Sends over a pooled connection, or tries the hosts in order; hosts of another destination only if its permit is granted at once. */
  async deliver(mail: Omit<Transaction, 'path'>): Promise<DeliveryOutcome> {
    const open = this.#open
    this.#open = null
    let began = Date.now()
    let { system } = this.route
    let met: SmtpExchange & { readonly path: NextHop } = await deliver(this.route.paths, mail, open, () => this.isCounted())
    if (met.stale) {
      // a new connection needs a permit of its own
      if (met.result.kind === 'reply') this.sessions.endedAfter(connectionKey(this.route), open?.session.sent ?? 1)
      await this.#acquireAgain()
      began = Date.now()
      met = await deliver(this.route.paths, mail, null, () => this.isCounted())
    }
    for (const next of this.route.beyond) {
      if (!asksForNext(met.result) || !(await this.#acquireNext(next))) break
      const outcome = classifyResult(met.result, met.path)
      if (outcome.kind !== 'unreachable') await this.applyFeedback({ outcome, path: met.path, system, tookMs: Date.now() - began })
      began = Date.now()
      met = await deliver(next.paths, mail, null, () => this.isCounted())
      system = next.system
    }
    const { result, session, path } = met
    if (session !== null) this.#open = { path, session, leaseId: this.leaseId, idleUntil: Date.now() + IDLE_MS }
    return { outcome: classifyResult(result, path), path, system, tookMs: Date.now() - began }
  }

  /** What an answer says about its destination; null if it says nothing, or is a relay's. */
  observed({ outcome, path, system, tookMs }: DeliveryOutcome): ObservedAnswer | null {
    if (path.kind === 'relay' || relayOf(system) !== null || !('status' in outcome)) return null
    const { status, reply, stage, mailServer, kind } = outcome
    const outcomeOf = kind === 'accepted' || kind === 'rejected' ? kind : 'deferred'
    return { system, answer: { outcome: outcomeOf, status, reply: reply.slice(0, MAX_REPLY), stage, mailServer }, tookMs }
  }

  /** Records an answer as feedback. Null if nothing was written. */
  async applyFeedback(delivered: DeliveryOutcome): Promise<FeedbackResult | null> {
    const observed = this.observed(delivered)
    return observed === null ? null : recordFeedback(observed, this.dependencies)
  }

  /**
   * Returns the connection to the pool, unless it has carried its maximum of messages, or one is wanted and no message of this process
   * would take it.
   */
  async keepOpen(system: string, wanted: boolean): Promise<void> {
    const open = this.#open
    const peer = connectionKey(this.route)
    if (open === null || system !== this.route.system || (wanted && !this.sessions.isExpected(peer))) return
    if (open.session.sent >= Math.min(this.route.maxDeliveriesPerConnection, this.sessions.mostIn(peer))) return
    // it is idle for less than its lease lasts; the next user checks that the lease holds
    if (Date.now() - this.#countedAt > LEASE_MS / 2 && !(await this.isCounted())) return
    this.#open = null
    this.#ended = true
    this.sessions.keep(peer, open, (leaseId) => this.transactions.release(leaseId))
  }

  /** Closes the connection, then releases the lease. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    const closed = this.#open?.session.end() ?? Promise.resolve()
    closed.then(() => this.transactions.release(this.leaseId))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
  }

  async #acquireAgain(): Promise<void> {
    const { database, settings } = this.dependencies
    const waiter = { ...this.subject, leaseId: this.leaseId, hasConnection: false }
    await acquirePermit(this.subject, this.context, this.dependencies, () =>
      acquire(database, waiter, this.route.permits, settings.throttle),
    )
  }

  /** Acquires a permit for one more destination, under the same lease; false if it is not granted at once. */
  async #acquireNext({ permit }: Route['beyond'][number]): Promise<boolean> {
    const { database, settings } = this.dependencies
    const waiter = { ...this.subject, leaseId: this.leaseId, hasConnection: false }
    const granted = await acquire(database, waiter, [permit], settings.throttle).catch(() => null)
    if (granted?.kind === 'granted') return true
    await cancelReservation(database.db, this.subject).catch(() => {})
    return false
  }
}
