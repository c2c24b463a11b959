/**
 * The services behind the doors. Messages pass through as bytes: whoever calls has encoded them.
 *
 * A service that restarts is waited for. Its callers repeat what was lost with the line, under the same idempotency
 * key, so that a call which had been written is joined and not made twice.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import {
  BerthError,
  fromServiceError,
  injectTrace,
  openChannel,
  wasAnswered,
  type Channel,
  type Codec,
} from '@berth/service-kit';

/** One request to a peer, whichever door it came by. */
export interface PeerRequest {
  peer: string;
  /** `/berth.functions.v1.FunctionsService/GetApp` */
  path: string;
  message: Uint8Array;
  /** Asked anew for each attempt: a token is older than a restart may be long. Undefined: an anonymous request. */
  token: (() => string | Promise<string>) | undefined;
  requestId: string;
  idempotencyKey: string | undefined;
  /** The caller's; a span of our own goes before it. */
  traceparent: string | undefined;
  /** Milliseconds since 1970. */
  deadline: number;
  /** How long a peer that is gone is waited for; milliseconds. */
  patienceMs: number;
  /** Aborted when the caller is gone or this gateway stops; its reason is thrown. */
  signal: AbortSignal | undefined;
}

export interface Peers extends AsyncDisposable {
  names: readonly string[];
  unary(request: PeerRequest): Promise<Buffer>;
  stream(request: PeerRequest): Promise<Readable & { cancel(): void }>;
  /** Which peers say SERVING; at most a second old. */
  health(): Promise<{ name: string; serving: boolean }[]>;
}

const FIRST_DELAY_MS = 50;
const DELAY_MAX_MS = 1000;
/** An attempt that held this long had found its peer: what breaks later is a new loss. */
const NEW_LOSS_MS = 10_000;
const HEALTH_TIMEOUT_MS = 1000;
const HEALTH_CACHE_MS = 1000;

const asIs = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const BYTES: Codec = { serialize: asIs, deserialize: (bytes) => bytes };

export function openPeers(addresses: ReadonlyMap<string, string>): Peers {
  const channels = new Map([...addresses].map(([name, address]) => [name, openChannel(address)]));

  const channelOf = (name: string): Channel => {
    const channel = channels.get(name);
    if (!channel) throw new Error(`no address of ${name}`);
    return channel;
  };

  const attempt = (request: PeerRequest, metadata: Metadata): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const { signal } = request;
      const call = channelOf(request.peer).unary(
        request.path,
        BYTES,
        request.message,
        metadata,
        { deadline: request.deadline },
        (error, response?: Buffer) => {
          signal?.removeEventListener('abort', cancel);
          if (error) reject(signal?.aborted ? (signal.reason as Error) : error);
          else resolve(response!);
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });

  const unary = async (request: PeerRequest): Promise<Buffer> => {
    let lostAt: number | undefined;
    let pauseMs = FIRST_DELAY_MS;
    for (;;) {
      const startedAt = Date.now();
      try {
        return await attempt(request, await metadataOf(request));
      } catch (error) {
        if (!isLost(error)) throw publicError(error, request.peer);
        const now = Date.now();
        if (lostAt === undefined || now - startedAt > NEW_LOSS_MS) {
          lostAt = now;
          pauseMs = FIRST_DELAY_MS;
        }
        if (now + pauseMs > Math.min(lostAt + request.patienceMs, request.deadline)) {
          throw publicError(error, request.peer);
        }
        // Spread out, so that a thousand waiters do not come back as one.
        await delay(
          pauseMs * (0.5 + Math.random() / 2),
          undefined,
          request.signal ? { signal: request.signal } : {},
        ).catch(() => {
          throw request.signal?.reason;
        });
        pauseMs = Math.min(pauseMs * 2, DELAY_MAX_MS);
      }
    }
  };

  const isServing = (name: string): Promise<boolean> =>
    new Promise((resolve) =>
      channelOf(name).unary(
        '/grpc.health.v1.Health/Check',
        BYTES,
        Buffer.alloc(0),
        new Metadata(),
        { deadline: Date.now() + HEALTH_TIMEOUT_MS },
        // HealthCheckResponse {status: SERVING}
        (error, response?: Buffer) => resolve(!error && response?.[0] === 0x08 && response[1] === 1),
      ),
    );

  let asked: { at: number; answer: ReturnType<Peers['health']> } | undefined;

  return {
    names: [...channels.keys()],
    unary,
    async stream(request) {
      return channelOf(request.peer).serverStream(
        request.path,
        BYTES,
        request.message,
        await metadataOf(request),
        {},
      );
    },
    health() {
      if (!asked || Date.now() - asked.at > HEALTH_CACHE_MS) {
        const each = [...channels.keys()].map(async (name) => ({ name, serving: await isServing(name) }));
        asked = { at: Date.now(), answer: Promise.all(each) };
      }
      return asked.answer;
    },
    async [Symbol.asyncDispose]() {
      for (const channel of channels.values()) channel.close();
    },
  };
}

async function metadataOf(request: PeerRequest): Promise<Metadata> {
  const metadata = new Metadata();
  if (request.token) metadata.set('authorization', `Bearer ${await request.token()}`);
  metadata.set('x-request-id', request.requestId);
  if (request.idempotencyKey) metadata.set('idempotency-key', request.idempotencyKey);
  const traceparent = injectTrace().traceparent ?? request.traceparent;
  if (traceparent) metadata.set('traceparent', traceparent);
  return metadata;
}

/** What gRPC itself says when a peer dies with a request in flight, or is not there. */
const BROKEN_LINE: readonly (status | undefined)[] = [status.UNAVAILABLE, status.INTERNAL, status.CANCELLED];

/** Whether the request may be made again: the line broke, or the peer itself asks to come back later. */
function isLost(error: unknown): boolean {
  if (error instanceof BerthError) return error.kind === 'unavailable';
  const { code } = error as ServiceError;
  return wasAnswered(error as ServiceError) ? code === status.UNAVAILABLE : BROKEN_LINE.includes(code);
}

/** The error as a caller may see it: what gRPC says of addresses and sockets stays inside. */
export function publicError(error: unknown, peer: string): BerthError {
  if (error instanceof BerthError) return error;
  if (wasAnswered(error as ServiceError)) return fromServiceError(error);
  switch ((error as Partial<ServiceError>).code) {
    case status.UNAVAILABLE:
    case status.INTERNAL:
    case status.CANCELLED:
      return new BerthError('unavailable', `The service ${peer} does not answer: try again in a moment.`, {
        cause: error,
      });
    case status.DEADLINE_EXCEEDED:
      return new BerthError('timeout', `The service ${peer} did not answer in time: try again.`, {
        cause: error,
      });
    case status.UNIMPLEMENTED:
      return new BerthError('unimplemented', `The service ${peer} does not offer this yet.`, {
        cause: error,
      });
    case status.RESOURCE_EXHAUSTED:
      return new BerthError('too_large', 'The message is larger than 32 MiB: move large data as files.', {
        cause: error,
      });
    default:
      return error instanceof Error && (error as Partial<ServiceError>).code === undefined
        ? new BerthError(
            'internal',
            'Something went wrong inside Berth. The logs have it under this request id.',
            {
              cause: error,
            },
          )
        : fromServiceError(error);
  }
}
