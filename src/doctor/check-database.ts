/** The database: reachable, writable, up to date, used by the workers, and its clock. */
import { existsSync } from 'node:fs'
import type { Settings } from '../config/index.js'
import {
  type Database,
  databaseFault,
  databaseNow,
  lacksRights,
  openDatabase,
  pendingMigrations,
  SchemaAhead,
  writeProbe,
} from '../store/index.js'
import { describeDatabaseError } from '../temporal/activity-errors.js'
import { checkProcesses } from './check-processes.js'
import { type Finding, failure, ok, warning } from './finding.js'

/** Clocks that differ by more are warned of. */
export const MAX_CLOCK_DIFFERENCE_MS = 2_000
const CHECK = 'database'

const fileOf = (settings: Settings): string | undefined => /^file:(.+)/.exec(settings.database.url)?.[1]

/** Opens the database of the settings; null if its file does not exist, which opening would create. */
export function openExisting(settings: Settings): Database | null {
  const file = fileOf(settings)
  return file !== undefined && !existsSync(file) ? null : openDatabase(settings.database)
}

export async function checkDatabase(settings: Settings, database: Database | null): Promise<Finding[]> {
  if (database === null)
    return [
      failure(
        CHECK,
        `${fileOf(settings)} does not exist: nothing has run with this database yet`,
        'start a worker, or run softbounce migrate; or set database.url to the database that the worker uses',
      ),
    ]
  try {
    return await checkOpen(database, settings)
  } catch (error) {
    if (error instanceof SchemaAhead)
      return [failure(CHECK, error.message, 'finish the upgrade: run one version of softbounce for one database')]
    const { text, action } = whatIsWrong(error)
    return [failure(CHECK, `it cannot be used: ${text}`, action)]
  }
}

async function checkOpen(database: Database, settings: Settings): Promise<Finding[]> {
  const before = Date.now()
  const clock = await checkClock(database)
  const found: Finding[] = [ok(CHECK, `${database.kind} answers in ${Date.now() - before} ms`)]
  const pending = await pendingMigrations(database)
  if (pending.length > 0)
    return [
      ...found,
      failure(
        CHECK,
        `its schema is behind: ${pending.join(', ')} has not run`,
        'run softbounce migrate, or start a worker of this version',
      ),
    ]
  found.push(await checkWritable(database))
  found.push(clock)
  return [...found, ...(await checkProcesses(database, settings))]
}

/** Whether this machine's and the database's clocks agree. */
export async function checkClock(database: Database): Promise<Finding> {
  const before = Date.now()
  const clock = await databaseNow(database)
  const apart = Math.abs(clock - (before + Date.now()) / 2)
  if (apart <= MAX_CLOCK_DIFFERENCE_MS) return ok('clock', `this machine's and the database's clocks are ${Math.round(apart)} ms apart`)
  return warning(
    'clock',
    `this machine's and the database's clocks are ${(apart / 1000).toFixed(1)} s apart`,
    "synchronise both (NTP): bounces are dated by this machine's clock, permits are granted by the database's",
  )
}

/** The error's text, with what it means if it shows a fault of the database; and what to do. */
function whatIsWrong(error: unknown): { readonly text: string; readonly action: string } {
  const text = describeDatabaseError(error)
  if (lacksRights(error)) return { text, action: "run this command with the worker's database.url: its role owns the tables" }
  return { text, action: databaseFault(error)?.action ?? 'start it, or correct database.url' }
}

async function checkWritable({ db }: Database): Promise<Finding> {
  const UNDONE = new Error('undone')
  try {
    await db.transaction().execute(async (tx) => {
      await writeProbe(tx)
      throw UNDONE
    })
  } catch (error) {
    if (error !== UNDONE) {
      const { text, action } = whatIsWrong(error)
      return failure(CHECK, `it cannot be written: ${text}`, action)
    }
  }
  return ok(CHECK, 'its schema is up to date, and it can be written')
}
