/** unlistLapsed: run by a Temporal Schedule where it is set; takes addresses off the provider's list when our suppression has ended. */
import type { UnlistedCounts } from '../activities/index.js'
import { unlist } from './activities.js'

export async function unlistLapsed(): Promise<UnlistedCounts> {
  return unlist()()
}
