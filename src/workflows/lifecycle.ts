/**
 * The life of one bounced message for one recipient, as a pure state machine. `begin` and `step` return the next state and one command;
 * `receive` accepts a signal at any time. No Temporal, no clock and no randomness of its own: the interpreter
 * (retry-bounced-message.ts) performs the commands and returns their results as events.
 *
 * Prepare -> for each retry of the schedule: wait, send, and if a relay accepted it wait for confirmation -> suppress.
 * The backup relay's send is a workflow of its own (send-by-backup-relay.ts); here, only its acceptance arrives, as a signal.
 */
import type { AttemptReport, SendResult } from '../activities/index.js'
import {
  type Attempt,
  type Bounce,
  bouncedAtMs,
  dueAt,
  isAbout,
  isFinal,
  isRetry,
  isSuccess,
  type Outcome,
  provesGone,
  type RetryResult,
  relayTriesUntilMs,
  sendOf,
  statusOf,
  withReport,
} from '../bounce/index.js'
import type { Accepted, Clock, Delivery, Ending, Event, Next, Plan, Reason, Signal, Wait } from './lifecycle-state.js'
import { dropLateReports, isOfAnEarlierSend, receive } from './receive.js'

/** @param early signals received during preparation, each with its time. */
export function begin(plan: Plan, clock: Clock, early: readonly { readonly signal: Signal; readonly atMs: number }[] = []): Next {
  const unprepared: Delivery = {
    plan,
    state: 'preparing',
    retry: plan.retriesSoFar + 1,
    attempts: [],
    countFromMs: plan.fromMs,
    failedAtMs: plan.bouncedAtMs,
    allAmbiguous: true,
    wait: null,
    reports: [],
    retryNow: false,
    retryNowAtMs: Number.NEGATIVE_INFINITY,
    givenUp: false,
    backup: null,
    backupIsOpen: plan.backupUntilMs !== undefined,
    backupRow: null,
    ending: null,
    reason: null,
  }
  const delivery = early.reduce((before, { signal, atMs }) => receive(before, signal, atMs), unprepared)
  if (plan.ended !== undefined) return end(delivery, plan.ended, { kind: 'ended before' })
  if (plan.permanent !== undefined) {
    const { diagnostic, status } = plan.bounce
    if (plan.permanent.lasting) return suppressForGood(delivery, statusOf(plan.bounce), diagnostic ?? status)
    return recordEnd(delivery, { outcome: 'rejected', confirmed: false }, { kind: 'permanent bounce', text: plan.permanent.reason })
  }
  return startRetry(delivery, plan.retriesSoFar + 1, clock)
}

/** @param event the result of the previous command. */
export function step(delivery: Delivery, event: Event, clock: Clock): Next {
  switch (event.kind) {
    case 'woke':
      return delivery.state === 'confirming' ? confirm(delivery, clock) : endWait(delivery, clock)
    case 'sent':
      return judgeAttempt(delivery, event.result, clock)
    case 'send stopped':
      return suppressForAWhile(delivery)
    case 'recorded':
      return afterRecord(delivery, clock)
    case 'suppressed':
      return afterSuppression(delivery, event.until)
  }
}

function startRetry(before: Delivery, retry: number, clock: Clock): Next {
  const { plan } = before
  const delayMs = plan.delaysMs[retry - 1]
  const backupUntilMs = before.backupIsOpen ? (plan.backupUntilMs ?? 0) : 0
  if (delayMs === undefined) return waitForBackup({ ...before, retry }, backupUntilMs, clock)
  const due = dueAt(before.countFromMs, delayMs, Math.max(clock.nowMs, backupUntilMs), clock.random())
  const expiresFirst = plan.deliverByMs !== undefined && plan.deliverByMs < due.atMs
  const untilMs = expiresFirst ? (plan.deliverByMs as number) : due.atMs
  const wait: Wait = { kind: expiresFirst ? 'deadline' : 'retry', untilMs, delayMs, jitterMs: due.staggerMs }
  return { delivery: dropLateReports({ ...before, state: 'waiting', retry, wait }), command: { kind: 'wait', untilMs } }
}

