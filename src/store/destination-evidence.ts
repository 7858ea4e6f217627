/** What the attempt log proves of destinations: that another one was reached, or is silent too. */
import type { Kysely } from 'kysely'
import type { Tables } from './tables.js'

/** True if a receiving system other than `destination` answered since then: proof that our own network works. */
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

/** True if connections to another receiving system time out as well, and nothing has come of them: the trouble may be ours. */
export async function otherDestinationSilent(db: Kysely<Tables>, destination: string, since: Date): Promise<boolean> {
  const row = await db
    .selectFrom('attempts')
    .select('retry')
    .where('silent_since', '>=', since.getTime())
    .where('outcome', 'is', null)
    .where('destination', '!=', destination)
    // a backup relay's silence says nothing of our own network beyond it
    .where('via', 'is', null)
    .limit(1)
    .executeTakeFirst()
  return row !== undefined
}
