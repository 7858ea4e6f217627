/** Tried schedules, as a section of the report's page. */
import type { Figures } from '../figures.js'
import { brief, number, percent, range, several } from '../format.js'
import { figure, section, table } from '../html-parts.js'
import { type Html, html } from '../page.js'
import { deliveredChart, timesChart } from './chart.js'
import { isSuggestion } from './index.js'
import type { Replayed } from './replay.js'
import type { TooLittle } from './suggest.js'
import { nameOf, suggestionInWords, tooLittle } from './text.js'

/** Tried schedules, if any were asked for. */
export function schedules({ whatIf }: Figures): Html {
  if (whatIf === undefined || whatIf.messages === 0) return html``
  const { messages, outages, destinations, tried, suggestion, byDestination } = whatIf
  const share = (part: number, all: number) => percent(all === 0 ? 0 : part / all)
  const cells = (name: string, { best, middle, worst }: Replayed, all: number): string[] => [
    name,
    share(middle.delivered, all),
    range(share(worst.delivered, all), share(best.delivered, all)),
    number(middle.suppressed),
    number(middle.retries),
    number(middle.refused),
    brief(middle.medianMs),
    brief(middle.p90Ms),
  ]
  const heads = ['schedule', 'delivered', 'worst to best', 'suppressed', 'retries', 'refused', 'median', '90 %']
  const found = isSuggestion(suggestion) ? suggestion : null
  return section(
    'What each schedule would have earned',
    figure(
      deliveredChart(whatIf),
      `Of ${several(messages, 'message')} that bounced, the share that each schedule would have delivered, by ${several(outages, 'outage')} of ${several(destinations, 'destination')} that were seen. A line reaches from the worst to the best case.`,
    ),
    figure(timesChart(whatIf), 'How long that would have taken: half by the end of the bar, nine of ten by the end of the line.'),
    table(
      heads,
      tried.map((one) => cells(nameOf(one), one.earned, messages)),
    ),
    suggestion !== null && found === null ? html`<p>${tooLittle(suggestion as TooLittle)}</p>` : '',
    found === null ? '' : html`<p>${suggestionInWords(found)}</p>`,
    found === null
      ? ''
      : table(heads, [
          cells('older 70 %: suggested', found.fitted.suggested, found.fitted.messages),
          cells('older 70 %: current', found.fitted.current, found.fitted.messages),
          cells('newer 30 %: suggested', found.heldOut.suggested, found.heldOut.messages),
          cells('newer 30 %: current', found.heldOut.current, found.heldOut.messages),
        ]),
    byDestination.length === 0
      ? ''
      : table(
          ['destination', 'better schedule', 'delivered', 'with the current one'],
          byDestination.map(({ destination, schedule, heldOut }) => [
            destination,
            schedule,
            share(heldOut.suggested.middle.delivered, heldOut.messages),
            share(heldOut.current.middle.delivered, heldOut.messages),
          ]),
        ),
  )
}
