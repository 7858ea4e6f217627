/** What is known of one recipient, over all tables; and how it is erased, so that the figures stay and the person does not. */
import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import type { Database } from './database.js'
import type { Tables } from './tables.js'

/** Something that happened about a recipient, as a person reads it. */
export interface PersonEvent {
  readonly at: Date
  readonly kind: 'bounce' | 'retry' | 'end' | 'suppression'
  readonly what: string
  readonly status: string | null
  readonly detail: string | null
  readonly messageId: string | null
  readonly workflowId: string | null
}

const MOST_EVENTS = 10_000

/** Oldest first; of each kind the newest ten thousand. @param address folded. */
export async function historyOf({ db }: Database, address: string): Promise<PersonEvent[]> {
  const bounces = await db
    .selectFrom('bounces')
    .select(['at', 'done', 'status', 'why', 'message_id', 'workflow_id'])
    .where('recipient', '=', address)
    .orderBy('at', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const attempts = await db
    .selectFrom('attempts')
    .select(['at', 'retry', 'outcome', 'status', 'reply', 'message_id', 'workflow_id', 'reported_at', 'reported_status', 'reported_reply'])
    .where('recipient', '=', address)
    .where('at', 'is not', null)
    .orderBy('at', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const ends = await db
    .selectFrom('ends')
    .select(['ended_at', 'outcome', 'confirmed', 'message_id', 'workflow_id'])
    .where('recipient', '=', address)
    .orderBy('ended_at', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const changes = await db
    .selectFrom('suppression_history')
    .selectAll()
    .where('address', '=', address)
    .orderBy('id', 'desc')
    .limit(MOST_EVENTS)
    .execute()
  const of = (event: Omit<PersonEvent, 'at'>, at: number): PersonEvent => ({ ...event, at: new Date(at) })
  return [
    ...bounces.map((b) =>
      of(
        { kind: 'bounce', what: `bounced: ${b.done}`, status: b.status, detail: b.why, messageId: b.message_id, workflowId: b.workflow_id },
        b.at,
      ),
    ),
    ...attempts.flatMap((a) => {
      const about = { kind: 'retry', messageId: a.message_id, workflowId: a.workflow_id } as const
      const answer = of({ ...about, what: `retry ${a.retry}: ${a.outcome}`, status: a.status, detail: a.reply }, a.at as number)
      if (a.reported_at === null) return [answer]
      const report = { ...about, what: `retry ${a.retry}: a notification came`, status: a.reported_status, detail: a.reported_reply }
      return [answer, of(report, a.reported_at)]
    }),
    ...ends.map((e) =>
      of(
        {
          kind: 'end',
          what: `ended: ${e.outcome}${e.outcome === 'delivered' && e.confirmed === 0 ? ', unconfirmed' : ''}`,
          ...{ status: null, detail: null, messageId: e.message_id, workflowId: e.workflow_id },
        },
        e.ended_at,
      ),
    ),
    ...changes.map((c) =>
      of(
        {
          kind: 'suppression',
          what: `${c.change} (${c.reason})${c.until === null ? '' : ` until ${new Date(c.until).toISOString()}`}`,
          ...{ status: c.status, detail: c.reply, messageId: null, workflowId: c.by },
        },
        c.at,
      ),
    ),
  ].sort((a, b) => a.at.getTime() - b.at.getTime())
}

/** How many rows of which table were changed or deleted. */
export type Forgotten = Readonly<Record<string, number>>

/**
 * Erases a recipient from every table, in one transaction. Rows that the figures count stay, under a name that nobody can lead back; what
 * a system or a person wrote about the recipient is emptied, whatever it says. Their suppression goes too.
 * @param address folded.
 * @param idPrefix what the workflow IDs of the recipient begin with.
 */
export function forget({ db, kind }: Database, address: string, idPrefix: string): Promise<Forgotten> {
  const nobody = `forgotten-${randomBytes(12).toString('hex')}`
  const mentions = (column: string) => sql<boolean>`lower(${sql.ref(column)}) like ${`%${address.replace(/[\\%_]/g, '\\$&')}%`} escape '\\'`
  return db.transaction().execute(async (tx) => {
    const changed: Record<string, number> = {}
    const note = (table: string, n: bigint) => {
      if (n > 0n) changed[table] = (changed[table] ?? 0) + Number(n)
    }
    const keys = await tx.selectFrom('sent').select(['id', 'message_key']).where('recipient', '=', address).execute()
    const runs = await tx.selectFrom('attempts').select('first_run_id').where('recipient', '=', address).distinct().execute()
    const ended = await tx.selectFrom('ends').select('first_run_id').where('recipient', '=', address).execute()
    note('sent', (await tx.deleteFrom('sent').where('recipient', '=', address).executeTakeFirst()).numDeletedRows)
    note(
      'messages',
      await dropMessages(
        tx,
        keys.map(({ message_key }) => message_key),
      ),
    )
    // what belongs to a run, by its ID, and what only the workflow's ID tells
    const folder = sql<boolean>`workflow_id like ${`${idPrefix.replace(/[\\%_]/g, '\\$&')}%`} escape '\\'`
    const started = await tx
      .updateTable('started')
      .set({ workflow_id: nobody })
      .where((eb) => eb.or([eb('first_run_id', 'in', idsOf([...runs, ...ended])), folder]))
      .executeTakeFirst()
    note('started', started.numUpdatedRows)
    note('turns', (await tx.deleteFrom('turns').where(folder).executeTakeFirst()).numDeletedRows)
    note('message_holds', (await tx.deleteFrom('message_holds').where(folder).executeTakeFirst()).numDeletedRows)
    const attempts = await tx
      .updateTable('attempts')
      .set((eb) => ({
        recipient: nobody,
        workflow_id: nobody,
        message_id: nobody,
        reply: eb.case().when('reply', 'is', null).then(null).else('').end(),
        reported_reply: null,
      }))
      .where('recipient', '=', address)
      .executeTakeFirst()
    note('attempts', attempts.numUpdatedRows)
    const ends = await tx
      .updateTable('ends')
      .set({ message_id: sql<string>`${nobody} || '-' || first_run_id`, recipient: nobody, workflow_id: nobody })
      .where('recipient', '=', address)
      .executeTakeFirst()
    note('ends', ends.numUpdatedRows)
    const bounces = await tx
      .updateTable('bounces')
      .set({ recipient: null, came_to: null, message_id: null, diagnostic: null, workflow_id: null, event: null, why: '' })
      .where((eb) => eb.or([eb('recipient', '=', address), folder, mentions('diagnostic'), mentions('why')]))
      .executeTakeFirst()
    note('bounces', bounces.numUpdatedRows)
    note('suppressions', (await tx.deleteFrom('suppressions').where('address', '=', address).executeTakeFirst()).numDeletedRows)
    const history = await tx
      .updateTable('suppression_history')
      .set({ address: nobody, reply: null, by: nobody })
      .where('address', '=', address)
      .executeTakeFirst()
    note('suppression_history', history.numUpdatedRows)
    note('unread_mails', await dropUnread(tx, kind, address))
    const outages = await tx.updateTable('outages').set({ reply: '' }).where(mentions('reply')).executeTakeFirst()
    note('outages', outages.numUpdatedRows)
    const said = await tx.updateTable('destinations').set({ said_reply: '' }).where(mentions('said_reply')).executeTakeFirst()
    note('destinations', said.numUpdatedRows)
    return changed
  })
}

const idsOf = (rows: readonly { first_run_id: string }[]): string[] => ['', ...new Set(rows.map(({ first_run_id }) => first_run_id))]

/** Kept messages that nobody else was sent, and no retry needs. */
async function dropMessages(tx: Kysely<Tables>, keys: readonly string[]): Promise<bigint> {
  let dropped = 0n
  for (const key of new Set(keys)) {
    const others = await tx.selectFrom('sent').select('id').where('message_key', '=', key).limit(1).executeTakeFirst()
    const held = await tx.selectFrom('message_holds').select('first_run_id').where('message_key', '=', key).limit(1).executeTakeFirst()
    if (others === undefined && held === undefined)
      dropped += (await tx.deleteFrom('messages').where('key', '=', key).executeTakeFirst()).numDeletedRows
  }
  return dropped
}

/** Unread mails in which the address stands, as it is written there. */
async function dropUnread(tx: Kysely<Tables>, kind: Database['kind'], address: string): Promise<bigint> {
  const bytes = Buffer.from(address, 'utf8')
  const stands =
    kind === 'postgres'
      ? sql<boolean>`position(${bytes}::bytea in convert_to(lower(encode(content, 'escape')), 'utf8')) > 0`
      : sql<boolean>`instr(lower(cast(content as text)), ${address}) > 0`
  const done = await tx.deleteFrom('unread_mails').where(stands).executeTakeFirst()
  return done.numDeletedRows
}
