/**
 * Berth's own services at the public gRPC door: the methods that have a route are passed on to the service that owns
 * them, bytes in and bytes out, in the name of the caller's credential.
 */
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  MethodDefinition,
  ServerUnaryCall,
  ServerWritableStream,
} from '@grpc/grpc-js';
import type { DescMethod } from '@berth/contracts';
import {
  BerthError,
  drained,
  extractTrace,
  isTracing,
  SpanKind,
  toServiceError,
  traced,
  wasAnswered,
  type Logger,
} from '@berth/service-kit';
import { credentialOf } from '../credentials/credential';
import type { Sessions } from '../credentials/sessions';
import { idempotencyKeyOf, peerRequest, requestIdOf, traceparentOf, type Caller } from '../forward';
import { publicError, type Peers } from '../peers/peers';
import { statusOf } from '../problem';
import { allMethods, type PublicMethod } from '../public-methods';
import type { DoorService } from './door';

interface ProxyContext {
  peers: Peers;
  sessions: Sessions;
  log: Logger;
}

export function proxyServices(methods: readonly PublicMethod[], context: ProxyContext): DoorService[] {
  const byPath = new Map(methods.map((method) => [method.grpcPath, method]));
  const byService = Map.groupBy(allMethods(), (method) => method.parent.typeName);
  return [...byService].map(([name, descriptors]) => {
    const proxied = descriptors.map((descriptor) => {
      const method = byPath.get(pathOf(descriptor));
      return { descriptor, handler: method ? proxy(method, context) : refuse };
    });
    return {
      name,
      definition: Object.fromEntries(proxied.map(({ descriptor }) => [descriptor.name, asBytes(descriptor)])),
      implementation: Object.fromEntries(
        proxied.map(({ descriptor, handler }) => [descriptor.name, handler]),
      ),
      listed: descriptors.some((descriptor) => byPath.has(pathOf(descriptor))),
    };
  });
}

const pathOf = (descriptor: DescMethod): string => `/${descriptor.parent.typeName}/${descriptor.name}`;

const bytes = (message: Buffer): Buffer => message;

const asBytes = (descriptor: DescMethod): MethodDefinition<Buffer, Buffer> => ({
  path: pathOf(descriptor),
  requestStream: descriptor.methodKind === 'client_streaming' || descriptor.methodKind === 'bidi_streaming',
  responseStream: descriptor.methodKind === 'server_streaming' || descriptor.methodKind === 'bidi_streaming',
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});

type AnyCall = ServerUnaryCall<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer>;

/** For a method of the contracts that only services may call, of any shape. */
function refuse(call: AnyCall, callback?: (error: object) => void): void {
  const error = toServiceError(
    new BerthError('unimplemented', `${call.getPath()} is for Berth's own services: it is not public.`),
  );
  if (callback) callback(error);
  else call.emit('error', error);
}

type Proxy = handleUnaryCall<Buffer, Buffer> | handleServerStreamingCall<Buffer, Buffer>;

const proxy = (method: PublicMethod, context: ProxyContext): Proxy =>
  method.streams ? proxyStream(method, context) : proxyUnary(method, context);

function proxyUnary(method: PublicMethod, context: ProxyContext): handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    inSpan(method, call, async () => {
      const caller = callerOf(call, method);
      return context.peers.unary(peerRequest(method, caller, call.request, context.sessions));
    }).then(
      (response) => callback(null, response),
      (error: unknown) => callback(shown(error, method, context)),
    );
  };
}

function proxyStream(method: PublicMethod, context: ProxyContext): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => {
    inSpan(method, call, async () => {
      const caller = callerOf(call, method);
      const upstream = await context.peers.stream(
        peerRequest(method, caller, call.request, context.sessions),
      );
      caller.signal!.addEventListener('abort', () => upstream.cancel(), { once: true });
      for await (const message of upstream as AsyncIterable<Buffer>) {
        if (!call.write(message)) await drained(call, caller.signal!);
      }
    }).then(
      () => call.end(),
      (error: unknown) => call.emit('error', shown(error, method, context)),
    );
  };
}

function shown(error: unknown, method: PublicMethod, { log }: ProxyContext) {
  const known = publicError(error, method.peer);
  // What a service answered it has logged itself, where the cause is.
  if (statusOf(known) >= 500 && !wasAnswered((known.cause ?? {}) as object)) {
    log.error({ err: error, method: method.grpcPath }, 'a call at the gRPC door failed');
  }
  return toServiceError(known);
}

const first = (metadata: Metadata, key: string): string | undefined => metadata.get(key)[0]?.toString();

function callerOf(call: AnyCall, method: PublicMethod): Caller {
  const { metadata } = call;
  const abort = new AbortController();
  call.on('cancelled', () => abort.abort(new BerthError('cancelled', 'The caller went away.')));
  const deadline = call.getDeadline();
  return {
    credential: method.anonymous
      ? undefined
      : credentialOf(first(metadata, 'authorization'), first(metadata, 'x-api-key')),
    requestId: requestIdOf(first(metadata, 'x-request-id')),
    idempotencyKey: idempotencyKeyOf(first(metadata, 'idempotency-key')),
    traceparent: traceparentOf(first(metadata, 'traceparent')),
    deadline: deadline instanceof Date ? deadline.getTime() : deadline,
    signal: abort.signal,
  };
}

function inSpan<T>(method: PublicMethod, call: AnyCall, work: () => Promise<T>): Promise<T> {
  if (!isTracing()) return work();
  const traceparent = traceparentOf(first(call.metadata, 'traceparent'));
  const parent = traceparent ? { parent: extractTrace({ traceparent }) } : {};
  return traced(method.grpcPath.slice(1), { kind: SpanKind.SERVER, ...parent }, work);
}
