/** The report as a page of the worker: `GET /report?since=7d&destination=example.org`. Read only. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Database } from '../store/index.js'
import { figures } from './figures.js'
import { htmlReport } from './html.js'
import { CSP, SCRIPT } from './page.js'
import { sinceOf } from './since.js'
import type { WebUi } from './web-ui-links.js'

const DEFAULT_SINCE = '30d'
const CACHED_MS = 60_000
/** Most pages that are kept; each has up to some hundred kB. */
const MOST_CACHED = 20
const MOST_NAME = 255

interface Cached {
  readonly madeAt: number
  readonly page: Promise<string>
}

/** Makes the pages, each at most once a minute. */
export class LiveReport {
  readonly #cache = new Map<string, Cached>()

  constructor(
    private readonly database: Database,
    private readonly ui: WebUi | null,
    private readonly now: () => Date = () => new Date(),
  ) {}

  /** Answers `/report` and `/report.js`; false for other paths. The caller has checked who asks. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
    if (pathname === '/report.js')
      return void response
        .writeHead(200, { ...HEADERS, 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'max-age=3600' })
        .end(SCRIPT)
    const since = searchParams.get('since') ?? DEFAULT_SINCE
    const destination = searchParams.get('destination') || null
    const refuse = (why: string) => response.writeHead(400, { ...HEADERS, 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`)
    if (destination !== null && destination.length > MOST_NAME) return void refuse('destination: it is too long')
    try {
      sinceOf(since, this.now())
    } catch (error) {
      return void refuse(`since: ${(error as Error).message}`)
    }
    const page = await this.#page(since, destination)
    response
      .writeHead(200, {
        ...HEADERS,
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': `${CSP.live}; frame-ancestors 'none'`,
      })
      .end(page)
  }

  #page(since: string, destination: string | null): Promise<string> {
    const key = JSON.stringify([since, destination])
    const now = this.now().getTime()
    for (const [old, { madeAt }] of this.#cache) if (now - madeAt >= CACHED_MS) this.#cache.delete(old)
    const known = this.#cache.get(key)
    if (known !== undefined) return known.page
    const page = this.#make(since, destination)
    this.#cache.set(key, { madeAt: now, page })
    page.catch(() => this.#cache.delete(key))
    const [oldest] = this.#cache.keys()
    if (this.#cache.size > MOST_CACHED && oldest !== undefined) this.#cache.delete(oldest)
    return page
  }

  async #make(since: string, destination: string | null): Promise<string> {
    const until = this.now()
    const window = { since: sinceOf(since, until), until, ...(destination === null ? {} : { destination }) }
    return htmlReport(await figures(this.database, window), { ui: this.ui, since })
  }
}

const HEADERS = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' }
