/** Messages that wait for a permit: one row each, with the time that is reserved for it. */
import { type Kysely, type Selectable, sql } from 'kysely'
import { among, givenRows, Statement, type Tables, type WaitersTable } from '../store/index.js'
import type { Reservation } from './rate-limiter.js'

/** A message that asks for a permit. */
export interface Waiter {
  readonly firstRunId: string
  readonly retry: number
  /** The workflow to wake. */
  readonly workflowId: string
  /** The lease that it will hold, or already holds with an open connection. */
  readonly leaseId: string
  readonly hasConnection: boolean
}

/** The row of a message from an earlier poll. */
export type Place = Selectable<WaitersTable>

type Key = Pick<Waiter, 'firstRunId' | 'retry'>

const keyOf = ({ firstRunId, retry }: Key): string => `${firstRunId}/${retry}`

/** The places of some messages: read at once, changed in memory, written at once. */
export class Places {
  readonly #reserved = new Map<string, Place>()
  readonly #left = new Map<string, Key>()

  private constructor(private readonly known: Map<string, Place>) {}

  static async read(tx: Kysely<Tables>, waiters: readonly Key[]): Promise<Places> {
    const runs = [...new Set(waiters.map(({ firstRunId }) => firstRunId))]
    const rows = await find.rows(tx, { runs })
    return new Places(new Map(rows.map((row) => [keyOf({ firstRunId: row.first_run_id, retry: row.retry }), row])))
  }

  of(waiter: Key): Place | undefined {
    return this.known.get(keyOf(waiter))
  }

  reserve(waiter: Waiter, name: string, mine: Reservation, now: number, polls: number): void {
    const key = keyOf(waiter)
    const place: Place = {
      ...{ first_run_id: waiter.firstRunId, retry: waiter.retry, workflow_id: waiter.workflowId, name, polls },
      ...{ asked_at: Math.round(mine.askedAt), slot_at: mine.slotAt, allotted: mine.allotted ? 1 : 0, epoch: mine.epoch },
      seen_at: Math.round(now),
    }
    this.known.set(key, place)
    this.#reserved.set(key, place)
    this.#left.delete(key)
  }

  leave(waiter: Key): void {
    const key = keyOf(waiter)
    this.#reserved.delete(key)
    if (this.known.delete(key)) this.#left.set(key, waiter)
  }

  write(tx: Kysely<Tables>): Promise<unknown>[] {
    return [
      ...(this.#reserved.size === 0 ? [] : [reserve.run(tx, { places: [...this.#reserved.values()] })]),
      ...[...this.#left.values()].map((key) => leave.run(tx, key)),
    ]
  }
}

const find = new Statement<{ runs: readonly string[] }, Place>((db, value, { kind }) =>
  db
    .selectFrom('waiters')
    .selectAll()
    .where(among(kind, 'first_run_id', value('runs'))),
)

const COLUMNS = {
  ...({ first_run_id: 'text', retry: 'bigint', name: 'text', workflow_id: 'text', asked_at: 'bigint' } as const),
  ...({ slot_at: 'double precision', allotted: 'bigint', epoch: 'bigint', seen_at: 'bigint', polls: 'bigint' } as const),
} as const
const NAMES = Object.keys(COLUMNS) as (keyof typeof COLUMNS)[]

const reserve = new Statement<{ places: readonly Place[] }>((db, value, { kind }) =>
  db
    .insertInto('waiters')
    .columns(NAMES)
    .expression((eb) =>
      eb
        .selectFrom(givenRows(kind, value('places'), COLUMNS))
        .select(NAMES.map((name) => `given.${name}` as const))
        // otherwise SQLite takes the conflict clause for a join's
        .where(sql.lit(true)),
    )
    .onConflict((conflict) =>
      conflict
        .columns(['first_run_id', 'retry'])
        .doUpdateSet(Object.fromEntries(NAMES.slice(2).map((name) => [name, sql.ref(`excluded.${name}`)]))),
    ),
)

const leave = new Statement<Key>((db, value) =>
  db.deleteFrom('waiters').where('first_run_id', '=', value('firstRunId')).where('retry', '=', value('retry')),
)

/** Deletes the reservation of a message that needs no permit any more. */
export async function cancelReservation(db: Kysely<Tables>, key: Key): Promise<void> {
  await leave.run(db, key)
}
