/** The first step: check the input, derive the destination, keep an inline message, count the retries so far. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  addressKey,
  type BouncedMessage,
  channelsFor,
  checkBouncedMessage,
  type EventOrder,
  type EventType,
  formatDuration,
  isRetry,
  isUrgent,
  judgeBounce,
  MOST_AHEAD_MS,
  maxStaggerMs,
  parseSchedule,
  parseTime,
  type RetryResult,
  sendOf,
} from '../bounce/index.js'
import type { Router } from '../delivery/index.js'
import { canonicalMessage, deriveDestination, scheduleFor, sentId, UnsendableMessage } from '../delivery/index.js'
import { headOf } from '../dsn/index.js'
import type { WorkflowIds } from '../encryption/index.js'
import { type AnsweredRow, answeredAttempts, beginRun, findEnd, loadMessage, messageKey, parseStoredKey, storeId } from '../store/index.js'
import { nonRetryable, retryLater, withDatabase } from '../temporal/index.js'
import type { ActivityContext } from './context.js'
import { endedBefore, retriesOf } from './earlier-end.js'
import type { RunInfo } from './run-info.js'

/** What the workflow continues with; times and delays in ms. */
export interface Prepared {
  readonly messageId: string
  readonly sender: string
  readonly recipient: string
  /** The key of the stored message. */
  readonly messageKey: string
  readonly destination: string
  readonly bouncedAtMs: number
  /** Start of the first delay: the bounce, or a later retry. */
  readonly fromMs: number
  readonly delaysMs: readonly number[]
  readonly retriesSoFar: number
  readonly confirmWithinMs: number
  readonly searchAttributes: boolean
  /** Replaces the recipient in the search attribute if payloads are encrypted. */
  readonly hashedRecipient?: string
  readonly deliverByMs?: number
  /** The backup relay sends it once, before the first retry. */
  readonly backup?: true
  /** Which events of this message are published, and by which channels. */
  readonly events?: { readonly types: readonly EventType[]; readonly channels: Omit<EventOrder, 'event'> }
  /** The logged result, if an earlier run ended and this bounce changes nothing. */
  readonly ended?: RetryResult
  /** The bounce itself is permanent: nothing is retried. */
  readonly permanent?: { readonly lasting: boolean; readonly reason: string }
}

/** How soon a worker with the right database takes a held retry over. */
const WRONG_DATABASE_DELAY_MS = 10_000
const MAX_INLINE_BYTES = 128 * 1024
/** Time limit of the MX look-up here; without its result, the destination is derived from the bounce. The send looks up again. */
const LOOK_UP_WITHIN_MS = 2000

/**
 * Validates the input, resumes from the log, derives the destination, stores the message.
 * @throws ApplicationFailure of type InvalidBouncedMessage, MessageNotFound, MessageTooLarge or WrongDatabase.
 */
export async function prepare(
  input: unknown,
  run: RunInfo,
  attempt: number,
  dependencies: ActivityContext,
  { router, names }: { readonly router: Router; readonly names: WorkflowIds },
): Promise<Prepared> {
  const { settings } = dependencies
  const now = dependencies.now()
  const { message: given, verdict, content } = validate(input, run, settings, names)
  const isRetried = verdict.verdict === 'retry'
  const delaysMs = given.schedule === undefined ? scheduleFor(settings, given.messageId, given.recipient) : parseSchedule(given.schedule)
  const bouncedAtMs = bounceTime(given, now)
  return withDatabase(attempt, async () => {
    const message = await inOwnStore(given, attempt, dependencies, bouncedAtMs + totalMs(delaysMs))
    const { logged, ended, retriesSoFar, fromMs } = await resume(message, run, bouncedAtMs, dependencies)
    checkTimeouts(run, delaysMs.slice(retriesSoFar))
    const destination = message.destination ?? (await destinationOf(message, dependencies, router))
    const needsMessage = ended === null && isRetried
    const storedAs = needsMessage ? await keep(message, content, run, { destination, now, delaysMs }, dependencies) : ''
    const hashedRecipient = names.hashedRecipient(addressKey(message.recipient))
    return {
      ...{ messageId: message.messageId, sender: message.sender, recipient: message.recipient, messageKey: storedAs, destination },
      ...{ bouncedAtMs, fromMs, delaysMs, retriesSoFar, confirmWithinMs: settings.confirmWithinMs },
      searchAttributes: dependencies.searchAttributesKnown(),
      ...(hashedRecipient === null ? {} : { hashedRecipient }),
      ...(message.deliverBy === undefined ? {} : { deliverByMs: parseTime(message.deliverBy) as number }),
      ...(ended === null ? await eventsOf(message, content, dependencies, isRetried) : { ended }),
      ...(needsMessage && goesByBackup(message, logged, destination, dependencies, router) ? { backup: true as const } : {}),
      ...(isRetried ? {} : { permanent: { lasting: verdict.verdict === 'suppress', reason: verdict.reason } }),
    }
  })
}

