/** Shared by commands that need only the database. */
import { readSettings } from '../config/index.js'
import { type Database, openDatabase, storeId } from '../store/index.js'

/** Opens the database, runs `work`, and closes it. */
export async function openingDatabase(work: (database: Database) => Promise<void>): Promise<void> {
  const database = openDatabase(readSettings().database)
  try {
    await storeId(database)
    await work(database)
  } finally {
    await database.close()
  }
}
