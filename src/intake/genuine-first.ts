/**
 * Genuine bounces first: while one is processed, mail of strangers waits, and of that only a little is processed at once. So a flood of
 * forged bounces does not slow genuine ones: it waits here, and not in the event loop.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** Mails of strangers that are processed at once. */
const STRANGERS_TOGETHER = 4
/** And in a second: the mail system keeps the rest of a flood. */
const STRANGERS_A_SECOND = 1000
/** A stranger waits no longer than this for genuine bounces to end: many of them must not hold it up for ever. */
const LONGEST_WAIT_MS = 2000
/** How much of a quiet time before counts. */
const BURST_MS = 50

export class GenuineFirst {
  #genuine = 0
  #strangers = 0
  #nextAt = 0
  readonly #waiting: (() => void)[] = []

  /** Runs a step of a genuine bounce, at once. */
  async genuine<T>(step: () => Promise<T>): Promise<T> {
    this.#genuine += 1
    try {
      return await step()
    } finally {
      this.#genuine -= 1
      this.#admit()
    }
  }

  /** Runs a step of a stranger's mail, when it is its turn. */
  async stranger<T>(step: () => Promise<T>): Promise<T> {
    await this.#pace()
    await this.#turn()
    try {
      return await step()
    } finally {
      this.#strangers -= 1
      this.#admit()
    }
  }

  /** Spreads the mails of strangers over time; a few may come at once. */
  async #pace(): Promise<void> {
    const now = performance.now()
    this.#nextAt = Math.max(this.#nextAt + 1000 / STRANGERS_A_SECOND, now - BURST_MS)
    if (this.#nextAt > now) await sleep(this.#nextAt - now)
  }

  /** Takes a place among the strangers that are processed; waits for it if there is none. */
  async #turn(): Promise<void> {
    if (this.#genuine === 0 && this.#strangers < STRANGERS_TOGETHER) {
      this.#strangers += 1
      return
    }
    await new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(timer)
        this.#strangers += 1
        resolve()
      }
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1)
        go()
      }, LONGEST_WAIT_MS)
      this.#waiting.push(go)
    })
  }

  #admit(): void {
    while (this.#genuine === 0 && this.#strangers < STRANGERS_TOGETHER) {
      const go = this.#waiting.shift()
      if (go === undefined) return
      go()
    }
  }
}
