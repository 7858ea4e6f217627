/** While a genuine bounce is processed, mail of strangers waits: a flood of forged bounces does not slow genuine ones. */
export class GenuineFirst {
  #running = 0
  #waiting: (() => void)[] = []

  /** Runs a step of a genuine bounce. */
  async run<T>(step: () => Promise<T>): Promise<T> {
    this.#running += 1
    try {
      return await step()
    } finally {
      this.#running -= 1
      if (this.#running === 0) for (const go of this.#waiting.splice(0)) go()
    }
  }

  /** Resolves when no genuine bounce is being processed, or after `withinMs`: many genuine ones must not hold up the rest for ever. */
  async turn(withinMs = 2000): Promise<void> {
    if (this.#running === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve)
      timer = setTimeout(resolve, withinMs)
    })
    clearTimeout(timer)
  }
}
