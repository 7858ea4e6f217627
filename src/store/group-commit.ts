interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/** Writes that wait at the same moment share one transaction, and so one wait for the disk. Each is durable when its promise resolves. */
export class GroupCommit<Item, Result> {
  readonly #waiting: Waiting<Item, Result>[] = []
  #writing = false

  /**
   * @param write writes the items in one transaction; a result for each, in their order.
   * @param most items in one transaction.
   */
  constructor(
    private readonly write: (items: readonly Item[]) => Promise<readonly Result[]>,
    private readonly most: number,
  ) {}

  /** @throws Error if the item cannot be written. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#writing) void this.#work()
    })
  }

  async #writeAlone({ item, resolve, reject }: Waiting<Item, Result>): Promise<void> {
    try {
      const [result] = await this.write([item])
      resolve(result as Result)
    } catch (error) {
      reject(error)
    }
  }

  async #work(): Promise<void> {
    this.#writing = true
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.most)
      try {
        const results = await this.write(group.map(({ item }) => item))
        for (const [i, { resolve }] of group.entries()) resolve(results[i] as Result)
      } catch (error) {
        // one item must not fail the others
        if (group.length > 1) for (const one of group) await this.#writeAlone(one)
        else for (const { reject } of group) reject(error)
      }
    }
    this.#writing = false
  }
}
