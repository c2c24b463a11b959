/** The way from containers' sockets to the platform's REST door. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Pool, type Dispatcher } from 'undici';
import { BerthError } from '@berth/service-kit';
import type { ContainerToken } from './container-token';

export interface GatewayDoor {
  /** Passes one request on in the name of `token`'s container, and its answer back. Errors: before the answer began. */
  pass(
    request: IncomingMessage,
    response: ServerResponse,
    token: ContainerToken,
    signal: AbortSignal,
  ): Promise<void>;
  close(): Promise<void>;
}

/**
 * All that is taken over. A request to the gateway is written anew, with a length or chunks of its own: nothing that
 * user code puts into a header names another container, ends a request early or hides a second one in it.
 */
const REQUEST_HEADERS = [
  'accept',
  'content-type',
  'content-length',
  'idempotency-key',
  'traceparent',
  'x-request-id',
];
const RESPONSE_HEADERS = ['content-type', 'content-length', 'retry-after', 'x-request-id'];
const CONNECT_MS = 2_000;

export function openGatewayDoor(url: string): GatewayDoor {
  // A call may run for hours: neither its headers nor its lines have a deadline here.
  const pool = new Pool(new URL(url).origin, {
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: CONNECT_MS },
  });
  return {
    async pass(request, response, token, signal) {
      const answer = await ask(pool, request, await token.get(), signal);
      if (answer.statusCode === 401) {
        token.forget();
        answer.body.on('error', () => undefined).destroy();
        throw new BerthError('unavailable', 'The credential of this container was renewed: send this again.');
      }
      response.writeHead(answer.statusCode, chosen(answer.headers, RESPONSE_HEADERS));
      // Lines that come one by one: who waits for them sees at once that there are some.
      if (answer.headers['content-length'] === undefined) response.flushHeaders();
      await pipeline(answer.body, response).catch(() => response.destroy());
    },
    close: () => pool.destroy(),
  };
}

async function ask(
  pool: Pool,
  request: IncomingMessage,
  token: string,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  try {
    return await pool.request({
      method: request.method as Dispatcher.HttpMethod,
      path: request.url!,
      headers: { ...chosen(request.headers, REQUEST_HEADERS), authorization: `Bearer ${token}` },
      body: hasBody ? request : null,
      signal,
    });
  } catch (cause) {
    if (signal.aborted) throw new BerthError('cancelled', 'The client went away.', { cause });
    throw new BerthError('unavailable', 'Berth does not answer right now: try again in a moment.', { cause });
  }
}

const chosen = (
  headers: IncomingMessage['headers'],
  names: readonly string[],
): Record<string, string | string[]> =>
  Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
