/**
 * OpenTelemetry: one trace for a message, from its start to its last attempt, where OpenTelemetry's own variable
 * `OTEL_EXPORTER_OTLP_ENDPOINT` says where to (OTLP over HTTP). Nothing of it is loaded where that is not set.
 */
import type { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry'

export interface Tracing {
  /** For a client, and for a worker. */
  readonly plugin: OpenTelemetryPlugin
  /** Sends what has not been sent, and ends. Never rejects. */
  stop(): Promise<void>
}

let started: Promise<Tracing> | null = null

/** Null if it is not set. Once for the process. */
export function startTracing(environment: Readonly<Record<string, string | undefined>> = process.env): Promise<Tracing> | null {
  if (!environment.OTEL_EXPORTER_OTLP_ENDPOINT && !environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return null
  started ??= start(environment.OTEL_SERVICE_NAME || 'softbounce')
  return started
}

async function start(service: string): Promise<Tracing> {
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
