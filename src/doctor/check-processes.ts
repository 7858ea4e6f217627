/** The processes that use the database: whether there is a worker, and whether all of them fit together. */
import { keyDigests, type Settings } from '../config/index.js'
import { type Database, type ProcessInfo, runningProcesses } from '../store/index.js'
import { VERSION } from '../version.js'
import { type Finding, failure, ok, warning } from './finding.js'

export async function checkProcesses(database: Database, settings: Settings): Promise<Finding[]> {
  const running = await runningProcesses(database, new Date())
  const workers = running.filter(({ role }) => role === 'worker')
  const intakes = running.filter(({ role }) => role === 'intake')
  const use = (some: readonly ProcessInfo[]) => (some.length === 1 ? 'one uses this database' : `${some.length} use this database`)
  return [
    workers.length > 0
      ? ok('worker', `${use(workers)}: ${workers.map(({ host, version }) => `${host} (${version})`).join(', ')}`)
      : failure('worker', 'no worker uses this database now', 'start softbounce worker with this database.url'),
    ...(intakes.length > 0 ? [ok('intake', `${use(intakes)}: ${intakes.map(({ host }) => host).join(', ')}`)] : []),
    ...compare(running, settings, 'this command'),
  ]
}

/** What of this process does not fit the others that run. */
export async function compareProcesses(database: Database, settings: Settings): Promise<Finding[]> {
  return compare(await runningProcesses(database, new Date()), settings, 'this process')
}

function compare(running: readonly ProcessInfo[], settings: Settings, self: string): Finding[] {
  const found: Finding[] = []
  const versions = new Set([VERSION, ...running.map(({ version }) => version)])
  if (versions.size > 1)
    found.push(
      warning(
        'worker',
        `processes of several versions use this database: ${[...versions].join(', ')}`,
        'finish the upgrade: one version for all',
      ),
    )
  const { taskQueue, returnPathKeys, encryptionKeys } = keyDigests(settings)
  const named = (others: readonly ProcessInfo[]) => [...new Set(others.map(({ role, host }) => `the ${role} on ${host}`))].join(', ')
  const otherQueues = running.filter((one) => one.taskQueue !== taskQueue)
  if (otherQueues.length > 0)
    found.push(
      failure(
        'worker',
        `worker.taskQueue is ${taskQueue} in ${self}, and ${[...new Set(otherQueues.map((one) => one.taskQueue))].join(', ')} in ${named(otherQueues)}`,
        'set the same task queue for all processes of this database, or give each fleet a database.schema: one message could be retried twice otherwise',
      ),
    )
  const otherPaths = running.filter((one) => one.returnPathKeys !== returnPathKeys)
  if (otherPaths.length > 0)
    found.push(
      failure(
        'return path',
        `returnPath.keys differ between ${self} and ${named(otherPaths)}`,
        'set the same keys for all processes: with other keys bounces fail authentication, and start nothing',
      ),
    )
  const otherKeys = running.filter((one) => one.encryptionKeys !== encryptionKeys)
  if (otherKeys.length > 0)
    found.push(
      failure(
        'encryption',
        `encryption.keys or encryption.idKey differ between ${self} and ${named(otherKeys)}`,
        'set the same keys for all processes: with another key payloads cannot be read, and with another idKey one message gets two workflows',
      ),
    )
  return found
}
