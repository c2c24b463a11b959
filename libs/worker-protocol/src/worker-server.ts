import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { FRAME_BYTES_MAX, FrameDecoder, ProtocolError, writeFrame, type Frame } from './frame';
import {
  parseWorkerMessage,
  type RunnerMessage,
  type Runtime,
  type UserError,
  type WorkerMessage,
} from './messages';

/** One socket per container: a path where one can be shared with it, else TCP, which the run token opens too. */
export type Endpoint = { path: string } | { host: string; port: number };

export interface ListenOptions {
  at: Endpoint;
  /** The run token; only who sends it in `hello` becomes the worker. */
  token: string;
  /** Largest frame in either direction; a larger result is a failure of its input. */
  frameBytesMax?: number;
  /** How long a connection may take to say a right `hello`; default 10 s. */
  helloMs?: number;
  /** What user code printed. Must not block or throw: results wait behind it in the same stream. */
  onLog?: (line: LogChunk) => void;
  /** Someone connected who was not the worker. For the runner's own log; never holds the token. */
  onRejected?: (reason: string) => void;
}

/** Whole lines where user code wrote whole lines; at most 64 KiB as the workers send them. */
export interface LogChunk {
  stream: 'stdout' | 'stderr';
  /** Null outside an input, and where the worker named one that it never had. */
  inputId: string | null;
  bytes: Buffer;
}

export interface WorkerInput {
  inputId: string;
  callId: string;
  attempt: number;
  /** How the payload is encoded; `json` is `{"args":[…],"kwargs":{…}}`, and an empty payload means no arguments. */
  format: string;
  traceparent?: string;
  /** The tree of one file that holds the payload; what is sent as payload is empty then. */
  blob?: string | undefined;
}

/** What a generator yielded. */
export interface WorkerItem {
  /** From 0, without a gap. */
  index: number;
  format: string;
  payload: Buffer;
}

export interface StartOptions {
  /** Inputs that it runs at a time; default 1. What is sent beyond that waits in the worker. */
  slots?: number;
  /** What the object is made with where the handler is a class; default none. */
  parameters?: Record<string, unknown>;
  /** Added to its environment. Values go this way, and not into the container's description, where they shall be on no disk. */
  env?: Record<string, string>;
}

export type StartOutcome =
  | { kind: 'ready'; initMs: number }
  | { kind: 'init_failed'; error: UserError }
  | { kind: 'lost'; closed: Closed };

/** `lost`: the worker went away before it said how the input ended. Whether it ran to its end is unknown. */
export type InputOutcome =
  /** `blob`: the tree that holds the result, which is not in `payload`, as the worker says. */
  | { kind: 'success'; format: string; payload: Buffer; runUs: number; blob?: string }
  /** `ofBatch`: the handler raised for so many inputs at once, and which of them is to blame it did not say. */
  | { kind: 'failure'; error: UserError; runUs: number; ofBatch?: number }
  | { kind: 'lost'; closed: Closed };

/** Why a connection is over: the worker left, it broke the protocol, or `close` was called on this side. */
export interface Closed {
  reason: 'worker_left' | 'protocol_error' | 'runner_closed';
  message: string;
}

const HELLO_BYTES_MAX = 4096;
const HELLO_MS = 10_000;
const CANCEL_AGAIN_MS = 100;
const UNPROVEN_CONNECTIONS_MAX = 8;
const PATH_BYTES_MAX = 107; // sockaddr_un.sun_path less its terminating zero.
const REMEMBERED_INPUTS_MAX = 256;
/** How far a generator may be ahead of what is recorded of it: it waits at the first of the two. */
const AHEAD_ITEMS_MAX = 32;
const AHEAD_BYTES_MAX = 1024 * 1024;

/**
 * Listens for the one worker of one container. Whoever says a wrong hello is dropped and the listener goes on;
 * the first right one becomes the worker and the listener closes. Rejects where it cannot listen.
 */
export async function listenForWorker(options: ListenOptions): Promise<WorkerServer> {
  const { at } = options;
  if ('path' in at && Buffer.byteLength(at.path) > PATH_BYTES_MAX) {
    throw new Error(
      `socket path ${at.path} is longer than ${PATH_BYTES_MAX} bytes: choose a shorter data folder`,
    );
  }
  const worker = new WorkerServer(options);
  await worker.listen();
  return worker;
}

export class WorkerServer {
  /** Settles once: with the worker, or with an error when the listener is closed before one came. */
  readonly accepted: Promise<WorkerConnection>;
  #server: Server;
  #options: ListenOptions;
  #unproven = new Set<Socket>();
  #address = '';
  #accept!: (connection: WorkerConnection) => void;
  #giveUp!: (error: Error) => void;

