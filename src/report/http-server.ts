/** The HTTP server: `/healthz`, `/metrics`, on a worker `/metrics/temporal` (the SDK's own metrics) and `/report`, and other pages (webhooks). */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Registry } from 'prom-client'
import type { Log } from '../logger.js'
import type { LiveReport } from './live-report.js'
import type { Metrics } from './metrics.js'
import { accessDenied, equalInConstantTime } from './report-access.js'

export interface HttpOptions {
  readonly port: number
  readonly host: string
  /** Bearer token required for the metrics. */
  readonly token?: string | null
  /** For `/healthz`: what is wrong with the database, or null. */
  readonly databaseFault: () => Promise<string | null>
  readonly metrics: Metrics
  /** For `/healthz`: the name of this process's role, its state, and whether that state is healthy. */
  readonly state: () => { readonly name: string; readonly is: string; readonly good: boolean }
  readonly log?: Log
  /** `host:port` where Temporal's SDK serves its own metrics. */
  readonly temporalMetrics?: string
  /** Answers `/report` and `/report.js`. */
  readonly report?: Pick<LiveReport, 'answer'>
  /** Answers requests for other pages; or says why it does not serve the page, null if it knows nothing of it. */
  readonly others?: (request: IncomingMessage, response: ServerResponse) => 'answered' | NotServed | null
}

/** Why a page is not served. */
export interface NotServed {
  readonly why: string
}

const TEMPORAL_WITHIN_MS = 5000
const MOST_CONNECTIONS = 100

/**
 * Serves until it is closed.
 * @throws Error naming http.port if it cannot listen on the port.
 */
export async function serveHttp(options: HttpOptions): Promise<Server> {
  const { port, host } = options
  const notServed = sayNotServed(options)
  const server = createServer((request, response) => {
    const [pathname = ''] = (request.url ?? '').split('?')
    const answer = Object.hasOwn(PAGES, pathname) ? PAGES[pathname] : undefined
    const refuse = (error: Error) => {
      if (response.headersSent) return void response.destroy()
      response.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' }).end(`${error.message}\n`)
    }
    if (options.report !== undefined && REPORT.has(pathname)) {
      const why = accessDenied(request, options.token ?? null)
      if (why !== null) return void response.writeHead(why.status, why.headers).end(`${why.text}\n`)
      if (!isReading(request)) return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
      return void options.report.answer(request, response).catch(refuse)
    }
    if (answer === undefined) {
      const answered = options.others?.(request, response) ?? null
      if (answered !== 'answered') notServed(request, response, pathname, answered?.why ?? null)
      return
    }
    if (answer !== health && !mayAsk(request, options.token ?? null))
      return void response.writeHead(401, { 'www-authenticate': 'Bearer' }).end('set http.token as Authorization: Bearer\n')
    if (!isReading(request)) return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
    answer(options, response, request.headers.accept ?? '').catch(refuse)
  })
  // each connection may hold a body of up to 1 MiB that is not authenticated yet
  server.maxConnections = MOST_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new Error(
          `http.port=${port}: ${error.message}; if a worker and an intake share this machine, set SOFTBOUNCE_HTTP_PORT for one of them`,
        ),
      ),
    )
    server.listen(port, host, resolve)
  })
  return server
}

/** Anyone may ask for any page: one line in ten seconds is enough. */
const SAY_EVERY_MS = 10_000

/** Answers 404, and says why; logged if a provider may have sent the request. */
function sayNotServed({
  state,
  log,
}: HttpOptions): (request: IncomingMessage, response: ServerResponse, path: string, why: string | null) => void {
  let saidAt = 0
  return (request, response, path, why) => {
    const pages = `there is no such page on this ${state().name}; it serves ${Object.keys(PAGES).join(', ')}`
    if (path.split('/')[1] === 'notifications' && Date.now() - saidAt > SAY_EVERY_MS) {
      saidAt = Date.now()
      const reason = why ?? `${pages}; webhooks are received by softbounce intake, with a provider's secret set`
      log?.warn(
        { path: path.slice(0, 200), from: request.socket.remoteAddress, why: reason },
        'a webhook came to a page that is not served',
      )
    }
    if (why !== null && !request.complete) response.setHeader('connection', 'close')
    response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end(`${why ?? pages}\n`)
  }
}

const isReading = ({ method }: IncomingMessage) => method === 'GET' || method === 'HEAD'

/** Whether the request carries the token, if one is set. */
const mayAsk = ({ headers }: IncomingMessage, token: string | null): boolean =>
  token === null || equalInConstantTime(headers.authorization ?? '', `Bearer ${token}`)

const REPORT: ReadonlySet<string> = new Set(['/report', '/report.js'])

type Answer = (options: HttpOptions, response: ServerResponse, accept: string) => Promise<void>
const PAGES: Readonly<Record<string, Answer>> = { '/healthz': health, '/metrics': metrics, '/metrics/temporal': temporalMetrics }

/** 200 while the process runs and the database accepts writes, else 503. */
async function health({ databaseFault, state }: HttpOptions, response: ServerResponse): Promise<void> {
  const fault = await databaseFault()
  const { name, is, good } = state()
  const healthy = fault === null && good
  response.writeHead(healthy ? 200 : 503, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify({ healthy, [name]: is, database: fault ?? 'ok' })}\n`)
}

let before: Promise<unknown> = Promise.resolve()

/** Prometheus text, or OpenMetrics if the client accepts it. Serialized, since the registry holds the format as state. */
async function metrics({ metrics: { registry } }: HttpOptions, response: ServerResponse, accept: string): Promise<void> {
  const open = /application\/openmetrics-text/.test(accept)
  const mine = before.then(async () => {
    // biome-ignore lint/suspicious/noExplicitAny: its typings make the form a part of the type
    const either = registry as Registry<any>
    either.setContentType(open ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE)
    // for OpenMetrics the library strips the suffix from counter names, and does not restore it
    const names = either.getMetricsAsArray().map((metric) => [metric, metric.name] as const)
    try {
      return { type: either.contentType as string, text: await either.metrics() }
    } finally {
      for (const [metric, name] of names) metric.name = name
    }
  })
  before = mine.catch(() => {})
  const { type, text } = await mine
  response.writeHead(200, { 'content-type': type }).end(text)
}

async function temporalMetrics({ temporalMetrics: address }: HttpOptions, response: ServerResponse): Promise<void> {
  if (address === undefined) return void response.writeHead(404).end()
  const answer = await fetch(`http://${address}/metrics`, { signal: AbortSignal.timeout(TEMPORAL_WITHIN_MS) })
  const text = await answer.text()
  response.writeHead(answer.ok ? 200 : 503, { 'content-type': answer.headers.get('content-type') ?? 'text/plain; version=0.0.4' }).end(text)
}
