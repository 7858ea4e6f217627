/**
 * The suppression list. Unavailability suppresses an address for a limited time, in growing steps; a confirmed delivery lifts it at once.
 * Only a rejected recipient, a complaint or an operator suppresses it until it is lifted. The history keeps every change.
 */
import type { Kysely, Selectable } from 'kysely'
import type { SuppressionChange, SuppressionReason, SuppressionsTable, Tables } from '../store/index.js'
import { advisoryLock, all, Statement } from '../store/index.js'
import { entryOf, isActive } from './look-up.js'

/** Why an address was suppressed. */
export interface Cause {
  readonly status: string | null
  readonly reply: string | null
  /** A workflow ID, or who did it by hand. */
  readonly by: string
  readonly destination: string | null
}

/** A repeat within this time after the last suppression ended goes one step further. */
const REPEAT_WITHIN_MS = 90 * 24 * 60 * 60 * 1000

/**
 * Suppresses for unavailability. The step grows only for an outage that began after the last suppression ended, within 90 days; an
 * outage that was already known extends the entry at its step. A lasting entry stays as it is.
 * @param outageFrom when the outage was first seen: the bounce that started the retries.
 * @param stepsMs the steps, such as 1 d, 3 d, 7 d, 30 d.
 * @returns until when; null if a lasting entry stands.
 */
export async function suppressForUnavailability(
  tx: Kysely<Tables>,
  address: string,
  cause: Cause,
  outageFrom: Date,
  stepsMs: readonly number[],
  now: Date,
): Promise<Date | null> {
  const [last] = await lockedEntry(tx, address)
  // an active entry with another reason stays as it is
  if (last !== undefined && isActive(last, now) && last.reason !== 'unavailable') return last.until === null ? null : new Date(last.until)
  const step = nextStep(last, outageFrom, stepsMs.length)
  const active = last !== undefined && isActive(last, now)
  const until = Math.max(now.getTime() + (stepsMs[step] as number), active ? (last.until ?? 0) : 0)
  await writeEntry(tx, address, active ? 'extended' : 'suppressed', {
    reason: 'unavailable',
    cause,
    step,
    since: active ? last.since : now.getTime(),
    until,
    now,
  })
  return new Date(until)
}

/** The step that an outage leads to. Pure. */
export function nextStep(
  last: Pick<Selectable<SuppressionsTable>, 'until' | 'lifted_at' | 'step' | 'reason'> | undefined,
  outageFrom: Date,
  steps: number,
): number {
  // after a lift, by a delivery or by hand, the steps begin anew
  if (last === undefined || last.reason !== 'unavailable' || last.until === null || last.lifted_at !== null) return 0
  const began = outageFrom.getTime()
  if (began <= last.until) return Math.min(last.step, steps - 1)
  return began - last.until <= REPEAT_WITHIN_MS ? Math.min(last.step + 1, steps - 1) : 0
}

/** Suppresses until lifted by hand (or until `until`), replacing a temporary entry. */
export async function suppressLastingly(
  tx: Kysely<Tables>,
  address: string,
  reason: Exclude<SuppressionReason, 'unavailable'>,
  cause: Cause,
  now: Date,
  until: Date | null = null,
): Promise<void> {
  const [last] = await lockedEntry(tx, address)
  // unless an operator lifts it first, a lasting entry gets no expiry, and a complaint keeps its reason
  if (last !== undefined && last.until === null && last.lifted_at === null && (until !== null || last.reason === 'complaint')) return
  await writeEntry(tx, address, 'suppressed', { reason, cause, step: 0, since: now.getTime(), until: until?.getTime() ?? null, now })
}

interface Written {
  readonly reason: SuppressionReason
  readonly cause: Cause
  readonly step: number
  readonly since: number
  readonly until: number | null
  readonly now: Date
}

async function writeEntry(tx: Kysely<Tables>, address: string, change: SuppressionChange, entry: Written): Promise<void> {
  const row = {
    reason: entry.reason,
    status: entry.cause.status,
    reply: entry.cause.reply,
    caused_by: entry.cause.by,
    destination: entry.cause.destination,
    step: entry.step,
    since: entry.since,
    until: entry.until,
    lifted_at: null,
    removed_at_provider: null,
  }
  await all([write.run(tx, { address, ...row }), note(tx, address, change, row, entry.cause.by, entry.now)])
}

