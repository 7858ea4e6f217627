/** Tried schedules, for a terminal. */
import { brief, number, percent, range, several } from '../format.js'
import { columns, heading, wrapped } from '../text-layout.js'
import { isSuggestion, type SuggestedSchedule, type TriedSchedule, type WhatIf } from './index.js'
import type { Replayed } from './replay.js'
import { LEAST, type TooLittle } from './suggest.js'

export function whatIfText({ messages, outages, destinations, tried, suggestion, byDestination }: WhatIf): string[] {
  if (messages === 0) return [...heading('Other schedules'), 'Nothing bounced in this time: there is no log to try a schedule on.']
  return [
    ...heading('What each schedule would have earned'),
    ...wrapped(
      `${several(messages, 'message')} bounced; ${several(outages, 'outage')} of ${several(destinations, 'destination')} were seen. Delivered: middle case, and from the worst to the best.`,
    ),
    ...columns([HEADS, ...tried.map((one) => row(nameOf(one), one.earned, messages))], [0]),
    ...suggestionText(suggestion),
    ...(byDestination.length === 0
      ? []
      : [
          ...heading('The best for single destinations'),
          ...columns([
            ['', 'schedule', 'delivered', 'current'],
            ...byDestination.map(({ destination, schedule, heldOut }) => [
              destination,
              schedule,
              share(heldOut.suggested.middle.delivered, heldOut.messages),
              share(heldOut.current.middle.delivered, heldOut.messages),
            ]),
          ]),
          'On the newer 30 % of their bounces, which the search has not seen. Only those that\nare better there than the current schedule are listed.',
        ]),
  ]
}

const HEADS = ['', 'delivered', 'range', 'suppressed', 'retries', 'refused', 'median', '90 %']

const share = (part: number, all: number) => percent(all === 0 ? 0 : part / all)

/** The name of a schedule in a table. */
export function nameOf({ schedule, kind }: Pick<TriedSchedule, 'schedule' | 'kind'>): string {
  return kind === 'current' ? `current: ${schedule}` : kind === 'suggested' ? `suggested: ${schedule}` : schedule
}

const row = (name: string, { best, middle, worst }: Replayed, messages: number): string[] => [
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
  const { fitted, heldOut } = found
  return [
    '',
    ...wrapped(suggestionInWords(found)),
    ...columns([
      HEADS,
      row(`older 70 %: suggested`, fitted.suggested, fitted.messages),
      row(`older 70 %: current`, fitted.current, fitted.messages),
      row(`newer 30 %: suggested`, heldOut.suggested, heldOut.messages),
      row(`newer 30 %: current`, heldOut.current, heldOut.messages),
    ]),
  ]
}

export const suggestionInWords = ({ schedule, isBetter }: SuggestedSchedule): string =>
  isBetter
    ? `Suggested: ${schedule}. It was fitted to the older 70 % of the bounces, and is better than the schedule in use on the newer 30 % too.`
    : `The best on the older 70 % of the bounces is ${schedule}; on the newer 30 % it is no better than the schedule in use. Keep that.`

/** Why there is no suggestion. */
export const tooLittle = ({ messages, outages }: TooLittle): string =>
  `Too little for a suggestion: ${several(messages, 'bounce')} and ${several(outages, 'outage')}; it needs ${LEAST.messages} bounces and ${LEAST.outages} outages. Take a longer time (--since).`
