/** Tried schedules, for a terminal. */
import { brief, number, percent, range, several } from '../format.js'
import { columns, heading, wrapped } from '../text-layout.js'
import { isSuggestion, type SuggestedSchedule, type TriedSchedule, type WhatIf } from './index.js'
import type { Replayed } from './replay.js'
import { LEAST, type TooLittle } from './suggest.js'

export function whatIfText(result: WhatIf): string[] {
  const { messages, outages, destinations, tried, suggestion, byDestination } = result
  if (messages === 0) return [...heading('Other schedules'), 'Nothing bounced in this time: there is no log to try a schedule on.']
  return [
    ...heading('What each schedule would have earned'),
    ...wrapped(
      `${several(messages, 'message')} bounced; ${several(outages, 'outage')} of ${several(destinations, 'destination')} were seen. Delivered: middle case, and from the worst to the best.`,
    ),
    ...columns([['', ...HEADS], ...tried.map((one) => row(nameOf(one), one.earned, messages))].map(narrow)),
    ...[thin(result)].flatMap((text) => (text === null ? [] : wrapped(text))),
    ...suggestionText(suggestion),
    ...(byDestination.length === 0
      ? []
      : [
          ...heading('Better schedules for single destinations'),
          ...columns([['', 'schedule', 'delivered', 'current'], ...destinationRows(result)]),
          ...wrapped('Delivered of the newer 30 % of their bounces, which the search has not seen.'),
        ]),
  ]
}

/** For a terminal: without the number of retries, and with schedules as they are written in the settings. */
const narrow = (cells: readonly string[]): string[] =>
  cells
    .filter((_, i) => i !== RETRIES)
    .map((cell, i) => (i === 0 ? cell.replace(/(\d) (?:(h|d)|min)\b/g, (_, n, unit) => `${n}${unit ?? 'm'}`).replaceAll(', ', ' ') : cell))

/** The heads of the columns of `row`, but for the first. */
export const HEADS = ['delivered', 'range', 'suppressed', 'retries', 'refused', 'median', '90 %']
const RETRIES = 1 + HEADS.indexOf('retries')

const share = (part: number, all: number) => percent(all === 0 ? 0 : part / all)

/** The name of a schedule in a table. */
export function nameOf({ schedule, kind }: Pick<TriedSchedule, 'schedule' | 'kind'>): string {
  return kind === 'current' ? `current: ${schedule}` : kind === 'suggested' ? `suggested: ${schedule}` : schedule
}

export const row = (name: string, { best, middle, worst }: Replayed, messages: number): string[] => [
  name,
  share(middle.delivered, messages),
  range(share(worst.delivered, messages), share(best.delivered, messages)),
  number(middle.suppressed),
  number(middle.retries),
  number(middle.refused),
  brief(middle.medianMs),
  brief(middle.p90Ms),
]

function suggestionText(found: SuggestedSchedule | TooLittle | null): string[] {
  if (found === null) return []
  if (!isSuggestion(found)) return ['', ...wrapped(tooLittle(found))]
  return ['', ...wrapped(suggestionInWords(found)), ...columns([['', ...HEADS], ...suggestionRows(found)].map(narrow))]
}

/** The suggested and the current schedule, on both parts of the log. */
export const suggestionRows = ({ fitted, heldOut }: SuggestedSchedule): string[][] => [
  row('older 70 %: suggested', fitted.suggested, fitted.messages),
  row('older 70 %: current', fitted.current, fitted.messages),
  row('newer 30 %: suggested', heldOut.suggested, heldOut.messages),
  row('newer 30 %: current', heldOut.current, heldOut.messages),
]

/** Destinations for which another schedule is better, and what it delivers of their newer bounces. */
export const destinationRows = ({ byDestination }: WhatIf): string[][] =>
  byDestination.map(({ destination, schedule, heldOut }) => [
    destination,
    schedule,
    share(heldOut.suggested.middle.delivered, heldOut.messages),
    share(heldOut.current.middle.delivered, heldOut.messages),
  ])

export const suggestionInWords = ({ schedule, isBetter }: SuggestedSchedule): string =>
  isBetter
    ? `Suggested: ${schedule}. It was fitted to the older 70 % of the bounces, and is better than the schedule in use on the newer 30 % too.`
    : `The best on the older 70 % of the bounces is ${schedule}; on the newer 30 % it is no better than the schedule in use. Keep that.`

/** Said beside figures of a log that is too short to rely on; null if it is not. */
export const thin = ({ messages, outages }: WhatIf): string | null =>
  messages >= LEAST.messages && outages >= LEAST.outages
    ? null
    : `These figures are of little use: below ${LEAST.messages} bounces or ${LEAST.outages} outages, only the range says anything.`

/** Why there is no suggestion. */
export const tooLittle = ({ messages, outages }: TooLittle): string =>
  `Too little for a suggestion: ${several(messages, 'bounce')} and ${several(outages, 'outage')}; it needs ${LEAST.messages} bounces and ${LEAST.outages} outages. Take a longer time (--since).`
