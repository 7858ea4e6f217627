/**
 * Releases the retries that wait for a destination: each is released to go, spread over the time given; its permit it takes like any other. One
 * page of workflows is held at a time. Stopped half way and run again, it goes on with those that have not gone since it began.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CancelledFailure, type Context } from '@temporalio/activity'
import { WorkflowNotFoundError } from '@temporalio/client'
import { openRetriesOf } from '../bounce/index.js'
import { describe, localFailure } from '../temporal/index.js'
import { beginRelease, lastRetries, recordRelease } from '../throttle/index.js'
import type { ActivityContext } from './context.js'

/** Which destination, over what time, and who asked for it. */
export interface ReleaseOrder {
  readonly destination: string
  readonly withinMs: number
  readonly by: string
}

/** How many retries were released to go. */
export interface Released {
  readonly released: number
}

const PAGE = 100
/** Never faster than this, whatever time is given. */
const SHORTEST_PAUSE_MS = 20
const HEARTBEAT_MS = 5_000
/** A release that was stopped longer ago than this is over: the next one is another. */
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
    const query = openRetriesOf(order.destination)
    let left = (await context.client.workflow.count(query)).count
    const tell = async (page: readonly Waiting[]) => {
      let went = 0
      for (const [waiting, retry] of await nextRetries(page, release.beganAt, dependencies)) {
        // at the same pace for all that are left, however long those before took
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
      if (page.length === PAGE) await tell(page.splice(0))
    }
    await tell(page)
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

/** The retry that each of them waits for; those that were sent since the release began are left out. */
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

/** Named, so that one that has gone meanwhile does not go again. */
async function retryNow(context: Context, { workflowId, runId }: Waiting, retry: number): Promise<boolean> {
  try {
    await context.client.workflow.getHandle(workflowId, runId).signal('retryNow', { retry })
    return true
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}
