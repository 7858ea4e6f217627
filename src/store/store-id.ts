/** The store's ID: which database a message was stored in, so that a worker that serves another one says so. */
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import type { Database } from './database.js'

/** The tables are not there: no worker has used this database yet. */
export class NoTables extends Error {
  override name = 'NoTables'
  constructor(place: string) {
    super(`softbounce has no tables in ${place}: start a worker with this database.url, or run softbounce migrate`)
  }
}

/** An undefined table, a schema that does not exist: PostgreSQL's codes, and SQLite's text. */
const isMissing = (error: unknown) =>
  ['42P01', '3F000'].includes((error as { code?: string }).code ?? '') || /no such table/.test((error as Error).message)

const KNOWN = new WeakMap<object, string>()

/**
 * The ID of the store. Creates nothing.
 * @throws NoTables if no worker, nor `softbounce migrate`, has created the tables; or the database's own error.
 */
export async function storeId({ db, file, place }: Pick<Database, 'db' | 'file' | 'place'>): Promise<string> {
  const known = KNOWN.get(db)
  if (known !== undefined) return known
  // opening a SQLite file would create it
  if (file !== null && !existsSync(file)) throw new NoTables(place)
  try {
    const { id } = await db.selectFrom('store').select('id').executeTakeFirstOrThrow()
    KNOWN.set(db, id)
    return id
  } catch (error) {
    throw isMissing(error) ? new NoTables(place) : error
  }
}

/** A message's key as a start carries it: `1a2b3c4d:sha256-…`. */
export const storedKey = (id: string, key: string): string => (parseStoredKey(key).store === null ? `${id}:${key}` : key)

/** The store that a key names, null if it names none; and the key within the store. */
export function parseStoredKey(text: string): { readonly store: string | null; readonly key: string } {
  const [, store, key] = /^([0-9a-f]{8}):(.+)$/.exec(text) ?? []
  return store === undefined || key === undefined ? { store: null, key: text } : { store, key }
}

/** The number of a store in the tokens of return paths: two bytes of its ID, never 0. */
export const storeNumber = (id: string): number => Number.parseInt(id.slice(0, 4), 16) || 1

/** A worker's identity, as Temporal shows it: process, host and store. */
export const identityOf = (id: string): string => `${process.pid}@${hostname()} softbounce store ${id}`

/** The store that a worker with this identity serves; null if it names none. */
export const storeOfIdentity = (identity: string): string | null => /softbounce store ([0-9a-f]{8})$/.exec(identity)?.[1] ?? null
