/** Deletes stored messages that no open workflow needs, after their retention time; and other expired rows. */
import type { Context } from '@temporalio/activity'
import {
  purgeMessages as deleteUnused,
  purgeInbound,
  purgeInbox,
  purgeProviderIds,
  purgeSent,
  releaseHolds,
  staleHolds,
} from '../store/index.js'
import { isRunning, withDatabase } from '../temporal/index.js'
import { purgeDestinations } from '../throttle/index.js'
import type { ActivityContext } from './context.js'

const PAGE = 200
const DAY_MS = 24 * 60 * 60 * 1000
/** Longer than any provider's signature stays valid: IDs in the inbox are remembered that long, against replays. */
const SIGNATURES_ARE_GOOD_MS = 2 * DAY_MS

/** How many messages were deleted. */
export interface Purged {
  readonly purged: number
}

/** Releases the holds of workflows that were terminated or timed out, then deletes messages without a hold. */
export async function purgeMessages(context: Context, dependencies: ActivityContext): Promise<Purged> {
  const { database, settings, now, log } = dependencies
  const before = new Date(now().getTime() - settings.messageRetentionMs)
  return withDatabase(context.info.attempt, async () => {
    for (let after = ''; ; ) {
      const holds = await staleHolds(database.db, before, after, PAGE)
      for (const hold of holds) {
        context.heartbeat()
        if (!(await isRunning(context.client, hold.workflowId, hold.firstRunId))) await releaseHolds(database.db, hold.firstRunId)
      }
      if (holds.length < PAGE) break
      after = holds.at(-1)?.firstRunId as string
    }
    const purged = await deleteUnused(database.db, before)
    // a bounce may arrive for as long as its return path is valid; rows are kept at least as long as messages
    const validMs = (settings.returnPaths?.validDays ?? 0) * DAY_MS
    const sentBefore = new Date(now().getTime() - Math.max(validMs, settings.messageRetentionMs) - DAY_MS)
    await purgeSent(database.db, sentBefore)
    await purgeProviderIds(database.db, sentBefore)
    // at least as long as a signature is valid, even if messages are kept for less
    await purgeInbox(database.db, new Date(Math.min(before.getTime(), now().getTime() - SIGNATURES_ARE_GOOD_MS)))
    await purgeInbound(database.db, before, sentBefore)
    await purgeDestinations(database)
    log.info({ purged, before: before.toISOString() }, 'kept messages were purged')
    return { purged }
  })
}
