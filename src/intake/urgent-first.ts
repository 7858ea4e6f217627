/**
 * Urgent work first (a genuine bounce): while some is done, all other waits (mail of strangers), and of that only a little is done at once.
 * So a flood does not slow what is urgent: it waits here, and not in the event loop.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** Other work waits no longer than this for urgent work to end: much of that must not hold it up for ever. */
const LONGEST_WAIT_MS = 2000
/** How much of a quiet time before counts for the pace. */
const BURST_MS = 50

export interface Pace {
  /** Other work that is done at once. */
  readonly together: number
  /** And in a second; left out: as fast as it goes. */
  readonly aSecond?: number
}

interface Waiting {
  go: () => void
  /** It has waited long enough for urgent work. */
  isOverdue: boolean
}

export class UrgentFirst {
  #urgent = 0
  #others = 0
  #nextAt = 0
  readonly #waiting: Waiting[] = []

  constructor(private readonly pace: Pace) {}

  /** Does a step at once. */
  async urgent<T>(step: () => Promise<T>): Promise<T> {
    this.#urgent += 1
    try {
      return await step()
    } finally {
      this.#urgent -= 1
      this.#admit()
    }
  }

  /** Does a step when it is its turn. */
  async other<T>(step: () => Promise<T>): Promise<T> {
    await this.#spread()
    await this.#turn()
    try {
      return await step()
    } finally {
      this.#others -= 1
      this.#admit()
    }
  }

  /** Spreads other work over time; a little may come at once. */
  async #spread(): Promise<void> {
    const { aSecond } = this.pace
    if (aSecond === undefined) return
    const now = performance.now()
    this.#nextAt = Math.max(this.#nextAt + 1000 / aSecond, now - BURST_MS)
    if (this.#nextAt > now) await sleep(this.#nextAt - now)
  }

  /** Takes a place among the other work; waits for it if there is none. */
  async #turn(): Promise<void> {
    if (this.#urgent === 0 && this.#others < this.pace.together) {
      this.#others += 1
      return
    }
    await new Promise<void>((resolve) => {
      const waiting: Waiting = { go: resolve, isOverdue: false }
      const timer = setTimeout(() => {
        waiting.isOverdue = true
        this.#admit()
      }, LONGEST_WAIT_MS)
      waiting.go = () => {
        clearTimeout(timer)
        this.#others += 1
        resolve()
      }
      this.#waiting.push(waiting)
    })
  }

  #admit(): void {
    while (this.#others < this.pace.together) {
      const next = this.#urgent === 0 ? 0 : this.#waiting.findIndex(({ isOverdue }) => isOverdue)
      const [waiting] = next < 0 ? [] : this.#waiting.splice(next, 1)
      if (waiting === undefined) return
      waiting.go()
    }
  }
}
