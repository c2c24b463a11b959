import type { Readable } from 'node:stream';
import { Client, credentials, Metadata, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import type { MethodShape, RequestOf, ResponseOf, ServiceShape } from './definition';
import { splitPath } from './definition';
import { BerthError, fromServiceError } from './errors';
import { localServer, type Answer, type Codec, type LocalOptions } from './local-calls';
import { MESSAGE_BYTES_MAX, type CallContext } from './server';
import { injectTrace, isTracing, SpanKind, traced } from './telemetry';
import type { Tokens } from './tokens';

export interface CallOptions {
  /** Asks in this caller's name, within its deadline and until it goes away; default: in the service's own name. */
  for?: CallContext;
  /** Milliseconds; default 10 s, or what is left of the caller's own. */
  timeoutMs?: number;
  signal?: AbortSignal;
  idempotencyKey?: string;
}

type ClientMethod<M extends MethodShape> = M['requestStream'] extends true
  ? (options?: Omit<CallOptions, 'for'>) => Promise<ClientDuplexStream<RequestOf<M>, ResponseOf<M>>>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, options?: CallOptions) => Promise<ResponseOf<M>>;

export type ClientOf<S extends ServiceShape> = { [K in keyof S]: ClientMethod<S[K]> } & { close(): void };

const TIMEOUT_MS = 10_000;
/** Taken off at each hop, so that the inner error arrives before the outer deadline. */
const DEADLINE_SHAVE_MS = 20;

/** Calls to one peer: without a socket where it is in this process, else over gRPC. */
export interface Channel {
  unary(
    path: string,
    codec: Codec,
    request: unknown,
    metadata: Metadata,
    options: LocalOptions,
    answer: Answer,
  ): { cancel(): void };
  serverStream(
    path: string,
    codec: Codec,
    request: unknown,
    metadata: Metadata,
    options: LocalOptions,
  ): Readable & { cancel(): void };
  duplex(path: string, codec: Codec, metadata: Metadata): ClientDuplexStream<unknown, unknown>;
  close(): void;
}

/** A channel to one peer: reconnects for ever, quickly, since peers are restarted by their supervisor. */
export function openChannel(address: string): Channel {
  let opened: Client | undefined;
  const remote = () =>
    (opened ??= new Client(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.enable_channelz': 0, // Nobody reads its counts, and each call pays for them.
    }));
  const local = (path: string) => {
    const server = localServer(address);
    return server?.has(path) ? server : undefined;
  };
  const serializeOf = ({ serialize }: Codec) => serialize as (value: unknown) => Buffer;
  return {
    unary: (path, codec, request, metadata, options, answer) =>
      local(path)?.unary(path, codec, request, metadata, options, answer) ??
      remote().makeUnaryRequest(
        path,
        serializeOf(codec),
        codec.deserialize,
        request,
        metadata,
        options,
        answer as (error: ServiceError | null, response?: unknown) => void,
      ),
    serverStream: (path, codec, request, metadata, options) =>
      local(path)?.stream(path, codec, { message: request }, metadata, options) ??
      remote().makeServerStreamRequest(
        path,
        serializeOf(codec),
        codec.deserialize,
        request,
        metadata,
        options,
      ),
    duplex: (path, codec, metadata) =>
      (local(path)?.stream(path, codec, undefined, metadata, {}) as
        ClientDuplexStream<unknown, unknown> | undefined) ??
      remote().makeBidiStreamRequest(path, serializeOf(codec), codec.deserialize, metadata),
    close: () => opened?.close(),
  };
}

const codecOf = ({ requestSerialize, responseDeserialize }: MethodShape): Codec => ({
  serialize: requestSerialize,
  deserialize: responseDeserialize,
});

/** A promise-style client of one contract. Failures are BerthErrors. */
export function connect<S extends ServiceShape>(definition: S, address: string, tokens: Tokens): ClientOf<S> {
  const channel = openChannel(address);

  const metadataFor = async (options: CallOptions): Promise<Metadata> => {
    const metadata = new Metadata();
    const token = options.for?.token ?? (await tokens.sign({ kind: 'service', service: tokens.service }));
    metadata.set('authorization', `Bearer ${token}`);
    if (options.for) metadata.set('x-request-id', options.for.requestId);
    if (options.idempotencyKey) metadata.set('idempotency-key', options.idempotencyKey);
    const trace = injectTrace();
    const traceparent = trace.traceparent ?? options.for?.traceparent;
    if (traceparent) metadata.set('traceparent', traceparent);
    return metadata;
  };

  const deadlineFor = (options: CallOptions): number => {
    const own = Date.now() + (options.timeoutMs ?? TIMEOUT_MS);
    const callers = options.for?.deadline?.getTime();
    return callers === undefined ? own : Math.min(own, callers - DEADLINE_SHAVE_MS);
  };

  const unary = (method: MethodShape) => {
    const codec = codecOf(method);
    return async (request: never, options: CallOptions = {}) => {
      const send = async () => {
        const metadata = await metadataFor(options);
        const signal = options.signal ?? options.for?.signal;
        if (signal?.aborted) throw new BerthError('cancelled', 'The caller went away.');
        return new Promise((resolve, reject) => {
          // An answer may come before the call is known: then there is nothing to cancel.
          const made: { call?: { cancel(): void } } = {};
          const cancel = () => made.call?.cancel();
          signal?.addEventListener('abort', cancel, { once: true });
          made.call = channel.unary(
            method.path,
            codec,
            request,
            metadata,
            { deadline: deadlineFor(options) },
            (error, response) => {
              // A signal that outlives the call must not hold it.
              signal?.removeEventListener('abort', cancel);
              if (error) reject(fromServiceError(error));
              else resolve(response);
            },
          );
        });
      };
      return isTracing() ? traced(splitPath(method.path).method, { kind: SpanKind.CLIENT }, send) : send();
    };
  };

  const serverStream = (method: MethodShape) =>
    async function* (request: never, options: CallOptions = {}) {
      const signal = options.signal ?? options.for?.signal;
      if (signal?.aborted) return;
      const call = channel.serverStream(
        method.path,
        codecOf(method),
        request,
        await metadataFor(options),
        options.timeoutMs === undefined ? {} : { deadline: deadlineFor(options) },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        for await (const message of call) yield message;
      } catch (error) {
        if (!signal?.aborted) throw fromServiceError(error);
      } finally {
        signal?.removeEventListener('abort', cancel);
        call.cancel();
      }
    };

  const duplex =
    (method: MethodShape) =>
    async (options: CallOptions = {}) =>
      channel.duplex(method.path, codecOf(method), await metadataFor(options));

  const methods = Object.entries(definition).map(([name, method]) => [
    name,
    method.requestStream ? duplex(method) : method.responseStream ? serverStream(method) : unary(method),
  ]);
  return Object.assign(Object.fromEntries(methods), { close: () => channel.close() }) as ClientOf<S>;
}
