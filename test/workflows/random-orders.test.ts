/**
 * Random lives: signals, cancellations, notifications, failures and timers in any order. Each is checked against the promises
 * by a judge that does not know the workflow, and each history is replayed. RANDOM_LIVES=3000 sets their number;
 * RANDOM_LIFE=17 repeats the 18th.
 */
import { ApplicationFailure, Context } from '@temporalio/activity'
import {
  isGrpcCancelledError,
  isGrpcDeadlineError,
  WorkflowFailedError,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client'
import { CancelledFailure, defaultPayloadConverter } from '@temporalio/common'
import { Worker } from '@temporalio/worker'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Activities, SendOrder, SendResult } from '../../src/activities/index.js'
import type { Attempt, Bounce } from '../../src/bounce/index.js'
import { findSuppression } from '../../src/suppression/index.js'
import { bouncedAgain, giveUp, retryBouncedMessage, retryNow } from '../../src/workflows/retry-bounced-message.js'
import {
  type Answer,
  aLife,
  CONFIRM_WITHIN_MS,
  faultsOf,
  type Happened,
  type Life,
  type Lived,
  type Step,
  TROUBLE_MS,
} from '../support/lives.js'
import { bounced, startWorld, WORKFLOWS, type World } from '../support/skipping-time.js'
import { counting } from '../support/workflow-coverage.js'

const LIVES = Number(process.env.RANDOM_LIVES ?? 60)
const SEED = Number(process.env.RANDOM_SEED ?? 20261126)
/** The index of the one life to repeat, or null. */
const LIFE = process.env.RANDOM_LIFE === undefined ? null : Number(process.env.RANDOM_LIFE)

/** Lives per test server: its clock advances ten years with each, and cannot pass the year 9999. */
const LIVES_OF_A_SERVER = 200

let world: World
const lives = new Map<string, Life>()
let n = 0

const ANSWERS: Record<Answer, Pick<Attempt, 'outcome' | 'status'>> = {
  accepted: { outcome: 'accepted', status: '2.0.0' },
  relayed: { outcome: 'accepted', status: '2.0.0' },
  deferred: { outcome: 'deferred', status: '4.3.2' },
  ambiguous: { outcome: 'deferred', status: '4.4.2' },
  rejected: { outcome: 'rejected', status: '5.7.1' },
  'rejected for good': { outcome: 'rejected', status: '5.1.1' },
  expired: { outcome: 'deferred', status: '4.4.7' },
}

function send({ recipient, retry }: SendOrder): SendResult {
  const life = lives.get(recipient) as Life
  if (Context.current().info.attempt <= (life.troubles[retry - 1] as number))
    throw ApplicationFailure.create({ message: 'the database is away', nextRetryDelay: TROUBLE_MS })
  const said = life.answers[retry - 1] as Answer
  if (said === 'expired') return { kind: 'expired', reason: 'it is of no use any more' }
  const at = world.now().toISOString()
  return {
    kind: 'answered',
    attempt: { retry, at, reply: said, ...ANSWERS[said], ...(said === 'ambiguous' ? { maybeDelivered: true } : {}) },
    relayed: said === 'relayed',
    lasting: said === 'rejected for good',
    ambiguous: said === 'ambiguous',
  }
}

/** Wraps the activity to fail as often as the life prescribes before it succeeds. */
function failing<A extends unknown[], R>(activity: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
  return (...args) => {
    const { attempt, isLocal, workflowExecution } = Context.current().info
    const recipient = workflowExecution?.workflowId.split('/')[1] ?? ''
    // two attempts as a local activity, then as a regular one
    const before = isLocal ? attempt : attempt + 2
    if (before <= (lives.get(recipient)?.databaseAway ?? 0)) throw new Error('the database is away')
    return activity(...args)
  }
}

const begin = () =>
  startWorld({
    settings: { routes: '*=127.0.0.1:9', confirmWithinMs: CONFIRM_WITHIN_MS },
    override: ({ prepare, recordEnd, recordReport, suppressAddress }: Activities) => ({
      prepare: failing(prepare),
      recordEnd: failing(recordEnd),
      recordReport: failing(recordReport),
      suppressAddress: failing(suppressAddress),
      sendMessage: async (order: SendOrder) => send(order),
    }),
  })

beforeAll(async () => {
  world = await begin()
})
afterAll(() => world.close())

async function restart(): Promise<void> {
  await world.close()
  world = await begin()
  standsStill = false
}

/** Whether the test server's clock is stuck, as sometimes after a cancelled activity: steps run at once; the next life has a new server. */
let standsStill = false

/** The step's result, or null after the timeout. */
async function within<T>(ms: number, step: () => Promise<T>): Promise<T | null> {
  try {
    return await world.environment.connection.withDeadline(Date.now() + ms, step)
  } catch (error) {
    if ([error, (error as Error).cause].some((one) => isGrpcDeadlineError(one) || isGrpcCancelledError(one))) return null
    throw error
  }
}

