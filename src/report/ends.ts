/** How messages ended. */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import type { Window } from './window.js'

/**
 * Messages that ended in the window, by outcome; `unconfirmed`: a relay accepted the message, and no report came. One whose retries have begun
 * again since, by a late bounce, has not ended.
 */
export async function endedIn({ db }: Database, window: Window): Promise<Record<string, number>> {
  const { since, until, destination } = window
  const outcome = sql<string>`case when outcome = 'delivered' and confirmed = 0 then 'unconfirmed' else outcome end`
  const open = db
    .selectFrom('runs')
    .select(['workflow_id', sql<number>`max(started_at)`.as('begun_at')])
    .where('ended_at', 'is', null)
    .groupBy('workflow_id')
    .as('open')
  const rows = await db
    .selectFrom('outcomes')
    .leftJoin(open, 'open.workflow_id', 'outcomes.workflow_id')
    .select([outcome.as('outcome'), sql<number>`count(*)`.as('n')])
    .where('outcomes.ended_at', '>=', since.getTime())
    .where('outcomes.ended_at', '<', until.getTime())
    .$if(destination !== undefined, (query) =>
      query.innerJoin('runs', 'runs.first_run_id', 'outcomes.first_run_id').where('runs.destination', '=', destination as string),
    )
    .where((eb) => eb.or([eb('open.begun_at', 'is', null), eb('open.begun_at', '<=', eb.ref('outcomes.ended_at'))]))
    .groupBy(outcome)
    .orderBy(outcome)
    .execute()
  return Object.fromEntries(rows.map(({ outcome: name, n }) => [name, Number(n)]))
}
