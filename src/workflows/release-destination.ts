/** releaseDestination: the retries that wait for a destination go early, spread out. One at a time for each: `release/<destination>`. */
import type { Released, ReleaseOrder } from '../activities/index.js'
import { release } from './activities.js'

export async function releaseDestination(order: ReleaseOrder): Promise<Released> {
  return release(order.destination)(order)
}
