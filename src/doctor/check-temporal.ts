/** Temporal: reachable, the namespace, search attributes, and a worker that polls the queue. */
import { Connection } from '@temporalio/client'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { fleetPrefix, formatDuration, longestSchedule, WORKFLOW_TYPE } from '../bounce/index.js'
import type { Settings } from '../config/index.js'
import { storeOfIdentity } from '../store/index.js'
import { describe } from '../temporal/activity-errors.js'
import { describeNamespace, NoNamespace, searchAttributeFault } from '../temporal/namespace.js'
import { MAX_CLOCK_DIFFERENCE_MS } from './check-database.js'
import { type Finding, failure, ok, warning } from './finding.js'

const CHECK = 'Temporal'
const WITHIN_MS = 5000
const DAY_MS = 24 * 60 * 60 * 1000
/** Workflows on another task queue that are counted at most. */
const SHOWN = 100
const WORKFLOW_QUEUE = 1 // temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
/** A poll lasts up to 60 s; a worker that has stopped stays listed for minutes. */
const RECENT_MS = 75_000

/** @param store the ID of this command's store; null if it is not known. */
export async function checkTemporal(
  store: string | null,
  settings: Pick<Settings, 'scheduleMs' | 'trialSchedules' | 'taskQueue'>,
): Promise<Finding[]> {
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig()
  const address = connectionOptions.address ?? 'localhost:7233'
  let connection: Connection
  try {
    connection = await Connection.connect({ ...connectionOptions, connectTimeout: WITHIN_MS })
  } catch (error) {
    return [failure(CHECK, `it cannot be reached at ${address}: ${describe(error)}`, 'start it, or set TEMPORAL_ADDRESS or a profile')]
  }
  try {
    return await connection.withDeadline(Date.now() + WITHIN_MS, () => checkNamespace(connection, address, namespace, store, settings))
  } finally {
    await connection.close()
  }
}

async function checkNamespace(
  connection: Connection,
  address: string,
  namespace: string,
  store: string | null,
  { taskQueue, ...schedules }: Pick<Settings, 'scheduleMs' | 'trialSchedules' | 'taskQueue'>,
): Promise<Finding[]> {
  const { workflowService } = connection
  let version = ''
  try {
    version = (await workflowService.getSystemInfo({})).serverVersion ?? ''
    await describeNamespace(connection, namespace, address)
  } catch (error) {
    if (error instanceof NoNamespace) return [failure(CHECK, error.reason, error.action)]
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
    await checkPollers(connection, namespace, store, taskQueue),
    ...(await checkRetention(connection, namespace, longestSchedule(schedules))),
    ...(await checkOtherQueues(connection, namespace, taskQueue)),
  ]
}

/** What `Connection` and the worker's `NativeConnection` share. */
type Services = Pick<Connection, 'workflowService'>

/** Whether ended retries stay visible for as long as a schedule lasts. */
export async function checkRetention({ workflowService }: Services, namespace: string, scheduleMs: readonly number[]): Promise<Finding[]> {
  const { config } = await workflowService.describeNamespace({ namespace })
  const keptMs = Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) * 1000
  const lastsMs = scheduleMs.reduce((sum, ms) => sum + ms, 0)
  if (keptMs === 0 || keptMs >= lastsMs) return []
  return [
    warning(
      CHECK,
      `the namespace ${namespace} keeps ended workflows for ${formatDuration(keptMs)}, and a schedule lasts ${formatDuration(lastsMs)}: a retry that has ended is soon gone from the Web UI; only softbounce history knows it then`,
      `temporal operator namespace update --namespace ${namespace} --retention ${Math.max(Math.ceil((2 * lastsMs) / DAY_MS), 7)}d`,
    ),
  ]
}

/** Retries that were started on another task queue: no worker of ours sees them. */
export async function checkOtherQueues({ workflowService }: Services, namespace: string, taskQueue: string): Promise<Finding[]> {
  // those of other fleets have their own IDs
  const first = fleetPrefix(taskQueue)
  const ofFleet = first === '' ? "WorkflowId NOT STARTS_WITH 'bounce/@'" : `WorkflowId STARTS_WITH 'bounce/${first}'`
  const query = `WorkflowType = '${WORKFLOW_TYPE}' AND ExecutionStatus = 'Running' AND TaskQueue != '${taskQueue}' AND ${ofFleet}`
  const { executions } = await workflowService.listWorkflowExecutions({ namespace, query, pageSize: SHOWN })
  const found = executions ?? []
  const [sample] = found
  if (sample === undefined) return []
  const queues = [...new Set(found.map(({ taskQueue }) => taskQueue))].join(', ')
  return [
    failure(
      CHECK,
      `${found.length === SHOWN ? `${SHOWN} retries or more` : found.length === 1 ? 'a retry' : `${found.length} retries`} wait on another task queue (${queues}), where no worker of softbounce polls; the first is ${sample.execution?.workflowId}`,
      `terminate them, and start them on the task queue ${taskQueue}`,
    ),
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

export async function checkPollers(
  { workflowService }: Services,
  namespace: string,
  store: string | null,
  taskQueue: string,
): Promise<Finding> {
  const queue = { namespace, taskQueue: { name: taskQueue }, taskQueueType: WORKFLOW_QUEUE }
  const { pollers } = await workflowService.describeTaskQueue(queue)
  const polled = (pollers ?? []).map(({ identity, lastAccessTime }) => ({
    identity: identity ?? '',
    atMs: Number(lastAccessTime?.seconds ?? 0) * 1000,
  }))
  const ahead = Math.max(...polled.map(({ atMs }) => atMs)) - Date.now()
  if (ahead > MAX_CLOCK_DIFFERENCE_MS)
    return warning(
      'clock',
      `Temporal's clock is at least ${Math.round(ahead / 1000)} s ahead of this machine's`,
      "synchronise both (NTP): retries are due by Temporal's clock, bounces are dated by this machine's",
    )
  const recent = polled.filter(({ atMs }) => atMs > Date.now() - RECENT_MS)
  if (recent.length === 0)
    return failure(
      CHECK,
      `no worker polls the task queue ${taskQueue} in namespace ${namespace}${Number.isFinite(ahead) ? `; the last poll was ${formatDuration(Math.round(-ahead / 1000) * 1000)} ago, unless this machine's clock is wrong` : ''}`,
      'start softbounce worker with this address and namespace',
    )
  const others = recent.map(({ identity }) => identity).filter((identity) => isOfAnotherStore(identity, store))
  if (others.length > 0)
    return failure(
      'worker',
      `a worker serves another database: ${others.join(', ')}; the one that is configured here is store ${store}. Retries that are started here are held with WrongDatabase`,
      'give all processes the same database.url',
    )
  return ok(CHECK, `${recent.length === 1 ? 'a worker polls' : `${recent.length} workers poll`} the task queue ${taskQueue}`)
}

/** Whether a worker with this identity serves another store; workers that run beside others' (the plugin) name none. */
function isOfAnotherStore(identity: string, store: string | null): boolean {
  const served = storeOfIdentity(identity)
  return served !== null && store !== null && served !== store
}
