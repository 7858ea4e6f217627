/** Maintenance workflows: the purge and the removal at the provider run by Temporal Schedules, a release on demand. */
import type { Purged, Released, ReleaseOrder, RemovedCounts } from '../activities/index.js'
import { purge, release, removeFromProviderList } from './activities.js'

/** Deletes stored messages that are no longer needed. */
export async function purgeKeptMessages(): Promise<Purged> {
  return purge()()
}

/** Releases the retries that wait for a destination, spread out. One at a time per destination: `release/<destination>`. */
export async function releaseDestination(order: ReleaseOrder): Promise<Released> {
  return release(order.destination)(order)
}

/** Takes addresses off the provider's suppression list after our suppression of them has ended. */
export async function removeAtProvider(): Promise<RemovedCounts> {
  return removeFromProviderList()()
}
