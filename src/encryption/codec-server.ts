/**
 * The codec server: decrypts what the Web UI and Temporal's CLI show (Temporal's remote codec protocol: POST /encode and /decode of
 * `{ "payloads": [{ "metadata": { … }, "data" }] }`, everything in base64).
 */
import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Payload } from '@temporalio/common'
import { z } from 'zod'
import type { EncryptionKey } from '../config/index.js'
import { EncryptionCodec } from './codec.js'

const MAX_BODY = 16 * 1024 * 1024

const Body = z.object({
  payloads: z
    .array(z.object({ metadata: z.record(z.string(), z.base64()).optional(), data: z.base64().optional() }))
    .max(10_000)
    // Temporal's CLI leaves an empty list out
    .default([]),
})

class Refused extends Error {
  constructor(
    readonly status: number,
    text: string,
  ) {
    super(text)
  }
}

export interface CodecServerOptions {
  readonly host: string
  readonly port: number
  /** The origins of the Web UIs that may ask. */
  readonly origins: readonly string[]
  /** What the path of its address begins with; null if none is needed. */
  readonly token: string | null
}

/** @throws Error if it cannot listen on the address. */
export async function serveCodec(keys: readonly EncryptionKey[], options: CodecServerOptions): Promise<Server> {
  const codec = new EncryptionCodec(keys)
  const server = createServer((request, response) => {
    answer(request, codec, options).then(
      (done) => reply(response, request, options.origins, done === null ? 204 : 200, done),
      (error: Error) => reply(response, request, options.origins, error instanceof Refused ? error.status : 500, { error: error.message }),
    )
  })
  server.requestTimeout = 30_000
  const { host, port } = options
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new Error(`--listen ${host}:${port}: ${error.message}`)))
    server.listen(port, host, resolve)
  })
  return server
}

/** The response body; null for a CORS preflight request. */
async function answer(request: IncomingMessage, codec: EncryptionCodec, { origins, token }: CodecServerOptions): Promise<object | null> {
  const { origin } = request.headers
  // reject web pages of other origins; clients that are not browsers send no Origin
  if (origin !== undefined && !origins.includes(origin))
    throw new Refused(403, `pages of ${origin} may not ask; --origin names those that may`)
  if (request.method === 'OPTIONS') return null
  const path = (request.url ?? '/').split('?')[0] as string
  const [, given, does] = /^(?:\/([^/]+))?\/(encode|decode)$/.exec(path) ?? []
  if (does === undefined) throw new Refused(404, 'there are /encode and /decode')
  if (token !== null && !same(given ?? '', token))
    throw new Refused(401, 'the address must hold encryption.codecToken: http://host:port/TOKEN')
  if (request.method !== 'POST') throw new Refused(405, 'it must be a POST')
  const payloads = await read(request)
  if (does === 'encode') return { payloads: (await codec.encode(payloads)).map(toJson) }
  // return a payload that cannot be decrypted unchanged, so that the others are still shown
  const decoded = await Promise.all(payloads.map(async (one) => (await codec.decode([one]).catch(() => [one]))[0] as Payload))
  return { payloads: decoded.map(toJson) }
}

async function read(request: IncomingMessage): Promise<Payload[]> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY) throw new Refused(413, `more than ${MAX_BODY} bytes`)
    chunks.push(chunk)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new Refused(400, 'the body is not JSON')
  }
  const checked = Body.safeParse(body)
  if (!checked.success) throw new Refused(400, 'the body must be { "payloads": [{ "metadata": { … }, "data": … }] }, values in base64')
  return checked.data.payloads.map(({ metadata = {}, data = '' }) => ({
    metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value, 'base64')])),
    data: Buffer.from(data, 'base64'),
  }))
}

const base64 = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('base64')

const toJson = ({ metadata, data }: Payload) => ({
  metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, base64(value)])),
  data: base64(data),
})

function same(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function reply(response: ServerResponse, request: IncomingMessage, origins: readonly string[], status: number, body: object | null): void {
  const { origin } = request.headers
  if (origin !== undefined && origins.includes(origin)) {
    response.setHeader('access-control-allow-origin', origin)
    response.setHeader('access-control-allow-credentials', 'true')
    response.setHeader('access-control-allow-methods', 'POST, OPTIONS')
    response.setHeader(
      'access-control-allow-headers',
      request.headers['access-control-request-headers'] ?? 'content-type, x-namespace, authorization',
    )
    if (request.headers['access-control-request-private-network'] === 'true')
      response.setHeader('access-control-allow-private-network', 'true')
  }
  response.setHeader('vary', 'origin')
  response.setHeader('cache-control', 'no-store')
  if (!request.complete) response.setHeader('connection', 'close')
  response.statusCode = status
  if (body === null) response.end()
  else response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
}
