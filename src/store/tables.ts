/** The tables' types, for Kysely. Times are epoch ms and flags 0 or 1, in both databases. */
import type { Generated } from 'kysely'
import type { AttemptOutcome, Outcome, Stage } from '../bounce/index.js'
import type { ConnectionLeasesTable, DestinationsTable, OutagesTable, ReleasesTable, WaitersTable } from './throttle-tables.js'

/** One row. */
export interface StoreTable {
  /** Eight hexadecimal digits, made when the tables were created. */
  id: string
}

export interface MessagesTable {
  /** `sha256-<hex>` of the content: equal messages share a row. */
  key: string
  content: Uint8Array
  size: number
  stored_at: number
  /** Last stored, held or sent; the retention time counts from here. */
  used_at: number
}

/** Stored messages that open workflows need. */
export interface MessageHoldsTable {
  message_key: string
  first_run_id: string
  workflow_id: string
}

/** One row for each retry of each workflow: claimed before the connection is opened, answered as soon as the reply is read. */
export interface AttemptsTable {
  first_run_id: string
  retry: number
  /** Null for a retry of the schedule. */
  via: 'backup-relay' | null
  workflow_id: string
  message_id: string
  /** Folded for comparing. */
  recipient: string
  destination: string
  /** When it was first claimed. */
  begun_at: number
  /** Who holds the claim, and until when; null when nobody does. */
  claim: string | null
  claim_until: number | null
  /** Number of sends that began the content, without those that provably stopped before the final dot. */
  sends: number
  /** When a connection was lost after the final dot, if it was. */
  lost_at: number | null
  /** Since when connections have timed out, while it is unclear whether the destination or our network is at fault. */
  silent_since: number | null
  /** When the answer was read; null until then. */
  at: number | null
  outcome: AttemptOutcome | null
  status: string | null
  reply: string | null
  stage: Stage | null
  mail_server: string | null
  maybe_delivered: number
  /** 1: the answer came from a relay. */
  relayed: number
  /** A later report on a message that a relay accepted. */
  reported_at: number | null
  reported_status: string | null
  reported_reply: string | null
}

/** The latest outcome of the retries of a message for a recipient. */
export interface OutcomesTable {
  message_id: string
  recipient: string
  workflow_id: string
  first_run_id: string
  outcome: Outcome | 'cancelled'
  confirmed: number
  suppressed_until: number | null
  ended_at: number
}

export type SuppressionReason = 'unavailable' | 'rejected' | 'complaint' | 'manual'

export interface SuppressionsTable {
  /** Folded for comparing. */
  address: string
  reason: SuppressionReason
  status: string | null
  reply: string | null
  /** A workflow ID, or who did it by hand. */
  caused_by: string
  destination: string | null
  /** Index into the steps; 0 for reasons that have none. */
  step: number
  since: number
  /** Null: lasts until it is lifted. */
  until: number | null
  lifted_at: number | null
  /** When the address was removed from the provider's suppression list, after this entry ended. */
  removed_at_provider: number | null
}

/** `restored`: the destination accepts mail again, so the entry expires early. */
export type SuppressionChange = 'suppressed' | 'extended' | 'lifted' | 'restored'

export interface SuppressionHistoryTable {
  id: Generated<number>
  address: string
  at: number
  change: SuppressionChange
  reason: SuppressionReason
  until: number | null
  status: string | null
  reply: string | null
  /** A workflow ID, or who did it by hand. */
  by: string
}

/** A message to one recipient for which a bounce may arrive; its signed return path refers to this row. */
export interface SentMessagesTable {
  /** Identifies message and recipient: 10 bytes in hex (delivery/return-path.ts). */
  id: string
  message_id: string
  /** Folded for comparing. */
  recipient: string
  /** As in the envelope (RCPT TO). */
  envelope_recipient: string
  /** The message's own envelope sender, not the signed return path. */
  sender: string
  message_key: string
  /** When it was sent; the return path contains the day. */
  sent_at: number
  /** The sender's retry options, as JSON; null if none. */
  options: string | null
  /** 1: the original already had a signed return path, so the message has a row for every recipient. */
  tracked: number
}

/** What a received report led to. */
export type Disposition = 'retry-started' | 'retry-updated' | 'suppressed' | 'ignored' | 'unauthenticated' | 'unreadable'