function endWait(before: Delivery, clock: Clock): Next {
  const delivery = { ...before, retryNow: false }
  if (delivery.givenUp) return suppressForAWhile(delivery)
  const [report, ...reports] = delivery.reports
  if (report !== undefined) return endByReport({ ...delivery, reports }, report)
  if (delivery.backup !== null) return confirmBackup(delivery, delivery.backup, clock)
  if (delivery.wait?.kind === 'backup') return afterLastRetry({ ...delivery, backupIsOpen: false }, clock)
  if (delivery.wait?.kind === 'deadline' && !before.retryNow) return expire(delivery, null)
  return { delivery: { ...delivery, state: 'sending', wait: null }, command: { kind: 'send', retry: delivery.retry } }
}

/** No retry is left, but the backup relay may still send. */
function waitForBackup(before: Delivery, untilMs: number, clock: Clock): Next {
  if (untilMs <= clock.nowMs) return afterLastRetry(before, clock)
  const wait: Wait = { kind: 'backup', untilMs, delayMs: 0, jitterMs: 0 }
  return { delivery: dropLateReports({ ...before, state: 'waiting', wait }), command: { kind: 'wait', untilMs } }
}

/** Evaluates final reports that arrived during the last retry first. */
function afterLastRetry(before: Delivery, clock: Clock): Next {
  const delivery = dropLateReports(before)
  const [report, ...reports] = delivery.reports
  if (delivery.givenUp) return suppressForAWhile(delivery)
  if (report !== undefined) return endByReport({ ...delivery, reports }, report)
  return delivery.backup === null ? suppressForAWhile(delivery) : confirmBackup(delivery, delivery.backup, clock)
}

/** The backup relay accepted the message: no retry is sent unless it bounces. */
function confirmBackup(before: Delivery, { attempt, row, relayed }: Accepted, clock: Clock): Next {
  const delivery: Delivery = {
    ...before,
    state: 'confirming',
    wait: null,
    backup: null,
    backupIsOpen: false,
    backupRow: row,
    attempts: [...before.attempts, attempt],
  }
  if (relayed) return confirm(delivery, clock)
  return recordEnd(delivery, { outcome: 'delivered', confirmed: true }, { kind: 'accepted', atMs: Date.parse(attempt.at) })
}

function judgeAttempt(before: Delivery, result: SendResult, clock: Clock): Next {
  // does not happen here: only sends by the backup relay have `untilMs`
  if (result.kind === 'late') return suppressForAWhile(before)
  if (result.kind === 'expired') return expire(before, result.reason)
  if (result.kind === 'suppressed')
    return recordEnd(before, { outcome: 'suppressed', confirmed: false }, { kind: 'already suppressed', text: result.reason })
  const { attempt } = result
  const delivery: Delivery = {
    ...before,
    attempts: [...before.attempts, attempt],
    countFromMs: result.failedAtMs ?? Date.parse(attempt.at),
    failedAtMs: result.failedAtMs ?? before.failedAtMs,
    allAmbiguous: before.allAmbiguous && result.ambiguous,
  }
  if (attempt.outcome === 'rejected') {
    if (result.lasting) return suppressForGood(delivery, attempt.status, attempt.reply)
    return end(delivery, resultOf(delivery, 'rejected'), { kind: 'message rejected' })
  }
  if (attempt.outcome === 'deferred') return afterFailure(delivery, clock)
  if (result.relayed) return confirm({ ...delivery, state: 'confirming' }, clock)
  return end(delivery, resultOf(delivery, 'delivered', { confirmed: true }), { kind: 'accepted', atMs: Date.parse(attempt.at) })
}

