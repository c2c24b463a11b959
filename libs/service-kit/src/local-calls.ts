/**
 * Calls between services of one process, without a socket: the same handlers behind the same gate, with the same
 * bytes, deadlines and errors as over gRPC. Where `berth up` composes all services in one process, one event loop
 * would serve both ends of each socket, and a warm call would spend more on them than on its own work.
 *
 * A message is encoded and decoded between the two, so that neither side can change what the other holds.
 */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { Metadata, status, type ServiceError, type UntypedServiceImplementation } from '@grpc/grpc-js';
import type { MethodShape, ServiceShape } from './definition';

export interface Codec {
  serialize: (value: never) => Uint8Array;
  deserialize: (bytes: Buffer) => unknown;
}

export type Answer = (error: ServiceError | null, response?: never) => void;

export interface LocalOptions {
  /** Milliseconds since 1970. */
  deadline?: number;
}

let allowed = false;
const servers = new Map<string, LocalServer>();

/** From here on, calls to servers of this process do without a socket. */
export const allowLocalCalls = () => void (allowed = true);

/** The server of this process at that address; undefined where there is none, or none may be called so. */
export const localServer = (address: string): LocalServer | undefined => servers.get(address);

/** What a handler sees of a call beside its messages, as grpc-js has it. */
interface CallView {
  metadata: Metadata;
  request?: unknown;
  getDeadline(): number;
}

export class LocalServer {
  readonly #methods = new Map<string, { shape: MethodShape; handler: unknown }>();
  readonly #open = new Set<OpenCall>();
  #whenEmpty: (() => void) | undefined;

  constructor(
    private readonly address: string,
    private readonly messageBytesMax: number,
  ) {}

  add(definition: ServiceShape, implementation: UntypedServiceImplementation): void {
    for (const [name, shape] of Object.entries(definition)) {
      this.#methods.set(shape.path, { shape, handler: implementation[name] });
    }
  }

  listen(): void {
    if (allowed) servers.set(this.address, this);
  }

  has(path: string): boolean {
    return this.#methods.has(path);
  }

  unary(
    path: string,
    codec: Codec,
    request: unknown,
    metadata: Metadata,
    options: LocalOptions,
    answer: Answer,
  ): { cancel(): void } {
    const { shape, handler } = this.#methods.get(path)!;
    const served = Object.assign(new EventEmitter(), viewOf(metadata, options));
    const call = this.#enter(served, options, (error) => answer(error));
    call.attempt(() => {
      served.request = this.#pass(request, codec.serialize, shape.requestDeserialize);
      const reply = (error: Partial<ServiceError> | null, response?: unknown) => {
        if (error) return call.fail(error);
        call.attempt(() => {
          const received = this.#pass(response, shape.responseSerialize, codec.deserialize);
          if (call.end()) answer(null, received as never);
        });
      };
      (handler as (call: unknown, reply: unknown) => void)(served, reply);
    });
    return { cancel: () => call.fail(CANCELLED) };
  }

  /** `request`: of a method that takes one message. Undefined: the caller writes as many as it likes. */
  stream(
    path: string,
    codec: Codec,
    request: { message: unknown } | undefined,
    metadata: Metadata,
    options: LocalOptions,
  ): StreamEnd & { cancel(): void } {
    const { shape, handler } = this.#methods.get(path)!;
    const client = new StreamEnd((it) => this.#pass(it, codec.serialize, shape.requestDeserialize));
    const server = new StreamEnd((it) => this.#pass(it, shape.responseSerialize, codec.deserialize));
    const served = Object.assign(server, viewOf(metadata, options));
    client.peer = server;
    server.peer = client;
    const call = this.#enter(served, options, (error) => {
      client.destroy(error);
      server.destroy();
    });
    // The gate says a failure by emitting it, as grpc-js wants it said; a stream says so itself when it breaks.
    served.on('error', (error: Partial<ServiceError>) => call.fail(error));
    served.once('finish', () => call.end());
    client.once('close', () => call.fail(CANCELLED));
    call.attempt(() => {
      if (request) {
        served.request = this.#pass(request.message, codec.serialize, shape.requestDeserialize);
      }
      (handler as (call: unknown) => void)(served);
    });
    return Object.assign(client, { cancel: () => call.fail(CANCELLED) });
  }

