/** Outages of receiving systems, each a row of its own: from the first refusal, whoever met it, to the first acceptance. */
import type { Kysely } from 'kysely'
import type { SystemAnswer, SystemState } from '../politeness/index.js'
import type { Tables } from './tables.js'

/** Writes what an answer changes of it; in the transaction that holds the system's row. */
export async function noteOutage(
  tx: Kysely<Tables>,
  name: string,
  before: SystemState,
  after: SystemState,
  answer: SystemAnswer & { readonly mailServer: string | null },
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
