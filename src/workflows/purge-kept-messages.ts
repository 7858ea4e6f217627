/** purgeKeptMessages: run by a Temporal Schedule on the worker's task queue; deletes kept messages that nobody needs any more. */
import type { Purged } from '../activities/index.js'
import { purge } from './activities.js'

export async function purgeKeptMessages(): Promise<Purged> {
  return purge()()
}
