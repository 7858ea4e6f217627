/** Checks that say what will not work before mail is lost. Nothing is sent, and nothing is changed. */
import type { Settings } from '../config/index.js'
import { storeId } from '../store/index.js'
import { describe } from '../temporal/activity-errors.js'
import { checkDatabase, openExisting } from './check-database.js'
import { checkIntake } from './check-intake.js'
import { checkPostfix } from './check-postfix.js'
import { checkRelay } from './check-relay.js'
import { checkReturnPath } from './check-return-path.js'
import { checkTemporal } from './check-temporal.js'
import { type Finding, failure } from './finding.js'

export { warnAtStart } from './at-start.js'
export type { Finding } from './finding.js'

export interface DoctorOptions {
  /** What `{domain}` in returnPath.address stands for. */
  readonly domain: string | null
  /** Postfix's configuration folder, if it is not the default. */
  readonly postfixConfig: string | null
}

/** Runs all checks. Never rejects. */
export async function examine(settings: Settings, { domain, postfixConfig }: DoctorOptions): Promise<Finding[]> {
  const database = openExisting(settings)
  const store = database === null ? Promise.resolve(null) : storeId(database).catch(() => null)
  const checks: readonly (readonly [string, Promise<Finding[]>])[] = [
    ['database', checkDatabase(settings, database)],
    ['Temporal', store.then((id) => checkTemporal(id, settings))],
    ['return path', checkReturnPath(settings, domain)],
    ['relay', checkRelay(settings)],
    ['intake', checkIntake(settings)],
    ['Postfix', checkPostfix(settings, postfixConfig, domain)],
  ]
  const found = checks.map(([check, running]) =>
    running.catch((error: unknown) => [
      failure(check, `it could not be checked: ${describe(error)}`, 'run softbounce doctor again, and report this if it stays'),
    ]),
  )
  try {
    return (await Promise.all(found)).flat()
  } finally {
    await database?.close().catch(() => {})
  }
}