/** Starts the next retry; the same one again if the failure was the backup relay's. */
function afterFailure(delivery: Delivery, clock: Clock): Next {
  if (delivery.givenUp) return suppressForAWhile(delivery)
  return startRetry(delivery, isRetry(delivery.attempts.at(-1) as Attempt) ? delivery.retry + 1 : delivery.retry, clock)
}

/** After a relay's acceptance, waits for a report; without one, ends as delivered, unconfirmed. */
function confirm(before: Delivery, clock: Clock): Next {
  const attempt = before.attempts.at(-1) as Attempt
  const untilMs = before.wait?.kind === 'confirmation' ? before.wait.untilMs : Date.parse(attempt.at) + before.plan.confirmWithinMs
  const delivery: Delivery = { ...before, wait: { kind: 'confirmation', untilMs, delayMs: before.plan.confirmWithinMs, jitterMs: 0 } }
  if (delivery.givenUp) return suppressForAWhile(delivery)
  const [report, ...reports] = delivery.reports
  if (report !== undefined) return judgeReport({ ...delivery, reports }, attempt, report, clock)
  if (clock.nowMs < untilMs) return { delivery, command: { kind: 'wait', untilMs } }
  return recordEnd(delivery, { outcome: 'delivered', confirmed: false }, { kind: 'no bounce came' })
}

function judgeReport(delivery: Delivery, attempt: Attempt, report: Bounce, clock: Clock): Next {
  if (isOfAnEarlierSend(delivery, report)) return confirm(delivery, clock)
  // a permanent rejection of the backup relay's send is not final: the destination may still accept the message from us
  const isOfBackup = !isRetry(attempt) && !isSuccess(report) && (sendOf(report) ?? 'backup') === 'backup'
  if (isFinal(report) && !isOfBackup) return endByReport(delivery, report)
  // a failure that was already counted, or one of an earlier send
  if (!isAbout(attempt, report, delivery.failedAtMs)) return confirm(delivery, clock)
  if (report.action !== 'delayed') return failAfterAll(delivery, report, clock)
  const wait = delivery.wait as Wait
  const untilMs = Math.max(wait.untilMs, relayTriesUntilMs(report, clock.nowMs))
  return confirm({ ...delivery, wait: { ...wait, untilMs } }, clock)
}

/** The retry that a relay had accepted failed after all; later delays count from the reported failure. */
function failAfterAll(before: Delivery, report: Bounce, clock: Clock): Next {
  const atMs = bouncedAtMs(report)
  const delivery: Delivery = {
    ...correctLast(before, report, 'deferred'),
    failedAtMs: atMs,
    ...(before.attempts.some(isRetry) ? { countFromMs: Math.min(Math.max(atMs, before.countFromMs), clock.nowMs) } : {}),
  }
  return { delivery, command: { kind: 'record report', report: reportOf(delivery, report) } }
}

function correctLast(delivery: Delivery, report: Bounce, outcome: Attempt['outcome']): Delivery {
  const attempts = [...delivery.attempts.slice(0, -1), withReport(delivery.attempts.at(-1) as Attempt, report, outcome)]
  return { ...delivery, attempts, allAmbiguous: delivery.allAmbiguous && !isRetry(attempts.at(-1) as Attempt) }
}

function reportOf({ attempts, retry, backupRow }: Delivery, bounce: Bounce): AttemptReport {
  const last = attempts.at(-1)
  return {
    ...(last !== undefined && !isRetry(last) && backupRow !== null ? backupRow : { retry: last?.retry ?? retry }),
    atMs: bouncedAtMs(bounce),
    status: statusOf(bounce),
    ...(bounce.diagnostic === undefined ? {} : { reply: bounce.diagnostic }),
  }
}