const write = new Statement<SuppressionsTable>((db, value) => {
  const row = {
    ...{ reason: value('reason'), status: value('status'), reply: value('reply'), caused_by: value('caused_by') },
    ...{ destination: value('destination'), step: value('step'), since: value('since'), until: value('until') },
    ...{ lifted_at: value('lifted_at'), removed_at_provider: value('removed_at_provider') },
  }
  return db
    .insertInto('suppressions')
    .values({ address: value('address'), ...row })
    .onConflict((conflict) => conflict.column('address').doUpdateSet(row))
})

async function note(
  tx: Kysely<Tables>,
  address: string,
  change: SuppressionChange,
  { reason, until, status, reply }: Pick<SuppressionsTable, 'reason' | 'until' | 'status' | 'reply'>,
  by: string,
  now: Date,
): Promise<void> {
  await writeHistory.run(tx, { address, at: now.getTime(), change, reason, until, status, reply, by })
}

const writeHistory = new Statement<Omit<Selectable<Tables['suppression_history']>, 'id'>>((db, value) =>
  db.insertInto('suppression_history').values({
    ...{ address: value('address'), at: value('at'), change: value('change'), reason: value('reason'), until: value('until') },
    ...{ status: value('status'), reply: value('reply'), by: value('by') },
  }),
)

/** The entry, locked until the transaction ends; so is an address that has none. */
async function lockedEntry(tx: Kysely<Tables>, address: string): Promise<Selectable<SuppressionsTable>[]> {
  const [, rows] = await all([advisoryLock(tx, address), entryOf.rows(tx, { address })])
  return rows
}

/**
 * Lifts an entry.
 * @param which `temporary`: only an entry for unavailability; a delivery proves nothing about a complaint.
 * @returns true if an active entry was lifted.
 */
export async function liftSuppression(
  tx: Kysely<Tables>,
  address: string,
  by: string,
  now: Date,
  which: 'temporary' | 'any' = 'any',
): Promise<boolean> {
  // most addresses have no entry: check without the lock first, to keep sends fast
  const [any] = await entryOf.rows(tx, { address })
  if (any === undefined || any.lifted_at !== null) return false
  const [row] = await lockedEntry(tx, address)
  if (row === undefined || row.lifted_at !== null) return false
  if (which === 'temporary' && row.reason !== 'unavailable') return false
  await tx.updateTable('suppressions').set({ lifted_at: now.getTime() }).where('address', '=', address).execute()
  if (!isActive(row, now)) return false
  await note(tx, address, 'lifted', row, by, now)
  return true
}

/** Statuses about a mail system or the network, not a mailbox (RFC 3463 sections 3.4 and 3.5), for `like`. */
const OF_A_SYSTEM = ['_.3.%', '_.4.%'] as const
const RESTORE_AT_ONCE = 500

/**
 * After a destination's recovery, lets suppressions that its outage caused expire early, spread over `withinMs`. Suppressions that a
 * mailbox's own failure caused stay.
 * @returns how many.
 */
export async function restoreSuppressed(
  db: Kysely<Tables>,
  destination: string,
  by: string,
  now: Date,
  withinMs: number,
  random: () => number = Math.random,
): Promise<number> {
  let restored = 0
  for (let after = ''; ; ) {
    const rows = await db.transaction().execute(async (tx) => {
      const page = await tx
        .selectFrom('suppressions')
        .selectAll()
        .where('destination', '=', destination)
        .where('reason', '=', 'unavailable')
        .where('lifted_at', 'is', null)
        .where('until', '>', now.getTime() + withinMs)
        .where((eb) => eb.or(OF_A_SYSTEM.map((pattern) => eb('status', 'like', pattern))))
        .where('address', '>', after)
        .orderBy('address')
        .limit(RESTORE_AT_ONCE)
        .execute()
      for (const row of page) {
        const until = now.getTime() + Math.ceil(random() * withinMs)
        const done = await tx
          .updateTable('suppressions')
          .set({ until })
          .where('address', '=', row.address)
          // unless the entry has changed meanwhile
          .where('until', '=', row.until)
          .where('lifted_at', 'is', null)
          .executeTakeFirst()
        if (Number(done.numUpdatedRows) === 0) continue
        restored += 1
        await note(tx, row.address, 'restored', { ...row, until }, by, now)
      }
      return page
    })
    if (rows.length < RESTORE_AT_ONCE) return restored
    after = rows.at(-1)?.address as string
  }
}
