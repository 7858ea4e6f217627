/**
 * The attempt log and its claims. An attempt claims its row (first run ID, retry) before it connects, and writes the answer as soon as
 * it is read. A later caller finds that answer, or waits until the claim ends.
 */
import { type Kysely, type RawBuilder, type Selectable, sql } from 'kysely'
import { type AnsweredRow, type AttemptKey, type AttemptSubject, answered, byKey } from './attempt-rows.js'
import { among, type Database, nowExpression } from './database.js'
import { Statement } from './statement.js'
import type { AttemptsTable, Tables } from './tables.js'
import { asyncCommitOne, transact } from './transaction.js'

/** `claimed`: by us. `answered`: the row has its answer. `held`: another claim lasts until then. */
export type Claim = ClaimedRow | { readonly kind: 'answered'; readonly row: AnsweredRow } | { readonly kind: 'held'; readonly until: Date }

export interface ClaimedRow {
  readonly kind: 'claimed'
  readonly sends: number
  readonly lostAt: Date | null
  readonly unanswered: boolean
  readonly silentSince: Date | null
}

/**
 * Claims the row for `claim` until `until`, taking over an expired claim. Need not be durable: beginSend checks the claim again, with a
 * durable commit, before any content is sent.
 */
export async function claimAttempt(database: Database, subject: AttemptSubject, claim: string, now: Date, until: Date): Promise<Claim> {
  const won = await asyncCommitOne(database, (db) => tryToClaim(db, subject, claim, now, until))
  if (won !== null) return won
  const row = await byKey(database.db, subject).executeTakeFirstOrThrow()
  return whyNotClaimed(row) ?? { kind: 'held', until: now }
}

/** The same in a transaction. Null if another claim holds the row, or it has its answer. */
export async function tryToClaim(
  tx: Kysely<Tables>,
  subject: AttemptSubject,
  claim: string,
  now: Date,
  until: Date,
): Promise<ClaimedRow | null> {
  const [won] = await claimRow.rows(tx, { ...rowOf(subject), now: now.getTime(), claim, claim_until: until.getTime() })
  if (won === undefined) return null
  return {
    kind: 'claimed',
    sends: won.sends,
    lostAt: won.lost_at === null ? null : new Date(won.lost_at),
    // a send began but its result is unknown: its worker died, or hung past its claim
    unanswered: won.sends > 0 && won.lost_at === null,
    silentSince: won.silent_since === null ? null : new Date(won.silent_since),
  }
}

type Row = Selectable<AttemptsTable>

// a single statement, so that only one of two concurrent claims wins
const claimRow = new Statement<
  ReturnType<typeof rowOf> & { now: number; claim: string; claim_until: number },
  Pick<Row, 'sends' | 'lost_at' | 'silent_since'>
>((db, value) => {
  const claimed = { claim: value('claim'), claim_until: value('claim_until') }
  return db
    .insertInto('attempts')
    .values({
      ...{ first_run_id: value('first_run_id'), retry: value('retry'), via: value('via'), workflow_id: value('workflow_id') },
      ...{ message_id: value('message_id'), recipient: value('recipient'), destination: value('destination') },
      ...{ begun_at: value('now'), sends: 0, maybe_delivered: 0, relayed: 0, ...claimed },
    })
    .onConflict((conflict) =>
      conflict
        .columns(['first_run_id', 'retry'])
        .doUpdateSet(claimed)
        .where('attempts.outcome', 'is', null)
        .where((eb) => eb.or([eb('attempts.claim', 'is', null), eb('attempts.claim_until', '<=', value('now'))])),
    )
    .returning(['sends', 'lost_at', 'silent_since'])
})

/** The row's answer, or until when another claim holds it; null if it is free. */
function whyNotClaimed(row: Row): Extract<Claim, { kind: 'answered' | 'held' }> | null {
  if (row.outcome !== null) return { kind: 'answered', row: answered(row) }
  return row.claim === null || row.claim_until === null ? null : { kind: 'held', until: new Date(row.claim_until) }
}

/** Updates the row only while this claim holds it and it has no answer. */
const heldBy = (db: Kysely<Tables>, key: AttemptKey, claim: string) =>
  db
    .updateTable('attempts')
    .where('first_run_id', '=', key.firstRunId)
    .where('retry', '=', key.retry)
    .where('claim', '=', claim)
    .where('outcome', 'is', null)

/** A send whose content is to begin. */
export interface BeginRequest {
  readonly key: AttemptKey
  readonly claim: string
  /** The new expiry of the claim: after the latest time at which the reply can arrive. */
  readonly until: Date
  /** The lease of our connection must last this much longer. */
  readonly lease?: { readonly id: string; readonly leftMs: number }
}

/**
 * Records that the contents are about to be sent: from here on the messages may arrive. Called during the SMTP transactions, so that a worker
 * that was frozen or cut off notices that another has taken over its claim. Durable when it returns.
 * @returns for each, in their order: false if the claim is no longer ours or the lease does not last; then no content may be sent.
 */
