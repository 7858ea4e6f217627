/** Outages of destinations, one row each: from the first refusal to the next acceptance. */
import { type Kysely, type Selectable, sql } from 'kysely'
import { type Database, nowExpression, type OutagesTable, Statement, type Tables } from '../store/index.js'
import type { DestinationAnswer } from './feedback.js'
import type { LimiterState } from './rate-limiter.js'

/** What an answer changes of an outage: it ends, or goes on. */
export type OutageChange =
  | { readonly kind: 'ended'; readonly destination: string; readonly ended_at: number }
  | ({ readonly kind: 'failing' } & Pick<
      Selectable<OutagesTable>,
      'destination' | 'began_at' | 'down_at' | 'refusals' | 'status' | 'reply' | 'mail_server'
    >)

/** The change of the outage that an answer makes; null if it makes none. Pure. */
export function outageChange(
  destination: string,
  before: LimiterState,
  after: LimiterState,
  { status, reply, mailServer }: DestinationAnswer & { readonly mailServer: string | null },
  now: number,
): OutageChange | null {
  if (after.failingSince === null) return before.failingSince === null ? null : { kind: 'ended', destination, ended_at: Math.round(now) }
  if (after.failures === before.failures) return null
  return {
    ...{ kind: 'failing', destination, began_at: Math.round(after.failingSince), refusals: after.failures },
    down_at: after.downSince === null ? null : Math.round(now),
    ...{ status, reply, mail_server: mailServer },
  }
}

/** Writes it, in the transaction that locks the destination's row. */
export const writeOutage = (tx: Kysely<Tables>, change: OutageChange): Promise<unknown> =>
  change.kind === 'ended' ? endOutage.run(tx, change) : recordFailure.run(tx, change)

const endOutage = new Statement<Extract<OutageChange, { kind: 'ended' }>>((db, value) =>
  db
    .updateTable('outages')
    .set({ ended_at: value('ended_at') })
    .where('destination', '=', value('destination'))
    .where('ended_at', 'is', null),
)

const recordFailure = new Statement<Extract<OutageChange, { kind: 'failing' }>>((db, value) =>
  db
    .insertInto('outages')
    .values({
      ...{ destination: value('destination'), began_at: value('began_at'), down_at: value('down_at'), refusals: value('refusals') },
      ...{ status: value('status'), reply: value('reply'), mail_server: value('mail_server') },
    })
    .onConflict((conflict) =>
      conflict.columns(['destination', 'began_at']).doUpdateSet({
        refusals: sql.ref('excluded.refusals'),
        down_at: sql`coalesce(outages.down_at, excluded.down_at)`,
      }),
    ),
)

/** An outage that is over, whose suppressions have not been made to expire yet. */
export interface EndedOutage {
  readonly destination: string
  readonly beganAt: Date
  readonly wasDown: boolean
}

/** A worker that ends an outage makes its suppressions expire at once: one that has not after this time has died. */
const TAKE_OVER_AFTER_MS = 60_000

/**
 * Takes over what another fleet has found out about a destination (`database.throttleSchema`): that it is down, or accepts mail again, which
 * ends the outage. Returns the outages whose suppressions still have to expire.
 */
export async function outagesToRestore(database: Database): Promise<EndedOutage[]> {
  const { db } = database
  const left = await db
    .selectFrom('outages')
    .select(['destination', 'began_at', 'down_at'])
    .where('restored_at', 'is', null)
    .where(sql<boolean>`ended_at < ${nowExpression(database)} - ${sql.lit(TAKE_OVER_AFTER_MS)}`)
    .execute()
  const ended = (row: Pick<Selectable<OutagesTable>, 'destination' | 'began_at' | 'down_at'>): EndedOutage => ({
    ...{ destination: row.destination, beganAt: new Date(row.began_at), wasDown: row.down_at !== null },
  })
  if (database.throttleSchema === null) return left.map(ended)
  await noteDown(database)
  const elsewhere = await endRecovered(db)
  // one that fails again releases no retries
  return [...left.map(ended), ...elsewhere.map((row) => ({ ...ended(row), wasDown: row.down_at !== null && row.failing_since === null }))]
}

