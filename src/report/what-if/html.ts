/** Tried schedules, as a section of the report's page. */
import type { Figures } from '../figures.js'
import { several } from '../format.js'
import { figure, section, table } from '../html-parts.js'
import { type Html, html } from '../page.js'
import { deliveredChart, timesChart } from './chart.js'
import { isSuggestion } from './index.js'
import type { TooLittle } from './suggest.js'
import { destinationRows, HEADS, nameOf, row, suggestionInWords, suggestionRows, thin, tooLittle } from './text.js'

/** Tried schedules, if any were asked for. */
export function schedules({ whatIf }: Figures): Html {
  if (whatIf === undefined || whatIf.messages === 0) return html``
  const { messages, outages, destinations, tried, suggestion, byDestination } = whatIf
  const found = isSuggestion(suggestion) ? suggestion : null
  return section(
    'What each schedule would have earned',
    figure(
      deliveredChart(whatIf),
      `Of ${several(messages, 'message')} that bounced, the share that each schedule would have delivered, by ${several(outages, 'outage')} of ${several(destinations, 'destination')} that were seen. A line reaches from the worst to the best case.`,
    ),
    figure(timesChart(whatIf), 'How long that would have taken: half by the end of the bar, nine of ten by the end of the line.'),
    table(
      ['schedule', ...HEADS],
      tried.map((one) => row(nameOf(one), one.earned, messages)),
    ),
    thin(whatIf) === null ? '' : html`<p>${thin(whatIf) as string}</p>`,
    suggestion !== null && found === null ? html`<p>${tooLittle(suggestion as TooLittle)}</p>` : '',
    found === null ? '' : html`<p>${suggestionInWords(found)}</p>`,
    found === null ? '' : table(['schedule', ...HEADS], suggestionRows(found)),
    byDestination.length === 0
      ? ''
      : table(['destination', 'better schedule', 'delivered', 'with the current one'], destinationRows(whatIf)),
  )
}
