/** The shape of the service definitions that ts-proto generates, and the promise-style types read off them. */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { CallContext } from './server';

export interface MethodShape {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: never) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (value: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

export type ServiceShape = Readonly<Record<string, MethodShape>>;

export type RequestOf<M extends MethodShape> = ReturnType<M['requestDeserialize']>;
export type ResponseOf<M extends MethodShape> = ReturnType<M['responseDeserialize']>;

/** unary: a promise. Server stream: an async iterable. Both ways: the stream itself, until the promise settles. */
export type HandlerOf<M extends MethodShape> = M['requestStream'] extends true
  ? (stream: ServerDuplexStream<RequestOf<M>, ResponseOf<M>>, call: CallContext) => Promise<void>
  : M['responseStream'] extends true
    ? (request: RequestOf<M>, call: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, call: CallContext) => Promise<ResponseOf<M>>;

export type HandlersOf<S extends ServiceShape> = { [K in keyof S]: HandlerOf<S[K]> };

/** `functions.v1.FunctionsService/InvokeFunction` of `/berth.functions.v1.FunctionsService/InvokeFunction`. */
export function splitPath(path: string): { service: string; method: string } {
  const [, service = '', method = ''] = path.split('/');
  return { service, method };
}
