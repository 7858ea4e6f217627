/** Records the end, unless another activity does so in its own transaction, and reports on messages that a relay accepted. */
import { addressKey } from '../bounce/index.js'
import { type OutcomesTable, recordEnd as writeEnd, recordReport as writeReport } from '../store/index.js'
import { liftSuppression } from '../suppression/index.js'
import { withDatabase } from '../temporal/index.js'
import type { ActivityContext } from './context.js'

/** A message, its recipient, and the workflow that retries it. */
export interface MessageRun {
  readonly messageId: string
  readonly recipient: string
  readonly workflowId: string
  readonly firstRunId: string
}

/** A report about an attempt. */
export interface AttemptReport {
  /** The first run ID in the attempt's row, if not the workflow's own: that of the backup relay's child workflow. */
  readonly firstRunId?: string
  readonly retry: number
  readonly atMs: number
  readonly status: string
  readonly reply?: string
}

export interface EndOrder extends MessageRun {
  readonly outcome: OutcomesTable['outcome']
  readonly confirmed: boolean
  /** The report that ended it, if one did. */
  readonly report?: AttemptReport
}

/** Writes the end. A confirmed delivery lifts a temporary suppression in the same transaction. */
export async function recordEnd(order: EndOrder, attempt: number, dependencies: ActivityContext): Promise<void> {
  const { database, now } = dependencies
  const recipient = addressKey(order.recipient)
  await withDatabase(attempt, () =>
    database.db.transaction().execute(async (tx) => {
      if (order.report !== undefined) await report(tx, order, order.report)
      if (order.outcome === 'delivered' && order.confirmed) await liftSuppression(tx, recipient, order.workflowId, now(), 'temporary')
      await writeEnd(tx, {
        messageId: order.messageId,
        recipient,
        workflowId: order.workflowId,
        firstRunId: order.firstRunId,
        outcome: order.outcome,
        confirmed: order.confirmed,
        suppressedUntil: null,
        endedAt: now(),
      })
    }),
  )
}

/** Records a report that an attempt accepted by a relay failed after all. */
export async function recordReport(
  order: MessageRun & { readonly report: AttemptReport },
  attempt: number,
  dependencies: ActivityContext,
): Promise<void> {
  await withDatabase(attempt, () => report(dependencies.database.db, order, order.report))
}

function report(db: ActivityContext['database']['db'], subject: MessageRun, reported: AttemptReport): Promise<void> {
  return writeReport(
    db,
    { firstRunId: reported.firstRunId ?? subject.firstRunId, retry: reported.retry },
    { at: new Date(reported.atMs), status: reported.status, reply: reported.reply ?? null },
  )
}
