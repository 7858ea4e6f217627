/** Lists of recipients from TypeScript: filtered and checked before anybody is mailed. Any length, constant memory. */
import type { Readable, Writable } from 'node:stream'
import type { Database } from '../store/index.js'
import { checkList, type Filtered, type FilterOptions, filterList, type ListCheck, type ListCheckOptions } from '../suppression/index.js'

/** Lists of recipients: CSV with any usual separator, or an address a line; UTF-8 or UTF-16. */
export class RecipientLists {
  /** @internal */
  constructor(private readonly database: Database) {}

  /**
   * Copies the rows that may be mailed, each as it was read, in UTF-8.
   * @throws Error if the list cannot be read, has no such column, or holds a row without an address.
   * @example
   * const counts = await client.lists.filter(createReadStream('list.csv'), createWriteStream('to-mail.csv'), { column: 'email' })
   * console.log(`${counts.suppressed} of ${counts.lines} are suppressed`)
   */
  filter(input: Readable, output: Writable, options: FilterOptions = {}): Promise<Filtered> {
    return filterList(this.database, input, output, options)
  }

  /**
   * Copies the list as CSV with three more columns: `softbounce` (the status of the address: suppressed, destination down, often
   * unavailable, permanently rejected, ok), `softbounce_time` (ISO 8601) and `softbounce_why`.
   * @throws Error if the list cannot be read, or has no such column.
   */
  check(input: Readable, output: Writable, options: ListCheckOptions = {}): Promise<ListCheck> {
    return checkList(this.database, input, output, options)
  }
}
