/** OpenTelemetry: a real worker and the command export spans by OTLP/HTTP; one trace contains them all. */

import { createServer, type Server } from 'node:http'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { yamlRoutes } from '../support/config.js'
import { type RealWorld, startRealWorld } from '../support/real-time.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { eventually } from '../support/skipping-time.js'

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
}

const spans: Span[] = []
let raw = ''
let collector: Server
let world: RealWorld
let system: ReceivingSystem
beforeAll(async () => {
  collector = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      raw += body
      const { resourceSpans } = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] }
      for (const { scopeSpans } of resourceSpans) for (const one of scopeSpans) spans.push(...one.spans)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
  const { port } = collector.address() as { port: number }
  system = await startReceivingSystem()
  world = await startRealWorld({
    SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${system.port}`),
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    OTEL_BSP_SCHEDULE_DELAY: '200',
  })
})
afterAll(async () => {
  await world.close()
  await system.close()
  collector.closeAllConnections()
  collector.close()
})

test('one trace links the start of a retry to its last attempt, and contains no content', { timeout: 120_000 }, async () => {
  await world.startWorker()
  const notification = fileURLToPath(new URL('../../examples/invoice-4711.eml', import.meta.url))
  expect(await world.cli('retry', notification, '--schedule', '1s')).toMatchObject({ status: 0 })
  await eventually(() => system.taken.length === 1, 30_000)
  await eventually(
    () =>
      spans.some(({ name }) => name === 'RunActivity:sendMessage') && spans.some(({ name }) => name === 'RunWorkflow:retryBouncedMessage'),
    30_000,
  )
  const of = (name: string) => spans.find((span) => span.name === name) as Span
  const start = spans.find(({ name }) => /^(StartWorkflow|SignalWithStartWorkflow):retryBouncedMessage|^SignalWithStart/.test(name)) as Span
  const send = of('RunActivity:sendMessage')
  expect(start).toBeDefined()
  expect(
    new Set([start, of('RunWorkflow:retryBouncedMessage'), of('StartActivity:sendMessage'), send].map(({ traceId }) => traceId)).size,
  ).toBe(1)
  // from the last attempt back to the start
  let at: Span | undefined = send
  const way: string[] = []
  while (at !== undefined) {
    way.push(at.name)
    at = spans.find(({ spanId }) => spanId === at?.parentSpanId)
  }
  expect(way.at(-1)).toBe(start.name)
  expect(raw).toContain('softbounce')
  expect(raw).not.toContain('Your invoice over')
})