/** Another fleet's refusals may have opened the circuit in this outage. */
const noteDown = (database: Database) =>
  database.db
    .updateTable('outages')
    .from('destinations')
    .set({ down_at: sql<number>`cast(${nowExpression(database)} as bigint)` })
    .whereRef('destinations.name', '=', 'outages.destination')
    .where('outages.ended_at', 'is', null)
    .where('outages.down_at', 'is', null)
    .where('destinations.down_since', 'is not', null)
    .whereRef('destinations.failing_since', '<=', 'outages.began_at')
    .execute()

/** Ends the outages after which the destination was seen to accept mail: by its last answer, or because it began to fail anew since. */
const endRecovered = (db: Kysely<Tables>) =>
  db
    .updateTable('outages')
    .from('destinations')
    .set((eb) => ({ ended_at: eb.fn.coalesce('destinations.failing_since', 'destinations.last_answer_at') }))
    .whereRef('destinations.name', '=', 'outages.destination')
    .where('outages.ended_at', 'is', null)
    .where((eb) =>
      eb.or([
        eb('destinations.failing_since', '>', eb.ref('outages.began_at')),
        eb.and([
          eb('destinations.failing_since', 'is', null),
          eb('destinations.last_answer_outcome', '=', 'accepted'),
          eb('destinations.last_answer_at', '>=', eb.ref('outages.began_at')),
        ]),
      ]),
    )
    .returning(['outages.destination', 'outages.began_at', 'outages.down_at', 'destinations.failing_since'])
    .execute()

/** Records that the suppressions that a destination's past outages caused have been made to expire. */
export async function markRestored(db: Kysely<Tables>, destination: string, now: Date): Promise<void> {
  await db
    .updateTable('outages')
    .set({ restored_at: now.getTime() })
    .where('destination', '=', destination)
    .where('ended_at', 'is not', null)
    .where('restored_at', 'is', null)
    .execute()
}

/** A change of an outage that was not published yet. */
export interface UnpublishedOutage {
  readonly destination: string
  readonly change: 'down' | 'up'
  readonly beganAt: Date
  readonly at: Date
  readonly status: string
  readonly reply: string
}

/** The unpublished changes since then, of one destination or all; for each outage, `down` before `up`. */
export async function unpublishedOutages({ db }: Database, since: Date, name?: string): Promise<UnpublishedOutage[]> {
  const rows = await db
    .selectFrom('outages')
    .innerJoin('destinations', 'destinations.name', 'outages.destination')
    .selectAll('outages')
    .select(['last_answer_status', 'last_answer_reply'])
    .where((eb) =>
      eb.or([
        eb.and([eb('published', 'is', null), eb('down_at', '>', since.getTime())]),
        eb.and([eb('published', '=', 'down'), eb('ended_at', '>', since.getTime())]),
      ]),
    )
    .$if(name !== undefined, (query) => query.where('destination', '=', name as string))
    .orderBy('down_at')
    .execute()
  return rows.flatMap((row) => {
    const of = (change: 'down' | 'up', at: number | null): UnpublishedOutage[] =>
      at === null
        ? []
        : [
            {
              ...{ destination: row.destination, change, beganAt: new Date(row.began_at), at: new Date(at) },
              // `down` shows the first refusal, `up` the last answer
              ...(change === 'down'
                ? { status: row.status, reply: row.reply }
                : { status: row.last_answer_status ?? '', reply: row.last_answer_reply ?? '' }),
            },
          ]
    return [...(row.published === null ? of('down', row.down_at) : []), ...of('up', row.ended_at)]
  })
}

/** Marks a change as published, also if nobody subscribes to it. */
export async function markPublished({ db }: Database, { destination, beganAt, change }: UnpublishedOutage): Promise<void> {
  await db
    .updateTable('outages')
    .set({ published: change })
    .where('destination', '=', destination)
    .where('began_at', '=', beganAt.getTime())
    .$if(change === 'down', (query) => query.where('published', 'is', null))
    .execute()
}
