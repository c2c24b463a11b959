/** The REST door: routes of the contracts, the OpenAPI document, and whether the platform is up. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import { BerthError, Histogram, problemBody, wasAnswered, type Logger } from '@berth/service-kit';
import { requestIdOf } from './forward';
import { openApiDocument } from './openapi/document';
import { HttpProblem, statusOf } from './problem';
import type { PublicMethod } from './public-methods';
import { readAway } from './read-away';
import { addRestRoutes, type RestContext } from './routes/rest-routes';
import type { ShellDoor } from './shell/shell-door';
import type { WebDoor } from './web/web-door';
import { unknownRoute, verbsOf, type Offer } from './routes/unknown-route';

/** How long REST requests take, in seconds, by route. */
const httpSeconds = new Histogram({
  name: 'berth_http_seconds',
  help: 'Duration of REST requests, in seconds.',
  labelNames: ['method', 'route', 'status'] as const,
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300],
});

export interface HttpDoor {
  /** With the port that was given for port 0. */
  url: string;
  /** `/healthz` and `/readyz` answer 503 from now on. */
  sayStopping(): void;
  /** Takes no more requests, lets those in flight end for `graceMs`, then tells the rest to come back. */
  stop(graceMs: number): Promise<void>;
}

export interface HttpDoorOptions {
  host: string;
  port: number;
  bodyBytesMax: number;
  version: string;
  methods: readonly PublicMethod[];
  /** Serves what is for a web endpoint. */
  web: WebDoor;
  /** Serves shells. */
  shell: ShellDoor;
}

/** Longer than any body should take to arrive; an answer may take as long as it needs. */
const RECEIVE_MS = 120_000;
const HEADERS_MS = 60_000;
/** The longest id that a path may carry; longer ones name nothing. */
const PARAMETER_LENGTH_MAX = 512;
/** What answers "come back" gets to reach its client. */
const FAREWELL_MS = 500;

export async function openHttpDoor(options: HttpDoorOptions, context: RestContext): Promise<HttpDoor> {
  const { host, methods, version } = options;
  const { log } = context;
  let stopping = false;

  const app = fastify({
    logger: false,
    bodyLimit: options.bodyBytesMax,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    serverFactory: (handler) => serverFor(handler, options.web, options.shell),
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX },
    genReqId: (raw) => requestIdOf(headerOf(raw.headers['x-request-id'])),
    frameworkErrors: (error, request, reply) => sendProblem(error, request, reply as FastifyReply, log),
    clientErrorHandler: answerMalformed,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler(async (error, request, reply) => {
    if ((error as Partial<FastifyError>).code === 'FST_ERR_CTP_BODY_TOO_LARGE') await readAway(request.raw);
    sendProblem(error, request, reply, log);
    return reply;
  });

  const offers: Offer[] = [
    ...methods.map(({ route }) => ({ verb: route.verb, path: route.path })),
    ...['/openapi.json', '/healthz', '/readyz'].map((path) => ({ verb: 'GET', path })),
  ];
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    // Here and not in a handler: nothing reads the body of a request that goes nowhere.
    if (request.is404) return answerUnknown(request, reply, offers);
  });
  app.setNotFoundHandler((request, reply) => answerUnknown(request, reply, offers));
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    httpSeconds.observe(
      { method: request.method, route, status: reply.statusCode },
      reply.elapsedTime / 1000,
    );
    if (log.isLevelEnabled('debug')) {
      const { method, id } = request;
      log.debug({ requestId: id, method, route, status: reply.statusCode, ms: reply.elapsedTime }, 'request');
    }
  });

  const document = JSON.stringify(openApiDocument(methods, version));
  app.get('/openapi.json', async (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(document),
  );
  addHealth(app, context, () => stopping);
  addRestRoutes(app, methods, context);

  await app.listen({ host, port: options.port }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EADDRINUSE') throw cause;
    throw new Error(`${host}:${options.port} is in use: set BERTH_HTTP_PORT to a free port.`, { cause });
  });
  const address = app.server.address();
  if (typeof address !== 'object' || !address) throw new Error('the HTTP server has no port');

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    sayStopping() {
      stopping = true;
      options.web.stop();
      options.shell.stop();
    },
    async stop(graceMs) {
      stopping = true;
      options.web.stop();
      options.shell.stop();
      const closed = app.close();
      const cut = setTimeout(() => {
        options.web.cut();
        options.shell.cut();
        for (const abort of context.waiting) {
          abort.abort(
            new BerthError(
              'unavailable',
              'Berth restarts: repeat this with the same Idempotency-Key to go on.',
            ),
          );
        }
        setTimeout(() => app.server.closeAllConnections(), FAREWELL_MS).unref();
      }, graceMs);
      await closed;
      clearTimeout(cut);
      options.web.cut(); // Also what waits for the outcome of a request that is over.
    },
  };
}

