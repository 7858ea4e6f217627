/** A receiving system's row, as turns count with it and as a person reads it. */
import type { Kysely, Selectable } from 'kysely'
import type { DestinationsTable, Tables } from '../store/index.js'
import type { SystemState } from './rate-limiter.js'

/** The name of the row that stands for every system. */
export const EVERYTHING = '*'

/** What is known of a system, as a person reads it. */
export interface KnownSystem extends SystemState {
  readonly name: string
  readonly pausedBy: string | null
  readonly limited: { readonly rate: number | null; readonly connections: number | null; readonly by: string } | null
  readonly said: {
    readonly at: Date
    readonly outcome: string
    readonly status: string
    readonly reply: string
    readonly by: string | null
  } | null
}

export function stateOf(row: Selectable<DestinationsTable>, everything?: Pick<DestinationsTable, 'paused_since'>): SystemState {
  return {
    nextAt: row.next_at,
    frontier: row.frontier,
    lateFrontier: row.late_frontier,
    rate: row.rate,
    connections: row.connections,
    serviceMs: row.service_ms,
    failures: row.failures,
    failingSince: row.failing_since,
    downSince: row.down_since,
    askAt: row.ask_at,
    notBefore: row.not_before,
    pausedSince: everything?.paused_since ?? row.paused_since,
    epoch: row.epoch,
    wantedAt: row.wanted_at,
  }
}

/** What turns and answers change; pauses and limits are a person's. */
export function columnsOf(state: SystemState) {
  return {
    next_at: state.nextAt,
    frontier: state.frontier,
    late_frontier: state.lateFrontier,
    rate: state.rate,
    connections: state.connections,
    service_ms: state.serviceMs,
    failures: state.failures,
    failing_since: whole(state.failingSince),
    down_since: whole(state.downSince),
    ask_at: state.askAt,
    not_before: Math.round(state.notBefore),
    epoch: state.epoch,
    wanted_at: Math.round(state.wantedAt),
  }
}

const whole = (ms: number | null) => (ms === null ? null : Math.round(ms))

/** Of rows that are held: all in one statement. */
export async function writeStates(
  tx: Kysely<Tables>,
  written: readonly { readonly name: string; readonly state: SystemState }[],
): Promise<void> {
  await tx
    .insertInto('destinations')
    .values(written.map(({ name, state }) => ({ name, ...columnsOf(state) })))
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet((eb) => ({
        next_at: eb.ref('excluded.next_at'),
        frontier: eb.ref('excluded.frontier'),
        late_frontier: eb.ref('excluded.late_frontier'),
        rate: eb.ref('excluded.rate'),
        connections: eb.ref('excluded.connections'),
        service_ms: eb.ref('excluded.service_ms'),
        failures: eb.ref('excluded.failures'),
        failing_since: eb.ref('excluded.failing_since'),
        down_since: eb.ref('excluded.down_since'),
        ask_at: eb.ref('excluded.ask_at'),
        not_before: eb.ref('excluded.not_before'),
        epoch: eb.ref('excluded.epoch'),
        wanted_at: eb.ref('excluded.wanted_at'),
      })),
    )
    .execute()
}

/** The row as a person reads it. */
export function known(
  row: Selectable<DestinationsTable>,
  state: SystemState = stateOf(row),
  everything?: Pick<DestinationsTable, 'paused_since' | 'paused_by'>,
): KnownSystem {
  return {
    ...state,
    name: row.name,
    pausedBy: everything?.paused_since == null ? row.paused_by : everything.paused_by,
    limited: row.limited_by === null ? null : { rate: row.limited_rate, connections: row.limited_connections, by: row.limited_by },
    said:
      row.said_at === null
        ? null
        : {
            at: new Date(row.said_at),
            outcome: row.said_outcome as string,
            status: row.said_status as string,
            reply: row.said_reply as string,
            by: row.said_by,
          },
  }
}
