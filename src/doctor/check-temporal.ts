/** Temporal: reachable, the namespace, search attributes, and a worker that polls the queue. */
import { Connection } from '@temporalio/client'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { TASK_QUEUE } from '../bounce/index.js'
import { storeOfIdentity } from '../store/index.js'
import { describe } from '../temporal/activity-errors.js'
import { searchAttributeFault } from '../temporal/namespace.js'
import { type Finding, failure, ok, warning } from './finding.js'

const CHECK = 'Temporal'
const WITHIN_MS = 5000
const WORKFLOW_QUEUE = 1 // temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
/** A poll lasts up to 60 s; a worker that has stopped stays listed for minutes. */
const RECENT_MS = 75_000

/** @param store the ID of this command's store; null if it is not known. */
export async function checkTemporal(store: string | null): Promise<Finding[]> {
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig()
  const address = connectionOptions.address ?? 'localhost:7233'
  let connection: Connection
  try {
    connection = await Connection.connect({ ...connectionOptions, connectTimeout: WITHIN_MS })
  } catch (error) {
    return [failure(CHECK, `it cannot be reached at ${address}: ${describe(error)}`, 'start it, or set TEMPORAL_ADDRESS or a profile')]
  }
  try {
    return await connection.withDeadline(Date.now() + WITHIN_MS, () => checkNamespace(connection, address, namespace, store))
  } finally {
    await connection.close()
  }
}

async function checkNamespace(connection: Connection, address: string, namespace: string, store: string | null): Promise<Finding[]> {
  const { workflowService } = connection
  let version = ''
  try {
    version = (await workflowService.getSystemInfo({})).serverVersion ?? ''
    await workflowService.describeNamespace({ namespace })
  } catch (error) {
    return [
      failure(
        CHECK,
        `the namespace ${namespace} at ${address}: ${describe(error)}`,
        'set TEMPORAL_NAMESPACE to one that exists, or create it: temporal operator namespace create',
      ),
    ]
  }
  return [
    ok(CHECK, `server ${version} at ${address}, namespace ${namespace}`),
    await checkSearchAttributes(connection, namespace),
    await checkPollers(connection, namespace, store),
  ]
}

async function checkSearchAttributes({ operatorService }: Connection, namespace: string): Promise<Finding> {
  try {
    const { customAttributes } = await operatorService.listSearchAttributes({ namespace })
    const fault = searchAttributeFault(customAttributes ?? {})
    return fault === null ? ok(CHECK, 'the search attributes are registered') : warning(CHECK, fault.text, fault.action)
  } catch (error) {
    return warning(CHECK, `the search attributes cannot be listed: ${describe(error)}`, 'give this user the right, or ask an operator')
  }
}

async function checkPollers({ workflowService }: Connection, namespace: string, store: string | null): Promise<Finding> {
  const queue = { namespace, taskQueue: { name: TASK_QUEUE }, taskQueueType: WORKFLOW_QUEUE }
  const { pollers } = await workflowService.describeTaskQueue(queue)
  const recent = (pollers ?? []).filter(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1000 > Date.now() - RECENT_MS)
  if (recent.length === 0)
    return failure(
      CHECK,
      `no worker polls the task queue ${TASK_QUEUE} in namespace ${namespace}`,
      'start softbounce worker with this address and namespace',
    )
  const others = recent.map(({ identity }) => identity ?? '').filter((identity) => isOfAnotherStore(identity, store))
  if (others.length > 0)
    return failure(
      'worker',
      `a worker serves another database: ${others.join(', ')}; that of this command is store ${store}. Retries that are started here are held with WrongDatabase`,
      'give the worker and this command the same database.url',
    )
  return ok(CHECK, `${recent.length === 1 ? 'a worker polls' : `${recent.length} workers poll`} the task queue ${TASK_QUEUE}`)
}

/** Whether a worker with this identity serves another store; workers that run beside others' (the plugin) name none. */
function isOfAnotherStore(identity: string, store: string | null): boolean {
  const served = storeOfIdentity(identity)
  return served !== null && store !== null && served !== store
}
