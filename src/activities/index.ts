/**
 * The activities. Each keeps these rules: bad input fails without retry, with an error type of the public contract; a local failure is
 * retried for as long as it takes, adds no event to the history, and shows its reason; every activity is idempotent.
 */
import { Context } from '@temporalio/activity'
import type { SoftbounceEvent } from '../bounce/index.js'
import { ConnectionPool, Router, type SendOrder, type SendResult, SendTransactions } from '../delivery/index.js'
import { WorkflowIds } from '../encryption/index.js'
import type { ActivityContext } from './context.js'
import { deliverWebhook } from './deliver-webhook.js'
import { type Prepared, prepare } from './prepare.js'
import { type Purged, purgeMessages } from './purge-expired.js'
import { type AttemptReport, type EndOrder, type MessageRun, recordEnd, recordReport } from './record-end.js'
import { type Released, type ReleaseOrder, releaseWaiting } from './release-destination.js'
import { type RemovedCounts, removeAtProvider } from './remove-at-provider.js'
import type { RunInfo } from './run-info.js'
import { sendMessage } from './send-message.js'
import { type Suppressed, type SuppressOrder, suppressAddress } from './suppress-address.js'
import { type InStartEvent, isInStartEvent, startEventInput } from './workflow-input.js'

export type { ActivityContext } from './context.js'
export type {
  AttemptReport,
  EndOrder,
  InStartEvent,
  MessageRun,
  Prepared,
  Purged,
  Released,
  ReleaseOrder,
  RemovedCounts,
  RunInfo,
  SendOrder,
  SendResult,
  Suppressed,
  SuppressOrder,
}

/** Creates the activities. */
export function createActivities(dependencies: ActivityContext) {
  const { sessions = new ConnectionPool(), settings } = dependencies
  const router = new Router(dependencies)
  const names = new WorkflowIds(settings.encryption.idKey, settings.taskQueue)
  const shared = { router, connections: sessions, transactions: new SendTransactions(dependencies) }
  const attempt = () => (Context.current().info.isLocal ? 0 : Context.current().info.attempt)
  return {
    /** Checks the input and prepares the retries. */
    prepare: async (input: unknown, run: RunInfo): Promise<Prepared> =>
      prepare(isInStartEvent(input) ? await startEventInput(Context.current()) : input, run, attempt(), dependencies, { router, names }),
    /** One retry: one SMTP transaction. */
    sendMessage: (order: SendOrder): Promise<SendResult> => sendMessage(order, Context.current(), dependencies, shared),
    /** Suppresses an address. */
    suppressAddress: (order: SuppressOrder): Promise<Suppressed> => suppressAddress(order, attempt(), dependencies),
    /** Records how the retries ended. */
    recordEnd: (order: EndOrder): Promise<void> => recordEnd(order, attempt(), dependencies),
    /** Records a report about an attempt. */
    recordReport: (order: MessageRun & { readonly report: AttemptReport }): Promise<void> => recordReport(order, attempt(), dependencies),
    /** Delivers an event by the webhook. */
    deliverWebhook: (event: SoftbounceEvent): Promise<void> => deliverWebhook(event, attempt(), dependencies),
    /** Releases the retries that wait for a destination. */
    releaseWaiting: (order: ReleaseOrder): Promise<Released> => releaseWaiting(order, Context.current(), dependencies),
    /** Deletes stored messages that are no longer needed. */
    purgeMessages: (): Promise<Purged> => purgeMessages(Context.current(), dependencies),
    /** Removes addresses from the provider's suppression list once our suppression of them has ended. */
    removeAtProvider: (): Promise<RemovedCounts> => removeAtProvider(Context.current(), dependencies),
  }
}

export type Activities = ReturnType<typeof createActivities>