  constructor(options: ListenOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true }, (socket) => this.#greet(socket));
    this.accepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#giveUp = reject;
    });
    this.accepted.catch(() => {}); // Who does not wait for a worker need not hear that none came.
  }

  /** What the worker is told in `BERTH_SOCKET`: a path, or `tcp://host:port`. */
  get address(): string {
    return this.#address;
  }

  get isListening(): boolean {
    return this.#server.listening;
  }

  /** For `listenForWorker`. */
  async listen(): Promise<void> {
    const { at } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(at, () => resolve());
    });
    this.#server.on('error', (error) => this.#options.onRejected?.(error.message));
    if ('path' in at) {
      // The container's user is not ours. Its folder says who may come near; the token, who may enter.
      await chmod(at.path, 0o666);
      this.#address = at.path;
    } else {
      const { address, port, family } = this.#server.address() as AddressInfo;
      this.#address = family === 'IPv6' ? `tcp://[${address}]:${port}` : `tcp://${address}:${port}`;
    }
  }

  /** Takes no worker any more. A worker that was accepted keeps its connection. Safe to repeat. */
  close(): void {
    this.#giveUp(new Error('the listener was closed before a worker said hello'));
    for (const socket of this.#unproven) socket.destroy();
    if (this.#server.listening) this.#server.close(); // Also removes the socket's file.
  }

  #greet(socket: Socket): void {
    const { token, helloMs = HELLO_MS, frameBytesMax = FRAME_BYTES_MAX, onLog, onRejected } = this.#options;
    socket.on('error', () => {}); // A close always follows.
    if (this.#unproven.size >= UNPROVEN_CONNECTIONS_MAX) {
      socket.destroy();
      onRejected?.('too many connections that have not said hello');
      return;
    }
    this.#unproven.add(socket);

    const decoder = new FrameDecoder({ frameBytesMax: HELLO_BYTES_MAX });
    const reject = (reason: string) => {
      leave();
      socket.destroy();
      onRejected?.(reason);
    };
    const timer = setTimeout(() => reject(`no hello within ${helloMs} ms`), helloMs);
    const onClose = () => reject('left without a hello');
    const leave = () => {
      clearTimeout(timer);
      this.#unproven.delete(socket);
      socket.off('data', onData).off('close', onClose);
    };
    let connection: WorkerConnection | undefined;
    const onData = (chunk: Buffer) => {
      try {
        decoder.push(chunk, (frame) => {
          if (connection) return connection.take(frame); // Sent together with the hello.
          const hello = parseWorkerMessage(frame.header);
          if (hello.type !== 'hello') throw new ProtocolError(`first frame is ${hello.type}, not hello`);
          if (!isSame(hello.token, token)) throw new ProtocolError('wrong run token');
          leave();
          decoder.limit({ frameBytesMax });
          connection = new WorkerConnection(socket, decoder, hello, frameBytesMax, onLog);
          this.#accept(connection);
          this.close();
        });
      } catch (error) {
        if (connection) connection.fail(error);
        else reject((error as Error).message);
      }
    };
    socket.on('data', onData).on('close', onClose);
  }
}

interface RunningInput {
  attempt: number;
  settle: (outcome: InputOutcome) => void;
  cancelling?: NodeJS.Timeout;
  onItem?: ((item: WorkerItem) => void) | undefined;
  /** Of items that were not recorded yet, and the index of the next one. */
  ahead: { sizes: number[]; bytes: number; next: number };
}

const nothingAhead = () => ({ sizes: [], bytes: 0, next: 0 });

/** The runner's end of one worker that has proved itself. */
export class WorkerConnection {
  readonly runtime: Runtime;
  readonly version: string;
  /** As the worker sees itself: 1 in most containers. */
  readonly pid: number;
  /** Resolves, never rejects, when the connection is over. */
  readonly closed: Promise<Closed>;
  #socket: Socket;
  #frameBytesMax: number;
  #onLog: ((chunk: LogChunk) => void) | undefined;
  #start: { settle: (outcome: StartOutcome) => void } | undefined;
  #isReady = false;
  #running = new Map<string, RunningInput>();
  /** Inputs that ended lately: threads that outlive their input still print in its name. */
  #ended = new Set<string>();
  #closed: Closed | undefined;
  #ending: Closed = { reason: 'worker_left', message: 'the worker closed its connection' };

