/** The tables, as Kysely knows them. Times are milliseconds since the epoch, flags 0 or 1, so that both databases hold the same. */
import type { Generated } from 'kysely'
import type { AttemptOutcome, Outcome, Stage } from '../bounce/index.js'
import type { ConnectionLeasesTable, DestinationsTable, OutagesTable, ReleasesTable, WaitersTable } from './throttle-tables.js'

export interface MessagesTable {
  /** `sha256-<hex>` of the content: storing twice is storing once. */
  key: string
  content: Uint8Array
  size: number
  stored_at: number
  /** Last stored, claimed or sent; the purge counts from here. */
  used_at: number
}

/** Which workflow still needs which message. */
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
  /** How often the message's content was about to be sent. */
  sends: number
  /** When a connection was lost after the final dot, if it was. */
  lost_at: number | null
  /** Since when the connection times out, while it is not known whose fault that is. */
  silent_since: number | null
  /** When the answer was read; null until then, as is all that follows. */
  at: number | null
  outcome: AttemptOutcome | null
  status: string | null
  reply: string | null
  stage: Stage | null
  mail_server: string | null
  maybe_delivered: number
  /** 1: the answer is a relay's. */
  relayed: number
  /** A relay took it, and a report said what became of it. */
  reported_at: number | null
  reported_status: string | null
  reported_reply: string | null
}

/** How the retries of a message for a recipient ended last. */
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
  /** When the address was taken off the provider's list, after this entry had ended. */
  removed_at_provider: number | null
}

/** `restored`: its destination takes mail again, so that it expires early. */
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

/** A message to a recipient that a bounce may come back for: what its signed return path stands for. */
export interface SentMessagesTable {
  /** Of message and recipient: 10 bytes in hex (delivery/return-path.ts). */
  id: string
  message_id: string
  /** Folded for comparing. */
  recipient: string
  /** As it stands in the envelope. */
  envelope_recipient: string
  /** Envelope sender that the message has of itself. */
  sender: string
  message_key: string
  /** When it was sent; the day of it stands in the return path. */
  sent_at: number
  /** What its sender said of its retries, as JSON; null if nothing. */
  options: string | null
  /** 1: it was sent with a signed return path from the first, so that the rows of its message are all its recipients. */
  tracked: number
}

/** What was done about a bounce: the answer to each, and why. */
export type Disposition = 'retry-started' | 'retry-updated' | 'suppressed' | 'ignored' | 'unauthenticated' | 'unreadable'

/** Every bounce that came in, for each recipient it names. */
export interface InboundTable {
  id: Generated<number>
  at: number
  /** `lmtp`, `pipe`, `maildir`, `imap`, or the provider's name. */
  source: string
  /** The address it came to: the return path. */
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
  /** Which event it tells of, if it acted: the same is told once. */
  event: string | null
}

/** Mails that came to a return path of ours, and that nobody could read. */
export interface QuarantineTable {
  /** SHA-256 of the content, hex. */
  digest: string
  at: number
  source: string
  came_to: string | null
  content: Uint8Array
  why: string
}

/** The retries of a message for a recipient, from their bounce. */
export interface RunsTable {
  first_run_id: string
  workflow_id: string
  /** Of message and recipient, as in `sent`: whatever key the workflow ID was made with. */
  sent_id: string
  destination: string
  /** Of the bounce. */
  status: string
  bounced_at: number
  started_at: number
  message_key: string
  /** Null while they are open; one that was terminated stays so. */
  ended_at: number | null
}

/** How far a mailbox has been read by IMAP, and who reads it. */
export interface ImapCursorsTable {
  /** `user@host:port/folder`. */
  name: string
  uid_validity: string | null
  last_uid: number
  /** Up to there mails have been flagged or moved. */
  marked_uid: number
  /** JSON: the UIDs among the others that nobody could read. */
  unreadable: string
  holder: string | null
  held_until: number
}

/** Reports that wait to be processed: providers' events, and refusals that an application hands over. Afterwards only that it arrived is kept. */
export interface InboxTable {
  /** A provider's name, or `application`. */
  source: string
  /** The source's own identifier. */
  id: string
  /** SHA-256 of the content, hex. */
  digest: string
  /** JSON; empty once it was worked on. */
  content: string
  at: number
  /** Not before this; who works on it holds it until then. */
  next_at: number
  tries: number
  done_at: number | null
}

/** The name that a send has at the provider that it went by. */
export interface ProviderIdsTable {
  provider: string
  id: string
  sent_id: string
  send: number
  at: number
}

/** MTA-STS policies (RFC 8461), kept until they run out. */
export interface MtaStsPoliciesTable {
  domain: string
  id: string
  mode: 'enforce' | 'testing' | 'none'
  /** JSON. */
  mx: string
  fetched_at: number
  expires_at: number
}

export interface Tables {
  destinations: DestinationsTable
  runs: RunsTable
  outages: OutagesTable
  waiters: WaitersTable
  connection_leases: ConnectionLeasesTable
  releases: ReleasesTable
  mta_sts_policies: MtaStsPoliciesTable
  imap_cursors: ImapCursorsTable
  inbox: InboxTable
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
