/** Writes the answer of an attempt and its consequences, in one transaction. */
import { setTimeout as sleep } from 'node:timers/promises'
import { ApplicationFailure } from '@temporalio/common'
import { backoff } from '../backoff.js'
import { isRetry } from '../bounce/index.js'
import { type Answer, type AnsweredRow, type AttemptSubject, keepMessage, recordAnswer, recordEnd } from '../store/index.js'
import { liftSuppression } from '../suppression/index.js'
import { describe, localFailure, retryLater } from '../temporal/index.js'
import type { DeliveryContext } from './context.js'
import { isLastingRejection } from './outcome.js'

const TRIES = 5
const FIRST_PAUSE_MS = 400
const LONGEST_PAUSE_MS = 5_000

interface Sent extends AttemptSubject {
  readonly messageKey: string
  /** Written only while this claim holds the row; null: in any case. */
  readonly claim: string | null
}

/**
 * A delivery lifts a temporary suppression and ends the run; a rejection that suppresses nobody ends it too. Tries several times, since a
 * lost answer would mean a second send.
 * @returns the row's answer: an earlier one if there was one.
 */
export async function commitAnswer(dependencies: DeliveryContext, sent: Sent, answer: Answer, attempt: number): Promise<AnsweredRow> {
  const { database, now } = dependencies
  const { recipient, workflowId, messageId, firstRunId } = sent
  for (let tries = 1; ; tries += 1) {
    try {
      return await database.db.transaction().execute(async (tx) => {
        const row = await recordAnswer(tx, sent, answer, sent.claim)
        if (row === null) throw retryLater('Waiting', 'another worker has taken this retry over', 1000)
        const delivered = row.outcome === 'accepted' && !row.relayed
        const refused = row.outcome === 'rejected' && isRetry(row) && !isLastingRejection(row)
        await keepMessage(tx, sent.messageKey, answer.at)
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
        return row
      })
    } catch (error) {
      if (error instanceof ApplicationFailure) throw error
      if (tries >= TRIES)
        throw localFailure(
          `the answer "${answer.reply.slice(0, 200)}" could not be written to the database yet: ${describe(error)}`,
          attempt,
        )
      await sleep(backoff(tries, FIRST_PAUSE_MS, LONGEST_PAUSE_MS))
    }
  }
}
