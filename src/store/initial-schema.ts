/** The tables of 1.0, as SQL. Times are epoch ms, flags 0 or 1, in both databases. Columns: tables.ts, throttle-tables.ts. */
import { randomBytes } from 'node:crypto'
import type { DatabaseKind } from './database-kind.js'

/**
 * The statements, in order.
 * @param schema the PostgreSQL schema that they create everything in; null for SQLite.
 */
export function initialSchema(kind: DatabaseKind, schema: string | null): string[] {
  const statements = [...tableStatements(kind), `insert into store (id) values ('${randomBytes(4).toString('hex')}')`]
  return schema === null ? statements : statements.map((statement) => statement.replace(TABLE, `$1"${schema}".$2`))
}

/** The tables that fleets can share (`database.throttleSchema`): they hold no address. */
export const SHARED_TABLES: ReadonlySet<string> = new Set(['destinations', 'connection_leases'])

/** The statements that create the shared tables in that schema. */
export const sharedSchema = (schema: string): string[] =>
  tableStatements('postgres')
    .filter((statement) => SHARED_TABLES.has(TABLE.exec(statement)?.[2] ?? ''))
    .map((statement) => statement.replace(TABLE, `$1"${schema}".$2`))

/** The table that a statement creates, indexes or fills. */
const TABLE = /^(create table |create index \w+ on |insert into )(\w+)/

