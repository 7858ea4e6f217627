/** What an answer changes, in one transaction. */
import type { Kysely } from 'kysely'
import { isRetry } from '../bounce/index.js'
import { type Answer, type AnsweredRow, type AttemptSubject, keepMessage, recordAnswer, recordEnd, type Tables } from '../store/index.js'
import { liftSuppression } from '../suppression/index.js'
import { isLastingRejection } from './outcome.js'

/**
 * Writes the answer of an attempt. A delivery lifts a temporary suppression and ends the run; a rejection that suppresses nobody ends it too.
 * @returns the row's answer: an earlier one if there was one; null if another claim holds the row.
 */
export async function writeAnswer(
  tx: Kysely<Tables>,
  {
    subject,
    messageKey,
    answer,
    claim,
  }: { readonly subject: AttemptSubject; readonly messageKey: string; readonly answer: Answer; readonly claim: string | null },
  now: () => Date,
): Promise<AnsweredRow | null> {
  const { recipient, workflowId, messageId, firstRunId } = subject
  const [row] = await Promise.all([recordAnswer(tx, subject, answer, claim), keepMessage(tx, messageKey, answer.at)])
  if (row === null) return null
  const delivered = row.outcome === 'accepted' && !row.relayed
  const refused = row.outcome === 'rejected' && isRetry(row) && !isLastingRejection(row)
  await Promise.all([
    delivered ? liftSuppression(tx, recipient, workflowId, now(), 'temporary') : null,
    // a send by the backup relay ends no run: the parent workflow does
    (delivered && isRetry(row)) || refused
      ? recordEnd(tx, {
          ...{ messageId, recipient, workflowId, firstRunId },
          outcome: delivered ? 'delivered' : 'rejected',
          confirmed: delivered,
          suppressedUntil: null,
          endedAt: row.at,
        })
      : null,
  ])
  return row
}
