/** removeAtProvider: run by a Temporal Schedule where it is set; takes addresses off the provider's list when our suppression has ended. */
import type { RemovedCounts } from '../activities/index.js'
import { unlist } from './activities.js'

export async function removeAtProvider(): Promise<RemovedCounts> {
  return unlist()()
}
