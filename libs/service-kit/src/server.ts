/**
 * Serving gRPC. Each method goes through the same gate, in this order: token → principal → access rule (from the
 * proto) → required fields → handler → error mapping. A method without an access rule keeps the service from starting.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import {
  Server,
  ServerCredentials,
  type Metadata,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { accessOf, contracts, fieldIs, type AccessRule, type DescMethod } from '@berth/contracts';
import { HealthImplementation } from 'grpc-health-check';
import { admit } from './access';
import { splitPath, type HandlersOf, type MethodShape, type ServiceShape } from './definition';
import { drained } from './drained';
import { BerthError, ERROR_KINDS, toServiceError } from './errors';
import { LocalServer } from './local-calls';
import type { Logger } from './log';
import { rpcSeconds } from './metrics';
import { reflectionOn } from './reflection';
import { extractTrace, isTracing, SpanKind, traced } from './telemetry';
import type { Principal, Tokens, UserPrincipal } from './tokens';

/** gRPC's default of 4 MiB is too small for payloads; larger ones go through sync. Bytes. */
export const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

/** What a handler knows of the request beside its message. */
export interface CallContext {
  principal: Principal;
  /** The caller's internal token, to hand on when a peer is asked in the caller's name. */
  token: string;
  requestId: string;
  idempotencyKey: string | undefined;
  /** Aborted when the caller goes away or the deadline passes. */
  signal: AbortSignal;
  deadline: Date | undefined;
  /** The caller's W3C trace context, for what leaves by another road than gRPC. */
  traceparent: string | undefined;
}

/** The user or key that asks. Errors: `denied` for a service. */
export function userOf(call: CallContext): UserPrincipal {
  if (call.principal.kind === 'user') return call.principal;
  throw new BerthError('denied', 'This is asked in the name of a user.');
}

/** The workspace that the credential opens. Errors: `denied` for one that opens none. */
export function workspaceOf(call: CallContext): string {
  const { workspaceId } = userOf(call);
  if (workspaceId) return workspaceId;
  throw new BerthError(
    'denied',
    'An admin key manages the organization and opens no workspace: use an API token of the workspace.',
  );
}

/**
 * The organization that is asked about: the caller's own, or the one that a service names in the field
 * `organization_id`. Errors: `invalid` when a service names none; `not_found` when a user names another's.
 */
export function organizationOf(call: CallContext, named: string): string {
  if (call.principal.kind === 'service') {
    if (named) return named;
    throw new BerthError('invalid', 'organization_id is missing: a service has to name one.', {
      field: 'organization_id',
    });
  }
  const { organizationId } = call.principal;
  if (!named || named === organizationId) return organizationId;
  throw new BerthError('not_found', 'No such organization: leave organization_id out to use your own.', {
    field: 'organization_id',
  });
}

export interface ServedService {
  definition: ServiceShape;
  implementation: UntypedServiceImplementation;
}

interface Gate {
  service: string;
  tokens: Tokens;
  log: Logger;
}

/** Binds handlers to a contract. Types follow from the contract; every method must be there. */
export function implement<S extends ServiceShape>(
  definition: S,
  handlers: HandlersOf<S>,
): (gate: Gate) => ServedService {
  return (gate) => ({
    definition,
    implementation: Object.fromEntries(
      Object.entries(definition).map(([name, method]) => [
        name,
        guard(method, handlers[name] as never, gate),
      ]),
    ),
  });
}

interface Rules {
  access: AccessRule;
  /** Property names as ts-proto spells them, with the contract's own spelling. */
  required: { property: string; field: string }[];
}

function rulesOf(method: MethodShape): Rules {
  const { service, method: name } = splitPath(method.path);
  const found: DescMethod | undefined = contracts()
    .getService(service)
    ?.methods.find((each) => each.name === name);
  const access = found && accessOf(found);
  if (!found || !access)
    throw new Error(`${method.path} has no option (berth.options.v1.access): say who may call it`);
  const required = found.input.fields
    .filter((field) => fieldIs(field, 'required'))
    .map((field) => ({ property: field.localName, field: field.name }));
  return { access, required };
}

function checkRequired(request: unknown, required: Rules['required']): void {
  for (const { property, field } of required) {
    const value = (request as Record<string, unknown>)[property];
    if (value === undefined || value === '' || value === 0) {
      throw new BerthError('invalid', `${field} is missing: give it a value.`, { field });
    }
  }
}

/** One for all: grpc-js says `cancelled` at the end of every call, and a stack of its own would cost each of them. */
const CALLER_GONE = new BerthError('cancelled', 'The caller went away.');

const header = (metadata: Metadata, key: string): string | undefined => metadata.get(key)[0]?.toString();

