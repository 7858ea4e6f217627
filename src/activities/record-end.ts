/** Writes down how it ended, where no other activity does so with its own work; and what a notification told of a message that a relay had taken. */
import { addressKey } from '../bounce/index.js'
import type { Dependencies } from '../delivery/index.js'
import { type EndsTable, recordEnd as writeEnd, recordReport as writeReport } from '../store/index.js'
import { liftSuppression } from '../suppression/index.js'
import { withDatabase } from '../temporal/index.js'

/** Which message for whom, in which workflow. */
export interface Subject {
  readonly messageId: string
  readonly recipient: string
  readonly workflowId: string
  readonly firstRunId: string
}

/** What a notification told of a retry. */
export interface Report {
  /** Of the attempt's row, if it is not the workflow's own: that of the backup relay. */
  readonly firstRunId?: string
  readonly retry: number
  readonly atMs: number
  readonly status: string
  readonly reply?: string
}

export interface EndOrder extends Subject {
  readonly outcome: EndsTable['outcome']
  readonly confirmed: boolean
  /** The notification that ended it, if one did. */
  readonly report?: Report
}

/** Writes the end. A confirmed delivery lifts a temporary suppression in the same transaction. */
export async function recordEnd(order: EndOrder, attempt: number, dependencies: Dependencies): Promise<void> {
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

/** Writes what a notification told: a retry that a relay had taken failed after all. */
export async function recordReport(
  order: Subject & { readonly report: Report },
  attempt: number,
  dependencies: Dependencies,
): Promise<void> {
  await withDatabase(attempt, () => report(dependencies.database.db, order, order.report))
}

function report(db: Dependencies['database']['db'], subject: Subject, told: Report): Promise<void> {
  return writeReport(
    db,
    { firstRunId: told.firstRunId ?? subject.firstRunId, retry: told.retry },
    { at: new Date(told.atMs), status: told.status, reply: told.reply ?? null },
  )
}