/** Received reports, one row for each recipient. */
export interface InboundTable {
  id: Generated<number>
  at: number
  /** `lmtp`, `pipe`, `maildir`, `imap`, or the provider's name. */
  source: string
  /** The address that the report was sent to: the return path. */
  came_to: string | null
  reporting_mta: string | null
  message_id: string | null
  /** Folded for comparing, if it is an address. */
  recipient: string | null
  kind: string | null
  action: string | null
  status: string | null
  diagnostic: string | null
  disposition: Disposition
  why: string
  workflow_id: string | null
  /** Idempotency key of the event, if the report was acted on. */
  event: string | null
}

/** Mail to one of our return paths that could not be parsed. */
export interface QuarantineTable {
  /** SHA-256 of the content, hex. */
  digest: string
  at: number
  source: string
  came_to: string | null
  content: Uint8Array
  why: string
}

/** One row for each workflow that retries a message for a recipient. */
export interface RunsTable {
  first_run_id: string
  workflow_id: string
  /** Identifies message and recipient, as in `sent_messages`, whichever key the workflow ID was made with. */
  sent_id: string
  destination: string
  /** Of the bounce. */
  status: string
  bounced_at: number
  started_at: number
  message_key: string
  /** The delays of its schedule, ms, joined by commas; null if the message brought one along. */
  schedule: string | null
  /** Null while open; stays null after a termination, until the next run starts. */
  ended_at: number | null
}

/** How far each IMAP mailbox has been read, and which process reads it. */
export interface ImapCursorsTable {
  /** `user@host:port/folder`. */
  name: string
  uid_validity: string | null
  last_uid: number
  /** Mail up to this UID has been flagged or moved. */
  marked_uid: number
  /** JSON: the UIDs after that whose mail could not be parsed. */
  unreadable: string
  holder: string | null
  held_until: number
}

/** Reports to process: providers' events, and refusals that applications hand over. A processed row stays, without its content. */
export interface InboxTable {
  /** A provider's name, or `application`. */
  source: string
  /** The source's own identifier. */
  id: string
  /** SHA-256 of the content, hex. */
  digest: string
  /** JSON; empty once processed. */
  content: string
  at: number
  /** When the row is next due; while a process works on it, the end of its hold. */
  /** 1: it can wait for the others. */
  is_routine: number
  next_at: number
  tries: number
  done_at: number | null
}

/** Running processes, each announced every 30 s. */
export interface ProcessesTable {
  id: string
  role: 'worker' | 'intake'
  version: string
  host: string
  task_queue: string
  /** Digests; null if no key is set. */
  return_path_keys: string | null
  encryption_keys: string | null
  started_at: number
  seen_at: number
}

/** A send's message ID at the provider that relayed it. */
export interface ProviderIdsTable {
  provider: string
  id: string
  sent_id: string
  send: number
  at: number
}

/** MTA-STS policies (RFC 8461), cached until they expire. */
export interface MtaStsPoliciesTable {
  domain: string
  id: string
  mode: 'enforce' | 'testing' | 'none'
  /** JSON. */
  mx: string
  fetched_at: number
  expires_at: number
}

/** A destination whose bounces with 4.3.2 became more than usual, before it was down (report/early-warning). */
export interface DegradationsTable {
  destination: string
  began_at: number
  /** When it was as usual again, or down. */
  ended_at: number | null
  /** Bounces in the hour before it began. */
  bounces: number
  /** Mean bounces in this hour of the week. */
  usual: number
  /** 1: the event was published, or nobody subscribes to it. */
  published: number
}

export interface Tables {
  store: StoreTable
  destinations: DestinationsTable
  runs: RunsTable
  outages: OutagesTable
  waiters: WaitersTable
  connection_leases: ConnectionLeasesTable
  releases: ReleasesTable
  degradations: DegradationsTable
  mta_sts_policies: MtaStsPoliciesTable
  imap_cursors: ImapCursorsTable
  inbox: InboxTable
  processes: ProcessesTable
  provider_ids: ProviderIdsTable
  messages: MessagesTable
  message_holds: MessageHoldsTable
  attempts: AttemptsTable
  outcomes: OutcomesTable
  sent_messages: SentMessagesTable
  inbound: InboundTable
  quarantine: QuarantineTable
  suppressions: SuppressionsTable
  suppression_history: SuppressionHistoryTable
}
