/** softbounce migrate: brings the database up to date. */
import type { Command } from 'commander'
import { readSettings } from '../config/index.js'
import { migrateToLatest, openDatabase } from '../store/index.js'
import { json, line } from './output.js'

export function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('bring the database up to date (a worker does so too when it starts)')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      const database = openDatabase(readSettings().database)
      try {
        const migrations = await migrateToLatest(database.db, database.kind)
        if (options.json) json({ database: database.kind, migrations })
        else line(migrations.length === 0 ? 'the database is up to date' : `brought up to date: ${migrations.join(', ')}`)
      } finally {
        await database.close()
      }
    })
}