/** Performs the step at its time by Temporal's clock, unless the workflow has ended. */
async function act(handle: WorkflowHandle, step: Step): Promise<void> {
  if ((await handle.describe()).status.name !== 'RUNNING') return
  if (!standsStill && (await within(2000, async () => await world.environment.sleep(step.afterMs).then(() => true))) === null)
    standsStill = true
  try {
    if (step.signal === 'cancel') await handle.cancel()
    else if (step.signal === 'giveUp') await handle.signal(giveUp)
    else if (step.signal === 'retryNow') await handle.signal(retryNow, ...(step.args as [{ retry: number }]))
    else {
      const bouncedAt = new Date((await world.currentTime()).getTime() - step.bouncedAgoMs).toISOString()
      await handle.signal(bouncedAgain, { ...step.bounce, bouncedAt } as Bounce)
    }
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error
  }
}

async function live(life: Life): Promise<{ faults: string[]; lived: Lived; history: History } | null> {
  n += 1
  const me = n
  const recipient = `r${me}@example${me}.org`
  lives.set(recipient, life)
  const { client } = world.environment
  const workflowId = `bounce/${recipient}/m1@example.com`
  const bouncedAt = await world.currentTime()
  const input = { ...bounced(bouncedAt, { recipient }), schedule: life.schedule.map((ms) => `${ms}ms`) }
  const handle = await client.workflow.start(retryBouncedMessage, { taskQueue: 'softbounce', workflowId, args: [input] })
  for (const step of life.steps) await act(handle, step)
  let end: Lived['end']
  try {
    const result = await within(5000, () => handle.result())
    end = result === null ? { failed: 'it does not end' } : { result }
  } catch (error) {
    end =
      error instanceof WorkflowFailedError && error.cause instanceof CancelledFailure
        ? 'cancelled'
        : { failed: String((error as Error).cause ?? error) }
  }
  const history = await handle.fetchHistory()
  // sometimes the test server loses the commands of a workflow task; the dev server does not
  if (
    typeof end === 'object' &&
    'failed' in end &&
    (isTaskLost(history) || isCancelLost(history) || isSkippedOver(life, end.failed, history))
  )
    return null
  const entry = await findSuppression(world.database.db, recipient, world.now())
  const lived: Lived = {
    happened: happenedIn(history),
    bouncedAtMs: bouncedAt.getTime(),
    end,
    suppressed: entry === null ? null : entry.until === null ? 'for good' : 'for a while',
  }
  return { faults: faultsOf(life, lived), lived, history }
}

type History = Awaited<ReturnType<ReturnType<World['environment']['client']['workflow']['getHandle']>['fetchHistory']>>

/**
 * While a local activity backs off, nothing stops the test server's clock from skipping to the execution timeout. In these lives
 * it is the activity that records a cancellation while the database is away.
 */
function isSkippedOver({ databaseAway }: Life, failed: string, { events }: History): boolean {
  const wasCancelled = events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes) ?? false
  return databaseAway > 0 && wasCancelled && failed.includes('Workflow execution timed out')
}

const kindsOf = ({ events }: History) =>
  (events ?? []).map((event) => Object.keys(event).find((key) => key.endsWith('Attributes') && event[key as keyof typeof event]))

/** Whether the last workflow task started but never completed. */
function isTaskLost({ events }: History): boolean {
  const last = events?.findLast((event) => event.workflowTaskStartedEventAttributes || event.workflowTaskCompletedEventAttributes)
  return last?.workflowTaskCompletedEventAttributes === null || last?.workflowTaskCompletedEventAttributes === undefined
}

/**
 * Whether an activity was asked to cancel and never closed: the test server forgets that of one that fails at the same moment and is to be
 * retried. The dev server closes it.
 */
function isCancelLost({ events }: History): boolean {
  const last = events?.findLast(
    (event) =>
      event.activityTaskCancelRequestedEventAttributes ||
      event.activityTaskCanceledEventAttributes ||
      event.activityTaskCompletedEventAttributes ||
      event.activityTaskFailedEventAttributes,
  )
  return Boolean(last?.activityTaskCancelRequestedEventAttributes) && Boolean(events?.at(-1)?.workflowExecutionTimedOutEventAttributes)
}

