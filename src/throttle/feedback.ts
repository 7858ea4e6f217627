/**
 * How answers adapt the rate limiter: additive increase, multiplicative decrease (like TCP, and Postfix's destination concurrency
 * feedback), down after several failures in a row. An answer about a single recipient is no feedback on the destination.
 */
import { parseReply, type Stage } from '../bounce/index.js'
import type { AdmissionSettings, Limits } from './limits.js'
import { connectionsOf, intervalOf, type LimiterState, rateOf } from './rate-limiter.js'

/** `accepted`: the destination accepts mail. `failing`: it is overloaded or unreachable. `nothing`: the answer is not about it. */
export type Feedback =
  | { readonly kind: 'accepted' }
  | {
      readonly kind: 'failing'
      /** What to slow down: both, unless the reply names one. */
      readonly slower: 'rate' | 'connections' | 'both'
      /** How long the reply asks us to wait, within bounds; ms. */
      readonly waitMs: number
    }
  | { readonly kind: 'nothing' }

/** An answer, as in the attempt log. */
export interface DestinationAnswer {
  readonly outcome: 'accepted' | 'deferred' | 'rejected'
  readonly status: string
  readonly reply: string
  readonly stage: Stage
}

const SECOND_MS = 1000
/** Upper bound of the wait that a reply may ask for. */
const LONGEST_ASKED_WAIT_MS = 15 * 60 * SECOND_MS
const UNIT_MS: Record<string, number> = { s: SECOND_MS, m: 60 * SECOND_MS, h: 3600 * SECOND_MS }
/** `try again in 300 seconds`, `retry after 5 minutes`, `wait 10 min`. */
const ASKED_WAIT =
  /\b(?:(?:try|retry|come back)(?: again)?|wait)\s+(?:(?:in|after|for|at least|another)\s+){0,2}(\d{1,6})\s*(s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?)\b/i
const TOO_MANY_CONNECTIONS =
  /too many (?:concurrent |simultaneous |open |smtp )*(?:connections|sessions)|(?:concurrent|simultaneous)[a-z ]{0,20}(?:connections|sessions)|connection (?:limit|count)/i
const TOO_FAST =
  /rate.?limit|rate exceeded|too (?:fast|quickly|frequent|many (?:messages|mails|emails|requests))|throttl|slow down|unusual rate|\bexceed\w*\b[a-z ]{0,30}\brate\b/i
/** Statuses of the mail system or the network, not of a mailbox or a message (RFC 3463): X.3.0 to X.3.2, X.3.5, X.4.0 to X.4.2. */
const SYSTEM_STATUS = /^4\.(?:3\.[0125]|4\.[0-2])$/
/** A connection that was refused, lost, or not answered. */
const NOT_MET = ['4.4.1', '4.4.2']
/** Replies that mean "not now" with any enhanced code (RFC 5321 3.8 and 4.2.2; IANA ties 453 to X.3.2). */
const SYSTEM_CODES = [421, 453]

/** Classifies an answer as feedback on its destination. */
export function classifyFeedback({ outcome, status, reply, stage }: DestinationAnswer): Feedback {
  if (outcome === 'accepted') return { kind: 'accepted' }
  if (outcome === 'rejected') return { kind: 'nothing' }
  const { code } = parseReply(reply)
  // with 4.1.x or 4.2.x, the text is about one mailbox: "receiving mail too quickly", "too many messages"
  const ofMailbox = /^4\.[12]\./.test(status)
  const connections = !ofMailbox && TOO_MANY_CONNECTIONS.test(reply)
  const rate = !ofMailbox && TOO_FAST.test(reply)
  // before a recipient is named, every "not now" is about the destination, or about us
  const general = stage === 'connect' || stage === 'banner' || stage === 'EHLO' || stage === 'STARTTLS' || stage === 'MAIL'
  const system =
    SYSTEM_CODES.includes(code) || status === '4.3.2' || (code === 0 && NOT_MET.includes(status)) || (general && SYSTEM_STATUS.test(status))
  if (!system && !connections && !rate) return { kind: 'nothing' }
  return {
    kind: 'failing',
    slower: connections && !rate ? 'connections' : rate && !connections ? 'rate' : 'both',
    waitMs: askedWait(reply),
  }
}

