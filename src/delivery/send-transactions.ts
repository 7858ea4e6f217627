/**
 * The transactions of a worker's sends. Sends that are at the same step at the same moment share one transaction: one wait for the network,
 * and one for the disk.
 */
import {
  type AnsweredRow,
  all,
  Batcher,
  type BeginRequest,
  beginSends,
  type ClaimedRow,
  type ClaimRequest,
  findAttempts,
  loadMessages,
  type RecordRequest,
  transact,
  tryToClaim,
} from '../store/index.js'
import { lastingSuppressions, type Suppression } from '../suppression/index.js'
import {
  type Acquisition,
  type FeedbackResult,
  Feedbacks,
  type Observation,
  type PermitRequest,
  Permits,
  releaseLeases,
} from '../throttle/index.js'
import type { DeliveryContext } from './context.js'
import { writeAnswers } from './write-answers.js'

/** A retry that is to be sent now: what is claimed, and the permits that it needs. */
export interface TakeRequest extends PermitRequest, ClaimRequest {
  readonly messageKey: string
}

/** Everything that the send needs, or why it is not sent now. */
export type Taken =
  | {
      readonly kind: 'taken'
      readonly row: ClaimedRow
      /** The stored message; null if it is gone. */
      readonly content: Buffer | null
      readonly polls: number
      readonly waitedMs: number
    }
  | Extract<Acquisition, { kind: 'wait' }>
  | { readonly kind: 'answered'; readonly row: AnsweredRow }
  | { readonly kind: 'held'; readonly until: Date }
  /** Another worker claimed it while the permits were acquired. */
  | { readonly kind: 'overtaken' }
  /** Until an operator lifts it. */
  | { readonly kind: 'suppressed'; readonly suppression: Suppression }

/** An answer, and the feedback that it is. */
export interface AnswerRequest extends RecordRequest {
  /** Null: it teaches nothing about a destination. */
  readonly observation: Observation | null
}

export interface WrittenAnswer {
  /** The row's answer, an earlier one if there was one; null if another claim holds the row. */
  readonly row: AnsweredRow | null
  readonly feedback: FeedbackResult | null
}

/** Most sends in one transaction. */
const MOST = 50
/** A freed connection is of use to other workers, so its release does not wait long for company. */
const RELEASED_WITHIN_MS = 20

export class SendTransactions {
  readonly #taking: Batcher<TakeRequest, Taken>
  readonly #beginning: Batcher<BeginRequest, boolean>
  readonly #answering: Batcher<AnswerRequest, WrittenAnswer>
  /** Leases of closed connections: their release travels with the next transaction, or soon alone. */
  readonly #released = new Set<string>()
  #releasing: NodeJS.Timeout | undefined
  readonly #releaseAlone: () => void

  constructor({ database, settings, now }: Pick<DeliveryContext, 'database' | 'settings' | 'now'>) {
    this.#taking = new Batcher(async (requests) => {
      const released = this.#takeReleased()
      return take(database, settings.throttle, requests, released).catch((error) => {
        for (const leaseId of released) this.release(leaseId)
        throw error
      })
    }, MOST)
    this.#beginning = new Batcher((requests) => beginSends(database.db, requests, database.clock), MOST)
    this.#answering = new Batcher((requests) => answer(database, settings.throttle, now, requests), MOST)
    this.#releaseAlone = () => {
      const leaseIds = this.#takeReleased()
      // if that fails, they expire by themselves
      if (leaseIds.length > 0) releaseLeases(database, leaseIds).catch(() => {})
    }
  }

  /** Looks whether the retry may be sent, acquires its permits, claims its row and loads its message. */
  async take(request: TakeRequest): Promise<Exclude<Taken, { kind: 'overtaken' }>> {
    const taken = await this.#taking.add(request)
    if (taken.kind !== 'overtaken') return taken
    const { leaseId, hasConnection } = request.waiter
    if (!hasConnection) this.release(leaseId)
    return { kind: 'held', until: request.at }
  }

  /** Records that the content is about to be sent. False: it may not be. Durable when it returns. */
  begin(request: BeginRequest): Promise<boolean> {
    return this.#beginning.add(request)
  }

  /** Writes an answer, its consequences, and its feedback. Durable when it returns. */
  answer(request: AnswerRequest): Promise<WrittenAnswer> {
    return this.#answering.add(request)
  }

  /** Releases a lease; if that fails, it expires by itself. */
  release(leaseId: string): void {
    this.#released.add(leaseId)
    this.#releasing ??= setTimeout(this.#releaseAlone, RELEASED_WITHIN_MS)
  }

  #takeReleased(): string[] {
    clearTimeout(this.#releasing)
    this.#releasing = undefined
    const leaseIds = [...this.#released]
    this.#released.clear()
    return leaseIds
  }
}

type Database = DeliveryContext['database']
type ThrottleSettings = DeliveryContext['settings']['throttle']

/** Need not be durable: a permit or a claim that a power cut undoes is found to be gone before any content is sent. */
function take(
  database: Database,
  settings: ThrottleSettings,
  requests: readonly TakeRequest[],
  released: readonly string[],
): Promise<Taken[]> {
  return transact(database, { durable: false }, async (tx, commit) => {
    const [permits, attemptOf, suppressions] = await all([
      Permits.read(tx, database, requests, settings, released),
      findAttempts(
        tx,
        requests.map(({ subject }) => subject),
      ),
      lastingSuppressions(
        tx,
        requests.map(({ subject }) => subject.recipient),
      ),
    ])
    const found = requests.map((request): Exclude<Taken, { kind: 'taken' }> | Extract<Acquisition, { kind: 'granted' }> => {
      const earlier = attemptOf(request.subject, request.at)
      if (earlier !== null) return earlier
      const suppression = suppressions.get(request.subject.recipient)
      if (suppression === undefined) return permits.acquire(request)
      permits.leave(request.waiter)
      return { kind: 'suppressed', suppression }
    })
    const going = requests.filter((_, i) => found[i]?.kind === 'granted')
    const [claimed, contents] = await commit([
      going.length === 0 ? Promise.resolve([]) : tryToClaim(tx, going),
      loadMessages(tx, [...new Set(going.map(({ messageKey }) => messageKey))]),
      ...permits.write(tx),
    ] as const)
    return found.map((one, i): Taken => {
      if (one.kind !== 'granted') return one
      const request = requests[i] as TakeRequest
      const row = claimed[going.indexOf(request)]
      if (row == null) return { kind: 'overtaken' }
      return { kind: 'taken', row, content: contents.get(request.messageKey) ?? null, polls: one.polls, waitedMs: one.waitedMs }
    })
  })
}

function answer(
  database: Database,
  settings: ThrottleSettings,
  now: () => Date,
  requests: readonly AnswerRequest[],
): Promise<WrittenAnswer[]> {
  const observed = requests.flatMap(({ observation }) => (observation === null ? [] : [observation]))
  return transact(database, { durable: true }, async (tx, commit) => {
    const [rows, feedbacks] = await all([
      writeAnswers(tx, requests, now),
      observed.length === 0 ? null : Feedbacks.read(tx, database, observed, settings),
    ])
    const written: WrittenAnswer[] = []
    for (const [i, { observation }] of requests.entries()) {
      const row = rows[i] ?? null
      // another worker holds the row: the feedback is recorded on its own (send-message.ts)
      const feedback = observation === null || row === null ? null : ((await feedbacks?.apply(tx, observation)) ?? null)
      written.push({ row, feedback })
    }
    await commit(feedbacks?.write(tx) ?? [])
    return written
  })
}
