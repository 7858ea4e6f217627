/** The tables of the throttle. */
import type { Generated } from 'kysely'
import type { AttemptOutcome } from '../bounce/index.js'

/** The state of a destination or a relay (`relay:host:port`); the row `*` applies to all. Start times have fractions of a ms. */
export interface DestinationsTable {
  name: string
  /** No message starts before this. */
  next_start_at: number
  /** The first start time that is not reserved. */
  reserved_until: number
  /** Likewise for waiters that missed their start time. */
  overflow_until: number
  /** Messages per second, as adapted. */
  rate: number
  connections: number
  service_ms: number
  failures: number
  failing_since: number | null
  down_since: number | null
  /** While it is down: the next free time for a probe. */
  next_probe_at: number
  not_before: number
  paused_since: number | null
  paused_by: string | null
  epoch: number
  /** When a waiter last found every connection in use. */
  starved_at: number
  /** The next hop that the adapted state applies to; null before the first permit. */
  next_hop: string | null
  /** Limits set by hand. */
  limited_rate: number | null
  limited_connections: number | null
  limited_by: string | null
  /** Its last answer, and the host that gave it. */
  last_answer_at: number | null
  last_answer_outcome: AttemptOutcome | null
  last_answer_status: string | null
  last_answer_reply: string | null
  last_answer_by: string | null
}

/** An outage of a destination: from its first refusal to the next acceptance. */
export interface OutagesTable {
  destination: string
  began_at: number
  /** When it counted as down; null if it never did. */
  down_at: number | null
  ended_at: number | null
  /** When the suppressions that it caused were made to expire; null until then. */
  restored_at: number | null
  /** The last change that was published as an event. */
  published: Generated<'down' | 'up' | null>
  refusals: number
  /** The first refusal, and the host that sent it. */
  status: string
  reply: string
  mail_server: string | null
}

/** A message that waits for its permit, and its reservation. */
export interface WaitersTable {
  first_run_id: string
  retry: number
  /** The destination or relay whose permit it waits for. */
  name: string
  asked_at: number
  slot_at: number
  allotted: number
  epoch: number

  workflow_id: string
  /** When it last polled, and how often. */
  seen_at: number
  polls: number
}

/** A connection that is open or may be: it counts until the lease expires, even if its worker died. */
export interface ConnectionLeasesTable {
  id: string
  name: string
  since: number
  until: number
}

/** The release of a destination's waiting retries: one at a time. */
export interface ReleasesTable {
  destination: string
  began_at: number
  within_ms: number
  by: string
  released: number
  ended_at: number | null
}
