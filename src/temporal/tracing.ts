/**
 * OpenTelemetry: one trace for each message, from its start to its last attempt, exported over OTLP/HTTP to
 * `OTEL_EXPORTER_OTLP_ENDPOINT` (OpenTelemetry's own variable). If that is not set, no OpenTelemetry module is loaded.
 */
import type { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry'

export interface Tracing {
  /** For a client, and for a worker. */
  readonly plugin: OpenTelemetryPlugin
  /** Flushes pending spans and shuts down. Never rejects. */
  stop(): Promise<void>
}

let started: Promise<Tracing> | null = null

/** Starts tracing, once per process; null if no endpoint is set. */
export function startTracing(environment: Readonly<Record<string, string | undefined>> = process.env): Promise<Tracing> | null {
  if (!environment.OTEL_EXPORTER_OTLP_ENDPOINT && !environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return null
  started ??= start(environment.OTEL_SERVICE_NAME || 'softbounce')
  return started
}

async function start(service: string): Promise<Tracing> {
  // without baggage: nobody reads it here, and its parser takes any number of entries (GHSA-8988-4f7v-96qf)
  process.env.OTEL_PROPAGATORS ||= 'tracecontext'
  const [{ OTLPTraceExporter }, { Resource }, { BatchSpanProcessor }, { NodeTracerProvider }, { OpenTelemetryPlugin }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/sdk-trace-node'),
    import('@temporalio/interceptors-opentelemetry'),
  ])
  const resource = new Resource({ 'service.name': service })
  const spanProcessor = new BatchSpanProcessor(new OTLPTraceExporter())
  const provider = new NodeTracerProvider({ resource, spanProcessors: [spanProcessor] })
  provider.register()
  return {
    plugin: new OpenTelemetryPlugin({ resource, spanProcessor }),
    stop: () => provider.shutdown().catch(() => {}),
  }
}
