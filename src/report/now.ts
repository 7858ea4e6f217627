/** What is down at this moment, and what waits. */
import { sql } from 'kysely'
import type { Database } from '../store/index.js'
import { pausedAltogether } from '../throttle/index.js'
import { isOf, type Window } from './window.js'

/** A destination that refuses mail or is paused. */
export interface DownNow {
  readonly destination: string
  /** `down`: it counts as down; `failing`: its last answers were refusals; `paused`: an operator holds its retries. */
  readonly state: 'down' | 'failing' | 'paused'
  readonly since: Date
  readonly waiting: number
  /** Its last reply; null if there is none yet. */
  readonly reply: string | null
}

/** A message whose retries go on. */
export interface WaitingMessage {
  readonly workflowId: string
  readonly destination: string
  readonly bouncedAt: Date
  readonly retries: number
}

export interface Now {
  /** Who holds all retries, and since when; null if nobody does. */
  readonly pausedAltogether: { readonly since: Date; readonly by: string } | null
  readonly down: readonly DownNow[]
  /** Destinations that are down, failing or paused, in all. */
  readonly downInAll: number
  /** Messages whose retries go on. */
  readonly waiting: number
  /** Those that bounced first. */
  readonly longest: readonly WaitingMessage[]
}

const MOST = { down: 10, messages: 20 } as const

export async function nowOf({ db }: Database, window: Window): Promise<Now> {
  const open = db.selectFrom('runs').where('ended_at', 'is', null).where(isOf(window))
  const notWell = db
    .selectFrom('destinations')
    .where('name', '!=', '*')
    .where((eb) => eb.or([eb('down_since', 'is not', null), eb('failing_since', 'is not', null), eb('paused_since', 'is not', null)]))
    .where(isOf(window, 'name'))
  const waitingFor = open.select(['destination', sql<number>`count(*)`.as('n')]).groupBy('destination')
  const down = await notWell
    .leftJoin(waitingFor.as('open'), 'open.destination', 'destinations.name')
    .select(['name', 'down_since', 'failing_since', 'paused_since', 'last_answer_reply', sql<number>`coalesce(open.n, 0)`.as('waiting')])
    .orderBy(sql`case when down_since is not null then 0 when paused_since is not null then 1 else 2 end`)
    .orderBy('waiting', 'desc')
    .orderBy('name')
    .limit(MOST.down)
    .execute()
  const inAll = await notWell.select(sql<number>`count(*)`.as('n')).executeTakeFirstOrThrow()
  const waiting = await open.select(sql<number>`count(*)`.as('n')).executeTakeFirstOrThrow()
  const longest = await open
    .select(['workflow_id', 'destination', 'bounced_at'])
    .select((eb) =>
      eb
        .selectFrom('attempts')
        .select(sql<number>`count(*)`.as('n'))
        .whereRef('attempts.first_run_id', '=', 'runs.first_run_id')
        .where('outcome', 'is not', null)
        .where('via', 'is', null)
        .as('retries'),
    )
    .orderBy('bounced_at')
    .orderBy('first_run_id')
    .limit(MOST.messages)
    .execute()
  return {
    pausedAltogether: await pausedAltogether(db),
    down: down.map((row) => ({
      ...{ destination: row.name, waiting: Number(row.waiting), reply: row.last_answer_reply },
      ...(row.down_since !== null
        ? { state: 'down' as const, since: new Date(row.failing_since ?? row.down_since) }
        : row.paused_since !== null
          ? { state: 'paused' as const, since: new Date(row.paused_since) }
          : { state: 'failing' as const, since: new Date(row.failing_since as number) }),
    })),
    downInAll: Number(inAll.n),
    waiting: Number(waiting.n),
    longest: longest.map((row) => ({
      ...{ workflowId: row.workflow_id, destination: row.destination, bouncedAt: new Date(row.bounced_at), retries: Number(row.retries) },
    })),
  }
}