  /** For `WorkerServer`. */
  constructor(
    socket: Socket,
    decoder: FrameDecoder,
    hello: { runtime: Runtime; version: string; pid: number },
    frameBytesMax: number,
    onLog?: (chunk: LogChunk) => void,
  ) {
    this.#socket = socket;
    this.#frameBytesMax = frameBytesMax;
    this.#onLog = onLog;
    this.runtime = hello.runtime;
    this.version = hello.version;
    this.pid = hello.pid;

    const take = (frame: Frame) => this.take(frame);
    socket.on('data', (chunk: Buffer) => {
      try {
        decoder.push(chunk, take);
      } catch (error) {
        this.fail(error);
      }
    });
    this.closed = new Promise((resolve) => socket.once('close', () => resolve(this.#onClose())));
  }

  /** Inputs sent whose outcome has not come. */
  get runningCount(): number {
    return this.#running.size;
  }

  /** Loads `module:function` from the folder `source` as the worker sees it. Once per connection. */
  start(
    handler: string,
    source: string,
    { slots = 1, env = {}, parameters }: StartOptions = {},
  ): Promise<StartOutcome> {
    if (this.#start) throw new Error('a worker starts once');
    return new Promise((settle) => {
      this.#start = { settle };
      if (this.#closed) return settle({ kind: 'lost', closed: this.#closed });
      this.#send({
        type: 'start',
        handler,
        source,
        frame_bytes_max: this.#frameBytesMax,
        env,
        ...(slots > 1 ? { slots } : {}),
        ...(parameters ? { parameters } : {}),
      });
    });
  }

  /**
   * Runs one input, and says how it ended; never rejects for what the worker does. Throws where the same input is
   * running already, where the worker is not ready, and RangeError where the payload does not fit in a frame.
   * `onItem` gets what a generator yields, in order; the outcome is then of format `items`, and how many there were. It
   * must not throw. A generator waits for `recorded` when it is some way ahead.
   */
  sendInput(
    input: WorkerInput,
    payload: Uint8Array,
    onItem?: (item: WorkerItem) => void,
  ): Promise<InputOutcome> {
    const { inputId, callId, attempt, format, traceparent, blob } = input;
    if (this.#closed) return Promise.resolve({ kind: 'lost', closed: this.#closed });
    if (!this.#isReady) throw new Error('the worker is not ready');
    if (this.#running.has(inputId)) throw new Error(`input ${inputId} is running in this worker already`);
    this.#send(
      {
        type: 'input',
        input_id: inputId,
        call_id: callId,
        attempt,
        format,
        traceparent,
        ...(blob ? { blob } : {}),
      },
      payload,
    );
    return new Promise((settle) =>
      this.#running.set(inputId, { attempt, settle, onItem, ahead: nothingAhead() }),
    );
  }

  /** So many more of an input's items are recorded: its generator may go on. */
  recorded(inputId: string, items: number): void {
    const running = this.#running.get(inputId);
    if (this.#closed || !running) return;
    for (const size of running.ahead.sizes.splice(0, items)) running.ahead.bytes -= size;
    this.#send({ type: 'recorded', input_id: inputId, items });
  }

  /**
   * Runs several inputs by one call of the handler, which takes lists; says how each ended, as `sendInput` does. What is
   * cancelled while others of its batch run ends at once, and its part of the result is left out.
   */
  sendBatch(batch: { input: WorkerInput; payload: Uint8Array }[]): Promise<InputOutcome>[] {
    const closed = this.#closed;
    if (closed) return batch.map(() => Promise.resolve({ kind: 'lost', closed }));
    if (!this.#isReady) throw new Error('the worker is not ready');
    const twice = batch.find(({ input }) => this.#running.has(input.inputId));
    if (twice) throw new Error(`input ${twice.input.inputId} is running in this worker already`);
    const inputs = batch.map(({ input: { inputId, callId, attempt, format, blob }, payload }) => ({
      input_id: inputId,
      call_id: callId,
      attempt,
      format,
      ...(blob ? { blob } : {}),
      bytes: payload.byteLength,
    }));
    this.#send({ type: 'batch', inputs }, Buffer.concat(batch.map(({ payload }) => payload)));
    return batch.map(
      ({ input: { inputId, attempt } }) =>
        new Promise((settle) => this.#running.set(inputId, { attempt, settle, ahead: nothingAhead() })),
    );
  }

  /**
   * Asks for an input's end; its outcome still comes through `sendInput`, as a failure of type `InputCancellation`
   * unless it ended otherwise first. Code that does not listen (native, or synchronous in Node) goes on: give it a
   * time, then kill the container.
   */
  cancel(inputId: string): void {
    const running = this.#running.get(inputId);
    if (this.#closed || !running || running.cancelling) return;
    const ask = () => {
      // One that does not read has earlier words of it still before it.
      if (!this.#socket.writableNeedDrain) this.#send({ type: 'cancel', input_id: inputId });
    };
    // Repeated until the input ends: a worker can miss one that comes just as user code begins to block.
    running.cancelling = setInterval(ask, CANCEL_AGAIN_MS);
    ask();
  }

  /**
   * Lets what runs finish and the worker leave. False where it had not left after `graceMs`; the connection is then
   * closed, and the container is to be killed.
   */
  async stop(graceMs: number): Promise<boolean> {
    if (this.#closed) return true;
    this.#send({ type: 'stop', grace_ms: graceMs });
    let timer: NodeJS.Timeout | undefined;
    const graceOver = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), graceMs);
    });
    const hasLeft = await Promise.race([this.closed.then(() => true), graceOver]);
    clearTimeout(timer);
    if (!hasLeft) this.close(`the worker did not leave within ${graceMs} ms`);
    return hasLeft;
  }

  /** Drops the worker, which ends its process with it. What runs is `lost`. Safe to repeat. */
  close(message = 'the runner closed the connection'): void {
    this.#end({ reason: 'runner_closed', message });
  }

  /** For `WorkerServer`: the worker, or what read it, broke. */
  fail(error: unknown): void {
    this.#end({ reason: 'protocol_error', message: (error as Error).message });
  }

  /** For `WorkerServer`: one frame from the worker. Throws ProtocolError. */
  take({ header, payload }: Frame): void {
    if (this.#socket.destroyed) return;
    const message = parseWorkerMessage(header);
    switch (message.type) {
      case 'success':
        return this.#settle(message.input_id, message.attempt, {
          kind: 'success',
          format: message.format,
          payload,
          runUs: message.run_us,
          ...(message.blob ? { blob: message.blob } : {}),
        });
      case 'item':
        return this.#takeItem(message, payload);
      case 'log':
        this.#onLog?.({ stream: message.stream, inputId: this.#known(message.input_id), bytes: payload });
        return;
      case 'failure':
        return this.#settle(message.input_id, message.attempt, {
          kind: 'failure',
          error: message.error,
          runUs: message.run_us,
          ...(message.of_batch === undefined ? {} : { ofBatch: message.of_batch }),
        });
      case 'ready':
      case 'init_failed': {
        if (!this.#start || this.#isReady) throw new ProtocolError(`${message.type} without a start`);
        this.#isReady = message.type === 'ready';
        this.#start.settle(
          message.type === 'ready'
            ? { kind: 'ready', initMs: message.init_ms }
            : { kind: 'init_failed', error: message.error },
        );
        return;
      }
      case 'hello':
        throw new ProtocolError('a second hello');
    }
  }

  #takeItem(
    { input_id, attempt, index, format }: Extract<WorkerMessage, { type: 'item' }>,
    payload: Buffer,
  ): void {
    const running = this.#running.get(input_id);
    if (!running?.onItem || running.attempt !== attempt) {
      throw new ProtocolError(`an item of input ${input_id}, attempt ${attempt}, which yields none`);
    }
    const { ahead } = running;
    if (index !== ahead.next) throw new ProtocolError(`item ${index} in place of ${ahead.next}`);
    if (ahead.sizes.length >= AHEAD_ITEMS_MAX || ahead.bytes >= AHEAD_BYTES_MAX) {
      throw new ProtocolError('more items than were asked for');
    }
    ahead.next++;
    ahead.sizes.push(payload.byteLength);
    ahead.bytes += payload.byteLength;
    running.onItem({ index, format, payload });
  }

  #settle(inputId: string, attempt: number, outcome: InputOutcome): void {
    const running = this.#running.get(inputId);
    if (running?.attempt !== attempt) {
      throw new ProtocolError(`an outcome of input ${inputId}, attempt ${attempt}, which does not run`);
    }
    this.#running.delete(inputId);
    this.#ended.add(inputId);
    if (this.#ended.size > REMEMBERED_INPUTS_MAX) this.#ended.delete(this.#ended.values().next().value!);
    clearInterval(running.cancelling);
    running.settle(outcome);
  }

  #known(inputId: string | null): string | null {
    return inputId !== null && (this.#running.has(inputId) || this.#ended.has(inputId)) ? inputId : null;
  }

  #send(message: RunnerMessage, payload?: Uint8Array): void {
    writeFrame(this.#socket, JSON.stringify(message), payload, this.#frameBytesMax);
  }

  #end(ending: Closed): void {
    if (this.#socket.destroyed) return;
    this.#ending = ending;
    this.#socket.destroy();
  }

  #onClose(): Closed {
    const closed = (this.#closed = this.#ending);
    this.#isReady = false;
    this.#start?.settle({ kind: 'lost', closed });
    for (const { settle, cancelling } of this.#running.values()) {
      clearInterval(cancelling);
      settle({ kind: 'lost', closed });
    }
    this.#running.clear();
    return closed;
  }
}

/** Equal in a time that does not depend on where two secrets differ. */
function isSame(left: string, right: string): boolean {
  const digest = (secret: string) => createHash('sha256').update(secret).digest();
  return timingSafeEqual(digest(left), digest(right));
}
