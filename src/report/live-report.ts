/** The report as a page of the worker: `GET /report?since=7d&destination=example.org`. Read only. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PageRequest } from './live-page.js'
import { CSP, SCRIPT } from './page.js'
import { sinceOf } from './since.js'

const DEFAULT_SINCE = '30d'
const CACHED_MS = 60_000
/** Most pages that are kept; each has up to some hundred kB. */
const MOST_CACHED = 20
/** Most pages that wait to be made; they are made one after another. */
const MOST_WAITING = 5
const MOST_NAME = 255

interface Cached {
  readonly madeAt: number
  readonly page: Promise<string>
}

/** Makes a page. */
export type MakePage = (request: PageRequest) => Promise<string>

/** Serves the pages: each is made at most once a minute, one at a time. */
export class LiveReport {
  readonly #cache = new Map<string, Cached>()
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly make: MakePage,
    private readonly now: () => Date = () => new Date(),
  ) {}

  /** Answers `/report` and `/report.js`. The caller has checked the path, and who asks. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
    if (pathname === '/report.js')
      return void response
        .writeHead(200, { ...HEADERS, 'content-type': 'text/javascript; charset=utf-8', 'cache-control': 'max-age=3600' })
        .end(SCRIPT)
    const refuse = (status: number, why: string, headers = {}) =>
      void response.writeHead(status, { ...HEADERS, ...headers, 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`)
    const asked = this.#read(searchParams)
    if ('wrong' in asked) return refuse(400, asked.wrong)
    const making = this.#page(asked)
    if (making === null) return refuse(503, 'several other pages are being made; ask again', { 'retry-after': '10' })
    const page = await making
    response
      .writeHead(200, {
        ...HEADERS,
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': `${CSP.live}; frame-ancestors 'none'`,
      })
      .end(page)
  }

  #read(parameters: URLSearchParams): PageRequest | { readonly wrong: string } {
    const since = parameters.get('since') ?? DEFAULT_SINCE
    const destination = parameters.get('destination') || null
    if (destination !== null && (destination.length > MOST_NAME || /\p{Cc}/u.test(destination)))
      return { wrong: 'destination: it is too long, or has control characters' }
    const until = this.now()
    try {
      return { sinceMs: sinceOf(since, until).getTime(), untilMs: until.getTime(), since, destination }
    } catch (error) {
      return { wrong: `since: ${(error as Error).message}` }
    }
  }

  /** Null if too many others wait. */
  #page(request: PageRequest): Promise<string> | null {
    const { sinceMs, untilMs, destination } = request
    // however the time is written
    const key = JSON.stringify([untilMs - sinceMs, destination])
    for (const [old, { madeAt }] of this.#cache) if (untilMs - madeAt >= CACHED_MS) this.#cache.delete(old)
    const known = this.#cache.get(key)
    if (known !== undefined) return known.page
    if (this.#waiting >= MOST_WAITING) return null
    this.#waiting += 1
    const page = this.#last
      .then(() => this.make(request))
      .finally(() => {
        this.#waiting -= 1
      })
    this.#last = page.catch(() => this.#cache.delete(key))
    this.#cache.set(key, { madeAt: untilMs, page })
    const [oldest] = this.#cache.keys()
    if (this.#cache.size > MOST_CACHED && oldest !== undefined) this.#cache.delete(oldest)
    return page
  }
}

const HEADERS = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'x-content-type-options': 'nosniff' }
