/** Evidence from the attempt log that our own network works (another destination answered) or may not (another times out too). */
import type { Kysely } from 'kysely'
import type { Tables } from './tables.js'

/** True if another destination has answered since then, which proves that our own network works. */
export async function otherDestinationReached(db: Kysely<Tables>, destination: string, since: Date): Promise<boolean> {
  const row = await db
    .selectFrom('attempts')
    .select('retry')
    .where('at', '>=', since.getTime())
    .where('destination', '!=', destination)
    .where('stage', 'not in', ['connect', 'MX'])
    .where('relayed', '=', 0)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}

/** True if connections to another destination also time out, without an outcome yet: our own network may be at fault. */
export async function otherDestinationSilent(db: Kysely<Tables>, destination: string, since: Date): Promise<boolean> {
  const row = await db
    .selectFrom('attempts')
    .select('retry')
    .where('silent_since', '>=', since.getTime())
    .where('outcome', 'is', null)
    .where('destination', '!=', destination)
    // a silent backup relay is no evidence about our own network
    .where('via', 'is', null)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}
