/** Shared by commands that need only the database. */
import { readSettings, type Settings } from '../config/index.js'
import { type Database, openDatabase, storeId } from '../store/index.js'

/** Opens the database; while another process's write holds a SQLite file, it waits and says so, once. */
export function openForCommand(settings: Pick<Settings, 'database'> = readSettings()): Database {
  let isSaid = false
  const onLocked = () => {
    if (!isSaid) process.stderr.write('softbounce: another process is writing to the database; waiting for it, a minute at most\n')
    isSaid = true
  }
  return openDatabase(settings.database, { onLocked })
}

/** Opens the database, runs `work`, and closes it. */
export async function openingDatabase(work: (database: Database) => Promise<void>): Promise<void> {
  const database = openForCommand()
  try {
    await storeId(database)
    await work(database)
  } finally {
    await database.close()
  }
}
