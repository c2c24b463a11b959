import { randomUUID } from 'node:crypto';
import { BerthError } from '@berth/service-kit';
import type { Credential } from './credentials/credential';
import type { Sessions } from './credentials/sessions';
import type { PeerRequest } from './peers/peers';
import type { PublicMethod } from './public-methods';

/** What a door knows of a request, beside its message. */
export interface Caller {
  /** Undefined for a method that anybody may call. */
  credential: Credential | undefined;
  requestId: string;
  idempotencyKey: string | undefined;
  traceparent: string | undefined;
  /** The caller's own; milliseconds since 1970. */
  deadline?: number;
  signal?: AbortSignal;
}

/** How long a service that restarts is waited for: by what makes something, and by what only looks. */
const PATIENCE_MS = 60_000;
const PATIENCE_OF_READS_MS = 5_000;

const REQUEST_ID = /^[\w.:@/+=-]{1,128}$/;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}/;
const KEY = /^[\x20-\x7e]{1,255}$/;

/** The caller's own request id where it is fit for a log line, else a new one. */
export const requestIdOf = (given: string | undefined): string =>
  given && REQUEST_ID.test(given) ? given : randomUUID();

export const traceparentOf = (given: string | undefined): string | undefined =>
  given && TRACEPARENT.test(given) ? given : undefined;

/** Errors: `invalid`. */
export function idempotencyKeyOf(given: string | undefined): string | undefined {
  if (given === undefined || given === '') return undefined;
  if (KEY.test(given)) return given;
  throw new BerthError('invalid', 'Idempotency-Key must be 1 to 255 printable ASCII characters.', {
    field: 'Idempotency-Key',
  });
}

/** The request to the service that owns `method`. */
export function peerRequest(
  method: PublicMethod,
  caller: Caller,
  message: Uint8Array,
  sessions: Sessions,
): PeerRequest {
  const reads = method.route.verb === 'GET';
  const { credential } = caller;
  return {
    peer: method.peer,
    path: method.grpcPath,
    message,
    token: credential && (() => sessions.tokenFor(credential)),
    requestId: caller.requestId,
    // Without a key of the caller's, one of our own: what the gateway repeats must not be made twice.
    idempotencyKey: caller.idempotencyKey ?? (reads ? undefined : randomUUID()),
    traceparent: caller.traceparent,
    deadline: Math.min(Date.now() + method.deadlineMs, caller.deadline ?? Infinity),
    patienceMs: reads ? PATIENCE_OF_READS_MS : PATIENCE_MS,
    signal: caller.signal,
  };
}