  /** Takes no more calls, lets those that are open end for `graceMs`, then cuts them. */
  async stop(graceMs: number): Promise<void> {
    if (servers.get(this.address) === this) servers.delete(this.address);
    if (this.#open.size === 0) return;
    const cut = setTimeout(() => {
      for (const call of this.#open) call.fail({ code: status.UNAVAILABLE, details: 'The service stops.' });
    }, graceMs);
    await new Promise<void>((resolve) => (this.#whenEmpty = resolve));
    clearTimeout(cut);
  }

  #enter(served: EventEmitter, options: LocalOptions, failed: (error: ServiceError) => void): OpenCall {
    const call = new OpenCall(served, options.deadline, failed, () => {
      this.#open.delete(call);
      if (this.#open.size === 0) this.#whenEmpty?.();
    });
    this.#open.add(call);
    return call;
  }

  #pass(message: unknown, serialize: Codec['serialize'], deserialize: Codec['deserialize']): unknown {
    const bytes = serialize(message as never);
    if (bytes.byteLength > this.messageBytesMax) {
      const details = `A message of ${bytes.byteLength} bytes is larger than ${this.messageBytesMax}.`;
      throw Object.assign(new Error(details), { code: status.RESOURCE_EXHAUSTED, details });
    }
    return deserialize(
      Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    );
  }
}

const viewOf = (metadata: Metadata, { deadline }: LocalOptions): CallView => ({
  metadata,
  getDeadline: () => deadline ?? Infinity,
});

const CANCELLED = { code: status.CANCELLED, details: 'Cancelled on client' };
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A call between its begin and its one end. */
class OpenCall {
  #late: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(
    private readonly served: EventEmitter,
    deadline: number | undefined,
    private readonly failed: (error: ServiceError) => void,
    private readonly over: () => void,
  ) {
    if (deadline === undefined) return;
    const ms = Math.min(Math.max(deadline - Date.now(), 0), TIMER_MS_MAX);
    this.#late = setTimeout(
      () => this.fail({ code: status.DEADLINE_EXCEEDED, details: 'Deadline exceeded' }),
      ms,
    );
  }

  attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      const { code = status.INTERNAL, details = (error as Error).message } = error as Partial<ServiceError>;
      this.fail({ code, details });
    }
  }

  /** False where it was over already. */
  end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    clearTimeout(this.#late);
    this.over();
    return true;
  }

  /** Ends it for both sides: the handler hears that its caller is gone, the caller hears why. */
  fail({ code = status.INTERNAL, details = '', metadata = new Metadata() }: Partial<ServiceError>): void {
    if (!this.end()) return;
    this.served.emit('cancelled');
    const error = new Error(`${code} ${status[code]}: ${details}`);
    this.failed(Object.assign(error, { code, details, metadata }));
  }
}

/** One end of a stream: what is written here is read at its peer, which holds up the writer while it does not read. */
class StreamEnd extends Duplex {
  peer!: StreamEnd;
  #resume: (() => void) | undefined;

  constructor(private readonly pass: (message: unknown) => unknown) {
    super({ objectMode: true, emitClose: true });
  }

  override _write(message: unknown, _encoding: string, done: (error?: Error) => void): void {
    try {
      this.peer.#take(this.pass(message), done);
    } catch (error) {
      done(error as Error);
    }
  }

  override _final(done: () => void): void {
    if (!this.peer.destroyed) this.peer.push(null);
    done();
  }

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  #take(message: unknown, done: () => void): void {
    if (this.destroyed || this.push(message)) return done();
    this.#resume = done;
  }
}
