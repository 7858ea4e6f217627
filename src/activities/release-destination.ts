/**
 * Releases the retries that wait for a destination, spread over the given time; each still acquires a permit. Holds one page of workflows
 * in memory. If it is interrupted and run again, it continues with those not sent since the release began.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CancelledFailure, type Context } from '@temporalio/activity'
import { WorkflowNotFoundError } from '@temporalio/client'
import { openRetriesOf } from '../bounce/index.js'
import { describe, localFailure } from '../temporal/index.js'
import { beginRelease, lastRetries, recordRelease } from '../throttle/index.js'
import type { ActivityContext } from './context.js'

/** The destination, the time to spread over, and who ordered it. */
export interface ReleaseOrder {
  readonly destination: string
  readonly withinMs: number
  readonly by: string
}

/** How many retries were released. */
export interface Released {
  readonly released: number
}

const PAGE = 100
/** The shortest pause between two releases. */
const SHORTEST_PAUSE_MS = 20
const HEARTBEAT_MS = 5_000
/** An interrupted release is resumed within this time; later, a new one begins. */
const GOES_ON_WITHIN_MS = 24 * 60 * 60_000

interface Heartbeat {
  readonly untilMs: number
  readonly released: number
}

export async function releaseWaiting(order: ReleaseOrder, context: Context, dependencies: ActivityContext): Promise<Released> {
  const { database, now, log } = dependencies
  const known = context.info.heartbeatDetails as Heartbeat | undefined
  const untilMs = known?.untilMs ?? now().getTime() + order.withinMs
  let released = known?.released ?? 0
  const heartbeat = () => context.heartbeat({ untilMs, released } satisfies Heartbeat)
  const beat = setInterval(heartbeat, HEARTBEAT_MS)
  heartbeat()
  try {
    const release = await beginRelease(database.db, order.destination, order.withinMs, order.by, now(), GOES_ON_WITHIN_MS)
    const query = openRetriesOf(context.info.taskQueue, order.destination)
    let left = (await context.client.workflow.count(query)).count
    const signal = async (page: readonly Waiting[]) => {
      let went = 0
      for (const [waiting, retry] of await nextRetries(page, release.beganAt, dependencies)) {
        // spreads those that are left evenly over the remaining time
        const pauseMs = Math.max(SHORTEST_PAUSE_MS, (untilMs - now().getTime()) / Math.max(1, left))
        await sleep(pauseMs, undefined, { signal: context.cancellationSignal })
        left -= 1
        if (await retryNow(context, waiting, retry)) went += 1
      }
      released += went
      if (went > 0) await recordRelease(database.db, order.destination, went)
    }
    const page: Waiting[] = []
    for await (const { workflowId, runId } of context.client.workflow.list({ query, pageSize: PAGE })) {
      page.push({ workflowId, runId })
      if (page.length === PAGE) await signal(page.splice(0))
    }
    await signal(page)
    await recordRelease(database.db, order.destination, 0, now())
    log.info({ destination: order.destination, released, by: order.by }, 'the waiting retries of a destination were released')
    return { released }
  } catch (error) {
    if (context.cancellationDetails?.cancelRequested) throw new CancelledFailure(`stopped after ${released}`)
    throw localFailure(`the release of ${order.destination} cannot go on now: ${describe(error)}`, context.info.attempt)
  } finally {
    clearInterval(beat)
  }
}

interface Waiting {
  readonly workflowId: string
  readonly runId: string
}

/** The retry that each workflow waits for, without workflows that have sent since the release began. */
async function nextRetries(page: readonly Waiting[], beganAt: Date, { database }: ActivityContext): Promise<[Waiting, number][]> {
  const last = await lastRetries(
    database.db,
    page.map(({ workflowId }) => workflowId),
  )
  return page.flatMap((waiting): [Waiting, number][] => {
    const before = last.get(waiting.workflowId)
    if (before === undefined) return [[waiting, 1]]
    return before.at >= beganAt ? [] : [[waiting, before.retry + 1]]
  })
}

/** Signals the retry by number, so that one sent meanwhile is not repeated. */
async function retryNow(context: Context, { workflowId, runId }: Waiting, retry: number): Promise<boolean> {
  try {
    await context.client.workflow.getHandle(workflowId, runId).signal('retryNow', { retry })
    return true
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}
