/** A destination's row: as the limiter computes with it, and as an operator reads it. */
import type { Selectable } from 'kysely'
import type { DestinationsTable } from '../store/index.js'
import type { LimiterState } from './rate-limiter.js'

/** The name of the row that applies to all destinations. */
export const EVERYTHING = '*'

/** The status of a destination. */
export interface DestinationStatus extends LimiterState {
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

export function stateOf(row: Selectable<DestinationsTable>, everything?: Pick<DestinationsTable, 'paused_since'>): LimiterState {
  return {
    nextStartAt: row.next_start_at,
    reservedUntil: row.reserved_until,
    overflowUntil: row.overflow_until,
    rate: row.rate,
    connections: row.connections,
    serviceMs: row.service_ms,
    failures: row.failures,
    failingSince: row.failing_since,
    downSince: row.down_since,
    nextProbeAt: row.next_probe_at,
    notBefore: row.not_before,
    pausedSince: everything?.paused_since ?? row.paused_since,
    epoch: row.epoch,
    starvedAt: row.starved_at,
  }
}

/** The columns that permits and answers change; only operators change pauses and manual limits. */
export function columnsOf(state: LimiterState) {
  return {
    next_start_at: state.nextStartAt,
    reserved_until: state.reservedUntil,
    overflow_until: state.overflowUntil,
    rate: state.rate,
    connections: state.connections,
    service_ms: state.serviceMs,
    failures: state.failures,
    failing_since: whole(state.failingSince),
    down_since: whole(state.downSince),
    next_probe_at: state.nextProbeAt,
    not_before: Math.round(state.notBefore),
    epoch: state.epoch,
    starved_at: Math.round(state.starvedAt),
  }
}

const whole = (ms: number | null) => (ms === null ? null : Math.round(ms))

/** The row as a status for operators. */
export function toDestinationStatus(
  row: Selectable<DestinationsTable>,
  state: LimiterState = stateOf(row),
  everything?: Pick<DestinationsTable, 'paused_since' | 'paused_by'>,
): DestinationStatus {
  return {
    ...state,
    name: row.name,
    pausedBy: everything?.paused_since == null ? row.paused_by : everything.paused_by,
    limited: row.limited_by === null ? null : { rate: row.limited_rate, connections: row.limited_connections, by: row.limited_by },
    said:
      row.last_answer_at === null
        ? null
        : {
            at: new Date(row.last_answer_at),
            outcome: row.last_answer_outcome as string,
            status: row.last_answer_status as string,
            reply: row.last_answer_reply as string,
            by: row.last_answer_by,
          },
  }
}