function askedWait(reply: string): number {
  const match = ASKED_WAIT.exec(reply)
  if (match === null) return 0
  const ms = Number(match[1]) * (UNIT_MS[(match[2] as string).charAt(0).toLowerCase()] as number)
  return Math.min(ms, LONGEST_ASKED_WAIT_MS)
}

/** Each acceptance adds this share of the lowest rate: after twenty, the rate is three times the lowest. */
const INCREASE = 0.1
const AVERAGE_OVER = 5

/**
 * The state after an answer.
 * @param tookMs how long the message took, from connecting to its answer; null if that is not known (a relay's report).
 */
export function applyFeedback(
  state: LimiterState,
  lesson: Feedback,
  tookMs: number | null,
  limits: Limits,
  settings: Pick<AdmissionSettings, 'failuresBeforeDown' | 'probeIntervalMs'>,
  now: number,
): LimiterState {
  const timed =
    tookMs === null
      ? state
      : { ...state, serviceMs: state.serviceMs === 0 ? tookMs : state.serviceMs + (tookMs - state.serviceMs) / AVERAGE_OVER }
  if (lesson.kind === 'nothing') return timed
  if (lesson.kind === 'accepted') return accepted(timed, limits, now)
  const failing = {
    ...timed,
    failures: state.failures + 1,
    failingSince: state.failingSince ?? now,
    notBefore: Math.max(state.notBefore, now + lesson.waitMs),
  }
  if (state.downSince !== null) return failing
  if (failing.failures >= settings.failuresBeforeDown)
    return {
      ...failing,
      rate: limits.minMessageRate,
      connections: 1,
      downSince: failing.failingSince,
      nextStartAt: Math.max(failing.nextStartAt, now + intervalOf(limits.minMessageRate)),
      nextProbeAt: now + settings.probeIntervalMs,
      reservedUntil: now,
      epoch: state.epoch + 1,
    }
  const rate = lesson.slower === 'connections' ? rateOf(state, limits) : Math.max(limits.minMessageRate, rateOf(state, limits) / 2)
  const connections = lesson.slower === 'rate' ? connectionsOf(state, limits) : Math.max(1, connectionsOf(state, limits) / 2)
  const slower = paced({ ...failing, rate, connections }, state, limits, now)
  // times reserved at the higher rate are void
  return rate < rateOf(state, limits) ? { ...slower, reservedUntil: now, overflowUntil: now, epoch: state.epoch + 1 } : slower
}

function accepted(state: LimiterState, limits: Limits, now: number): LimiterState {
  // keeps `notBefore`: the accepted message may have started before the destination asked us to wait
  const up = { ...state, failures: 0, failingSince: null, downSince: null }
  if (state.downSince !== null) return { ...up, rate: limits.minMessageRate, connections: 1, reservedUntil: now, epoch: state.epoch + 1 }
  const rate = Math.min(limits.maxMessageRate, rateOf(state, limits) + limits.minMessageRate * INCREASE)
  const connections = Math.min(limits.connections, Math.max(1, state.connections) + 1 / Math.max(1, state.connections))
  return paced({ ...up, rate, connections }, state, limits, now)
}

/** Rescales the reserved time to the new rate, so that as many starts stay reserved as before. */
function paced(state: LimiterState, before: LimiterState, limits: Limits, now: number): LimiterState {
  const ahead = Math.max(0, before.reservedUntil - now)
  const [rateBefore, rate] = [rateOf(before, limits), rateOf(state, limits)]
  // at a lower rate, the next start moves back by the longer interval
  const nextStartAt = state.nextStartAt + Math.max(0, intervalOf(rate) - intervalOf(rateBefore))
  return { ...state, nextStartAt, reservedUntil: now + (ahead * rateBefore) / rate }
}
