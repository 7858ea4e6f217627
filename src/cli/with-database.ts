/** What commands that need the database alone have in common. */
import { readSettings } from '../config/index.js'
import { type Database, migrateToLatest, openDatabase } from '../store/index.js'

/** Opens it, brings it up to date, works, and closes. */
export async function openingDatabase(work: (database: Database) => Promise<void>): Promise<void> {
  const database = openDatabase(readSettings().databaseUrl)
  try {
    await migrateToLatest(database.db, database.kind)
    await work(database)
  } finally {
    await database.close()
  }
}
