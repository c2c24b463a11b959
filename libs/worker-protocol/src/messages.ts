import { ProtocolError } from './frame';

/** What went wrong in user code, in the words of its own language. */
export interface UserError {
  /** The exception's class name. */
  type: string;
  message: string;
  /** The user's own frames with their source lines; empty where there are none. */
  traceback: string;
}

export type Runtime = 'python' | 'node';

/** What a worker says. Its container runs hostile code, so nothing here is believed before `parseWorkerMessage`. */
export type WorkerMessage =
  | { type: 'hello'; token: string; runtime: Runtime; version: string; pid: number }
  | { type: 'ready'; init_ms: number }
  | { type: 'init_failed'; error: UserError }
  | { type: 'success'; input_id: string; attempt: number; format: string; run_us: number; blob?: string }
  | {
      type: 'failure';
      input_id: string;
      attempt: number;
      error: UserError;
      run_us: number;
      /** The handler raised for so many inputs at once. */
      of_batch?: number;
    }
  | { type: 'item'; input_id: string; attempt: number; index: number; format: string }
  | { type: 'log'; stream: 'stdout' | 'stderr'; input_id: string | null };

/** What a runner says. */
export type RunnerMessage =
  | {
      type: 'start';
      handler: string;
      source: string;
      frame_bytes_max: number;
      /** Added to the environment. */
      env: Record<string, string>;
      /** Inputs at a time; left out: one. */
      slots?: number;
      /** What the object of a class is made with. */
      parameters?: unknown;
    }
  | {
      type: 'input';
      input_id: string;
      call_id: string;
      attempt: number;
      format: string;
      traceparent?: string;
      /** Where the arguments are, instead of in the payload. */
      blob?: string;
    }
  | {
      type: 'batch';
      inputs: {
        input_id: string;
        call_id: string;
        attempt: number;
        format: string;
        blob?: string;
        /** Of the payload, in which those of all inputs follow each other. */
        bytes: number;
      }[];
    }
  /** So many more of the items that a generator yielded are recorded. */
  | { type: 'recorded'; input_id: string; items: number }
  | { type: 'cancel'; input_id: string }
  | { type: 'stop'; grace_ms: number };

const MESSAGE_LENGTH_MAX = 64 * 1024;
const TRACEBACK_LENGTH_MAX = 256 * 1024;

/** The message in a header. Throws ProtocolError that names the field at fault. Unknown fields are left out. */
export function parseWorkerMessage(header: string): WorkerMessage {
  let fields: unknown;
  try {
    fields = JSON.parse(header);
  } catch {
    throw new ProtocolError('a header is not JSON');
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new ProtocolError('a header is not a JSON object');
  }
  const read = fields as Record<string, unknown>;
  // In the order of how often they come: the hot path is one comparison and five type checks.
  switch (read.type) {
    case 'success':
      return {
        type: 'success',
        input_id: text(read, 'input_id', 128),
        attempt: count(read, 'attempt'),
        format: text(read, 'format', 64),
        run_us: count(read, 'run_us'),
        ...(read.blob === undefined ? {} : { blob: text(read, 'blob', 64) }),
      };
    case 'log':
      return {
        type: 'log',
        stream: oneOf(read, 'stream', ['stdout', 'stderr']),
        input_id: read.input_id == null ? null : text(read, 'input_id', 128),
      };
    case 'item':
      return {
        type: 'item',
        input_id: text(read, 'input_id', 128),
        attempt: count(read, 'attempt'),
        index: count(read, 'index'),
        format: text(read, 'format', 64),
      };
    case 'failure':
      return {
        type: 'failure',
        input_id: text(read, 'input_id', 128),
        attempt: count(read, 'attempt'),
        error: userError(read),
        run_us: count(read, 'run_us'),
        ...(read.of_batch === undefined ? {} : { of_batch: count(read, 'of_batch') }),
      };
    case 'ready':
      return { type: 'ready', init_ms: count(read, 'init_ms') };
    case 'init_failed':
      return { type: 'init_failed', error: userError(read) };
    case 'hello':
      return {
        type: 'hello',
        token: text(read, 'token', 1024),
        runtime: oneOf(read, 'runtime', ['python', 'node']),
        version: text(read, 'version', 64),
        pid: count(read, 'pid'),
      };
    default:
      throw new ProtocolError('a header has no known "type"');
  }
}

function text(fields: Record<string, unknown>, name: string, lengthMax: number): string {
  const value = fields[name];
  if (typeof value === 'string' && value.length <= lengthMax) return value;
  throw wrong(fields, name, `a string of at most ${lengthMax} characters`);
}

function count(fields: Record<string, unknown>, name: string): number {
  const value = fields[name];
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw wrong(fields, name, 'an integer from 0');
}

function oneOf<T extends string>(fields: Record<string, unknown>, name: string, choices: readonly T[]): T {
  const value = fields[name];
  if (choices.includes(value as T)) return value as T;
  throw wrong(fields, name, `one of ${choices.join(', ')}`);
}

/** Too long is cut, not refused: the user should see the beginning of what went wrong. */
function userError(fields: Record<string, unknown>): UserError {
  const error = fields.error;
  if (typeof error !== 'object' || error === null) throw wrong(fields, 'error', 'an object');
  const { type, message, traceback } = error as Record<string, unknown>;
  if (typeof type !== 'string' || typeof message !== 'string' || typeof traceback !== 'string') {
    throw wrong(fields, 'error', '{type, message, traceback}, all strings');
  }
  return {
    type: type.slice(0, 256),
    message: message.slice(0, MESSAGE_LENGTH_MAX),
    traceback: traceback.slice(0, TRACEBACK_LENGTH_MAX),
  };
}

function wrong(fields: Record<string, unknown>, name: string, wanted: string): ProtocolError {
  return new ProtocolError(`"${name}" of a ${String(fields.type)} frame must be ${wanted}`);
}