/** One port for both: what is for a web endpoint never comes near the routes of the contracts. */
function serverFor(handler: RequestListener, web: WebDoor, shell: ShellDoor): Server {
  const server = createServer(
    {
      // Of a body that is streamed nobody can say how long it takes; REST's own are bounded below.
      requestTimeout: 0,
      headersTimeout: HEADERS_MS,
      shouldUpgradeCallback: (request) =>
        request.headers.upgrade?.toLowerCase() === 'websocket' &&
        (web.targetOf(request) !== undefined || shell.isFor(request)),
    },
    (request, response) => {
      if (hasTwoHosts(request)) return answerMalformed(twoHosts(), request.socket);
      const target = web.targetOf(request);
      if (target) return web.serve(request, response, target);
      const late = setTimeout(() => {
        answerMalformed({ code: 'ERR_HTTP_REQUEST_TIMEOUT' } as NodeJS.ErrnoException, request.socket);
      }, RECEIVE_MS).unref();
      const arrived = () => clearTimeout(late);
      request.once('end', arrived).once('close', arrived);
      return handler(request, response);
    },
  );
  server.on('upgrade', (request, socket, head) => {
    if (hasTwoHosts(request)) return answerMalformed(twoHosts(), socket as Socket);
    const target = web.targetOf(request);
    if (target) web.upgrade(request, socket, head, target);
    else if (shell.isFor(request)) shell.upgrade(request, socket, head);
    else socket.destroy();
  });
  return server;
}

function addHealth(app: FastifyInstance, { peers }: RestContext, isStopping: () => boolean): void {
  app.get('/healthz', async (_request, reply) =>
    reply.code(isStopping() ? 503 : 200).send({ status: isStopping() ? 'stopping' : 'ok' }),
  );
  app.get('/readyz', async (_request, reply) => {
    const services = (await peers.health()).filter(({ name }) => name !== 'gateway');
    const missing = services.filter(({ serving }) => !serving).map(({ name }) => name);
    const ready = missing.length === 0 && !isStopping();
    const status = isStopping() ? 'stopping' : ready ? 'ready' : 'not ready';
    return reply.code(ready ? 200 : 503).send({ status, not_serving: missing });
  });
}

function answerUnknown(request: FastifyRequest, reply: FastifyReply, offers: readonly Offer[]) {
  const path = request.raw.url!.split('?', 1)[0]!;
  const verbs = verbsOf(path, offers);
  if (request.method === 'OPTIONS' && verbs.length > 0) {
    return reply
      .code(204)
      .header('allow', [...verbs, 'OPTIONS'].join(', '))
      .send();
  }
  throw unknownRoute(request.method, path, offers);
}

function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  const known = toBerthError(error);
  // What a service answered it has logged itself, where the cause is.
  if (statusOf(known) >= 500 && !wasAnswered((known.cause ?? {}) as object)) {
    log.error({ err: error, requestId: request.id, route: request.routeOptions.url }, 'a request failed');
  }
  if (known instanceof HttpProblem) reply.headers(known.headers);
  if (known.kind === 'unauthenticated') reply.header('www-authenticate', 'Bearer');
  void reply
    .code(statusOf(known))
    .header('x-request-id', request.id)
    .type('application/json; charset=utf-8')
    .send(problemBody(known, request.id));
}

/** What Fastify says before a handler runs, in our words. */
function toBerthError(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new BerthError(
        'too_large',
        'The body is too large: upload large data as chunks (PUT /v1/chunks/{hash}).',
      );
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new HttpProblem(
        'invalid',
        'The header content-type cannot be read: send application/json.',
        415,
      );
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new BerthError('invalid', 'The body is not as long as its header content-length says.');
    case 'FST_ERR_BAD_URL':
      return new BerthError('invalid', 'The path cannot be read: a % must begin two hexadecimal digits.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new BerthError('not_found', 'An id in the path is longer than any id: nothing has that name.');
    case 'ECONNRESET':
      return new BerthError('cancelled', 'The client went away.', { cause: error });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new HttpProblem('invalid', (error as Error).message, statusCode);
  }
  return new BerthError(
    'internal',
    'Something went wrong inside Berth. The logs have it under this request id.',
    {
      cause: error,
    },
  );
}

const headerOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value;

/** Whoever stands before the gateway may have gone by the other one (RFC 9112, 3.2). */
const hasTwoHosts = ({ rawHeaders }: IncomingMessage): boolean =>
  rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length > 1;

const twoHosts = (): NodeJS.ErrnoException => Object.assign(new Error(), { code: 'TWO_HOSTS' });

/** Bytes that are no HTTP: there is no request to answer, only a socket. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const [status, reason, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'Request Header Fields Too Large', 'The headers are too large: 16 KiB at most.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'Request Timeout', 'The request did not arrive in time: send it again.']
        : [400, 'Bad Request', 'This is not an HTTP request that can be read.'];
  const body = problemBody(new BerthError('invalid', message), requestIdOf(undefined));
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
