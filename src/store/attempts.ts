/**
 * The attempt log and its claims. An attempt claims its row (first run ID, retry) before it connects, and writes the answer as soon as
 * it is read. A later caller finds that answer, or waits until the claim ends.
 */
import type { Expression, Kysely } from 'kysely'
import { type Answer, type AnsweredRow, type AttemptKey, type AttemptSubject, answered, byKey } from './attempt-rows.js'
import { asyncCommitOne, type Database } from './database.js'
import type { Tables } from './tables.js'

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
  const claimed = { claim, claim_until: until.getTime() }
  // a single statement, so that only one of two concurrent claims wins
  const won = await asyncCommitOne(database, (db) =>
    db
      .insertInto('attempts')
      .values({
        ...rowOf(subject),
        begun_at: now.getTime(),
        sends: 0,
        maybe_delivered: 0,
        relayed: 0,
        ...claimed,
      })
      .onConflict((conflict) =>
        conflict
          .columns(['first_run_id', 'retry'])
          .doUpdateSet(claimed)
          .where('attempts.outcome', 'is', null)
          .where((eb) => eb.or([eb('attempts.claim', 'is', null), eb('attempts.claim_until', '<=', now.getTime())])),
      )
      .returning(['sends', 'lost_at', 'silent_since'])
      .executeTakeFirst(),
  )
  if (won === undefined) {
    const row = await byKey(database.db, subject).executeTakeFirstOrThrow()
    if (row.outcome !== null) return { kind: 'answered', row: answered(row) }
    return { kind: 'held', until: new Date(row.claim_until ?? now.getTime()) }
  }
  return {
    kind: 'claimed',
    sends: won.sends,
    lostAt: won.lost_at === null ? null : new Date(won.lost_at),
    // a send began but its result is unknown: its worker died, or hung past its claim
    unanswered: won.sends > 0 && won.lost_at === null,
    silentSince: won.silent_since === null ? null : new Date(won.silent_since),
  }
}

/** Updates the row only while this claim holds it and it has no answer. */
const heldBy = (db: Kysely<Tables>, key: AttemptKey, claim: string) =>
  db
    .updateTable('attempts')
    .where('first_run_id', '=', key.firstRunId)
    .where('retry', '=', key.retry)
    .where('claim', '=', claim)
    .where('outcome', 'is', null)

/**
 * Records that the content is about to be sent: from here on the message may arrive. Called during the SMTP transaction, so that a worker
 * that was frozen or cut off notices that another has taken over its claim.
 * @param until new expiry of the claim, after the latest time at which the reply can arrive.
 * @param condition must hold too: that our connection's lease is still valid.
 * @returns false if the claim is no longer ours or the condition fails: then no content may be sent.
 */
export async function beginSend(
  database: Database,
  key: AttemptKey,
  claim: string,
  until: Date,
  condition?: Expression<unknown>,
): Promise<boolean> {
  const done = await heldBy(database.db, key, claim)
    .set((eb) => ({ sends: eb('sends', '+', 1), claim_until: until.getTime() }))
    .$if(condition !== undefined, (query) => query.where((eb) => eb.exists(condition as Expression<unknown>)))
    .executeTakeFirst()
  return Number(done.numUpdatedRows) === 1
}

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

/**
 * Writes the answer, unless the row has one: the first answer is final. If the row is missing (the database was restored to a time before
 * the claim), inserts it again.
 * @param claim if given, writes only while this claim holds the row.
 * @returns the row's answer; null if the claim no longer holds the row.
 */
export async function recordAnswer(
  db: Kysely<Tables>,
  subject: AttemptSubject,
  answer: Answer,
  claim: string | null = null,
): Promise<AnsweredRow | null> {
  const key: AttemptKey = subject
  const columns = {
    claim: null,
    claim_until: null,
    at: answer.at.getTime(),
    outcome: answer.outcome,
    status: answer.status,
    reply: answer.reply,
    stage: answer.stage,
    mail_server: answer.mailServer,
    maybe_delivered: answer.maybeDelivered ? 1 : 0,
    relayed: answer.relayed ? 1 : 0,
  }
  const written = await db
    .updateTable('attempts')
    .set(columns)
    .where('first_run_id', '=', key.firstRunId)
    .where('retry', '=', key.retry)
    .where('outcome', 'is', null)
    .$if(claim !== null, (query) => query.where('claim', '=', claim))
    .returningAll()
    .executeTakeFirst()
  if (written !== undefined) return answered(written)
  const row = await byKey(db, key).executeTakeFirst()
  if (row !== undefined) return row.outcome === null ? null : answered(row)
  const made = await db
    .insertInto('attempts')
    .values({ ...rowOf(subject), begun_at: answer.at.getTime(), sends: 1, ...columns })
    .returningAll()
    .executeTakeFirstOrThrow()
  return answered(made)
}

const rowOf = (subject: AttemptSubject) => ({
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

/** Records a report on a message that a relay had accepted. */
export async function recordReport(
  db: Kysely<Tables>,
  key: AttemptKey,
  report: { at: Date; status: string; reply: string | null },
): Promise<void> {
  await db
    .updateTable('attempts')
    .set({ reported_at: report.at.getTime(), reported_status: report.status, reported_reply: report.reply })
    .where('first_run_id', '=', key.firstRunId)
    .where('retry', '=', key.retry)
    .execute()
}

/** Reads a row before it is claimed: its answer, or until when another claim holds it; null if it is free. */
export async function findAttempt(
  db: Kysely<Tables>,
  key: AttemptKey,
  now: Date,
): Promise<Extract<Claim, { kind: 'answered' | 'held' }> | null> {
  const row = await byKey(db, key).executeTakeFirst()
  if (row === undefined) return null
  if (row.outcome !== null) return { kind: 'answered', row: answered(row) }
  if (row.claim === null || row.claim_until === null || row.claim_until <= now.getTime()) return null
  return { kind: 'held', until: new Date(row.claim_until) }
}
