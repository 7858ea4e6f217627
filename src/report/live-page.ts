/** One page of the live report. */
import type { Database } from '../store/index.js'
import { figures } from './figures.js'
import { htmlReport } from './html.js'
import type { WebUi } from './web-ui-links.js'

/** The time and the destination of a page; times in epoch ms. */
export interface PageRequest {
  readonly sinceMs: number
  readonly untilMs: number
  /** As it was asked for. */
  readonly since: string
  readonly destination: string | null
}

export async function makePage(
  database: Database,
  ui: WebUi | null,
  { sinceMs, untilMs, since, destination }: PageRequest,
): Promise<string> {
  const window = { since: new Date(sinceMs), until: new Date(untilMs), ...(destination === null ? {} : { destination }) }
  return htmlReport(await figures(database, window), { ui, since })
}
