/**
 * A map from the caller's side: inputs are put in chunks while outputs are read. What the platform has taken is safe
 * there; what this holds is one chunk of inputs and what is on the wire. A service that restarts costs a pause: a chunk
 * is put again under the same indexes, outputs are read on after the last cursor.
 */
import { argumentFields, resultOf } from './blobs';
import { FunctionFailed, type Arguments } from './failed';
import type { Http } from './http';
import { resume } from './resume';
import type { FunctionCall, FunctionOutput, OutputOrder } from './types';

export type Inputs<T> = Iterable<T> | AsyncIterable<T>;

export interface MapOptions {
  /** Results in the order of the inputs; else as they come. Default true. */
  orderOutputs?: boolean;
  /** A failure is given as FunctionFailed in the place of its result. Default false: the first is thrown. */
  returnExceptions?: boolean;
  signal?: AbortSignal;
}

export interface OutputsOptions {
  /** The cursor of the last output that is known, read in the same order. */
  after?: string;
  order?: OutputOrder;
  /** Waits for outputs to come. */
  follow?: boolean;
  signal?: AbortSignal;
}

const CHUNK_INPUTS_MAX = 250;
/** Characters of JSON. */
const CHUNK_LENGTH_MAX = 512 * 1024;

const callPath = (callId: string) => `/v1/function-calls/${encodeURIComponent(callId)}`;

export async function* mapInputs<R, T>(
  http: Http,
  functionId: string,
  inputs: Inputs<T>,
  toArguments: (input: T) => Arguments,
  { orderOutputs = true, returnExceptions = false, signal }: MapOptions,
): AsyncGenerator<R | FunctionFailed> {
  const { call_id } = await http.json<FunctionCall>(
    'POST',
    `/v1/functions/${encodeURIComponent(functionId)}/function-calls`,
    { body: {}, ...(signal ? { signal } : {}) },
  );
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let failed: { error: unknown } | undefined;
  const putting = putInputs(http, call_id, inputs, toArguments, either).catch((error: unknown) => {
    failed = { error };
    stop.abort();
  });
  let ended = false;
  try {
    const order = orderOutputs ? 'index' : 'recorded';
    for await (const output of readOutputs<R>(http, call_id, { order, follow: true, signal: either })) {
      if (output.status === 'success') yield await resultOf(http, output);
      else if (returnExceptions) yield new FunctionFailed(output);
      else throw new FunctionFailed(output);
    }
    await putting;
    ended = true;
  } catch (error) {
    throw failed ? failed.error : error;
  } finally {
    stop.abort();
    // Nobody will read what is still open.
    if (!ended) await http.json('POST', `${callPath(call_id)}/cancel`).catch(() => undefined);
  }
}

/** Outcomes of a call after a cursor; a stream that breaks is opened again where it broke. */
export async function* readOutputs<R>(
  http: Http,
  callId: string,
  { after, order = 'recorded', follow = false, signal }: OutputsOptions,
): AsyncGenerator<FunctionOutput<R>> {
  let cursor = after;
  const open = () =>
    http.lines<FunctionOutput<R>>(`${callPath(callId)}/outputs`, {
      query: { order, follow, after: cursor },
      ...(signal ? { signal } : {}),
    });
  for await (const output of resume(open, signal)) {
    cursor = output.cursor;
    yield output;
  }
}

/** Puts all inputs and closes the call. While one chunk is on its way, the next is taken, and no more. */
async function putInputs<T>(
  http: Http,
  callId: string,
  inputs: Inputs<T>,
  toArguments: (input: T) => Arguments,
  signal: AbortSignal,
): Promise<void> {
  const queue: string[] = [];
  let length = 0;
  let exhausted = false;
  let wakeSender = () => {};
  let wakeTaker = () => {};
  const isFull = () => queue.length >= 2 * CHUNK_INPUTS_MAX || length >= 2 * CHUNK_LENGTH_MAX;

  const take = async () => {
    let index = 0;
    for await (const input of inputs) {
      signal.throwIfAborted();
      const text = `{"index":${index++},${await argumentFields(http, toArguments(input))}}`;
      queue.push(text);
      length += text.length;
      wakeSender();
      while (isFull() && !signal.aborted) await new Promise<void>((resolve) => (wakeTaker = resolve));
    }
    exhausted = true;
    wakeSender();
  };

  const send = async () => {
    while (queue.length > 0 || !exhausted) {
      signal.throwIfAborted();
      if (queue.length === 0) {
        await new Promise<void>((resolve) => (wakeSender = resolve));
        continue;
      }
      const { num_accepted } = await http.json<{ num_accepted: number }>(
        'POST',
        `${callPath(callId)}/inputs`,
        { text: `{"inputs":[${firstChunk(queue).join(',')}]}`, signal },
      );
      for (const text of queue.splice(0, num_accepted)) length -= text.length;
      wakeTaker();
    }
  };

  const wake = () => {
    wakeSender();
    wakeTaker();
  };
  signal.addEventListener('abort', wake, { once: true });
  try {
    await Promise.all([take(), send()]);
    await http.json('POST', `${callPath(callId)}/close`, { signal });
  } finally {
    signal.removeEventListener('abort', wake);
  }
}

/** As many from the front as one request carries, and one at least. */
function firstChunk(queue: readonly string[]): string[] {
  let length = 0;
  let count = 0;
  for (const text of queue) {
    length += text.length;
    if (count === CHUNK_INPUTS_MAX || (count > 0 && length > CHUNK_LENGTH_MAX)) break;
    count++;
  }
  return queue.slice(0, count);
}
