/** Suppresses an address: for a limited time if its destination was unavailable, until lifted if the recipient was rejected. */
import { addressKey } from '../bounce/index.js'
import { type OutcomesTable, recordEnd, transact } from '../store/index.js'
import { suppressForUnavailability, suppressLastingly } from '../suppression/index.js'
import { withDatabase } from '../temporal/index.js'
import type { ActivityContext } from './context.js'
import type { MessageRun } from './record-end.js'

export interface SuppressOrder extends MessageRun {
  readonly kind: 'unavailable' | 'rejected'
  readonly status: string
  readonly reply: string
  readonly destination: string
  /** When the outage was first seen. */
  readonly outageFromMs: number
  /** An operator gave up before every retry had failed. */
  readonly givenUp?: true
}

/** Until when, ISO 8601; omitted if it lasts until lifted. */
export interface Suppressed {
  readonly until?: string
}

/** Suppresses the address and records the end, in one transaction. */
export async function suppressAddress(order: SuppressOrder, attempt: number, dependencies: ActivityContext): Promise<Suppressed> {
  const { database, settings } = dependencies
  const recipient = addressKey(order.recipient)
  const now = dependencies.now()
  const cause = {
    status: order.status,
    reply: order.reply,
    by: order.givenUp ? 'an operator, who gave up' : order.workflowId,
    destination: order.destination,
  }
  const suppressed = await withDatabase(attempt, () =>
    transact(database, { durable: true }, async (tx, commit) => {
      let until: Date | null = null
      let outcome: OutcomesTable['outcome'] = 'rejected'
      if (order.kind === 'unavailable') {
        until = await suppressForUnavailability(tx, recipient, cause, new Date(order.outageFromMs), settings.suppressionStepsMs, now)
        outcome = 'suppressed'
      } else await suppressLastingly(tx, recipient, 'rejected', cause, now)
      const { messageId, workflowId, firstRunId } = order
      const end = { messageId, recipient, workflowId, firstRunId, outcome, confirmed: false, suppressedUntil: until, endedAt: now }
      await commit([recordEnd(tx, end)])
      return until === null ? {} : { until: until.toISOString() }
    }),
  )
  dependencies.log.info(
    { workflowId: order.workflowId, reason: order.kind, status: order.status, givenUp: order.givenUp, ...suppressed },
    'an address was suppressed',
  )
  return suppressed
}
