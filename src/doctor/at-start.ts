/** What will not work, said once in the log when a worker or an intake starts. */

import type { Connection } from '@temporalio/client'
import { longestSchedule } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import type { Log } from '../logger.js'
import { type Database, storeId } from '../store/index.js'
import { checkClock } from './check-database.js'
import { compareProcesses } from './check-processes.js'
import { checkOtherQueues, checkPollers, checkRetention } from './check-temporal.js'
import type { Finding } from './finding.js'

export interface StartupCheckContext {
  readonly settings: Settings
  readonly database: Database
  readonly connection: Pick<Connection, 'workflowService'>
  readonly namespace: string
  readonly log: Log
}

/** Logs a line for each warning and failure. Never rejects: what cannot be checked is left to `softbounce doctor`. */
export async function warnAtStart(
  role: 'worker' | 'intake',
  { settings, database, connection, namespace, log }: StartupCheckContext,
): Promise<void> {
  const checks: Promise<readonly Finding[]>[] = [
    compareProcesses(database, settings),
    checkClock(database).then((one) => [one]),
    checkRetention(connection, namespace, longestSchedule(settings)),
    checkOtherQueues(connection, namespace, settings.taskQueue),
    // a worker that starts has not polled yet
    ...(role === 'worker'
      ? []
      : [storeId(database).then(async (store) => [await checkPollers(connection, namespace, store, settings.taskQueue)])]),
  ]
  for (const found of await Promise.allSettled(checks))
    if (found.status === 'fulfilled')
      for (const { check, result, text, action } of found.value) if (result !== 'ok') log.warn({ check, action }, text)
}