/** The message, the verdict on its bounce, and its content if it is inline. */
function validate(input: unknown, run: RunInfo, settings: ActivityContext['settings'], names: WorkflowIds) {
  const message = check(input)
  const workflowId = names.workflowId(message.recipient, message.messageId)
  if (workflowId !== run.workflowId)
    throw nonRetryable(
      'InvalidBouncedMessage',
      `the workflow ID of this message and recipient is ${JSON.stringify(workflowId)}, not ${JSON.stringify(run.workflowId)}: under another one it could run twice`,
    )
  const verdict = judgeBounce(message.bounce, settings.retryStatuses)
  if (verdict.verdict === 'ignore')
    throw nonRetryable('InvalidBouncedMessage', `bounce.status: ${verdict.reason}. Set retry.statuses if it is to be retried.`)
  return { message, verdict, content: inlineContent(message) }
}

/** The state left by earlier runs: their attempts, how they ended, and when the first delay starts. */
async function resume(message: BouncedMessage, run: RunInfo, bouncedAtMs: number, { database, now }: ActivityContext) {
  const { db } = database
  const recipient = addressKey(message.recipient)
  // an explicit count starts the retries again, even after an end
  const isExplicit = message.retriesSoFar !== undefined
  const [attempts, end] = await Promise.all([
    answeredAttempts(db, message.messageId, recipient),
    isExplicit ? null : findEnd(db, message.messageId, recipient),
  ])
  const logged = attempts.filter((row) => row.firstRunId !== run.firstRunId)
  const ended = isExplicit ? null : endedBefore(end, run, logged, bouncedAtMs, sendOf(message.bounce))
  const retriesSoFar = message.retriesSoFar ?? retriesOf(logged)
  const failures = logged.filter(isRetry).map((row) => Math.min((row.reported ?? row).at.getTime(), now().getTime()))
  return { logged, ended, retriesSoFar, fromMs: retriesSoFar === 0 ? bouncedAtMs : Math.max(bouncedAtMs, ...failures) }
}

/** Whether the backup relay sends it: once for a message and recipient, however often it bounces. */
function goesByBackup(
  { urgent, messageId }: BouncedMessage,
  logged: readonly AnsweredRow[],
  destination: string,
  { log }: ActivityContext,
  router: Router,
): boolean {
  if (typeof urgent !== 'object' || !logged.every(isRetry)) return false
  if (router.backupTo() !== null) return true
  log.warn({ messageId, destination }, 'a message asks for the backup relay, and relay.backupUrl is not set: it has its retries only')
  return false
}

/** The events to publish: those configured for all messages, and the start of retries if the message is urgent. */
async function eventsOf(
  message: BouncedMessage,
  inline: Buffer | null,
  { settings, database }: ActivityContext,
  isRetried: boolean,
): Promise<Pick<Prepared, 'events'>> {
  const { types, urgent: rules } = settings.events
  const published = types.filter((type) => type.startsWith('bounce.') && (isRetried || type !== 'bounce.retrying'))
  const rulesOfHeaders = rules.some(({ of }) => of === 'header')
  const content = rulesOfHeaders && 'stored' in message.message ? await loadMessage(database.db, message.message.stored) : inline
  const head = content === null ? null : headOf(content)
  const { sender, recipient } = message
  const urgent = Boolean(message.urgent) || isUrgent(rules, { sender, recipient, headers: (name) => head?.all(name) ?? [] })
  if (isRetried && urgent && !published.includes('bounce.retrying')) published.push('bounce.retrying')
  const channels = channelsFor(published, settings.events)
  return channels === null ? {} : { events: { types: published, channels } }
}

function check(input: unknown): BouncedMessage {
  const checked = checkBouncedMessage(input)
  if ('faults' in checked) throw nonRetryable('InvalidBouncedMessage', checked.faults.join('; '))
  return checked.value
}

