/** Activity failures: non-retryable ones for bad input, and local failures, which Temporal retries until they are resolved. */
import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common'
import { backoff } from '../backoff.js'
import { databaseFault } from '../store/index.js'

/** Failure types of the public contract: non-retryable; the workflow fails with the same type. */
export type NonRetryableType = 'InvalidBouncedMessage' | 'MessageNotFound' | 'MessageTooLarge' | 'WrongDatabase'

/** Bad input: the workflow fails with this type and text. */
export function nonRetryable(type: NonRetryableType, text: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message: cut(text, MAX_REFUSAL), nonRetryable: true })
}

const FIRST_DELAY_MS = 5_000
const MAX_DELAY_MS = 10 * 60_000
const MAX_TEXT = 900
const MAX_REFUSAL = 2000

const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}…` : text)

/**
 * A failure on our side: Temporal shows its text and retries the activity without adding to the history. The delay is set here instead of
 * by the retry policy.
 * @param attempt the number of the failure in a row, from 1: the delay doubles with each, up to 10 minutes. 0 for a local activity: no
 * delay is set.
 */
export function localFailure(text: string, attempt: number): ApplicationFailure {
  if (attempt === 0) return retryLater('LocalFailure', text, null)
  return retryLater('LocalFailure', text, backoff(attempt, FIRST_DELAY_MS, MAX_DELAY_MS) * (0.8 + 0.2 * Math.random()))
}

/** Makes Temporal retry the activity after a known delay; null, for a local activity: as its policy says. */
export function retryLater(type: 'LocalFailure' | 'Waiting' | 'WrongDatabase', text: string, delayMs: number | null): ApplicationFailure {
  const failure = ApplicationFailure.create({
    type,
    message: cut(text, MAX_TEXT),
    ...(delayMs === null ? {} : { nextRetryDelay: Math.max(1, Math.round(delayMs)) }),
    category: ApplicationFailureCategory.BENIGN,
  })
  // an expected failure, not a bug: a stack trace would only be noise
  failure.stack = ''
  return failure
}

/** Runs a database step; its error becomes a local failure. */
export async function withDatabase<T>(attempt: number, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (error instanceof ApplicationFailure) throw error
    throw localFailure(`the database cannot be used: ${describeDatabaseError(error)}`, attempt)
  }
}

/** An error of the database: what is wrong with it, if it is about more than the statement, and its own words. */
export function describeDatabaseError(error: unknown): string {
  const fault = databaseFault(error)
  return fault === null ? describe(error) : `${fault.text} (${describe(error)})`
}

/** An error in one line; for an aggregate error (connections to several addresses refused), its first one. */
export function describe(error: unknown): string {
  const first = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error
  const text = first instanceof Error ? first.message || first.name : String(first)
  return text.replace(/\s+/g, ' ').slice(0, 500)
}
