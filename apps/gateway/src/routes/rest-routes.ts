/** The routes of the contracts: REST in, gRPC out. */
import { setTimeout as delay } from 'node:timers/promises';
import { Readable } from 'node:stream';
import type { ClientReadableStream } from '@grpc/grpc-js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  BerthError,
  extractTrace,
  isTracing,
  problemBody,
  SpanKind,
  traced,
  type Logger,
} from '@berth/service-kit';
import { credentialOf, type Credential } from '../credentials/credential';
import type { Sessions } from '../credentials/sessions';
import { idempotencyKeyOf, peerRequest, traceparentOf, type Caller } from '../forward';
import { publicError, type Peers } from '../peers/peers';
import type { PublicMethod } from '../public-methods';
import { compileAnswer, compileLine } from './answer';
import { compileBind, type Bind } from './bind';
import { rawFieldOf, rawStreamRoute } from './raw-stream';

export interface RestContext {
  peers: Peers;
  sessions: Sessions;
  log: Logger;
  /** Requests that wait; aborted when the gateway stops. */
  waiting: Set<AbortController>;
}

declare module 'fastify' {
  interface FastifyRequest {
    credential: Credential | undefined;
  }
}

/** How long a stream may stay silent before its status is sent: errors come sooner than that. Milliseconds. */
const FIRST_LINE_MS = 250;

export function addRestRoutes(
  app: FastifyInstance,
  methods: readonly PublicMethod[],
  context: RestContext,
): void {
  app.decorateRequest('credential', undefined);
  for (const method of methods) {
    app.route({
      method: method.route.verb,
      url: method.route.path.replace(/\{([a-z0-9_]+)\}/g, ':$1'),
      exposeHeadRoute: method.route.verb === 'GET' && !method.streams,
      // Before the body is read: a stranger sends no 16 MiB.
      ...(method.anonymous ? {} : { onRequest: (request) => authenticate(request, context) }),
      handler: inSpan(method, handlerOf(method, context)),
    });
  }
}

async function authenticate(request: FastifyRequest, { sessions }: RestContext): Promise<void> {
  request.credential = credentialOf(header(request, 'authorization'), header(request, 'x-api-key'));
  await sessions.tokenFor(request.credential);
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>;

function handlerOf(method: PublicMethod, context: RestContext): Handler {
  if (!method.streams) return unaryRoute(method, context);
  const rawField = rawFieldOf(method);
  return rawField === undefined ? streamRoute(method, context) : rawStreamRoute(method, rawField, context);
}

function unaryRoute(method: PublicMethod, context: RestContext): Handler {
  const bind = compileBind(method);
  const answer = compileAnswer(method);
  return async (request, reply) => {
    const message = bind(restRequest(request));
    const bytes = await whileConnected(reply, context, (signal) =>
      context.peers.unary(peerRequest(method, callerOf(request, signal), message, context.sessions)),
    );
    const body = answer.body(bytes);
    reply.code(method.httpStatus);
    if (body !== undefined) reply.type(answer.contentType);
    return reply.send(body);
  };
}

function streamRoute(method: PublicMethod, context: RestContext): Handler {
  const bind = compileBind(method);
  const line = compileLine(method);
  return async (request, reply) => {
    const message = bind(restRequest(request));
    const abort = new AbortController();
    const call = await context.peers.stream(
      peerRequest(method, callerOf(request, abort.signal), message, context.sessions),
    );
    context.waiting.add(abort);
    abort.signal.addEventListener('abort', () => call.cancel(), { once: true });
    reply.raw.once('close', () => {
      context.waiting.delete(abort);
      call.cancel();
    });

    const messages = (call as ClientReadableStream<Buffer>)[Symbol.asyncIterator]();
    const first = messages.next();
    first.catch(() => undefined); // Heard below, or by the generator.
    try {
      await Promise.race([first, delay(FIRST_LINE_MS, undefined, { ref: false })]);
    } catch (error) {
      throw publicError(error, method.peer);
    }

    const lines = async function* () {
      try {
        for (let next = await first; !next.done; next = await messages.next()) yield line(next.value);
      } catch (error) {
        if (reply.raw.destroyed) return;
        const shown = abort.signal.aborted
          ? (abort.signal.reason as BerthError)
          : publicError(error, method.peer);
        yield `${problemBody(shown, request.id)}\n`;
      }
    };
    reply.code(method.httpStatus).type('application/x-ndjson');
    void reply.send(Readable.from(lines()));
    reply.raw.flushHeaders();
    return reply;
  };
}

/** Runs `work` with a signal that ends it when the client has gone, or when the gateway stops. */
async function whileConnected<T>(
  reply: FastifyReply,
  { waiting }: RestContext,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const gone = () => abort.abort(new BerthError('cancelled', 'The client went away.'));
  reply.raw.once('close', gone);
  waiting.add(abort);
  try {
    return await work(abort.signal);
  } finally {
    waiting.delete(abort);
    reply.raw.removeListener('close', gone);
  }
}

function inSpan(method: PublicMethod, handler: Handler): Handler {
  const { verb, path } = method.route;
  return (request, reply) => {
    if (!isTracing()) return handler(request, reply);
    const traceparent = traceparentOf(header(request, 'traceparent'));
    return traced(
      `${verb} ${path}`,
      {
        kind: SpanKind.SERVER,
        attributes: { 'http.request.method': verb, 'http.route': path, 'berth.request_id': request.id },
        ...(traceparent ? { parent: extractTrace({ traceparent }) } : {}),
      },
      () => handler(request, reply),
    );
  };
}

const header = (request: FastifyRequest, name: string): string | undefined => {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
};

export function callerOf(request: FastifyRequest, signal: AbortSignal): Caller {
  return {
    credential: request.credential,
    requestId: request.id,
    idempotencyKey: idempotencyKeyOf(header(request, 'idempotency-key')),
    traceparent: traceparentOf(header(request, 'traceparent')),
    signal,
  };
}

export function restRequest(request: FastifyRequest): Parameters<Bind>[0] {
  const { url } = request.raw;
  const mark = url!.indexOf('?');
  return {
    params: request.params as Record<string, string>,
    query: mark === -1 ? '' : url!.slice(mark + 1),
    body: request.body as Buffer | undefined,
    contentType: request.headers['content-type'],
  };
}
