/** The tables of the throttle. */
import type { Generated } from 'kysely'
import type { AttemptOutcome } from '../bounce/index.js'

/** What is known of a destination, or of a relay (`relay:host:port`); `*` stands for all of them. Times with fractions are start times. */
export interface DestinationsTable {
  name: string
  /** No start before this. */
  next_start_at: number
  /** The first moment that nobody has reserved. */
  reserved_until: number
  /** The same for those that have missed their moment. */
  overflow_until: number
  /** Messages a second, as learnt. */
  rate: number
  connections: number
  service_ms: number
  failures: number
  failing_since: number | null
  down_since: number | null
  /** While it is down: the next minute that nobody asks in. */
  next_probe_at: number
  not_before: number
  paused_since: number | null
  paused_by: string | null
  epoch: number
  /** When an asker last found every connection taken. */
  starved_at: number
  /** The next hop that the adapted state is of; null before the first permit. */
  next_hop: string | null
  /** It takes mail again since then, and the suppressions that it caused have not been made to expire. */
  restore_due: number | null
  /** Limits that a person has set. */
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

/** A time in which a receiving system refused everything: from the first refusal to the first acceptance. */
export interface OutagesTable {
  destination: string
  began_at: number
  /** When it counted as down; null if it never did. */
  down_at: number | null
  ended_at: number | null
  /** Which of its changes were told as events. */
  published: Generated<'down' | 'up' | null>
  refusals: number
  /** What it said first, and the host that said it. */
  status: string
  reply: string
  mail_server: string | null
}

/** The place of a message that waits for its permit. */
export interface WaitersTable {
  first_run_id: string
  retry: number
  /** Whom it waits for. */
  name: string
  asked_at: number
  slot_at: number
  allotted: number
  epoch: number

  workflow_id: string
  /** When it asked last, and how often. */
  seen_at: number
  polls: number
}

/** A connection that is open, or may be: it counts until then, regardless of its worker. */
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
