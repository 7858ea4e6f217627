/** Small workflows around the retries: the purge and the removal at the provider run by Temporal Schedules, a release when it is asked for. */
import type { Purged, Released, ReleaseOrder, RemovedCounts } from '../activities/index.js'
import { purge, release, removeFromProviderList } from './activities.js'

/** Deletes stored messages that nobody needs any more. */
export async function purgeKeptMessages(): Promise<Purged> {
  return purge()()
}

/** Lets the retries that wait for a destination go early, spread out. One at a time for each: `release/<destination>`. */
export async function releaseDestination(order: ReleaseOrder): Promise<Released> {
  return release(order.destination)(order)
}

/** Takes addresses off the provider's suppression list after our suppression of them has ended. */
export async function removeAtProvider(): Promise<RemovedCounts> {
  return removeFromProviderList()()
}
