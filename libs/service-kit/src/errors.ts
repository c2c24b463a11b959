import { Metadata, status, type ServiceError } from '@grpc/grpc-js';

/** What went wrong, in words a caller can act on. Each kind is one gRPC status and one HTTP status. */
export type ErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'denied'
  | 'not_found'
  | 'conflict'
  | 'precondition'
  | 'exhausted'
  | 'too_large'
  | 'unavailable'
  | 'timeout'
  | 'cancelled'
  | 'unimplemented'
  | 'data_loss'
  | 'internal';

interface Mapping {
  grpc: status;
  http: number;
  /** The `code` of a REST error body. */
  code: string;
}

/** The one table between a kind and the wires. */
export const ERROR_KINDS: Record<ErrorKind, Mapping> = {
  invalid: { grpc: status.INVALID_ARGUMENT, http: 400, code: 'invalid_argument' },
  unauthenticated: { grpc: status.UNAUTHENTICATED, http: 401, code: 'unauthenticated' },
  denied: { grpc: status.PERMISSION_DENIED, http: 403, code: 'permission_denied' },
  not_found: { grpc: status.NOT_FOUND, http: 404, code: 'not_found' },
  conflict: { grpc: status.ALREADY_EXISTS, http: 409, code: 'already_exists' },
  precondition: { grpc: status.FAILED_PRECONDITION, http: 409, code: 'failed_precondition' },
  exhausted: { grpc: status.RESOURCE_EXHAUSTED, http: 429, code: 'resource_exhausted' },
  too_large: { grpc: status.OUT_OF_RANGE, http: 413, code: 'too_large' },
  unavailable: { grpc: status.UNAVAILABLE, http: 503, code: 'unavailable' },
  timeout: { grpc: status.DEADLINE_EXCEEDED, http: 504, code: 'deadline_exceeded' },
  cancelled: { grpc: status.CANCELLED, http: 499, code: 'cancelled' },
  unimplemented: { grpc: status.UNIMPLEMENTED, http: 501, code: 'unimplemented' },
  data_loss: { grpc: status.DATA_LOSS, http: 500, code: 'data_loss' },
  internal: { grpc: status.INTERNAL, http: 500, code: 'internal' },
};

const KIND_BY_STATUS = new Map(
  (Object.entries(ERROR_KINDS) as [ErrorKind, Mapping][]).map(([kind, { grpc }]) => [grpc, kind]),
);

const FIELD_KEY = 'berth-error-field';
/** Tells an error that a service means from one that gRPC made up when the line broke. */
const KIND_KEY = 'berth-error-kind';

/**
 * A failure that a caller can act on. `message` is public and says what to do next; `cause` is private and goes to
 * the log alone. `field` names the input at fault as the contract spells it.
 */
export class BerthError extends Error {
  readonly kind: ErrorKind;
  readonly field: string | undefined;

  constructor(kind: ErrorKind, message: string, details: { field?: string; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'BerthError';
    this.kind = kind;
    this.field = details.field;
  }
}

/** The one shape of an error over REST. */
export const problemBody = (error: BerthError, requestId: string): string =>
  JSON.stringify({
    error: {
      code: ERROR_KINDS[error.kind].code,
      message: error.message,
      field: error.field ?? null,
      request_id: requestId,
    },
  });

/** The error as gRPC carries it. Anything but a BerthError is a bug: INTERNAL, with a plain message. */
export function toServiceError(error: unknown): Partial<ServiceError> {
  const known = error instanceof BerthError ? error : new BerthError('internal', PLAIN_MESSAGE);
  const metadata = new Metadata();
  metadata.set(KIND_KEY, known.kind);
  if (known.field) metadata.set(FIELD_KEY, encodeURIComponent(known.field));
  return { code: ERROR_KINDS[known.kind].grpc, details: known.message, metadata };
}

const PLAIN_MESSAGE = 'Something went wrong inside Berth. The logs have it under this request id.';

/** Whether a service said this itself; if not, the line broke and nobody knows what became of the request. */
export const wasAnswered = (error: Partial<ServiceError>): boolean =>
  error.metadata?.get?.(KIND_KEY)[0] !== undefined;

/** The error that a peer answered with. */
export function fromServiceError(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  const { code, details, metadata, message } = error as Partial<ServiceError>;
  const kind = (code !== undefined && KIND_BY_STATUS.get(code)) || 'internal';
  const field = metadata?.get?.(FIELD_KEY)[0];
  return new BerthError(kind, details || message || PLAIN_MESSAGE, {
    ...(field === undefined ? {} : { field: decodeURIComponent(String(field)) }),
    cause: error,
  });
}
