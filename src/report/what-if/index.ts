/** What other schedules would have earned on the bounces of the log, and the best one of so many retries. */
import type { Database } from '../../store/index.js'
import { scheduleInWords } from '../format.js'
import type { Window } from '../window.js'
import { KNOWN_SCHEDULES } from './known-schedules.js'
import { readLog } from './read-log.js'
import { type Bounced, type Candidate, type Log, type Replayed, replay } from './replay.js'
import { LEAST, type Suggestion, suggest, type TooLittle } from './suggest.js'

/** What to try. */
export interface WhatIfRequest {
  /** The schedule in use, ms. */
  readonly currentMs: readonly number[]
  readonly schedulesMs: readonly (readonly number[])[]
  /** The number of retries of the schedule to suggest; null for no suggestion. */
  readonly suggest: number | null
}

/** One schedule, and what it would have earned. */
export interface TriedSchedule {
  readonly schedule: string
  readonly kind: 'current' | 'asked' | 'suggested' | 'known'
  /** Where it is documented, for those of other systems. */
  readonly source?: string
  readonly earned: Replayed
}

/** A suggestion, with its schedule in words. */
export interface SuggestedSchedule extends Suggestion {
  readonly schedule: string
}

export interface WhatIf {
  readonly messages: number
  readonly outages: number
  readonly destinations: number
  readonly tried: readonly TriedSchedule[]
  /** Null if none was asked for. */
  readonly suggestion: SuggestedSchedule | TooLittle | null
  /** Destinations with enough data for which another schedule is better, those with the most bounces first. */
  readonly byDestination: readonly ({ readonly destination: string } & SuggestedSchedule)[]
}

/** Most destinations that a schedule is suggested for. */
const MOST_DESTINATIONS = 10

export async function whatIf(database: Database, window: Window, request: WhatIfRequest): Promise<WhatIf> {
  const log = await readLog(database, window)
  const current = ours(request.currentMs)
  const suggestion = request.suggest === null ? null : inWords(suggest(log, request.suggest, current))
  const trying = (kind: TriedSchedule['kind'], candidate: Candidate & { readonly source?: string }): TriedSchedule => ({
    ...{ schedule: candidate.name, kind, earned: replay(log, candidate) },
    ...(candidate.source === undefined ? {} : { source: candidate.source }),
  })
  return {
    messages: log.messages.length,
    outages: [...log.availability.values()].reduce((sum, { outages }) => sum + outages, 0),
    destinations: log.availability.size,
    tried: [
      trying('current', current),
      ...request.schedulesMs.map((delaysMs) => trying('asked', ours(delaysMs))),
      ...(isSuggestion(suggestion) ? [trying('suggested', ours(suggestion.delaysMs))] : []),
      ...KNOWN_SCHEDULES.map((known) => trying('known', known)),
    ],
    suggestion,
    byDestination: request.suggest === null || window.destination !== undefined ? [] : eachDestination(log, request.suggest, current),
  }
}

/** Whether it is a suggestion, and not the reason why there is none. */
export const isSuggestion = (found: SuggestedSchedule | TooLittle | null): found is SuggestedSchedule =>
  found !== null && 'schedule' in found

const ours = (delaysMs: readonly number[]): Candidate => ({ name: scheduleInWords(delaysMs), delaysMs, isStaggered: true })

const inWords = (found: Suggestion | TooLittle): SuggestedSchedule | TooLittle =>
  'delaysMs' in found ? { ...found, schedule: scheduleInWords(found.delaysMs) } : found

function eachDestination(log: Log, retries: number, current: Candidate): WhatIf['byDestination'] {
  const messages = new Map<string, Bounced[]>()
  for (const message of log.messages) {
    const own = messages.get(message.destination) ?? []
    own.push(message)
    messages.set(message.destination, own)
  }
  return [...messages]
    .filter(([, own]) => own.length >= LEAST.messages)
    .sort(([, a], [, b]) => b.length - a.length)
    .slice(0, MOST_DESTINATIONS)
    .flatMap(([destination, own]) => {
      const found = inWords(suggest({ ...log, messages: own }, retries, current))
      return isSuggestion(found) && found.isBetter ? [{ destination, ...found }] : []
    })
}