export async function beginSends(database: Database, requests: readonly BeginRequest[]): Promise<boolean[]> {
  const begin = (db: Kysely<Tables>, { key, claim, until, lease }: BeginRequest) => {
    const values = { firstRunId: key.firstRunId, retry: key.retry, claim, until: until.getTime() }
    if (lease === undefined) return beginRow.run(db, values)
    return beginLeasedRow.run(db, { ...values, leaseId: lease.id, leftMs: lease.leftMs }, database.clock)
  }
  const [only] = requests
  const done =
    requests.length === 1
      ? [await begin(database.db, only as BeginRequest)]
      : await transact(database, { durable: true }, (tx, commit) => commit(requests.map((request) => begin(tx, request))))
  return done.map(({ numAffectedRows }) => Number(numAffectedRows) === 1)
}

/** The same for one send. */
export async function beginSend(
  database: Database,
  key: AttemptKey,
  claim: string,
  until: Date,
  lease?: BeginRequest['lease'],
): Promise<boolean> {
  const [begun] = await beginSends(database, [{ key, claim, until, ...(lease === undefined ? {} : { lease }) }])
  return begun === true
}

type BeginValues = AttemptKey & { claim: string; until: number }

const beginQuery = (db: Kysely<Tables>, value: <Name extends keyof BeginValues>(name: Name) => RawBuilder<BeginValues[Name]>) =>
  db
    .updateTable('attempts')
    .set((eb) => ({ sends: eb('sends', '+', 1), claim_until: value('until') }))
    .where('first_run_id', '=', value('firstRunId'))
    .where('retry', '=', value('retry'))
    .where('claim', '=', value('claim'))
    .where('outcome', 'is', null)

const beginRow = new Statement<BeginValues>((db, value) => beginQuery(db, value))

const beginLeasedRow = new Statement<BeginValues & { leaseId: string; leftMs: number }>((db, value, database) =>
  beginQuery(db, value).where(({ exists, selectFrom }) =>
    exists(
      selectFrom('connection_leases')
        .select('id')
        .where('id', '=', value('leaseId'))
        .where('until', '>', sql<number>`${nowExpression(database)} + ${value('leftMs')}`),
    ),
  ),
)

/** What is known of a send whose claim is released without an answer. */
export interface ReleaseReason {
  /** The final dot was provably not sent: `sends` is decremented. */
  readonly notSent?: boolean
  /** The connection was lost after the final dot. */
  readonly lostAt?: Date
  /** Since when connections have timed out; null if they do not. */
  readonly silentSince?: Date | null
}

/** Releases the claim without an answer, after a local failure or a connection lost after the final dot. */
export async function releaseClaim(db: Kysely<Tables>, key: AttemptKey, claim: string, known: ReleaseReason): Promise<void> {
  await heldBy(db, key, claim)
    .set((eb) => ({
      claim: null,
      claim_until: null,
      ...(known.notSent ? { sends: eb('sends', '-', 1) } : {}),
      ...(known.lostAt === undefined ? {} : { lost_at: known.lostAt.getTime() }),
      ...(known.silentSince === undefined ? {} : { silent_since: known.silentSince?.getTime() ?? null }),
    }))
    .execute()
}

export const rowOf = (subject: AttemptSubject) => ({
  first_run_id: subject.firstRunId,
  retry: subject.retry,
  via: subject.via ?? null,
  workflow_id: subject.workflowId,
  message_id: subject.messageId,
  recipient: subject.recipient,
  destination: subject.destination,
})

/** Extends the claim while the content is being sent. False if it is no longer ours. */
export async function renewClaim(database: Database, key: AttemptKey, claim: string, until: Date): Promise<boolean> {
  const done = await asyncCommitOne(database, (db) => heldBy(db, key, claim).set({ claim_until: until.getTime() }).executeTakeFirst())
  return Number(done.numUpdatedRows) === 1
}

/** Reads a row before it is claimed: its answer, or until when another claim holds it; null if it is free. */
export async function findAttempt(
  db: Kysely<Tables>,
  key: AttemptKey,
  now: Date,
): Promise<Extract<Claim, { kind: 'answered' | 'held' }> | null> {
  const row = await byKey(db, key).executeTakeFirst()
  return row === undefined ? null : unlessExpired(whyNotClaimed(row), now)
}

/** The same for several: a function that finds each. */
export async function findAttempts(
  tx: Kysely<Tables>,
  keys: readonly AttemptKey[],
): Promise<(key: AttemptKey, now: Date) => Extract<Claim, { kind: 'answered' | 'held' }> | null> {
  const rows = await findRows.rows(tx, { runs: [...new Set(keys.map(({ firstRunId }) => firstRunId))] })
  return (key, now) => {
    const row = rows.find((one) => one.first_run_id === key.firstRunId && one.retry === key.retry)
    return row === undefined ? null : unlessExpired(whyNotClaimed(row), now)
  }
}

const unlessExpired = (found: ReturnType<typeof whyNotClaimed>, now: Date) =>
  found?.kind === 'held' && found.until.getTime() <= now.getTime() ? null : found

const findRows = new Statement<{ runs: readonly string[] }, Row>((db, value, { kind }) =>
  db
    .selectFrom('attempts')
    .selectAll()
    .where(among(kind, 'first_run_id', value('runs'))),
)
