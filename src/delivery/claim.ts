/** A claim on a row of the attempt log, so that no other worker sends the same retry. */
import { randomUUID } from 'node:crypto'
import { type AttemptSubject, type Claim, claimAttempt, type ReleaseReason, releaseClaim, renewClaim } from '../store/index.js'
import { describe } from '../temporal/index.js'
import { leaseThatHolds } from '../throttle/index.js'
import type { DeliveryContext } from './context.js'
import type { SendTransactions } from './send-transactions.js'
import { BLOCK_BYTES } from './smtp/transaction-result.js'

const SECOND = 1000
/**
 * Until the content begins, a claim only prevents concurrent tries, since beginSend checks it again before any content is sent. So it can
 * be short, and a message whose worker died before that is resumed soon.
 */
const FIRST_CLAIM_MS = 20 * SECOND
/** The claim is renewed while content is sent, so that a dead worker holds it no longer for a large message than for a small one. */
const RENEW_MS = 60 * SECOND
/** From the content on, a claim lasts this long beyond the time limit of the next block and its reply. */
const CLAIM_MARGIN_MS = 5 * SECOND
/** How long the database may take to confirm the claim, while the SMTP server waits. */
const BEGIN_WITHIN_MS = 10 * SECOND

/** When a claim expires that is taken now. */
export const firstClaimUntil = (now: Date): Date => new Date(now.getTime() + FIRST_CLAIM_MS)

export class AttemptClaim {
  /** The content has begun: from here on the message may arrive. */
  begun = false
  /** The row has its answer. */
  answered = false
  #givenBack = false
  /** The result of beginSend, even if it arrives too late. */
  #asked: Promise<boolean> = Promise.resolve(false)
  #renewing: NodeJS.Timeout | undefined

  /** @param about for log lines. */
  constructor(
    private readonly subject: Omit<AttemptSubject, 'destination'>,
    private readonly about: object,
    private readonly dependencies: DeliveryContext,
    private readonly transactions: SendTransactions,
    /** Of the claim that is held already. */
    readonly id: string = randomUUID(),
  ) {}

  /** Claims the row. @param destination the one that is contacted. */
  take(destination: string): Promise<Claim> {
    const { database, now } = this.dependencies
    const at = now()
    return claimAttempt(database, { ...this.subject, destination }, this.id, at, firstClaimUntil(at))
  }

  /**
   * Called when the SMTP server waits for the content. Never rejects.
   * @returns whether the content may be sent: not if another worker holds the claim by now, the database does not answer, or the lease of
   * the connection has expired.
   */
  async begin(bytes: number, leaseId: string): Promise<boolean> {
    const { database, settings, now, log } = this.dependencies
    const { timeouts } = settings
    const notRenewed = (error: unknown) => log.warn({ ...this.about, error: describe(error) }, 'the claim could not be renewed')
    try {
      const until = () => new Date(now().getTime() + timeouts.blockMs + timeouts.finalDotMs + CLAIM_MARGIN_MS)
      const asked = this.transactions.begin({ key: this.subject, claim: this.id, until: until(), lease: leaseThatHolds(leaseId) })
      this.#asked = asked.catch(() => false)
      const last = now().getTime() + Math.ceil(bytes / BLOCK_BYTES) * timeouts.blockMs
      // set before the await: the transaction may have ended by the time the database answers
      this.#renewing = setInterval(() => {
        // the time for the content is over: only the reply is awaited
        if (now().getTime() > last) return this.end()
        renewClaim(database, this.subject, this.id, until()).catch(notRenewed)
      }, RENEW_MS)
      this.begun = await within(BEGIN_WITHIN_MS, asked)
    } catch (error) {
      notRenewed(error)
      this.begun = false
    }
    if (!this.begun) this.end()
    return this.begun
  }

  /** Releases the claim of a send that stopped before its content, so that the next try need not wait for its expiry. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    if (!this.begun && !this.answered && !this.#givenBack) await this.giveBack({}).catch(() => {})
  }

  /** Stops renewing. */
  end(): void {
    clearInterval(this.#renewing)
  }

  /** Releases the claim. @param known with `notSent`, a send that was begun does not count. */
  async giveBack(known: ReleaseReason): Promise<void> {
    const notSent = known.notSent === true && (await this.#asked)
    await releaseClaim(this.dependencies.database.db, this.subject, this.id, { ...known, notSent })
    this.#givenBack = true
  }
}

/** The step's result, or an error if it takes too long. */
function within<T>(ms: number, step: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / SECOND} s`)), ms)
  })
  return Promise.race([step, late]).finally(() => clearTimeout(timer))
}
