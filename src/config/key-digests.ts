/** What all processes of an installation must share: the task queue, and keys as digests, by which they compare them without showing them. */
import { createHash } from 'node:crypto'
import { keysDigest } from '../delivery/return-path.js'
import type { Settings } from './config.js'

export interface KeyDigests {
  readonly taskQueue: string
  /** Of `returnPath.keys`; null if none is set. */
  readonly returnPathKeys: string | null
  /** Of `encryption.keys` in any order, and `encryption.idKey`; null if none is set. */
  readonly encryptionKeys: string | null
}

export function keyDigests({ taskQueue, returnPaths, encryption }: Pick<Settings, 'taskQueue' | 'returnPaths' | 'encryption'>): KeyDigests {
  return { taskQueue, returnPathKeys: keysDigest(returnPaths), encryptionKeys: encryptionDigest(encryption) }
}

function encryptionDigest({ keys, idKey }: Settings['encryption']): string | null {
  if (keys.length === 0) return null
  const named = keys.map(({ id, bytes }) => `${id} ${bytes.toString('hex')}`).sort()
  const digest = createHash('sha256').update('softbounce encryption keys').update(named.join('\n'))
  return digest
    .update(idKey ?? '')
    .digest('hex')
    .slice(0, 16)
}
