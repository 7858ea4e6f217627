/** Commits the answer of an attempt; tries several times, since a lost answer would mean a second send. */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoff } from '../backoff.js'
import type { AnsweredRow } from '../store/index.js'
import { describe, localFailure, retryLater } from '../temporal/index.js'
import type { AnswerRequest, SendTransactions, WrittenAnswer } from './send-transactions.js'

const TRIES = 5
const FIRST_PAUSE_MS = 400
const LONGEST_PAUSE_MS = 5_000

/** @throws ApplicationFailure if another worker has taken the retry over, or the database does not take the answer. */
export async function commitAnswer(
  transactions: SendTransactions,
  request: AnswerRequest,
  attempt: number,
): Promise<WrittenAnswer & { readonly row: AnsweredRow }> {
  for (let tries = 1; ; tries += 1) {
    let written: WrittenAnswer
    try {
      written = await transactions.answer(request)
    } catch (error) {
      if (tries >= TRIES)
        throw localFailure(
          `the answer "${request.answer.reply.slice(0, 200)}" could not be written to the database yet: ${describe(error)}`,
          attempt,
        )
      await sleep(backoff(tries, FIRST_PAUSE_MS, LONGEST_PAUSE_MS))
      continue
    }
    const { row, feedback } = written
    if (row === null) throw retryLater('Waiting', 'another worker has taken this retry over', 1000)
    return { row, feedback }
  }
}
