/**
 * The permit: may this message contact the destination now? The state is one row for each destination. A permit is granted, or a time
 * reserved, in one transaction that holds that row (PostgreSQL: `for update`; SQLite: the write lock), by the database's clock. So any
 * number of workers share a limit exactly. Several permits are decided in one transaction, one after another. The decision itself is pure
 * (rate-limiter.ts).
 */
import type { Kysely } from 'kysely'
import type { Tables } from '../store/index.js'
import { all, type Database, transact } from '../store/index.js'
import { Leases } from './connection-leases.js'
import { columnsOf, type DestinationStatus, stateOf, toDestinationStatus } from './destination-row.js'
import type { AdmissionSettings, Limits } from './limits.js'
import { type DestinationRow, type LockedRows, limitsWith, lockRows, writeStates } from './locked-rows.js'
import { type Admission, admit, forgetNextHop, type LimiterState, type Reservation, type WaitReason } from './rate-limiter.js'
import { type Place, Places, type Waiter } from './waiters.js'

/** What a permit is for: the destination, or the relay that the message goes through. */
export interface LimiterKey {
  readonly name: string
  /** As configured; limits set by hand are applied here. */
  readonly limits: Limits
  /** False: it is contacted through a relay, whose connections count instead. */
  readonly needsConnection: boolean
  /** A relay's rate is fixed: it does not adapt. */
  readonly fixed: boolean
  /** The current next hop; state adapted to another one is reset. */
  readonly nextHop: string
}

/** A permit (`polls`: number of polls, including this one; `waitedMs`: since the first), or when to poll again and why. */
export type Acquisition =
  | { readonly kind: 'granted'; readonly polls: number; readonly waitedMs: number }
  | {
      readonly kind: 'wait'
      readonly name: string
      readonly why: WaitReason
      /** Time until the next poll. */
      readonly askAgainMs: number
      /** The expected start time, by the database's clock; null if unknown. */
      readonly goesAt: Date | null
      readonly state: DestinationStatus
    }

/** A message and the permits that it needs. */
export interface PermitRequest {
  readonly waiter: Waiter
  readonly wanted: readonly LimiterKey[]
}

/** Acquires the permits of all of them, or reserves a time at the first that grants none. */
export function acquire(
  database: Database,
  waiter: Waiter,
  wanted: readonly LimiterKey[],
  settings: AdmissionSettings,
  random: () => number = Math.random,
): Promise<Acquisition> {
  const request = { waiter, wanted }
  return transact(database, { durable: false }, async (tx, commit) => {
    const permits = await Permits.read(tx, database, [request], settings, [], random)
    const acquisition = permits.acquire(request)
    await commit(permits.write(tx))
    return acquisition
  })
}

/** The permits of one transaction: what they depend on is read and locked at once, changed in memory, and written at once. */
export class Permits {
  readonly #changed = new Set<DestinationRow>()

  private constructor(
    private readonly locked: LockedRows,
    private readonly places: Places,
    private readonly leases: Leases,
    private readonly settings: AdmissionSettings,
    private readonly random: () => number,
  ) {}

  /** @param released leases that are given up in the same transaction. */
  static async read(
    tx: Kysely<Tables>,
    database: Database,
    requests: readonly PermitRequest[],
    settings: AdmissionSettings,
    released: readonly string[] = [],
    random: () => number = Math.random,
  ): Promise<Permits> {
    const wanted = requests.flatMap((request) => request.wanted)
    const counted = [...new Set(wanted.filter(({ needsConnection }) => needsConnection).map(({ name }) => name))]
    const [locked, places, leases] = await all([
      lockRows(tx, database, wanted),
      Places.read(
        tx,
        requests.map(({ waiter }) => waiter),
      ),
      Leases.read(tx, counted, released),
    ])
    const counting = locked.isNew ? await Leases.read(tx, counted, released) : leases
    return new Permits(locked, places, counting, settings, random)
  }

