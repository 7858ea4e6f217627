/** Parts of the report's page: sections, charts with their captions, tables. */
import type { Chart } from './charts.js'
import { Html, html } from './page.js'

/** A chart with its caption, which is also its text alternative. */
export function figure(chart: Chart, says: string, key?: Html): Html {
  return html`<figure><div class="chart" role="img" aria-label="${says}"><div class="wide">${new Html(chart.wide)}</div><div class="narrow">${new Html(chart.narrow)}</div></div>${key ?? ''}<figcaption class="muted">${says}</figcaption></figure>`
}

export const table = (head: readonly string[], rows: readonly (readonly (string | Html)[])[]) =>
  html`<div class="scrolls" tabindex="0"><table><thead><tr>${head.map((cell) => html`<th scope="col">${cell}</th>`)}</tr></thead><tbody>${rows.map(
    (row) =>
      html`<tr>${row.map((cell, i) => (i === 0 ? html`<th scope="row">${cell}</th>` : cell instanceof Html ? cell : html`<td>${cell}</td>`))}</tr>`,
  )}</tbody></table></div>`

export const numbers = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  html`<details><summary>The numbers</summary>${table(head, rows)}</details>`

export const section = (title: string, ...parts: (Html | string)[]) => html`<section><h2>${title}</h2>${parts}</section>`
