/**
 * A container's own door to the platform: HTTP on a Unix socket in its run folder. Who can reach the socket is the
 * container, so nothing in it is a secret: the credential of the run is put in here, outside. `/v1/…` is Berth's REST
 * API, as far as its contracts open it to containers; `/runtime/…` is what the runner does for its containers.
 *
 * The other side is hostile. It may open as many connections as it likes, send halves of requests, and never read.
 */
import { chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, ERROR_KINDS, problemBody, type Logger } from '@berth/service-kit';
import { ContainerToken, type TokenIssuer } from './container-token';
import type { GatewayDoor } from './gateway-door';
import type { RuntimeRoutes } from './runtime-routes';

/** What all containers' sockets share. */
export interface ApiTools {
  identity: TokenIssuer;
  gateway: GatewayDoor;
  routes: RuntimeRoutes;
}

export interface ApiSocket {
  /** Hangs up on whoever is there and ends what they wait for. Safe to repeat. */
  close(): void;
}

export interface ApiSocketOptions {
  path: string;
  containerId: string;
  spec: ContainerSpec;
  log: Logger;
}

/** Of one container, at a time. Calls that wait for their outcome are among them. */
const REQUESTS_MAX = 256;
const CONNECTIONS_MAX = 512;
const HEADERS_BYTES_MAX = 16 * 1024;
const HEADERS_MS = 10_000;
/** Longer than any body should take to arrive; an answer may take as long as it needs. */
const RECEIVE_MS = 120_000;
/** Longer than the pauses between the calls of one that calls now and then. */
const KEEP_ALIVE_MS = 60_000;
const RUNTIME_BODY_BYTES_MAX = 64 * 1024;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
const API_PATH = /^\/v1\/[\x21-\x7e]*$/;
const RUNTIME_PATH = /^\/runtime\/[\x21-\x7e]*$/;

export async function openApiSocket(tools: ApiTools, options: ApiSocketOptions): Promise<ApiSocket> {
  const { path, containerId, log } = options;
  const token = new ContainerToken(tools.identity, containerId);
  let inProgress = 0;

  const serve = async (request: IncomingMessage, response: ServerResponse, signal: AbortSignal) => {
    if (!METHODS.has(request.method!))
      throw new BerthError('invalid', `There is no method ${request.method}.`);
    if (API_PATH.test(request.url!)) return tools.gateway.pass(request, response, token, signal);
    if (RUNTIME_PATH.test(request.url!))
      return serveRuntime(tools.routes, options, request, response, signal);
    throw new BerthError('not_found', 'This socket serves /v1/… and /runtime/…: check the path.');
  };

  const server = createServer(
    {
      maxHeaderSize: HEADERS_BYTES_MAX,
      headersTimeout: HEADERS_MS,
      requestTimeout: RECEIVE_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => {
      if (inProgress >= REQUESTS_MAX) {
        const message = `A container may have ${REQUESTS_MAX} requests open at a time: wait for one of them.`;
        return sendProblem(response, new BerthError('exhausted', message));
      }
      inProgress++;
      const gone = new AbortController();
      response.once('close', () => {
        inProgress--;
        gone.abort();
      });
      serve(request, response, gone.signal).catch((error: unknown) => {
        if (error instanceof BerthError) {
          if (error.kind === 'unavailable')
            log.warn({ err: error }, 'a container could not reach the platform');
          return sendProblem(response, error);
        }
        log.error({ err: error }, 'a request of a container failed by a bug');
        sendProblem(
          response,
          new BerthError('internal', 'Something went wrong inside Berth: its log has it.'),
        );
      });
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, path);
  return {
    close() {
      server.close(); // Also removes the socket's file.
      server.closeAllConnections();
    },
  };
}

async function serveRuntime(
  routes: RuntimeRoutes,
  { containerId, spec }: ApiSocketOptions,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const found = routes.find(request.method!, request.url!.split('?', 1)[0]!);
  if (!found) throw new BerthError('not_found', `Nothing is offered at ${request.method} ${request.url}.`);
  const body = await readJson(request);
  const document = await found.route.handle({ containerId, spec, params: found.params, body, signal });
  if (document === undefined) return void response.writeHead(204).end();
  send(response, 200, JSON.stringify(document));
}

/** Errors: `too_large`; `invalid` for what is no JSON. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > RUNTIME_BODY_BYTES_MAX) {
      throw new BerthError('too_large', `The body is larger than ${RUNTIME_BODY_BYTES_MAX} bytes.`);
    }
    parts.push(part);
  }
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(parts).toString());
  } catch (cause) {
    throw new BerthError('invalid', 'The body is not JSON.', { cause });
  }
}

/** An answer that has begun cannot be taken back: its connection is cut, so that it is not taken for whole. */
function sendProblem(response: ServerResponse, error: BerthError): void {
  if (response.headersSent) return void response.destroy();
  // The rest of its request may still come, and is not read: nothing else can follow on that connection.
  if (!response.req.complete) response.setHeader('connection', 'close');
  send(response, ERROR_KINDS[error.kind].http, problemBody(error, ''));
}

function send(response: ServerResponse, status: number, json: string): void {
  response
    .writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(json),
    })
    .end(json);
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  // One that cannot be let in (this process has too many files open) is that one's loss.
  server.on('error', () => undefined);
  // The container's user is not ours. Its folder, which only this container has, says who may come near.
  await chmod(path, 0o666);
}
