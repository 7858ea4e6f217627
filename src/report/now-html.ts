/** The top of the report's page: what is down now, and what waits. */
import type { Figures } from './figures.js'
import { duration, minute, number, several } from './format.js'
import { section, table } from './html-parts.js'
import { destinationName, type LivePage } from './live-html.js'
import { Html, html } from './page.js'
import { workflowLink } from './web-ui-links.js'

export function now({ now, until }: Figures, live: LivePage | null): Html {
  const { pausedAltogether, down, downInAll, waiting, longest } = now
  const held =
    pausedAltogether === null
      ? ''
      : html`<p class="down">All sending is paused since ${minute(pausedAltogether.since)} by ${pausedAltogether.by}.</p>`
  if (downInAll === 0 && waiting === 0) return section('Now', held, html`<p>No destination is down, and no message is being retried.</p>`)
  const age = (since: Date) => duration(Math.max(0, new Date(until).getTime() - since.getTime()))
  return section(
    'Now',
    held,
    html`<p>${several(downInAll, 'destination')} ${downInAll === 1 ? 'is' : 'are'} down, failing or paused; the retries of ${several(waiting, 'message')} go on.</p>`,
    downInAll > down.length
      ? html`<p class="muted">Those that are down come first, then by what waits for them; the first ${down.length}.</p>`
      : '',
    down.length === 0
      ? ''
      : table(
          ['destination', 'state', 'since', 'waiting', 'its last reply'],
          down.map(({ destination, state, since, waiting: n, reply }) => [
            destinationName(destination, live),
            html`<td${state === 'down' ? new Html(' class="down"') : ''}>${state}</td>`,
            `${minute(since)} (${age(since)})`,
            number(n),
            html`<td class="text">${(reply ?? '–').slice(0, 200)}</td>`,
          ]),
        ),
    longest.length === 0
      ? ''
      : html`<details><summary>${longest.length < waiting ? `The ${longest.length} that bounced first` : 'The messages'}</summary>${table(
          ['message', 'destination', 'bounced', 'retries so far'],
          longest.map(({ workflowId, destination, bouncedAt, retries }) => [
            live?.ui == null ? workflowId : html`<a href="${workflowLink(live.ui, workflowId)}">${workflowId}</a>`,
            destination,
            `${minute(bouncedAt)} (${age(bouncedAt)})`,
            number(retries),
          ]),
        )}</details>`,
  )
}
