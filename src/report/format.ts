/** Formats numbers, times and shares for the reports. */
import { formatDuration } from '../bounce/index.js'

export const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'] as const

/** `2026-06-01 09:30`, UTC. */
export const minute = (at: Date | string): string => new Date(at).toISOString().slice(0, 16).replace('T', ' ')

/** `5 h`, `2 d 3 h`; a dash if unknown. */
export const duration = (ms: number | null): string => (ms === null ? '–' : formatDuration(ms))

const HOUR_MS = 3_600_000
const delayInWords = (ms: number) => (ms % HOUR_MS === 0 && ms <= 72 * HOUR_MS ? `${ms / HOUR_MS} h` : formatDuration(ms))

/** `30 min, 4 h, 12 h, 24 h`. */
export const scheduleInWords = (delaysMs: readonly number[]): string => delaysMs.map(delayInWords).join(', ')

/** `94–97 %`. */
export const range = (from: string, to: string): string => (from === to ? from : `${from.replace(/ %$/, '')}–${to}`)

/** `4.9 h`, `35 min`: short, for a narrow column. */
export function brief(ms: number | null): string {
  if (ms === null) return '–'
  const [unit, size] = BRIEF.find(([, size]) => ms >= size) ?? (['s', 1000] as const)
  const n = ms / size
  return `${n < 10 && unit !== 's' && unit !== 'min' ? n.toFixed(1).replace(/\.0$/, '') : Math.round(n)} ${unit}`
}
const BRIEF = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
] as const

/** `1,234`. */
export const number = (n: number): string => n.toLocaleString('en-US')

/** `29 %`; shows `0 %` only for none, and `100 %` only for all. */
export function percent(share: number): string {
  const rounded = Math.round(share * 100)
  if (rounded === 0 && share > 0) return '<1 %'
  if (rounded === 100 && share < 1) return '>99 %'
  return `${rounded} %`
}

/** `1 retry`, `2 retries`. */
export const several = (n: number, one: string, many = `${one}s`): string => `${number(n)} ${n === 1 ? one : many}`

export const cut = (text: string, most: number): string => {
  const characters = [...text]
  return characters.length > most ? `${characters.slice(0, most - 1).join('')}…` : text
}

/** Display names of the outcomes. */
export const OUTCOMES: Readonly<Record<string, string>> = {
  delivered: 'delivered',
  unconfirmed: 'delivered, unconfirmed',
  suppressed: 'suppressed for a while',
  rejected: 'rejected for good',
  expired: 'expired, after its deadline',
  cancelled: 'cancelled',
}
