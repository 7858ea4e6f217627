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
  // one for all waits and sends: a scope is not cheap. A cancelled one is replaced.
  #scope = new CancellationScope()
  #pending: 'wait' | 'send' | null = null

  receive(signal: Signal): void {
    const atMs = Date.now()
    if (this.delivery === null) {
      this.early.push({ signal, atMs })
      return
    }
    this.delivery = receive(this.delivery, signal, atMs)
    if (this.#pending === 'wait' ? this.isInterrupted : this.#pending === 'send' && signal.kind === 'giveUp') this.#scope.cancel()
  }

  /** Receives a `bouncedAgain`; a malformed one is logged and ignored. */
  receiveBounce(input: unknown): void {
    const checked = checkBounce(input)
    if ('value' in checked) this.receive({ kind: 'bouncedAgain', bounce: checked.value })
    else log.warn('a bouncedAgain signal cannot be read and changes nothing', { faults: checked.faults.join('; ') })
  }

  /** A signal ends the wait. */
  get isInterrupted(): boolean {
    return this.delivery !== null && isInterrupted(this.delivery)
  }

  /**
   * Sleeps until then. Creates fewer promises than `condition`: each costs the worker a stack trace.
   * @throws CancelledFailure if the workflow was cancelled, or a signal interrupts.
   */
  wait(untilMs: number, summary: string): Promise<void> {
    const leftMs = untilMs - Date.now()
    if (leftMs <= 0 || this.isInterrupted) return Promise.resolve()
    return this.#run('wait', () => sleep(leftMs, { summary }))
  }

  /** Runs a send, which `giveUp` cancels. */
  send<T>(run: () => Promise<T>): Promise<T> {
    return this.#run('send', run)
  }

  #run<T>(what: 'wait' | 'send', run: () => Promise<T>): Promise<T> {
    if (this.#scope.consideredCancelled) this.#scope = new CancellationScope()
    this.#pending = what
    return this.#scope.run(run)
  }
}
