/** What a page of a worker has more than a file: links to other times and destinations, and into the Web UI. */
import type { Figures } from './figures.js'
import { type Html, html } from './page.js'
import { destinationLink, type WebUi } from './web-ui-links.js'

/** How the page was asked for, and where its links lead. */
export interface LivePage {
  readonly ui: WebUi | null
  /** As it was asked for. */
  readonly since: string
}

export const asOf = (until: string) =>
  html` <span id="as-of" data-failed="The worker does not answer; what is shown may be old.">As of ${until.slice(11, 16)} UTC; read anew each minute.</span>`

const TIMES = ['1d', '7d', '30d', '90d'] as const

/** Links to other times, and back to all destinations. */
export function links({ destination }: Figures, { since }: LivePage): Html {
  const to = (time: string, of: string | undefined) =>
    `/report?${new URLSearchParams({ since: time, ...(of === undefined ? {} : { destination: of }) })}`
  const times = TIMES.map((time) =>
    time === since ? html`<b aria-current="page">${time}</b>` : html`<a href="${to(time, destination)}">${time}</a>`,
  )
  return html`<nav aria-label="Time">${times}${destination === undefined ? '' : html`<a href="${to(since, undefined)}">all destinations</a>`}</nav>`
}

/** The name of a destination: on a page of a worker with links to its own report, and to its retries. */
export function destinationName(destination: string, live: LivePage | null): Html {
  if (live === null) return html`${destination}`
  const own = `/report?${new URLSearchParams({ since: live.since, destination })}`
  const retries =
    live.ui === null
      ? ''
      : html` <a href="${destinationLink(live.ui, destination)}">retries<span class="hidden"> for ${destination} in the Web UI</span></a>`
  return html`<a href="${own}">${destination}</a>${retries}`
}
