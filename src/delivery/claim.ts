/** The claim of one send on its row of the attempt log: nobody else sends the same retry meanwhile. */
import { randomUUID } from 'node:crypto'
import { type AttemptSubject, beginSend, type Claim, claimAttempt, type ReleaseReason, releaseClaim, renewClaim } from '../store/index.js'
import { describe } from '../temporal/index.js'
import { leaseThatHolds } from '../throttle/index.js'
import type { DeliveryContext } from './context.js'
import { BLOCK_BYTES } from './smtp/transaction-result.js'

const SECOND = 1000
/**
 * Up to the content, a claim only keeps others from trying at the same moment: beginSend asks again before anything is sent. So it may be
 * short, and a message whose worker died before that is taken up soon.
 */
const FIRST_CLAIM_MS = 20 * SECOND
/** While a content is on its way its claim is renewed, so that a worker which dies over a large one holds it no longer than over a small one. */
const RENEW_MS = 60 * SECOND
/** From the content on, a claim lasts this long beyond the moment when the reply to one block more must have come. */
const CLAIM_MARGIN_MS = 5 * SECOND
/** How long the database may take to say whether the claim is still ours, while the server waits. */
const BEGIN_WITHIN_MS = 10 * SECOND

export class AttemptClaim {
  readonly #subject: Omit<AttemptSubject, 'destination'>
  readonly #about: object
  readonly #dependencies: DeliveryContext
  readonly id = randomUUID()
  /** The content was begun under it: from there on the message may arrive. */
  begun = false
  /** The row has its answer. */
  answered = false
  #givenBack = false
  /** What the database says of that, also if nobody waits for it any longer. */
  #asked: Promise<boolean> = Promise.resolve(false)
  #renewing: NodeJS.Timeout | undefined

  /** @param about for log lines. */
  constructor(subject: Omit<AttemptSubject, 'destination'>, about: object, dependencies: DeliveryContext) {
    this.#subject = subject
    this.#about = about
    this.#dependencies = dependencies
  }

  /** @param destination the receiving system that is contacted. */
  take(destination: string): Promise<Claim> {
    const { database, now } = this.#dependencies
    const at = now()
    return claimAttempt(database, { ...this.#subject, destination }, this.id, at, new Date(at.getTime() + FIRST_CLAIM_MS))
  }

  /**
   * The server waits for the content. Never rejects.
   * @returns whether it may be sent: not if the claim is another's by now, the database cannot be asked, or the worker was frozen for so
   * long that others count its connection no more.
   */
  async begin(bytes: number, leaseId: string): Promise<boolean> {
    const { database, settings, now, log } = this.#dependencies
    const { timeouts } = settings
    const notRenewed = (error: unknown) => log.warn({ ...this.#about, error: describe(error) }, 'the claim could not be renewed')
    try {
      const until = () => new Date(now().getTime() + timeouts.blockMs + timeouts.finalDotMs + CLAIM_MARGIN_MS)
      const asked = beginSend(database, this.#subject, this.id, until(), leaseThatHolds(database, leaseId))
      this.#asked = asked.catch(() => false)
      const last = now().getTime() + Math.ceil(bytes / BLOCK_BYTES) * timeouts.blockMs
      // before anything is waited for: the dialogue may be over when it has come
      this.#renewing = setInterval(() => {
        // its time for the content is over: what is left is the reply's
        if (now().getTime() > last) return this.end()
        renewClaim(database, this.#subject, this.id, until()).catch(notRenewed)
      }, RENEW_MS)
      this.begun = await within(BEGIN_WITHIN_MS, asked)
    } catch (error) {
      notRenewed(error)
      this.begun = false
    }
    if (!this.begun) this.end()
    return this.begun
  }

  /** Whatever stopped the send before its content: the next try need not wait until the claim runs out. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
    if (!this.begun && !this.answered && !this.#givenBack) await this.giveBack({}).catch(() => {})
  }

  /** Nothing is on its way any more. */
  end(): void {
    clearInterval(this.#renewing)
  }

  /** @param known with `notSent`, a send that was begun is taken back. */
  async giveBack(known: ReleaseReason): Promise<void> {
    const notSent = known.notSent === true && (await this.#asked)
    await releaseClaim(this.#dependencies.database.db, this.#subject, this.id, { ...known, notSent })
    this.#givenBack = true
  }
}

/** The step's result, or an error where it takes too long. */
function within<T>(ms: number, step: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / SECOND} s`)), ms)
  })
  return Promise.race([step, late]).finally(() => clearTimeout(timer))
}
