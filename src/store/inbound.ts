/** The log of received reports and what each led to, and the quarantine of mail that could not be parsed. */
import { type Kysely, type Selectable, sql } from 'kysely'
import { withoutControls } from '../bounce/index.js'
import { advisoryLock, type Database } from './database.js'
import type { Disposition, InboundTable, Tables } from './tables.js'

/** A bounce for one recipient, and what was done about it. */
export interface InboundReport {
  readonly at: Date
  readonly source: string
  readonly cameTo: string | null
  readonly reportingMta: string | null
  readonly messageId: string | null
  readonly recipient: string | null
  readonly kind: string | null
  readonly action: string | null
  readonly status: string | null
  readonly diagnostic: string | null
  readonly disposition: Disposition
  readonly why: string
  readonly workflowId: string | null
  readonly event: string | null
}

const MAX_TEXT = 1000

const cut = (text: string | null): string | null => (text === null ? null : withoutControls(text).slice(0, MAX_TEXT))

/** Rows of one insert: within the databases' limits of parameters. */
const ROWS = 500

/** Adds reports to the log. */
export async function recordInbound(db: Kysely<Tables>, bounces: readonly InboundReport[]): Promise<void> {
  for (let i = 0; i < bounces.length; i += ROWS)
    await db
      .insertInto('inbound')
      .values(bounces.slice(i, i + ROWS).map(toRow))
      .execute()
}

const toRow = (bounce: InboundReport) => ({
  at: bounce.at.getTime(),
  source: bounce.source,
  came_to: cut(bounce.cameTo),
  reporting_mta: cut(bounce.reportingMta),
  message_id: cut(bounce.messageId),
  recipient: cut(bounce.recipient),
  kind: bounce.kind,
  action: bounce.action,
  status: bounce.status,
  diagnostic: cut(bounce.diagnostic),
  disposition: bounce.disposition,
  why: cut(bounce.why) as string,
  workflow_id: bounce.workflowId,
  event: bounce.event,
})

/** Deleted beyond the limit, so that the next reports do not delete one by one. */
const TRIMMED_SHARE = 0.05

/**
 * Deletes reports beyond the limit, the oldest first: unauthenticated ones before all others. Those that were acted on are not counted and
 * stay until their retention ends, since the same report could come again.
 * @returns how many were deleted.
 */
export function trimInbound({ db }: Pick<Database, 'db'>, limit: number): Promise<number> {
  return db.transaction().execute(async (tx) => {
    await advisoryLock(tx, 'trim the log of reports')
    return trimmed(tx, limit)
  })
}

async function trimmed(db: Kysely<Tables>, limit: number): Promise<number> {
  const { all } = await db
    .selectFrom('inbound')
    .select(({ fn }) => fn.countAll<number>().as('all'))
    .where('event', 'is', null)
    .executeTakeFirstOrThrow()
  let excess = Number(all) <= limit ? 0 : Number(all) - limit + Math.floor(limit * TRIMMED_SHARE)
  let deleted = 0
  for (const strangers of [true, false]) {
    if (excess <= 0) break
    const oldest = db
      .selectFrom('inbound')
      .select('id')
      .where('event', 'is', null)
      .$if(strangers, (query) => query.where('disposition', '=', 'unauthenticated'))
      .orderBy('id')
      .limit(excess)
    const { numDeletedRows } = await db.deleteFrom('inbound').where('id', 'in', oldest).executeTakeFirst()
    deleted += Number(numDeletedRows)
    excess -= Number(numDeletedRows)
  }
  return deleted
}

/** True if this event was acted on before. */
export async function alreadyHandled(db: Kysely<Tables>, event: string): Promise<boolean> {
  return (await db.selectFrom('inbound').select('id').where('event', '=', event).limit(1).executeTakeFirst()) !== undefined
}

/** The bounces, newest first, page by page. */
export async function* listBounces(db: Kysely<Tables>, only: readonly Disposition[] | null, limit: number): AsyncGenerator<InboundReport> {
  let before = Number.MAX_SAFE_INTEGER
  let left = limit
  while (left > 0) {
    let query = db.selectFrom('inbound').selectAll().where('id', '<', before).orderBy('id', 'desc').limit(Math.min(left, 500))
    if (only !== null) query = query.where('disposition', 'in', only)
    const rows = await query.execute()
    for (const row of rows) yield toBounce(row)
    left -= rows.length
    if (rows.length < 500) return
    before = rows.at(-1)?.id as number
  }
}

function toBounce(row: Selectable<InboundTable>): InboundReport {
  return {
    at: new Date(row.at),
    source: row.source,
    cameTo: row.came_to,
    reportingMta: row.reporting_mta,
    messageId: row.message_id,
    recipient: row.recipient,
    kind: row.kind,
    action: row.action,
    status: row.status,
    diagnostic: row.diagnostic,
    disposition: row.disposition,
    why: row.why,
    workflowId: row.workflow_id,
    event: row.event,
  }
}