function guard(method: MethodShape, handler: (...args: never[]) => unknown, gate: Gate) {
  const { access, required } = rulesOf(method);
  const { method: name } = splitPath(method.path);
  const run = handler as (request: unknown, call: CallContext) => unknown;

  type AnyCall =
    | ServerUnaryCall<unknown, unknown>
    | ServerWritableStream<unknown, unknown>
    | ServerDuplexStream<unknown, unknown>;

  const enter = async (call: AnyCall): Promise<CallContext> => {
    const authorization = header(call.metadata, 'authorization');
    const token = authorization?.startsWith('Bearer ') ? authorization.slice(7) : '';
    if (!token && !access.anonymous) {
      throw new BerthError(
        'unauthenticated',
        'This call carries no internal token: come through the gateway.',
      );
    }
    const principal: Principal = token
      ? await gate.tokens.verify(token)
      : { kind: 'service', service: 'anonymous' };
    admit(principal, access);
    const deadline = call.getDeadline();
    const idempotencyKey = header(call.metadata, 'idempotency-key');
    if (idempotencyKey !== undefined && idempotencyKey.length > 255) {
      throw new BerthError('invalid', 'Idempotency-Key is longer than 255 characters.', {
        field: 'Idempotency-Key',
      });
    }
    const abort = new AbortController();
    (call as ServerUnaryCall<unknown, unknown>).on('cancelled', () => abort.abort(CALLER_GONE));
    return {
      principal,
      token,
      requestId: header(call.metadata, 'x-request-id') ?? randomUUID(),
      idempotencyKey: idempotencyKey || undefined,
      signal: abort.signal,
      deadline: deadline === Infinity ? undefined : new Date(deadline as number | Date),
      traceparent: header(call.metadata, 'traceparent'),
    };
  };

  const serve = async <T>(call: AnyCall, work: (context: CallContext) => Promise<T>): Promise<T> => {
    const stopTimer = rpcSeconds.startTimer({ service: gate.service, method: name });
    let context: CallContext | undefined;
    try {
      context = await enter(call);
      const entered = context;
      const traceparent = entered.traceparent;
      const result = isTracing()
        ? await traced(
            `${gate.service}.${name}`,
            { kind: SpanKind.SERVER, ...(traceparent ? { parent: extractTrace({ traceparent }) } : {}) },
            () => work(entered),
          )
        : await work(entered);
      stopTimer({ code: 'ok' });
      return result;
    } catch (error) {
      const known = error instanceof BerthError;
      stopTimer({ code: known ? ERROR_KINDS[error.kind].code : 'internal' });
      if (!known || error.kind === 'internal') {
        gate.log.error(
          { err: error, method: method.path, requestId: context?.requestId },
          'a request failed by a bug',
        );
      }
      throw error;
    }
  };

  if (method.requestStream) {
    return (call: ServerDuplexStream<unknown, unknown>) => {
      void serve(call, (context) => run(call, context) as Promise<void>).then(
        () => call.end(),
        (error: unknown) => call.emit('error', toServiceError(error)),
      );
    };
  }
  if (method.responseStream) {
    return (call: ServerWritableStream<unknown, unknown>) => {
      void serve(call, async (context) => {
        checkRequired(call.request, required);
        for await (const message of run(call.request, context) as AsyncIterable<unknown>) {
          if (context.signal.aborted) return;
          if (!call.write(message)) await drained(call, context.signal);
        }
      }).then(
        () => call.end(),
        (error: unknown) => call.emit('error', toServiceError(error)),
      );
    };
  }
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    void serve(call, async (context) => {
      checkRequired(call.request, required);
      return run(call.request, context);
    }).then(
      (response) => callback(null, response),
      (error: unknown) => callback(toServiceError(error)),
    );
  };
}

export interface GrpcServer {
  /** Where it listens, with the port that was given for port 0. */
  address: string;
  setServing(serving: boolean): void;
  /** Takes no more calls, lets those in flight end for `graceMs`, then cuts them. */
  stop(graceMs: number): Promise<void>;
}

/** Serves contracts at `listen`, with gRPC health (NOT_SERVING until `setServing(true)`) and reflection. */
export async function serveGrpc(
  listen: string,
  gate: Gate,
  services: ((gate: Gate) => ServedService)[],
): Promise<GrpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
    'grpc.enable_channelz': 0,
  });
  const local = new LocalServer(listen, MESSAGE_BYTES_MAX);
  const names = [''];
  for (const bind of services) {
    const { definition, implementation } = bind(gate);
    local.add(definition, implementation);
    server.addService(definition as never, implementation);
    names.push(splitPath(Object.values(definition)[0]!.path).service);
  }
  const health = new HealthImplementation(
    Object.fromEntries(names.map((name) => [name, 'NOT_SERVING' as const])),
  );
  health.addToServer(server);
  reflectionOn(names.slice(1)).addToServer(server);

  // A socket file that a killed process left behind would refuse the bind; no other process shares this path.
  if (listen.startsWith('unix:')) rmSync(listen.slice('unix:'.length), { force: true });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );

  local.listen();

  return {
    address: listen.startsWith('unix:') ? listen : listen.replace(/:\d+$/, `:${port}`),
    setServing: (serving) =>
      names.forEach((name) => health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING')),
    async stop(graceMs) {
      const overSockets = new Promise<void>((resolve) => {
        const cut = setTimeout(() => server.forceShutdown(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(cut);
          resolve();
        });
      });
      await Promise.all([overSockets, local.stop(graceMs)]);
    },
  };
}
