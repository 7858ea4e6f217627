/** The tables' history, numbered. A migration that has been released never changes; Kysely's migrator runs the missing ones in order. */
import { type Kysely, type Migration, type MigrationResult, Migrator, sql } from 'kysely'
import type { DatabaseKind } from './database.js'
import type { Tables } from './tables.js'

const bytes = (kind: DatabaseKind) => (kind === 'postgres' ? sql`bytea` : sql`blob`)

/** Each ends within a second: PostgreSQL's `deadlock_timeout`. */
const TRIES = 30
const isDeadlock = (error: unknown) => (error as { code?: unknown } | undefined)?.code === '40P01'

/** What there is; numbered, in order. */
export function migrations(kind: DatabaseKind): Record<string, Migration> {
  return {
    '001_messages_attempts_suppressions': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema
          .createTable('messages')
          .addColumn('key', 'text', (c) => c.primaryKey())
          .addColumn('content', bytes(kind), (c) => c.notNull())
          .addColumn('size', 'integer', (c) => c.notNull())
          .addColumn('stored_at', 'bigint', (c) => c.notNull())
          .addColumn('used_at', 'bigint', (c) => c.notNull())
          .execute()
        await db.schema.createIndex('messages_used_at').on('messages').column('used_at').execute()
        await db.schema
          .createTable('message_holds')
          .addColumn('message_key', 'text', (c) => c.notNull())
          .addColumn('first_run_id', 'text', (c) => c.notNull())
          .addColumn('workflow_id', 'text', (c) => c.notNull())
          .addPrimaryKeyConstraint('message_holds_key', ['message_key', 'first_run_id'])
          .execute()
        await db.schema.createIndex('message_holds_run').on('message_holds').column('first_run_id').execute()
        await db.schema
          .createTable('attempts')
          .addColumn('first_run_id', 'text', (c) => c.notNull())
          .addColumn('retry', 'integer', (c) => c.notNull())
          .addColumn('via', 'text')
          .addColumn('workflow_id', 'text', (c) => c.notNull())
          .addColumn('message_id', 'text', (c) => c.notNull())
          .addColumn('recipient', 'text', (c) => c.notNull())
          .addColumn('destination', 'text', (c) => c.notNull())
          .addColumn('claim', 'text')
          .addColumn('claim_until', 'bigint')
          .addColumn('sends', 'integer', (c) => c.notNull().defaultTo(0))
          .addColumn('lost_at', 'bigint')
          .addColumn('silent_since', 'bigint')
          .addColumn('at', 'bigint')
          .addColumn('outcome', 'text')
          .addColumn('status', 'text')
          .addColumn('reply', 'text')
          .addColumn('stage', 'text')
          .addColumn('mail_server', 'text')
          .addColumn('maybe_delivered', 'integer', (c) => c.notNull().defaultTo(0))
          .addColumn('relayed', 'integer', (c) => c.notNull().defaultTo(0))
          .addColumn('reported_at', 'bigint')
          .addColumn('reported_status', 'text')
          .addColumn('reported_reply', 'text')
          .addPrimaryKeyConstraint('attempts_key', ['first_run_id', 'retry'])
          .execute()
        await db.schema.createIndex('attempts_message').on('attempts').columns(['message_id', 'recipient']).execute()
        await db.schema.createIndex('attempts_at').on('attempts').column('at').execute()
        await db.schema
          .createTable('ends')
          .addColumn('message_id', 'text', (c) => c.notNull())
          .addColumn('recipient', 'text', (c) => c.notNull())
          .addColumn('workflow_id', 'text', (c) => c.notNull())
          .addColumn('first_run_id', 'text', (c) => c.notNull())
          .addColumn('outcome', 'text', (c) => c.notNull())
          .addColumn('confirmed', 'integer', (c) => c.notNull())
          .addColumn('suppressed_until', 'bigint')
          .addColumn('ended_at', 'bigint', (c) => c.notNull())
          .addPrimaryKeyConstraint('ends_key', ['message_id', 'recipient'])
          .execute()
        await db.schema
          .createTable('suppressions')
          .addColumn('address', 'text', (c) => c.primaryKey())
          .addColumn('reason', 'text', (c) => c.notNull())
          .addColumn('status', 'text')
          .addColumn('reply', 'text')
          .addColumn('caused_by', 'text', (c) => c.notNull())
          .addColumn('destination', 'text')
          .addColumn('step', 'integer', (c) => c.notNull())
          .addColumn('since', 'bigint', (c) => c.notNull())
          .addColumn('until', 'bigint')
          .addColumn('lifted_at', 'bigint')
          .execute()
        await db.schema
          .createTable('suppression_history')
          .addColumn('id', kind === 'postgres' ? 'bigserial' : 'integer', (c) =>
            kind === 'postgres' ? c.primaryKey() : c.primaryKey().autoIncrement(),
          )
          .addColumn('address', 'text', (c) => c.notNull())
          .addColumn('at', 'bigint', (c) => c.notNull())
          .addColumn('change', 'text', (c) => c.notNull())
          .addColumn('reason', 'text', (c) => c.notNull())
          .addColumn('until', 'bigint')
          .addColumn('status', 'text')
          .addColumn('reply', 'text')
          .addColumn('by', 'text', (c) => c.notNull())
          .execute()
        await db.schema.createIndex('suppression_history_address').on('suppression_history').column('address').execute()
      },
    },
    '002_sent_bounces': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema
          .createTable('sent')
          .addColumn('id', 'text', (c) => c.primaryKey())
          .addColumn('message_id', 'text', (c) => c.notNull())
          .addColumn('recipient', 'text', (c) => c.notNull())
          .addColumn('envelope_recipient', 'text', (c) => c.notNull())
          .addColumn('sender', 'text', (c) => c.notNull())
          .addColumn('message_key', 'text', (c) => c.notNull())
          .addColumn('sent_at', 'bigint', (c) => c.notNull())
          .addColumn('options', 'text')
          .addColumn('tracked', 'integer', (c) => c.notNull())
          .execute()
        await db.schema.createIndex('sent_message').on('sent').column('message_id').execute()
        await db.schema.createIndex('sent_sent_at').on('sent').column('sent_at').execute()
        await db.schema
          .createTable('bounces')
          .addColumn('id', kind === 'postgres' ? 'bigserial' : 'integer', (c) =>
            kind === 'postgres' ? c.primaryKey() : c.primaryKey().autoIncrement(),
          )
          .addColumn('at', 'bigint', (c) => c.notNull())
          .addColumn('source', 'text', (c) => c.notNull())
          .addColumn('came_to', 'text')
          .addColumn('reporting_mta', 'text')
          .addColumn('message_id', 'text')
          .addColumn('recipient', 'text')
          .addColumn('kind', 'text')
          .addColumn('action', 'text')
          .addColumn('status', 'text')
          .addColumn('diagnostic', 'text')
          .addColumn('done', 'text', (c) => c.notNull())
          .addColumn('why', 'text', (c) => c.notNull())
          .addColumn('workflow_id', 'text')
          .addColumn('event', 'text')
          .execute()
        await db.schema.createIndex('bounces_at').on('bounces').column('at').execute()
        await db.schema.createIndex('bounces_event').on('bounces').column('event').execute()
        await db.schema
          .createTable('unread_mails')
          .addColumn('digest', 'text', (c) => c.primaryKey())
          .addColumn('at', 'bigint', (c) => c.notNull())
          .addColumn('source', 'text', (c) => c.notNull())
          .addColumn('came_to', 'text')
          .addColumn('content', bytes(kind), (c) => c.notNull())
          .addColumn('why', 'text', (c) => c.notNull())
          .execute()
      },
    },
    '003_destinations_turns': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema
          .createTable('destinations')
          .addColumn('name', 'text', (c) => c.primaryKey())
          .addColumn('next_at', 'double precision', (c) => c.notNull())
          .addColumn('frontier', 'double precision', (c) => c.notNull())
          .addColumn('late_frontier', 'double precision', (c) => c.notNull())
          .addColumn('rate', 'double precision', (c) => c.notNull())
          .addColumn('connections', 'double precision', (c) => c.notNull())
          .addColumn('service_ms', 'double precision', (c) => c.notNull())
          .addColumn('failures', 'integer', (c) => c.notNull())
          .addColumn('failing_since', 'bigint')
          .addColumn('down_since', 'bigint')
          .addColumn('ask_at', 'double precision', (c) => c.notNull())
          .addColumn('not_before', 'bigint', (c) => c.notNull())
          .addColumn('paused_since', 'bigint')
          .addColumn('paused_by', 'text')
          .addColumn('epoch', 'integer', (c) => c.notNull())
          .addColumn('wanted_at', 'bigint', (c) => c.notNull())
          .addColumn('restore_due', 'bigint')
          .addColumn('limited_rate', 'double precision')
          .addColumn('limited_connections', 'integer')
          .addColumn('limited_by', 'text')
          .addColumn('said_at', 'bigint')
          .addColumn('said_outcome', 'text')
          .addColumn('said_status', 'text')
          .addColumn('said_reply', 'text')
          .addColumn('said_by', 'text')
          .execute()
        await db.schema
          .createTable('turns')
          .addColumn('first_run_id', 'text', (c) => c.notNull())
          .addColumn('retry', 'integer', (c) => c.notNull())
          .addColumn('name', 'text', (c) => c.notNull())
          .addColumn('asked_at', 'bigint', (c) => c.notNull())
          .addColumn('slot_at', 'double precision', (c) => c.notNull())
          .addColumn('allotted', 'integer', (c) => c.notNull())
          .addColumn('epoch', 'integer', (c) => c.notNull())
          .addColumn('seen_at', 'bigint', (c) => c.notNull())
          .addColumn('look_ups', 'integer', (c) => c.notNull())
          .addPrimaryKeyConstraint('turns_key', ['first_run_id', 'retry'])
          .execute()
        await db.schema.createIndex('turns_name').on('turns').columns(['name', 'seen_at']).execute()
        await db.schema
          .createTable('leases')
          .addColumn('id', 'text', (c) => c.notNull())
          .addColumn('name', 'text', (c) => c.notNull())
          .addColumn('since', 'bigint', (c) => c.notNull())
          .addColumn('until', 'bigint', (c) => c.notNull())
          .addPrimaryKeyConstraint('leases_key', ['id', 'name'])
          .execute()
        await db.schema.createIndex('leases_name').on('leases').columns(['name', 'until']).execute()
        await db.schema
          .createTable('releases')
          .addColumn('destination', 'text', (c) => c.primaryKey())
          .addColumn('began_at', 'bigint', (c) => c.notNull())
          .addColumn('within_ms', 'bigint', (c) => c.notNull())
          .addColumn('by', 'text', (c) => c.notNull())
          .addColumn('told', 'integer', (c) => c.notNull())
          .addColumn('ended_at', 'bigint')
          .execute()
        await db.schema
          .createTable('mta_sts_policies')
          .addColumn('domain', 'text', (c) => c.primaryKey())
          .addColumn('id', 'text', (c) => c.notNull())
          .addColumn('mode', 'text', (c) => c.notNull())
          .addColumn('mx', 'text', (c) => c.notNull())
          .addColumn('fetched_at', 'bigint', (c) => c.notNull())
          .addColumn('expires_at', 'bigint', (c) => c.notNull())
          .execute()
        await db.schema.createIndex('suppressions_destination').on('suppressions').column('destination').execute()
        await db.schema.createIndex('attempts_workflow').on('attempts').column('workflow_id').execute()
        await db.schema.createIndex('attempts_silent').on('attempts').column('silent_since').execute()
      },
    },
    '004_turns_workflow': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema.alterTable('turns').addColumn('workflow_id', 'text').execute()
        await db.schema.createIndex('turns_workflow').on('turns').column('workflow_id').execute()
        await db.schema.createIndex('turns_slot').on('turns').columns(['name', 'slot_at']).execute()
      },
    },
    '005_started_outages': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema
          .createTable('started')
          .addColumn('first_run_id', 'text', (c) => c.primaryKey())
          .addColumn('workflow_id', 'text', (c) => c.notNull())
          .addColumn('destination', 'text', (c) => c.notNull())
          .addColumn('status', 'text', (c) => c.notNull())
          .addColumn('bounced_at', 'bigint', (c) => c.notNull())
          .addColumn('started_at', 'bigint', (c) => c.notNull())
          .addColumn('message_key', 'text', (c) => c.notNull())
          .addColumn('ended_at', 'bigint')
          .execute()
        await db.schema.createIndex('started_open').on('started').column('destination').where(sql.ref('ended_at'), 'is', null).execute()
        await db.schema.createIndex('started_started_at').on('started').column('started_at').execute()
        await db.schema
          .createTable('outages')
          .addColumn('destination', 'text', (c) => c.notNull())
          .addColumn('began_at', 'bigint', (c) => c.notNull())
          .addColumn('down_at', 'bigint')
          .addColumn('ended_at', 'bigint')
          .addColumn('refusals', 'integer', (c) => c.notNull())
          .addColumn('status', 'text', (c) => c.notNull())
          .addColumn('reply', 'text', (c) => c.notNull())
          .addColumn('mail_server', 'text')
          .addPrimaryKeyConstraint('outages_key', ['destination', 'began_at'])
          .execute()
        await db.schema.createIndex('outages_ended_at').on('outages').column('ended_at').execute()
        await db.schema.alterTable('attempts').addColumn('begun_at', 'bigint').execute()
        await db.schema.createIndex('attempts_unanswered').on('attempts').column('begun_at').where(sql.ref('outcome'), 'is', null).execute()
        await db.schema.createIndex('attempts_recipient').on('attempts').column('recipient').execute()
        await db.schema.createIndex('ends_recipient').on('ends').column('recipient').execute()
        await db.schema.createIndex('bounces_recipient').on('bounces').column('recipient').execute()
        await db.schema.createIndex('sent_recipient').on('sent').column('recipient').execute()
        await db.schema.createIndex('ends_ended_at').on('ends').column('ended_at').execute()
        await db.schema.createIndex('suppression_history_at').on('suppression_history').column('at').execute()
        await db.schema.createIndex('suppressions_until').on('suppressions').column('until').execute()
      },
    },
    '006_started_workflow_outages_told': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema.createIndex('started_workflow').on('started').column('workflow_id').execute()
        await db.schema.alterTable('outages').addColumn('told', 'text').execute()
        await db.schema.createIndex('outages_down_at').on('outages').column('down_at').execute()
      },
    },
    '007_mailboxes': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema
          .createTable('mailboxes')
          .addColumn('name', 'text', (c) => c.primaryKey())
          .addColumn('uid_validity', 'text')
          .addColumn('last_uid', 'bigint', (c) => c.notNull())
          .addColumn('marked_uid', 'bigint', (c) => c.notNull())
          .addColumn('unreadable', 'text', (c) => c.notNull())
          .addColumn('holder', 'text')
          .addColumn('held_until', 'double precision', (c) => c.notNull())
          .execute()
      },
    },
    '008_notifications': {
      async up(db: Kysely<unknown>): Promise<void> {
        await db.schema
          .createTable('notifications')
          .addColumn('provider', 'text', (c) => c.notNull())
          .addColumn('id', 'text', (c) => c.notNull())
          .addColumn('digest', 'text', (c) => c.notNull())
          .addColumn('content', 'text', (c) => c.notNull())
          .addColumn('at', 'bigint', (c) => c.notNull())
          .addColumn('next_at', 'double precision', (c) => c.notNull())
          .addColumn('tries', 'integer', (c) => c.notNull())
          .addColumn('done_at', 'bigint')
          .addPrimaryKeyConstraint('notifications_key', ['provider', 'id'])
          .execute()
        await db.schema
          .createIndex('notifications_due')
          .on('notifications')
          .columns(['next_at', 'at'])
          .where(sql.ref('done_at'), 'is', null)
          .execute()
        await db.schema.createIndex('notifications_done').on('notifications').column('done_at').execute()
        await db.schema
          .createTable('provider_ids')
          .addColumn('provider', 'text', (c) => c.notNull())
          .addColumn('id', 'text', (c) => c.notNull())
          .addColumn('sent_id', 'text', (c) => c.notNull())
          .addColumn('send', 'integer', (c) => c.notNull())
          .addColumn('at', 'bigint', (c) => c.notNull())
          .addPrimaryKeyConstraint('provider_ids_key', ['provider', 'id'])
          .execute()
        await db.schema.createIndex('provider_ids_at').on('provider_ids').column('at').execute()
        await db.schema.alterTable('suppressions').addColumn('unlisted_at', 'bigint').execute()
        await db.schema.alterTable('started').addColumn('subject', 'text').execute()
        await db.schema.createIndex('started_subject').on('started').column('subject').where(sql.ref('ended_at'), 'is', null).execute()
      },
    },
  }
}

/**
 * Brings the tables up to date, under a lock (PostgreSQL: an advisory lock; SQLite: an immediate transaction), so that any number of
 * processes may start at once.
 * @returns the names of the migrations that ran now.
 * @throws Error naming the migration that failed; the database is then as it was.
 */
export async function migrateToLatest(db: Kysely<Tables>, kind: DatabaseKind, all = migrations(kind)): Promise<string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => all } })
  let { error, results } = await migrator.migrateToLatest()
  // tables that running workers hold in another order: nothing has changed, and the next try may have the luck
  for (let tries = 1; isDeadlock(error) && tries < TRIES; tries += 1) ({ error, results } = await migrator.migrateToLatest())
  const failed = results?.find((r: MigrationResult) => r.status === 'Error')
  if (error !== undefined)
    throw new Error(
      `the database could not be brought up to date${failed ? ` (migration ${failed.migrationName})` : ''}: ${messageOf(error)}`,
      {
        cause: error,
      },
    )
  return (results ?? []).map((r) => r.migrationName)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
