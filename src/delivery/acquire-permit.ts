/**
 * Acquires the permit of a send: at once, or after a short wait inside the activity. For a longer wait, Temporal retries the activity
 * later, which takes no worker slot and adds no event; the Web UI shows why and until when.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CancelledFailure, type Context } from '@temporalio/activity'
import { formatDuration } from '../bounce/index.js'
import { failedSends, retryLater, withDatabase } from '../temporal/index.js'
import {
  type Acquisition,
  configuredLimits,
  formatRate,
  MAX_IN_PLACE_WAIT_MS,
  pausedNow,
  rateOf,
  relayOf,
  withManualLimits,
} from '../throttle/index.js'
import type { DeliveryContext } from './context.js'
import type { PooledConnection } from './smtp/connection-pool.js'

/** A permit: the lease of our connection, and a pooled connection if there was one. */
export interface Permit {
  readonly leaseId: string
  readonly open: PooledConnection | null
  readonly polls: number
}

/** The attempt that needs the permit; `deliverByMs`: its deadline, epoch ms. */
export interface PermitSubject {
  readonly firstRunId: string
  readonly retry: number
  readonly workflowId: string
  readonly deliverByMs?: number
}

type Waiting = Extract<Acquisition, { kind: 'wait' }>

/** How long a connection stays open, idle, for the next message. */
export const IDLE_MS = 1000
const PAUSED_LOOK_MS = 10 * 60_000
/** The longest total wait inside the activity. */
const MOST_IN_PLACE_MS = 2 * MAX_IN_PLACE_WAIT_MS

/**
 * Asks until the permit is granted, or the answer is another one than to wait.
 * @throws ApplicationFailure of type Waiting if it is not granted yet.
 */
export async function acquirePermit<Result extends { readonly kind: string }>(
  subject: PermitSubject,
  context: Context,
  dependencies: DeliveryContext,
  ask: () => Promise<Result | Waiting>,
): Promise<Result> {
  const { now, metrics } = dependencies
  for (let waitedMs = 0; ; ) {
    const asked = await withDatabase(failedSends.nextCount(context.info), ask)
    if (!isWaiting(asked)) return asked
    metrics?.permitWaited(asked.why)
    waitedMs += asked.askAgainMs
    if (asked.askAgainMs > MAX_IN_PLACE_WAIT_MS || waitedMs > MOST_IN_PLACE_MS) {
      // retry no later than the deadline, so that the message expires on time
      const usefulMs = subject.deliverByMs === undefined ? Number.POSITIVE_INFINITY : Math.max(1, subject.deliverByMs - now().getTime() + 1)
      throw retryLater('Waiting', waitingText(asked, dependencies), Math.min(asked.askAgainMs, usefulMs))
    }
    await sleep(asked.askAgainMs, undefined, { signal: context.cancellationSignal }).catch(() => {
      if (context.cancellationDetails?.cancelRequested) throw new CancelledFailure('cancelled while it waited for its permit')
      throw retryLater('Waiting', 'the worker was stopped while the message waited for its permit', 1)
    })
  }
}

const isWaiting = (asked: { readonly kind: string }): asked is Waiting => asked.kind === 'wait'

const clock = (at: Date | number): string => new Date(at).toISOString().slice(11, 19)
/** The time, with the date unless it is today. */
const moment = (at: Date | number, now: number): string => {
  const iso = new Date(at).toISOString()
  return iso.slice(0, 10) === new Date(now).toISOString().slice(0, 10) ? `${clock(at)} UTC` : `${iso.slice(0, 10)} ${clock(at)} UTC`
}

/**
 * Makes outcomes that need no permit wait for the end of a pause too.
 * @throws ApplicationFailure of type Waiting if retries for the destination, or all, are paused.
 */
export async function waitWhilePaused(destination: string, context: Context, dependencies: DeliveryContext): Promise<void> {
  const paused = await withDatabase(failedSends.nextCount(context.info), () => pausedNow(dependencies.database.db, destination))
  if (paused === null) return
  const what = paused.name === destination ? destination : 'everything'
  throw retryLater(
    'Waiting',
    `retries for ${what} are paused since ${paused.since.toISOString()} by ${paused.by}; none is used up`,
    PAUSED_LOOK_MS,
  )
}

/** Why the message waits and until when, for the Web UI. */
function waitingText(acquisition: Waiting, { settings, now }: DeliveryContext): string {
  const { state, why, goesAt } = acquisition
  const { throttle } = settings
  const at = now().getTime()
  const relay = relayOf(acquisition.name)
  const name = relay === null ? acquisition.name : `the relay ${relay}`
  const said = state.said === null ? '' : ` (last reply: ${state.said.reply.replace(/\s+/g, ' ').slice(0, 200)})`
  const goes = goesAt === null ? '' : `this message goes at ${moment(goesAt, at)} at the latest`
  switch (why) {
    case 'paused':
      return `retries for ${name} are paused since ${moment(state.pausedSince as number, at)} by ${state.pausedBy ?? 'an operator'}; none is used up; looked at again at ${moment(at + acquisition.askAgainMs, at)} at the latest`
    case 'down': {
      const every = throttle.probeIntervalMs
      const next = state.nextProbeAt - Math.max(0, Math.floor((state.nextProbeAt - at) / every)) * every
      return `${name} is down since ${moment(state.downSince as number, at)}${said}; next probe at ${moment(Math.max(next, at), at)}; ${goes}`
    }
    case 'retry after':
      return `${name} asked us to wait until ${moment(state.notBefore, at)}${said}; ${goes}`
    case 'connection limit':
      return `every connection to ${name} is in use; ${goes}`
    case 'rate limit': {
      const limits = withManualLimits(configuredLimits(throttle, acquisition.name), state.limited)
      const ahead = goesAt === null ? 0 : goesAt.getTime() - at
      return `${name} is limited to ${formatRate(rateOf(state, limits))}, and other messages come first; ${goes} (in ${formatDuration(ahead)})`
    }
  }
}
