import { databaseFault } from './database-fault.js'

interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/**
 * Items that wait at the same moment are worked on together: writes share one transaction, and so one wait for the disk; look-ups share one
 * query.
 */
export class Batcher<Item, Result> {
  readonly #waiting: Waiting<Item, Result>[] = []
  #working = false

  /**
   * @param work works on the items; a result for each, in their order.
   * @param most items at once.
   */
  constructor(
    private readonly work: (items: readonly Item[]) => Promise<readonly Result[]>,
    private readonly most: number,
  ) {}

  /** The item's result. @throws Error if the work on the item failed. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#working) return
      this.#working = true
      // first what else this turn of the event loop brings
      setImmediate(() => void this.#run())
    })
  }

  async #workAlone({ item, resolve, reject }: Waiting<Item, Result>): Promise<void> {
    try {
      const [result] = await this.work([item])
      resolve(result as Result)
    } catch (error) {
      reject(error)
    }
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, this.most)
      try {
        const results = await this.work(group.map(({ item }) => item))
        for (const [i, { resolve }] of group.entries()) resolve(results[i] as Result)
      } catch (error) {
        // one item must not fail the others; a fault of the database would fail each of them, one after another
        if (group.length > 1 && databaseFault(error) === null) for (const one of group) await this.#workAlone(one)
        else for (const { reject } of group) reject(error)
      }
    }
    this.#working = false
  }
}
