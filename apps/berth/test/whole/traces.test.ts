/** One trace leads from the HTTP request through gRPC and the queue into the container. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(300_000);

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  service: string;
}

/** An OTLP collector: what it was sent. */
const spans: Span[] = [];
let collector: Server;
let platform: Platform;

interface Export {
  resourceSpans: {
    resource: { attributes: { key: string; value: { stringValue?: string } }[] };
    scopeSpans: { spans: Omit<Span, 'service'>[] }[];
  }[];
}

beforeAll(async () => {
  collector = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      for (const { resource, scopeSpans } of (JSON.parse(body) as Export).resourceSpans) {
        const service =
          resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
        for (const scope of scopeSpans) spans.push(...scope.spans.map((span) => ({ ...span, service })));
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const { port } = collector.address() as AddressInfo;
  platform = await new Platform({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` }).start(
    '--separate',
  );
});
afterAll(async () => {
  await platform?.close();
  collector?.close();
});

test('a call is one trace over REST, gRPC, NATS and the container', async () => {
  const berth = platform.berth();
  const app = await berth.apps.create('traced');
  const echo = await makeFunction(berth, app.app_id, python('def run(x): return x'));
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const { status } = await platform.request('POST', `/v1/functions/${echo.function_id}/invocations`, {
    body: '{"args": [1]}',
    headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  });
  expect(status).toBe(200);

  // Each hangs below another of the trace, up to the caller's own; services send theirs at times of their own.
  const rootsOf = (all: Span[]) => {
    const ids = new Set(all.map(({ spanId }) => spanId));
    return all.filter(({ parentSpanId }) => !ids.has(parentSpanId!));
  };
  const seen = await eventually(() => {
    const mine = spans.filter((span) => span.traceId === traceId);
    const services = new Set(mine.map(({ service }) => service));
    const isAll = ['gateway', 'functions', 'runner'].every((service) => services.has(service));
    return isAll && rootsOf(mine).length === 1 && mine;
  }, 30_000);
  const roots = rootsOf(seen);
  expect(roots.map(({ parentSpanId }) => parentSpanId)).toEqual(['b7ad6b7169203331']);
  expect(roots[0]).toMatchObject({
    service: 'gateway',
    name: 'POST /v1/functions/{function_id}/invocations',
  });
});
