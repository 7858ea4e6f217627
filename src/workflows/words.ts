/** What a person reads in the Web UI: current details in Markdown, summaries of timers and activities. */
import { type Attempt, formatDuration, isRetry, nameOfSend } from '../bounce/index.js'

/** Where a retry stands. */
export type State =
  | 'preparing'
  | 'waiting'
  | 'sending'
  | 'confirming'
  | 'suppressing'
  | 'delivered'
  | 'rejected'
  | 'suppressed'
  | 'expired'
  | 'cancelled'

/** What the details are made of. */
export interface Standing {
  readonly state: State
  readonly recipient: string
  readonly destination: string
  readonly retry: number
  readonly of: number
  /** When what is waited for comes, ms. */
  readonly nextAtMs: number | null
  /** One sentence on what is waited for, or how it ended. */
  readonly note: string
  readonly attempts: readonly Attempt[]
}

const MAX_REPLY = 200
const NAMED: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' }

/** Text of strangers (replies, addresses) as plain text: nothing of it is read as Markdown or HTML. */
export function plain(text: string, most = MAX_REPLY): string {
  const oneLine = text.replace(/\s+/g, ' ').trim()
  const cut = oneLine.length > most ? `${oneLine.slice(0, most)}…` : oneLine
  return cut.replace(/[&<>\\`*_{}[\]()#+!|~$:@]/g, (c) => NAMED[c] ?? `&#${c.charCodeAt(0)};`)
}

/** An address in a summary: shown as it is in one place and as Markdown in another, so that nothing of it may be either's syntax. */
export function bare(address: string): string {
  return address.replace(/[^\p{L}\p{N}.@+=_~&'/-]/gu, '?').slice(0, 200)
}

/** `2026-11-24 14:02:11 UTC`. */
export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

const HEADLINES: Record<State, (s: Standing) => string> = {
  preparing: () => 'checking the bounce',
  waiting: (s) => `retry ${s.retry} of ${s.of} waits`,
  sending: (s) => (isRetry(s) ? `retry ${s.retry} of ${s.of} is being sent` : 'it is being sent by the backup relay'),
  confirming: (s) =>
    isRetry(s)
      ? `the relay has taken retry ${s.retry} of ${s.of}; whether it arrives is not known yet`
      : 'the backup relay has taken it; whether it arrives is not known yet',
  suppressing: (s) => `no retry of ${s.of} is left; the address is being taken off the active list`,
  delivered: () => 'delivered',
  rejected: () => 'rejected',
  suppressed: () => 'suppressed',
  expired: () => 'expired',
  cancelled: () => 'cancelled',
}

/** The current details: a headline, what comes next and when, and the attempts so far. */
export function details(s: Standing): string {
  const lines = [`**${HEADLINES[s.state](s)}**`, '', `To ${plain(s.recipient)} at ${plain(s.destination)}. ${s.note}`]
  if (s.nextAtMs !== null) lines.push('', `Next: **${utc(s.nextAtMs)}**`)
  if (s.attempts.length > 0) {
    lines.push('', '| retry | when (UTC) | outcome | what was said, and by whom |', '|---|---|---|---|')
    for (const attempt of s.attempts) lines.push(rowOf(attempt))
  }
  return lines.join('\n')
}

/** Each is shown again with every later state, and in every replay. */
const rows = new WeakMap<Attempt, string>()

function rowOf(attempt: Attempt): string {
  const known = rows.get(attempt)
  if (known !== undefined) return known
  const outcome = `${attempt.outcome} ${plain(attempt.status)}${attempt.maybeDelivered ? ', may have arrived' : ''}`
  const when = utc(Date.parse(attempt.at)).replace(' UTC', '')
  const by = attempt.mailServer === undefined ? '' : ` (${plain(attempt.mailServer)})`
  const row = `| ${isRetry(attempt) ? attempt.retry : nameOfSend(attempt.retry)} | ${when} | ${outcome} | ${plain(attempt.reply)}${by} |`
  rows.set(attempt, row)
  return row
}

/** `retry 2, 4 h after retry 1, staggered by 6 min`. */
export function timerSummary(retry: number, delayMs: number, staggerMs: number, after: string): string {
  const stagger = staggerMs >= 1000 ? `, staggered by ${formatDuration(staggerMs)}` : ''
  return `retry ${retry}, ${formatDuration(delayMs)} after ${after}${stagger}`
}

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
