/**
 * The attempt log and its claims. An attempt claims its row (first run ID, retry) before it connects, and writes the answer as soon as
 * it is read. A later caller finds that answer, or waits until the claim ends.
 */
import { type Kysely, type Selectable, sql } from 'kysely'
import { type AnsweredRow, type AttemptKey, type AttemptSubject, answered, byKey } from './attempt-rows.js'
import { among, type Database, givenRows, nowExpression } from './database.js'
import { Statement } from './statement.js'
import type { AttemptsTable, Tables } from './tables.js'
import { asyncCommitOne } from './transaction.js'

/** `claimed`: by us. `answered`: the row has its answer. `held`: another claim lasts until then. */
export type Claim = ClaimedRow | { readonly kind: 'answered'; readonly row: AnsweredRow } | { readonly kind: 'held'; readonly until: Date }

export interface ClaimedRow {
  readonly kind: 'claimed'
  readonly sends: number
  readonly lostAt: Date | null
  readonly unanswered: boolean
  readonly silentSince: Date | null
}

/** A row that is to be claimed. */
export interface ClaimRequest {
  readonly subject: AttemptSubject
  /** The claim's ID. */
  readonly claim: string
  readonly at: Date
  /** When it expires. */
  readonly until: Date
}

/**
 * Claims the row, taking over an expired claim. Need not be durable: beginSends checks the claim again, with a durable commit, before any
 * content is sent.
 */
export async function claimAttempt(database: Database, subject: AttemptSubject, claim: string, now: Date, until: Date): Promise<Claim> {
  const [won] = await asyncCommitOne(database, (db) => tryToClaim(db, [{ subject, claim, at: now, until }]))
  if (won != null) return won
  const row = await byKey(database.db, subject).executeTakeFirstOrThrow()
  return whyNotClaimed(row) ?? { kind: 'held', until: now }
}

/** Claims rows. For each, in their order: null if another claim holds it, or it has its answer. */
export async function tryToClaim(tx: Kysely<Tables>, requests: readonly ClaimRequest[]): Promise<(ClaimedRow | null)[]> {
  const rows = requests.map(({ subject, claim, at, until }) => ({
    ...rowOf(subject),
    ...{ begun_at: at.getTime(), claim, claim_until: until.getTime() },
  }))
  const won = await claimRows.rows(tx, { rows })
  return requests.map(({ subject, claim }) => {
    const row = won.find((one) => isRowOf(one, subject) && one.claim === claim)
    return row === undefined ? null : claimedRow(row)
  })
}

type Row = Selectable<AttemptsTable>
type Won = Pick<Row, 'first_run_id' | 'retry' | 'claim' | 'sends' | 'lost_at' | 'silent_since'>

const isRowOf = (row: Pick<Row, 'first_run_id' | 'retry'>, { firstRunId, retry }: AttemptKey): boolean =>
  row.first_run_id === firstRunId && row.retry === retry

const claimedRow = ({ sends, lost_at, silent_since }: Won): ClaimedRow => ({
  kind: 'claimed',
  sends,
  lostAt: lost_at === null ? null : new Date(lost_at),
  // a send began but its result is unknown: its worker died, or hung past its claim
  unanswered: sends > 0 && lost_at === null,
  silentSince: silent_since === null ? null : new Date(silent_since),
})

const CLAIMED = {
  ...({ first_run_id: 'text', retry: 'bigint', via: 'text', workflow_id: 'text', message_id: 'text', recipient: 'text' } as const),
  ...({ destination: 'text', begun_at: 'bigint', claim: 'text', claim_until: 'bigint' } as const),
} as const
const CLAIMED_NAMES = Object.keys(CLAIMED) as (keyof typeof CLAIMED)[]

// a single statement, so that only one of two concurrent claims wins
const claimRows = new Statement<{ rows: readonly object[] }, Won>((db, value, { kind }) =>
  db
    .insertInto('attempts')
    .columns([...CLAIMED_NAMES, 'sends', 'maybe_delivered', 'relayed'])
    .expression((eb) =>
      eb
        .selectFrom(givenRows(kind, value('rows'), CLAIMED))
        .select([
          ...CLAIMED_NAMES.map((name) => sql.ref(`given.${name}`).as(name)),
          ...[sql.lit(0).as('a'), sql.lit(0).as('b'), sql.lit(0).as('c')],
        ])
        // otherwise SQLite takes the conflict clause for a join's
        .where(sql.lit(true)),
    )
    .onConflict((conflict) =>
      conflict
        .columns(['first_run_id', 'retry'])
        .doUpdateSet({ claim: sql.ref('excluded.claim'), claim_until: sql.ref('excluded.claim_until') })
        .where('attempts.outcome', 'is', null)
        .where((eb) => eb.or([eb('attempts.claim', 'is', null), eb('attempts.claim_until', '<=', sql<number>`excluded.begun_at`)])),
    )
    .returning(['first_run_id', 'retry', 'claim', 'sends', 'lost_at', 'silent_since']),
)

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
 * that was frozen or cut off notices that another has taken over its claim. Durable once it is committed.
 * @returns for each, in their order: false if the claim is no longer ours or the lease does not last; then no content may be sent.
 */
export async function beginSends(db: Kysely<Tables>, requests: readonly BeginRequest[], clock?: () => Date): Promise<boolean[]> {
  const rows = requests.map(({ key, claim, until, lease }) => ({
    ...{ first_run_id: key.firstRunId, retry: key.retry, claim, claim_until: until.getTime() },
    ...{ lease_id: lease?.id ?? null, left_ms: lease?.leftMs ?? null },
  }))
  const begun = await beginRows.rows(db, { rows }, clock)
  return requests.map(({ key, claim }) => begun.some((row) => isRowOf(row, key) && row.claim === claim))
}

/** The same for one send. */
export async function beginSend(
  database: Database,
  key: AttemptKey,
  claim: string,
  until: Date,
  lease?: BeginRequest['lease'],
): Promise<boolean> {
  const [begun] = await beginSends(database.db, [{ key, claim, until, ...(lease === undefined ? {} : { lease }) }], database.clock)
  return begun === true
}

const BEGUN = {
  ...({ first_run_id: 'text', retry: 'bigint', claim: 'text', claim_until: 'bigint', lease_id: 'text', left_ms: 'bigint' } as const),
} as const

const beginRows = new Statement<{ rows: readonly object[] }, Pick<Row, 'first_run_id' | 'retry' | 'claim'>>((db, value, target) =>
  db
    .updateTable('attempts')
    .from(givenRows(target.kind, value('rows'), BEGUN))
    .set((eb) => ({ sends: eb('attempts.sends', '+', 1), claim_until: eb.ref('given.claim_until') }))
    .whereRef('attempts.first_run_id', '=', 'given.first_run_id')
    .whereRef('attempts.retry', '=', 'given.retry')
    .whereRef('attempts.claim', '=', 'given.claim')
    .where('outcome', 'is', null)
    .where(({ exists, or, eb, selectFrom }) =>
      or([
        eb('given.lease_id', 'is', null),
        exists(
          selectFrom('connection_leases')
            .select('id')
            .whereRef('id', '=', 'given.lease_id')
            .where('until', '>', sql<number>`${nowExpression(target)} + given.left_ms`),
        ),
      ]),
    )
    .returning(['attempts.first_run_id', 'attempts.retry', 'attempts.claim']),
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
    const row = rows.find((one) => isRowOf(one, key))
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
