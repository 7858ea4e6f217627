/** The processes that use a database: so that `softbounce doctor` can tell a worker of this database from one of another. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { VERSION } from '../version.js'
import type { Database } from './database.js'

const ANNOUNCE_EVERY_MS = 30_000
const FORGET_AFTER_MS = 24 * 60 * 60_000

export interface ProcessInfo {
  readonly role: 'worker' | 'intake'
  readonly version: string
  readonly host: string
  /** The task queue of its fleet. */
  readonly taskQueue: string
  /** Digests of the keys that sign return paths and encrypt payloads, by which only equality can be seen; null if none is set. */
  readonly returnPathKeys: string | null
  readonly encryptionKeys: string | null
}

/**
 * Announces this process now and every 30 s. Never rejects.
 * @returns a function that ends it.
 */
export function announceProcess(
  { db }: Database,
  role: ProcessInfo['role'],
  { taskQueue, returnPathKeys, encryptionKeys }: Pick<ProcessInfo, 'taskQueue' | 'returnPathKeys' | 'encryptionKeys'>,
): () => void {
  const id = randomUUID()
  const announce = async () => {
    const at = Date.now()
    const keys = { return_path_keys: returnPathKeys, encryption_keys: encryptionKeys }
    const row = { role, version: VERSION, host: hostname(), task_queue: taskQueue, ...keys, seen_at: at }
    await db
      .insertInto('processes')
      .values({ id, started_at: at, ...row })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ seen_at: at }))
      .execute()
    await db
      .deleteFrom('processes')
      .where('seen_at', '<', at - FORGET_AFTER_MS)
      .execute()
  }
  const timer = setInterval(() => void announce().catch(() => {}), ANNOUNCE_EVERY_MS).unref()
  void announce().catch(() => {})
  return () => {
    clearInterval(timer)
    void db
      .deleteFrom('processes')
      .where('id', '=', id)
      .execute()
      .catch(() => {})
  }
}

/** Processes that announced themselves in the last two minutes. */
export async function runningProcesses({ db }: Database, now: Date): Promise<readonly ProcessInfo[]> {
  const rows = await db
    .selectFrom('processes')
    .selectAll()
    .where('seen_at', '>', now.getTime() - 4 * ANNOUNCE_EVERY_MS)
    .execute()
  return rows.map(({ role, version, host, task_queue, return_path_keys, encryption_keys }) => ({
    ...{ role, version, host, taskQueue: task_queue },
    ...{ returnPathKeys: return_path_keys, encryptionKeys: encryption_keys },
  }))
}
