/**
 * Traces. With `OTEL_EXPORTER_OTLP_ENDPOINT` unset nothing is recorded and `traced` costs a function call; the
 * caller's trace context still travels on, so a gap in one place does not break a trace.
 */
import {
  context,
  propagation,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Span,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

export { SpanKind };

let provider: NodeTracerProvider | undefined;

/** Starts exporting, once per process, if an endpoint is configured. Returns how to flush and stop. */
export function startTelemetry(service: string, env: NodeJS.ProcessEnv): () => Promise<void> {
  if (!provider && env.OTEL_EXPORTER_OTLP_ENDPOINT) {
    const url = new URL('v1/traces', env.OTEL_EXPORTER_OTLP_ENDPOINT.replace(/\/?$/, '/')).href;
    provider = new NodeTracerProvider({
      resource: resourceFromAttributes({ 'service.name': service, 'service.namespace': 'berth' }),
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url }))],
    });
    provider.register();
  }
  return async () => {
    const stopping = provider;
    provider = undefined;
    await stopping?.shutdown().catch(() => undefined);
  };
}

/** Headers of a request or message: what carries a trace context. */
export type Carrier = Record<string, string>;

/** The current trace context as headers; empty when nothing is traced. */
export function injectTrace(): Carrier {
  const carrier: Carrier = {};
  if (provider) propagation.inject(context.active(), carrier);
  return carrier;
}

/** The context in which a request with these headers runs. */
export const extractTrace = (carrier: Carrier): Context => propagation.extract(context.active(), carrier);

/** Runs `work` in a span; its failure marks the span. `parent` defaults to the current context. */
export async function traced<T>(
  name: string,
  options: { kind?: SpanKind; attributes?: Attributes; parent?: Context; startTime?: Date },
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  if (!provider) return work(undefined);
  const parent = options.parent ?? context.active();
  const span = trace.getTracer('berth').startSpan(name, options, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error).message });
    throw error;
  } finally {
    span.end();
  }
}

/** Whether spans are recorded in this process. */
export const isTracing = (): boolean => provider !== undefined;