  /** The permits of one message. */
  acquire({ waiter, wanted }: PermitRequest): Acquisition {
    const { now } = this.locked
    const place = this.places.of(waiter)
    const polls = (place?.polls ?? 0) + 1
    const granted: (() => void)[] = []
    for (const key of wanted) {
      const row = this.locked.rows.get(key.name) as DestinationRow
      const { admission, nextHop } = this.#admit(key, row, waiter, place, wanted)
      if (admission.kind === 'wait') {
        this.#change(row, nextHop, admission.state)
        this.places.reserve(waiter, key.name, admission.mine, now, polls)
        return waitResult(admission, key.name, now, toDestinationStatus(row, admission.state, this.locked.everything))
      }
      granted.push(() => this.#change(row, nextHop, admission.state))
    }
    for (const change of granted) change()
    this.places.leave(waiter)
    for (const { name, needsConnection } of wanted) if (needsConnection) this.leases.hold(waiter.leaseId, name, now)
    return { kind: 'granted', polls, waitedMs: place === undefined ? 0 : Math.max(0, now - place.asked_at) }
  }

  /** It needs no permit any more. */
  leave(waiter: Waiter): void {
    this.places.leave(waiter)
  }

  /** Writes all changes. */
  write(tx: Kysely<Tables>): Promise<unknown>[] {
    const { now } = this.locked
    const states = this.#changed.size === 0 ? [] : [writeStates(tx, [...this.#changed])]
    return [...states, ...this.places.write(tx), ...this.leases.write(tx, now)]
  }

  #admit(
    key: LimiterKey,
    row: DestinationRow,
    waiter: Waiter,
    place: Place | undefined,
    wanted: readonly LimiterKey[],
  ): { admission: Admission; nextHop: string } {
    const { now, everything } = this.locked
    const isNew = isNewNextHop(row, key, this.settings, now)
    const learnt = stateOf(row, everything)
    const adapted = isNew ? forgetNextHop(learnt, key.limits, now) : learnt
    // a relay's connections do not adapt
    const state = key.fixed ? { ...adapted, connections: key.limits.connections } : adapted
    const mine = place === undefined ? null : reservationAt(place, key.name, wanted, { now, state })
    const inUse = connectionsInUse(this.leases, waiter, key, now)
    const admission = admit(state, { ...inUse, mine, now, random: this.random() }, limitsWith(key.limits, row), this.settings)
    return { admission, nextHop: isNew ? key.nextHop : (row.next_hop ?? key.nextHop) }
  }

  #change(row: DestinationRow, nextHop: string, state: LimiterState): void {
    Object.assign(row, { next_hop: nextHop, ...columnsOf(state) })
    this.#changed.add(row)
  }
}

/**
 * Whether mail goes by another next hop than the one that taught the state. While that one still answers, both are in use, and share the state:
 * two settings must not undo each other's backoff.
 */
const isNewNextHop = (row: DestinationRow, { nextHop }: LimiterKey, { probeIntervalMs }: AdmissionSettings, now: number) =>
  row.next_hop !== null && row.next_hop !== nextHop && now - (row.last_answer_at ?? 0) > 2 * probeIntervalMs

function connectionsInUse(table: Leases, waiter: Waiter, { name, needsConnection }: LimiterKey, now: number) {
  const leases = needsConnection ? table.of(name, now) : []
  const others = leases.filter(({ id }) => id !== waiter.leaseId)
  return {
    held: others.length,
    heldForMs: others.length === 0 ? 0 : now - Math.min(...others.map(({ since }) => since)),
    hasConnection: !needsConnection || (waiter.hasConnection && others.length < leases.length),
  }
}

/** Its reservation at this limiter: none yet if it waits at an earlier one; due now if it waits at a later one, having passed this. */
function reservationAt(
  place: Place,
  name: string,
  wanted: readonly LimiterKey[],
  { now, state }: { readonly now: number; readonly state: LimiterState },
): Reservation | null {
  const [here, waits] = [name, place.name].map((one) => wanted.findIndex((key) => key.name === one)) as [number, number]
  if (waits < here) return null
  if (waits > here) return { askedAt: place.asked_at, slotAt: now, allotted: false, epoch: state.epoch }
  return { askedAt: place.asked_at, slotAt: place.slot_at, allotted: place.allotted === 1, epoch: place.epoch }
}

function waitResult(
  { why, slotAt, askAgainAt }: Extract<Admission, { kind: 'wait' }>,
  name: string,
  now: number,
  state: DestinationStatus,
): Acquisition {
  const goesAt = slotAt === null ? null : new Date(slotAt)
  return { kind: 'wait', name, why, askAgainMs: Math.max(0, askAgainAt - now), goesAt, state }
}