function happenedIn(history: History): Lived['happened'] {
  const happened: (Happened & { event: number })[] = []
  const sends = new Map<number, number>()
  // commands follow their workflow task, which saw all events before it started
  let taskStarted = 0
  for (const event of history.events ?? []) {
    const id = Number(event.eventId)
    const atMs = Number(event.eventTime?.seconds) * 1000 + Number(event.eventTime?.nanos ?? 0) / 1e6
    const signal = event.workflowExecutionSignaledEventAttributes
    if (event.workflowTaskStartedEventAttributes) taskStarted = id
    if (signal) {
      const args = (signal.input?.payloads ?? []).map((payload) => defaultPayloadConverter.fromPayload(payload))
      happened.push({ event: id, kind: 'signal', name: signal.signalName ?? '', args, atMs })
    }
    if (event.workflowExecutionCancelRequestedEventAttributes) happened.push({ event: id, kind: 'cancel', atMs })
    const scheduled = event.activityTaskScheduledEventAttributes
    const seen = taskStarted
    if (scheduled?.activityType?.name === 'suppressAddress') happened.push({ event: id, kind: 'suppress', atMs, seen })
    if (scheduled?.activityType?.name === 'sendMessage') {
      const order = defaultPayloadConverter.fromPayload(scheduled.input?.payloads?.[0] as never) as SendOrder
      sends.set(id, order.retry)
      happened.push({ event: id, kind: 'send', retry: order.retry, atMs, seen })
    }
    const completed = event.activityTaskCompletedEventAttributes
    const retry = sends.get(Number(completed?.scheduledEventId))
    if (retry !== undefined) happened.push({ event: id, kind: 'answered', retry, atMs })
  }
  return happened
}

test(`${LIVES} random lives keep the promises, and replay`, { timeout: (60_000 + LIVES * 200) * (counting === null ? 1 : 3) }, async () => {
  const outcomes = new Map<string, number>()
  const wrong: string[] = []
  let lost = 0
  const histories: { workflowId: string; history: History }[] = []
  const all = fc.sample(aLife, { numRuns: Math.max(LIVES, (LIFE ?? 0) + 1), seed: SEED })
  for (const [i, life] of (LIFE === null ? all : Array<Life>(LIVES).fill(all[LIFE] as Life)).entries()) {
    if (standsStill || i % LIVES_OF_A_SERVER === LIVES_OF_A_SERVER - 1) await restart()
    const known = await live(life)
    if (known === null) {
      standsStill = true
      lost += 1
      continue
    }
    const { faults, lived, history } = known
    histories.push({ workflowId: `life ${i}`, history })
    if (faults.length > 0)
      wrong.push(`life ${i} of seed ${SEED}: ${faults.join('; ')}\n${JSON.stringify({ life, lived, events: kindsOf(history) })}`)
    const name = lived.end === 'cancelled' ? lived.end : 'result' in lived.end ? lived.end.result.outcome : 'failed'
    outcomes.set(name, (outcomes.get(name) ?? 0) + 1)
  }
  expect(wrong).toEqual([])
  expect(lost, 'lives that the test server lost').toBeLessThan(5 + LIVES / 50)
  for await (const { workflowId, error } of Worker.runReplayHistories(WORKFLOWS, histories)) expect(error, workflowId).toBeUndefined()
  // every outcome occurred
  for (const outcome of LIFE === null ? ['delivered', 'suppressed', 'rejected', 'expired', 'cancelled'] : [])
    expect(outcomes.get(outcome), outcome).toBeGreaterThan(0)
})

test('the judge detects a broken promise', () => {
  const life: Life = { schedule: [60_000, 60_000], answers: ['deferred', 'accepted'], troubles: [0, 0], databaseAway: 0, steps: [] }
  const send = (event: number, retry: number, atMs: number) => ({ event, kind: 'send' as const, retry, atMs, seen: event - 1 })
  const answered = (event: number, retry: number, atMs: number) => ({ event, kind: 'answered' as const, retry, atMs })
  const result = { outcome: 'delivered' as const, confirmed: true, retries: 2, attempts: [] }
  const whole = [send(2, 1, 60_000), answered(3, 1, 60_000), send(5, 2, 120_000), answered(6, 2, 120_000)]
  const judge = (lived: Partial<Lived>) => faultsOf(life, { happened: whole, bouncedAtMs: 0, end: { result }, suppressed: null, ...lived })
  expect(judge({})).toEqual([])
  expect(judge({ happened: [send(2, 1, 30_000), ...whole.slice(1)] })).toEqual(['retry 1 went 30000 ms early'])
  expect(judge({ suppressed: 'for a while' })).toContain('delivered, and on the list')
  expect(judge({ end: 'cancelled' })).toContain('nobody cancelled it')
  expect(judge({ happened: [...whole, send(8, 3, 180_000)] })).toContain('more sends than retries')
  const gaveUp = { event: 4, kind: 'signal' as const, name: 'giveUp', args: [], atMs: 60_000 }
  expect(judge({ happened: [...whole.slice(0, 2), gaveUp, { ...send(6, 2, 120_000), seen: 4 }] })).toContain(
    'retry 2 was decided on after giveUp',
  )
  expect(judge({ end: { result: { ...result, outcome: 'suppressed' } } })).toContain('suppressed, though the last send was taken')
})
