/** What answers change, in one transaction. */
import type { Kysely } from 'kysely'
import { isRetry } from '../bounce/index.js'
import { type AnsweredRow, all, type RecordRequest, recordAnswers, recordEnd, type Tables } from '../store/index.js'
import { liftSuppression } from '../suppression/index.js'
import { isLastingRejection } from './outcome.js'

/**
 * Writes the answers of attempts. A delivery lifts a temporary suppression and ends the run; a rejection that suppresses nobody ends it too.
 * @returns the rows' answers: earlier ones if there were; null if another claim holds the row.
 */
export async function writeAnswers(
  tx: Kysely<Tables>,
  requests: readonly RecordRequest[],
  now: () => Date,
): Promise<(AnsweredRow | null)[]> {
  const rows = await recordAnswers(tx, requests)
  // always in this order, so that two transactions that lock the same messages or addresses cannot deadlock
  const inOrder = [...requests.entries()].sort(([, a], [, b]) => (orderOf(a) < orderOf(b) ? -1 : 1))
  await all(inOrder.map(([i, request]) => rows[i] && writeConsequences(tx, request, rows[i], now)))
  return rows
}

const orderOf = ({ subject }: RecordRequest): string => `${subject.messageId} ${subject.recipient}`

async function writeConsequences(tx: Kysely<Tables>, { subject }: RecordRequest, row: AnsweredRow, now: () => Date): Promise<void> {
  const { recipient, workflowId, messageId, firstRunId } = subject
  const delivered = row.outcome === 'accepted' && !row.relayed
  const refused = row.outcome === 'rejected' && isRetry(row) && !isLastingRejection(row)
  if (delivered) await liftSuppression(tx, recipient, workflowId, now(), 'temporary')
  // a send by the backup relay ends no run: the parent workflow does
  if ((delivered && isRetry(row)) || refused)
    await recordEnd(tx, {
      ...{ messageId, recipient, workflowId, firstRunId },
      outcome: delivered ? 'delivered' : 'rejected',
      confirmed: delivered,
      suppressedUntil: null,
      endedAt: row.at,
    })
}