function bounceTime(message: BouncedMessage, now: Date): number {
  const at = parseTime(message.bounce.bouncedAt) as number
  if (at > now.getTime() + MOST_AHEAD_MS)
    throw nonRetryable(
      'InvalidBouncedMessage',
      `bounce.bouncedAt (${message.bounce.bouncedAt}) is in the future; it is ${now.toISOString()} now`,
    )
  return Math.min(at, now.getTime())
}

function checkTimeouts(run: RunInfo, delaysMs: readonly number[]): void {
  const neededMs = totalMs(delaysMs)
  for (const [name, ms] of [
    ['execution timeout', run.executionTimeoutMs],
    ['run timeout', run.runTimeoutMs],
  ] as const) {
    if (ms !== undefined && ms > 0 && ms < neededMs)
      throw nonRetryable(
        'InvalidBouncedMessage',
        `the workflow was started with an ${name} of ${formatDuration(ms)}, and the schedule takes ${formatDuration(neededMs)}: start it without one`,
      )
  }
}

const totalMs = (delaysMs: readonly number[]): number => delaysMs.reduce((sum, delay) => sum + delay + maxStaggerMs(delay), 0)

/**
 * The message with its key in this store.
 * @param untilMs until then a message of another store is held, since the worker may be given the right database.
 * @throws ApplicationFailure of type WrongDatabase if another store holds the message; it is retried until then.
 */
async function inOwnStore(
  message: BouncedMessage,
  attempt: number,
  { database, now }: ActivityContext,
  untilMs: number,
): Promise<BouncedMessage> {
  if (!('stored' in message.message)) return message
  const { store, key } = parseStoredKey(message.message.stored)
  const own = await storeId(database)
  if (store === null || store === own) return { ...message, message: { stored: key } }
  const text = `the message is in the store ${store}, and this worker serves the store ${own} (${database.place}): give the worker and the programs that start retries the same database.url`
  if (now().getTime() >= untilMs) throw nonRetryable('WrongDatabase', `${text}; the schedule is over`)
  throw retryLater('WrongDatabase', `${text}; the retry is held until then`, attempt === 0 ? null : WRONG_DATABASE_DELAY_MS)
}

function inlineContent(message: BouncedMessage): Buffer | null {
  const source = message.message
  if ('stored' in source) return null
  const bytes = 'raw' in source ? Buffer.from(source.raw, 'utf8') : Buffer.from(source.rawBase64, 'base64')
  if (bytes.length > MAX_INLINE_BYTES)
    throw nonRetryable(
      'MessageTooLarge',
      `the inline message has ${bytes.length} bytes; up to ${MAX_INLINE_BYTES} may stand in the argument: store a larger one first and pass its key as message.stored`,
    )
  try {
    return canonicalMessage(bytes)
  } catch (error) {
    if (error instanceof UnsendableMessage) throw nonRetryable('InvalidBouncedMessage', `message: ${error.message}`)
    throw error
  }
}

/** Stores and holds the message, and records the start of its retries. */
async function keep(
  message: BouncedMessage,
  content: Buffer | null,
  run: RunInfo,
  { destination, now, delaysMs }: { readonly destination: string; readonly now: Date; readonly delaysMs: readonly number[] },
  dependencies: ActivityContext,
): Promise<string> {
  const key = content === null ? (message.message as { stored: string }).stored : messageKey(content)
  const { workflowId, firstRunId } = run
  const start = {
    ...{ workflowId, firstRunId, sentId: sentId(message.messageId, message.recipient), destination, messageKey: key },
    ...{ status: message.bounce.status, bouncedAt: new Date(bounceTime(message, now)), startedAt: now },
    // one that the message brought along is on no trial
    schedule: message.schedule === undefined ? delaysMs.join(',') : null,
  }
  if (await beginRun(dependencies.database, start, content)) return key
  throw nonRetryable('MessageNotFound', `the message store has no message ${JSON.stringify(key)}: it was never stored there, or was purged`)
}

async function destinationOf({ recipient, bounce }: BouncedMessage, { settings }: ActivityContext, router: Router): Promise<string> {
  const mailHost = await Promise.race([router.mailHost(recipient).catch(() => null), sleep(LOOK_UP_WITHIN_MS, null, { ref: false })])
  return deriveDestination(recipient, bounce.remoteMta, ownHosts(settings), settings.throttle.groups, mailHost)
}

/** Our own hosts: the configured ones and the relay. */
function ownHosts(settings: ActivityContext['settings']): readonly string[] {
  const { relay } = settings.paths
  return relay === null ? settings.ownHosts : [...settings.ownHosts, relay.host.toLowerCase()]
}