/** Ends by a final report: a confirmed delivery, or a permanent failure. */
function endByReport(before: Delivery, bounce: Bounce): Next {
  if (isSuccess(bounce)) {
    const delivery = correctLast(before, bounce, 'accepted')
    const report = reportOf(delivery, bounce)
    return recordEnd(delivery, { outcome: 'delivered', confirmed: true, report }, { kind: 'report confirmed' })
  }
  const status = statusOf(bounce)
  const delivery = before.attempts.at(-1)?.outcome === 'accepted' ? correctLast(before, bounce, 'rejected') : before
  if (provesGone(status, bounce.diagnostic)) return suppressForGood(delivery, status, bounce.diagnostic ?? status)
  const report = reportOf(delivery, bounce)
  return recordEnd(delivery, { outcome: 'rejected', confirmed: false, report }, { kind: 'report rejected', status })
}

const expire = (delivery: Delivery, text: string | null): Next =>
  recordEnd(delivery, { outcome: 'expired', confirmed: false }, { kind: 'deadline passed', text })

/** After every retry failed, or `giveUp`: suppresses the address temporarily, unless the message may have arrived. */
function suppressForAWhile(delivery: Delivery): Next {
  if (!delivery.givenUp && delivery.attempts.some(isRetry) && delivery.allAmbiguous)
    return recordEnd(delivery, { outcome: 'delivered', confirmed: false }, { kind: 'maybe delivered' })
  // an acceptance by a relay is not the reason of a suppression
  const last = delivery.attempts.findLast(({ outcome }) => outcome !== 'accepted')
  const { bounce } = delivery.plan
  const { status, reply } = last ?? { status: bounce.status, reply: bounce.diagnostic ?? '' }
  return suppress(delivery, 'unavailable', status, reply, { kind: delivery.givenUp ? 'gave up' : 'every retry failed' })
}

/** Suppresses a permanently rejected recipient. */
const suppressForGood = (delivery: Delivery, status: string, reply: string): Next =>
  suppress(delivery, 'rejected', status, reply, { kind: 'recipient rejected', status })

function suppress(delivery: Delivery, because: 'unavailable' | 'rejected', status: string, reply: string, reason: Reason): Next {
  const givenUp = reason.kind === 'gave up' ? ({ givenUp: true } as const) : {}
  return {
    delivery: { ...delivery, state: 'suppressing', wait: null, reason },
    command: { kind: 'suppress', because, status, reply, ...givenUp },
  }
}

function afterSuppression(delivery: Delivery, until: string | undefined): Next {
  if (delivery.reason?.kind === 'recipient rejected') return end(delivery, resultOf(delivery, 'rejected'), delivery.reason)
  const result = resultOf(delivery, 'suppressed', until === undefined ? {} : { suppressedUntil: until })
  return end(delivery, result, { kind: delivery.givenUp ? 'gave up' : 'every retry failed', until })
}

function recordEnd(before: Delivery, ending: Ending, reason: Reason): Next {
  return { delivery: { ...before, reason, ending }, command: { kind: 'record end', ...ending } }
}

function afterRecord(before: Delivery, clock: Clock): Next {
  const { ending } = before
  if (ending === null) return afterFailure(before, clock)
  // a report may have arrived while the end without a report was being recorded
  if (before.reason?.kind === 'no bounce came' && before.reports.length > 0)
    return confirm({ ...before, ending: null, reason: null }, clock)
  const { outcome, confirmed } = ending
  return end(before, resultOf(before, outcome, outcome === 'delivered' ? { confirmed } : {}), before.reason as Reason)
}

function resultOf(
  { attempts, plan }: Delivery,
  outcome: Outcome,
  more: Pick<RetryResult, 'confirmed' | 'suppressedUntil'> = {},
): RetryResult {
  const retries = attempts.filter(isRetry).at(-1)?.retry ?? plan.retriesSoFar
  return { outcome, ...more, retries, attempts: [...attempts] }
}

function end(delivery: Delivery, result: RetryResult, reason: Reason): Next {
  return { delivery: { ...delivery, state: result.outcome, wait: null, reason }, command: { kind: 'end', result } }
}
