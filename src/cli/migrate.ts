/** softbounce migrate: brings the database up to date. */
import type { Command } from 'commander'
import { readSettings } from '../config/index.js'
import { migrateToLatest, openDatabase, storeId } from '../store/index.js'
import { json, line } from './output.js'

export function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('create the tables, or bring them up to date (a worker does so too when it starts)')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const database = openDatabase(readSettings().database)
      try {
        const migrations = await migrateToLatest(database)
        const store = await storeId(database)
        if (options.json) json({ database: database.place, store, migrations })
        else
          line(
            `${database.place} (store ${store}) ${migrations.length === 0 ? 'is up to date' : `was brought up to date: ${migrations.join(', ')}`}`,
          )
      } finally {
        await database.close()
      }
    })
}
