/**
 * Once our suppression of an address for unavailability has ended, removes the address from the provider's suppression list too, so that
 * the provider does not block the next message. Off by default.
 */
import type { Context } from '@temporalio/activity'
import { RemovalFailed, unlist } from '../providers/index.js'
import { endedSuppressions, markRemovedAtProvider } from '../suppression/index.js'
import { localFailure, withDatabase } from '../temporal/index.js'
import type { ActivityContext } from './context.js'

/** Counts by result. Contains no address, which would remain in the workflow's history. */
export interface RemovedCounts {
  readonly removed: number
  readonly notListed: number
  readonly kept: number
}

const PAGE = 100
/** Suppressions that ended longer ago are left to the operator. */
const WITHIN_MS = 7 * 24 * 60 * 60_000

export async function removeAtProvider(context: Context, dependencies: ActivityContext): Promise<RemovedCounts> {
  const { database, settings, now, log } = dependencies
  const { attempt } = context.info
  const counts = { removed: 0, notListed: 0, kept: 0 }
  const api = settings.unlistBy
  if (api === null) return counts
  for (;;) {
    const since = new Date(now().getTime() - WITHIN_MS)
    const ended = await withDatabase(attempt, () => endedSuppressions(database.db, since, now(), PAGE))
    for (const { address, since: of } of ended) {
      context.heartbeat()
      try {
        const done = await unlist(api, address)
        counts[done === 'not listed' ? 'notListed' : done] += 1
      } catch (error) {
        if (!(error instanceof RemovalFailed)) throw error
        log.warn({ provider: api.provider }, error.message)
        throw localFailure(error.message, attempt)
      }
      await withDatabase(attempt, () => markRemovedAtProvider(database.db, address, of, now()))
    }
    if (ended.length < PAGE) break
  }
  if (counts.removed > 0) log.info({ provider: api.provider, ...counts }, 'addresses were taken off the suppression list of the provider')
  return counts
}