/** Mails of one return path, and in all. */
const MAX_PER_RETURN_PATH = 10
const MAX_MAILS = 10_000

export interface QuarantinedMail {
  readonly digest: string
  readonly at: Date
  readonly source: string
  readonly cameTo: string | null
  readonly content: Uint8Array
  readonly why: string
}

/**
 * Quarantines mail, once per content. Beyond the limit, the oldest mail of the return path (or source) that holds most bytes is deleted: so
 * a flood pushes out itself.
 * @param limit bytes, in all.
 * @returns false if the mail's return path is at its limit, or the mail alone is larger than the limit.
 */
export function quarantine(db: Kysely<Tables>, mail: QuarantinedMail, limit: number): Promise<boolean> {
  return db.transaction().execute(async (tx) => {
    await advisoryLock(tx, 'quarantine')
    const known = await tx.selectFrom('quarantine').select('digest').where('digest', '=', mail.digest).executeTakeFirst()
    if (known !== undefined) return true
    if (mail.content.length > limit || (mail.cameTo !== null && (await ofReturnPath(tx, mail.cameTo)) >= MAX_PER_RETURN_PATH)) return false
    await makeRoom(tx, mail.content.length, limit)
    await tx
      .insertInto('quarantine')
      .values({
        ...{ digest: mail.digest, at: mail.at.getTime(), source: mail.source, content: mail.content },
        ...{ came_to: cut(mail.cameTo), why: cut(mail.why) as string },
      })
      .execute()
    return true
  })
}

async function ofReturnPath(tx: Kysely<Tables>, cameTo: string): Promise<number> {
  const { n } = await tx
    .selectFrom('quarantine')
    .select(({ fn }) => fn.countAll<number>().as('n'))
    // only the local part is signed, and its case is ignored
    .where(sql`lower(came_to)`, 'like', `${localPart(cameTo)}@%`)
    .executeTakeFirstOrThrow()
  return Number(n)
}

/** Deletes mails until there is room for one more of this size. */
async function makeRoom(tx: Kysely<Tables>, bytes: number, limit: number): Promise<void> {
  const holder = sql<string>`lower(coalesce(came_to, source))`
  const size = sql<number>`sum(octet_length(content))`
  for (;;) {
    const holders = await tx
      .selectFrom('quarantine')
      .select(({ fn }) => [holder.as('holder'), size.as('bytes'), fn.countAll<number>().as('n')])
      .groupBy(holder)
      .orderBy(size, 'desc')
      .orderBy(({ fn }) => fn.min('at'))
      .execute()
    const [most] = holders
    const held = holders.reduce((sum, one) => sum + Number(one.bytes), 0)
    const count = holders.reduce((sum, one) => sum + Number(one.n), 0)
    if (most === undefined || (held + bytes <= limit && count < MAX_MAILS)) return
    const oldest = tx.selectFrom('quarantine').select('digest').where(holder, '=', most.holder).orderBy('at').limit(1)
    await tx.deleteFrom('quarantine').where('digest', 'in', oldest).execute()
  }
}

/** The local part in lower case, as a pattern for `like`. */
const localPart = (address: string) =>
  address
    .slice(0, Math.max(address.lastIndexOf('@'), 0))
    .toLowerCase()
    .replace(/[%_\\]/g, '_')

/** Finds quarantined mail by its digest or a prefix of it; null if none or several match. */
export async function findQuarantined(db: Kysely<Tables>, digest: string): Promise<Buffer | null> {
  const rows = await db
    .selectFrom('quarantine')
    .select('content')
    .where('digest', '>=', digest)
    .where('digest', '<', `${digest}~`)
    .limit(2)
    .execute()
  return rows.length === 1 ? Buffer.from((rows[0] as { content: Uint8Array }).content) : null
}

/**
 * Deletes reports and quarantined mail received before `before`; returns how many.
 * @param actedOnBefore applies to reports that were acted on: they are kept for as long as the same report could arrive again.
 */
export async function purgeInbound(db: Kysely<Tables>, before: Date, actedOnBefore: Date): Promise<number> {
  const bounces = await db
    .deleteFrom('inbound')
    .where((eb) => eb.or([eb.and([eb('at', '<', before.getTime()), eb('event', 'is', null)]), eb('at', '<', actedOnBefore.getTime())]))
    .executeTakeFirst()
  const mails = await db.deleteFrom('quarantine').where('at', '<', before.getTime()).executeTakeFirst()
  return Number(bounces.numDeletedRows) + Number(mails.numDeletedRows)
}
