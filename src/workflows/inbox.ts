/** Signals and waits: signals that arrive while the workflow is busy are kept; those that matter end a wait early. */
import { CancellationScope, log, sleep } from '@temporalio/workflow'
import { checkBounce } from '../bounce/index.js'
import type { Delivery, Signal } from './lifecycle-state.js'
import { isInterrupted, receive } from './receive.js'

export class Inbox {
  /** Null until the workflow is prepared. */
  delivery: Delivery | null = null
  /** Signals received before then. */
  readonly early: { readonly signal: Signal; readonly atMs: number }[] = []
  // one scope for all waits and one for all sends: a scope is not cheap. A cancelled one is replaced.
  #timer = new CancellationScope()
  readonly #sending = new CancellationScope()

  receive(signal: Signal): void {
    const atMs = Date.now()
    if (this.delivery === null) {
      this.early.push({ signal, atMs })
      return
    }
    this.delivery = receive(this.delivery, signal, atMs)
    if (isInterrupted(this.delivery)) this.#timer.cancel()
    if (signal.kind === 'giveUp' && this.delivery.state === 'sending') this.#sending.cancel()
  }

  /** Receives a `bouncedAgain`; a malformed one is logged and ignored. */
  receiveBounce(input: unknown): void {
    const checked = checkBounce(input)
    if ('value' in checked) this.receive({ kind: 'bouncedAgain', bounce: checked.value })
    else log.warn('a bouncedAgain signal cannot be read and changes nothing', { faults: checked.faults.join('; ') })
  }

  /**
   * Sleeps until then, or until a signal interrupts. Creates fewer promises than `condition`: each costs the worker a stack trace.
   * @throws CancelledFailure if the workflow was cancelled.
   */
  async wait(untilMs: number, summary: string): Promise<void> {
    const leftMs = untilMs - Date.now()
    const isOver = () => this.delivery !== null && isInterrupted(this.delivery)
    if (leftMs <= 0 || isOver()) return
    if (this.#timer.consideredCancelled) this.#timer = new CancellationScope()
    try {
      await this.#timer.run(() => sleep(leftMs, { summary }))
    } catch (error) {
      if (!isOver()) throw error
    }
  }

  /** Runs a send, which `giveUp` cancels. */
  send<T>(run: () => Promise<T>): Promise<T> {
    return this.#sending.run(run)
  }
}
