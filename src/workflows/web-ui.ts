/** Texts for the Web UI, derived from the state: current details in Markdown, summaries of timers and activities. */
import { setCurrentDetails } from '@temporalio/workflow'
import type { Prepared } from '../activities/index.js'
import { type Attempt, type BouncedMessage, formatDuration, isRetry, nameOfAttempt } from '../bounce/index.js'
import type { Delivery, Reason, State } from './lifecycle-state.js'

const MAX_REPLY = 200
const NAMED: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/** Escapes untrusted text (replies, addresses), so that none of it renders as Markdown or HTML. */
export function plain(text: string, most = MAX_REPLY): string {
  const oneLine = text.replace(/\s+/g, ' ').trim()
  const cut = oneLine.length > most ? `${oneLine.slice(0, most)}…` : oneLine
  return cut.replace(/[&<>\\`*_{}[\]()#+!|~$:@]/g, (c) => NAMED[c] ?? `&#${c.charCodeAt(0)};`)
}

/** An address in a summary, which the Web UI shows both as plain text and as Markdown: removes characters with a meaning in Markdown. */
export function bare(address: string): string {
  return address.replace(/[^\p{L}\p{N}.@+=_~&'/-]/gu, '?').slice(0, 200)
}

/** `2026-11-24 14:02:11 UTC`. */
export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** Shown until `prepare` has finished. */
export function showPreparing(message: BouncedMessage): void {
  setCurrentDetails(detailsOf('checking the bounce', String(message?.recipient ?? ''), '', '', null, []))
}

export function showDelivery({ recipient, destination }: Prepared, delivery: Delivery): void {
  const { state, wait, attempts } = delivery
  const note = noteOf(delivery)
  const nextAtMs = state === 'waiting' || state === 'confirming' ? (wait?.untilMs ?? null) : null
  setCurrentDetails(detailsOf(HEADLINES[state](delivery), recipient, destination, note, nextAtMs, attempts))
}

export function showCancelled(message: BouncedMessage, prepared: Prepared | null, delivery: Delivery | null): void {
  const { recipient, destination } = prepared ?? { recipient: String(message?.recipient ?? ''), destination: '' }
  const note = prepared === null ? 'Nothing was sent.' : 'Nothing more is sent, and nobody is suppressed.'
  setCurrentDetails(detailsOf('cancelled', recipient, destination, note, null, delivery?.attempts ?? []))
}

const HEADLINES: Record<State, (d: Delivery) => string> = {
  preparing: () => 'checking the bounce',
  waiting: (d) => `retry ${d.retry} of ${total(d)} waits`,
  sending: (d) => `retry ${d.retry} of ${total(d)} is being sent`,
  confirming: (d) =>
    `${isOfBackup(d) ? 'the backup relay accepted it' : `the relay accepted retry ${d.retry} of ${total(d)}`}; whether it arrives is not known yet`,
  suppressing: (d) => `${whySuppressing(d)}; the address is being suppressed`,
  delivered: () => 'delivered',
  rejected: () => 'rejected',
  suppressed: () => 'suppressed',
  expired: () => 'expired',
  cancelled: () => 'cancelled',
}

function whySuppressing(delivery: Delivery): string {
  if (delivery.reason?.kind === 'gave up') return `an operator gave up at retry ${delivery.retry} of ${total(delivery)}`
  return delivery.reason?.kind === 'recipient rejected' ? 'the recipient was rejected' : `no retry of ${total(delivery)} is left`
}

const isOfBackup = ({ attempts }: Delivery): boolean => attempts.some((attempt, i) => i === attempts.length - 1 && !isRetry(attempt))

const total = ({ plan }: Delivery): number => plan.delaysMs.length

/** One sentence on what it waits for, or how it ended. */
function noteOf(delivery: Delivery): string {
  const { state, wait, reason } = delivery
  if (reason !== null) return sentenceOf(reason, delivery)
  if (state === 'sending') return 'If this takes long, Pending Activities shows what it waits for.'
  if (state === 'confirming') return 'No report until then counts as delivered, unconfirmed. A bounce makes it a failed retry.'
  if (wait?.kind === 'backup') return 'No retry is left; the backup relay may still send.'
  if (wait?.kind === 'deadline') return `It is of no use after ${utc(wait.untilMs)}, and expires then.`
  return wait === null ? '' : `${capital(scheduleOf(delivery))}.`
}

function sentenceOf(reason: Reason, { plan, state }: Delivery): string {
  switch (reason.kind) {
    case 'ended before':
      return 'It had ended before; this bounce changes nothing.'
    case 'accepted':
      return `The receiving system accepted it at ${utc(reason.atMs)}.`
    case 'no bounce came':
      return `No bounce came within ${formatDuration(plan.confirmWithinMs)}.`
    case 'maybe delivered':
      return 'Each time the connection was lost after the whole message was sent: it may have arrived, and nobody is suppressed for that.'
    case 'report confirmed':
      return 'A delivery report confirmed it.'
    case 'report rejected':
      return `A report said ${plain(reason.status)}; nobody is suppressed.`
    case 'permanent bounce':
      return `Nothing is retried: ${plain(reason.text)}.`
    case 'message rejected':
      return 'The message was rejected for good; nobody is suppressed.'
    case 'recipient rejected':
      return `${plain(reason.status)}: the recipient is suppressed until an operator lifts it.`
    case 'already suppressed':
      return `Nothing was sent: ${plain(reason.text)}.`
    case 'deadline passed':
      return reason.text === null ? `It was to be delivered by ${utc(plan.deliverByMs ?? 0)}.` : `${capital(reason.text)}.`
    case 'gave up':
    case 'every retry failed':
      if (state !== 'suppressed') return ''
      if (reason.until === undefined) return 'A lasting suppression existed already.'
      return `${reason.kind === 'gave up' ? 'An operator gave up. ' : ''}Suppressed until ${utc(Date.parse(reason.until))}; that expires by itself, and a delivery lifts it.`
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** The current details: a headline, what comes next and when, and the attempts so far. */
function detailsOf(
  headline: string,
  recipient: string,
  destination: string,
  note: string,
  nextAtMs: number | null,
  attempts: readonly Attempt[],
): string {
  const lines = [`**${headline}**`, '', `To ${plain(recipient)} at ${plain(destination)}. ${note}`]
  if (nextAtMs !== null) lines.push('', `Next: **${utc(nextAtMs)}**`)
  if (attempts.length > 0) {
    lines.push('', '| retry | when (UTC) | outcome | reply, and by whom |', '|---|---|---|---|')
    for (const attempt of attempts) lines.push(rowOf(attempt))
  }
  return lines.join('\n')
}

/** Cached, because each row is shown again with every later state and in every replay. */
const rows = new WeakMap<Attempt, string>()

function rowOf(attempt: Attempt): string {
  const known = rows.get(attempt)
  if (known !== undefined) return known
  const outcome = `${attempt.outcome} ${plain(attempt.status)}${attempt.maybeDelivered ? ', may have arrived' : ''}`
  const when = utc(Date.parse(attempt.at)).replace(' UTC', '')
  const by = attempt.mailServer === undefined ? '' : ` (${plain(attempt.mailServer)})`
  const row = `| ${isRetry(attempt) ? attempt.retry : nameOfAttempt(attempt)} | ${when} | ${outcome} | ${plain(attempt.reply)}${by} |`
  rows.set(attempt, row)
  return row
}

/** `retry 2, 4 h after retry 1, staggered by 6 min`. */
function scheduleOf({ retry, wait, attempts }: Delivery): string {
  const { delayMs, jitterMs } = wait ?? { delayMs: 0, jitterMs: 0 }
  const jitter = jitterMs >= 1000 ? `, staggered by ${formatDuration(jitterMs)}` : ''
  const after = attempts.some(isRetry) ? `retry ${retry - 1}` : 'the bounce'
  return `retry ${retry}, ${formatDuration(delayMs)} after ${after}${jitter}`
}

/** The summary of a timer. */
export function waitSummary(delivery: Delivery): string {
  if (delivery.wait?.kind === 'backup') return 'the backup relay may still send'
  if (delivery.wait?.kind === 'confirmation')
    return isOfBackup(delivery) ? 'confirmation by the backup relay' : `confirmation of retry ${delivery.retry} by the relay`
  return delivery.wait?.kind === 'deadline' ? `expires before ${scheduleOf(delivery)}` : scheduleOf(delivery)
}

/** The summaries of activities. */
export const sendSummary = ({ recipient, delaysMs }: Prepared, retry: number): string =>
  `retry ${retry} of ${delaysMs.length} to ${bare(recipient)}`

export const backupSummary = ({ recipient }: { readonly recipient: string }): string => `by the backup relay to ${bare(recipient)}`

export const suppressSummary = ({ recipient }: Prepared, because: 'unavailable' | 'rejected'): string =>
  `suppress ${bare(recipient)} for ${because === 'rejected' ? 'good' : 'a while'}`

const MAX_FAIRNESS_KEY_BYTES = 64

/** The destination as a fairness key: at most 64 bytes, a longer one ends in a hash (FNV-1a) of the whole. */
export function fairnessKey(destination: string): string {
  if (new TextEncoder().encode(destination).length <= MAX_FAIRNESS_KEY_BYTES) return destination
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(destination)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return `${[...destination]
    .filter((c) => c <= '~')
    .join('')
    .slice(0, 50)}#${hash.toString(16)}`
}