function tableStatements(kind: DatabaseKind): string[] {
  const bytes = kind === 'postgres' ? 'bytea' : 'blob'
  const id = kind === 'postgres' ? 'bigserial primary key' : 'integer primary key autoincrement'
  return [
    // the one row names this store
    'create table store (id text primary key)',

    `create table messages (
      key text primary key, content ${bytes} not null, size integer not null, stored_at bigint not null, used_at bigint not null
    )`,
    'create index messages_used_at on messages (used_at)',

    `create table message_holds (
      message_key text not null, first_run_id text not null, workflow_id text not null,
      primary key (message_key, first_run_id)
    )`,
    'create index message_holds_run on message_holds (first_run_id)',

    `create table runs (
      first_run_id text primary key, workflow_id text not null, sent_id text not null, destination text not null, status text not null,
      bounced_at bigint not null, started_at bigint not null, message_key text not null, schedule text, ended_at bigint
    )`,
    'create index runs_open on runs (destination) where ended_at is null',
    'create index runs_sent on runs (sent_id)',
    'create index runs_started_at on runs (started_at)',
    'create index runs_workflow on runs (workflow_id)',

    `create table outcomes (
      message_id text not null, recipient text not null, workflow_id text not null, first_run_id text not null, outcome text not null,
      confirmed integer not null, suppressed_until bigint, ended_at bigint not null,
      primary key (message_id, recipient)
    )`,
    'create index outcomes_recipient on outcomes (recipient)',
    'create index outcomes_ended_at on outcomes (ended_at)',

    `create table attempts (
      first_run_id text not null, retry integer not null, via text, workflow_id text not null, message_id text not null,
      recipient text not null, destination text not null, begun_at bigint not null, claim text, claim_until bigint,
      sends integer not null, lost_at bigint, silent_since bigint,
      at bigint, outcome text, status text, reply text, stage text, mail_server text, maybe_delivered integer not null,
      relayed integer not null, reported_at bigint, reported_status text, reported_reply text,
      primary key (first_run_id, retry)
    )`,
    'create index attempts_recipient on attempts (recipient, message_id)',
    'create index attempts_workflow on attempts (workflow_id)',
    'create index attempts_at on attempts (at) where at is not null',
    'create index attempts_silent on attempts (silent_since) where silent_since is not null',
    'create index attempts_unanswered on attempts (begun_at) where outcome is null',

    `create table suppressions (
      address text primary key, reason text not null, status text, reply text, caused_by text not null, destination text,
      step integer not null, since bigint not null, until bigint, lifted_at bigint, removed_at_provider bigint
    )`,
    'create index suppressions_destination on suppressions (destination)',
    'create index suppressions_until on suppressions (until)',
    `create table suppression_history (
      id ${id}, address text not null, at bigint not null, change text not null, reason text not null, until bigint, status text,
      reply text, by text not null
    )`,
    'create index suppression_history_address on suppression_history (address)',
    'create index suppression_history_at on suppression_history (at)',

    `create table sent_messages (
      id text not null, message_id text not null, recipient text not null, envelope_recipient text not null, sender text not null,
      message_key text not null, sent_at bigint not null, options text, tracked integer not null,
      primary key (id, sent_at)
    )`,
    'create index sent_messages_key on sent_messages (message_key)',
    'create index sent_messages_message on sent_messages (message_id)',
    'create index sent_messages_recipient on sent_messages (recipient)',
    'create index sent_messages_sent_at on sent_messages (sent_at)',

    `create table inbound (
      id ${id}, at bigint not null, source text not null, came_to text, reporting_mta text, message_id text, recipient text, kind text,
      action text, status text, diagnostic text, disposition text not null, why text not null, workflow_id text, event text
    )`,
    'create index inbound_at on inbound (at)',
    'create index inbound_event on inbound (event)',
    'create index inbound_recipient on inbound (recipient)',
    `create table quarantine (
      digest text primary key, at bigint not null, source text not null, came_to text, content ${bytes} not null, why text not null
    )`,
    `create table imap_cursors (
      name text primary key, uid_validity text, last_uid bigint not null, marked_uid bigint not null, unreadable text not null,
      holder text, held_until double precision not null
    )`,
    `create table inbox (
      source text not null, id text not null, digest text not null, content text not null, at bigint not null,
      is_routine integer not null, next_at double precision not null, tries integer not null, done_at bigint,
      primary key (source, id)
    )`,
    'create index inbox_due on inbox (is_routine, next_at) where done_at is null',
    'create index inbox_done on inbox (done_at)',
    `create table processes (
      id text primary key, role text not null, version text not null, host text not null, task_queue text not null,
      return_path_keys text, encryption_keys text,
      started_at bigint not null, seen_at bigint not null
    )`,
    `create table provider_ids (
      provider text not null, id text not null, sent_id text not null, send integer not null, at bigint not null,
      primary key (provider, id)
    )`,
    'create index provider_ids_at on provider_ids (at)',

    `create table destinations (
      name text primary key, next_start_at double precision not null, reserved_until double precision not null,
      overflow_until double precision not null, rate double precision not null, connections double precision not null,
      service_ms double precision not null, failures integer not null, failing_since bigint, down_since bigint,
      next_probe_at double precision not null, not_before bigint not null, paused_since bigint, paused_by text, epoch integer not null,
      starved_at bigint not null, next_hop text, limited_rate double precision, limited_connections integer, limited_by text,
      last_answer_at bigint, last_answer_outcome text, last_answer_status text, last_answer_reply text, last_answer_by text
    )`,
    `create table waiters (
      first_run_id text not null, retry integer not null, name text not null, workflow_id text not null, asked_at bigint not null,
      slot_at double precision not null, allotted integer not null, epoch integer not null, seen_at bigint not null, polls integer not null,
      primary key (first_run_id, retry)
    )`,
    'create index waiters_name on waiters (name, seen_at)',
    'create index waiters_slot on waiters (name, slot_at)',
    'create index waiters_workflow on waiters (workflow_id)',
    `create table connection_leases (
      id text not null, name text not null, since bigint not null, until bigint not null,
      primary key (id, name)
    )`,
    'create index connection_leases_name on connection_leases (name, until)',
    `create table outages (
      destination text not null, began_at bigint not null, down_at bigint, ended_at bigint, restored_at bigint, published text,
      refusals integer not null, status text not null, reply text not null, mail_server text,
      primary key (destination, began_at)
    )`,
    'create index outages_ended_at on outages (ended_at)',
    'create index outages_to_restore on outages (ended_at) where restored_at is null',
    'create index outages_down_at on outages (down_at)',
    `create table degradations (
      destination text not null, began_at bigint not null, ended_at bigint, bounces integer not null, usual double precision not null,
      published integer not null,
      primary key (destination, began_at)
    )`,
    'create index degradations_open on degradations (destination) where ended_at is null',
    `create table releases (
      destination text primary key, began_at bigint not null, within_ms bigint not null, by text not null, released integer not null,
      ended_at bigint
    )`,
    `create table mta_sts_policies (
      domain text primary key, id text not null, mode text not null, mx text not null, fetched_at bigint not null,
      expires_at bigint not null
    )`,
  ]
}

/** The names of all tables. */
export const TABLE_NAMES: ReadonlySet<string> = new Set(
  tableStatements('sqlite').flatMap((statement) => /^create table (\w+)/.exec(statement)?.[1] ?? []),
)
