/** Outages of destinations, one row each: from the first refusal to the next acceptance. */
import type { Kysely } from 'kysely'
import type { Database, Tables } from '../store/index.js'
import type { DestinationAnswer } from './feedback.js'
import type { LimiterState } from './rate-limiter.js'

/** Begins, updates or ends an outage after an answer, in the transaction that locks the destination's row. */
export async function recordOutage(
  tx: Kysely<Tables>,
  name: string,
  before: LimiterState,
  after: LimiterState,
  answer: DestinationAnswer & { readonly mailServer: string | null },
  now: number,
): Promise<void> {
  if (before.failingSince === null && after.failingSince === null) return
  const downAt = after.downSince === null ? null : Math.round(now)
  if (after.failingSince === null) {
    await tx
      .updateTable('outages')
      .set({ ended_at: Math.round(now) })
      .where('destination', '=', name)
      .where('ended_at', 'is', null)
      .execute()
    return
  }
  if (after.failures === before.failures) return
  const { status, reply, mailServer } = answer
  await tx
    .insertInto('outages')
    .values({
      destination: name,
      began_at: Math.round(after.failingSince),
      down_at: downAt,
      refusals: after.failures,
      ...{ status, reply, mail_server: mailServer },
    })
    .onConflict((conflict) =>
      conflict.columns(['destination', 'began_at']).doUpdateSet((eb) => ({
        refusals: after.failures,
        down_at: eb.fn.coalesce('outages.down_at', eb.val(downAt)),
      })),
    )
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
