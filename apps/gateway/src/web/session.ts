/**
 * One web request while the gateway holds it: from its client's first byte to its last, whichever runners come for it.
 *
 * It is given to one runner at a time. A line that breaks gives it back, as long as it may begin again: nothing of its
 * body was taken, nothing of a response is out, and its method says that twice is as good as once (RFC 9110, 9.2.2).
 */
import { randomBytes } from 'node:crypto';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  Upgrade,
  type AttachSessionRequest,
  type AttachSessionResponse,
  type RequestHead,
} from '@berth/contracts/gateway/v1/web';
import { BerthError } from '@berth/service-kit';
import type { Exchange, FromApp, FromClient } from './exchange';
import { BadResponse } from './headers';
import { failureOf, needsProxyToken } from './failures';
import type { Messages } from './messages';

export type SessionStream = ServerDuplexStream<AttachSessionRequest, AttachSessionResponse>;

const LARGE_BYTES = 128 * 1024;
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

export class WebSession {
  readonly id = randomBytes(24).toString('base64url');
  /** Resolves when the response is out, or never will be. */
  readonly over: Promise<void>;
  readonly #end = Promise.withResolvers<void>();
  readonly #ended = new AbortController();
  /** Of the runner that has it, or had it last; 0: none had. */
  #attempt = 0;
  #attached: AbortController | undefined;
  /** Asked for and not yet passed on: it is the next runner's when this one goes. */
  #next: Promise<FromClient | undefined> | undefined;
  #consumed = false;

  constructor(
    private readonly head: RequestHead,
    private readonly exchange: Exchange,
    /** Of the proxy token that let it in. */
    readonly credentialId: string | undefined,
  ) {
    this.over = this.#end.promise;
    exchange.gone.addEventListener('abort', () => this.#finish(), { once: true });
    if (exchange.gone.aborted) this.#finish();
  }

  get isOver(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Aborted when its client goes away before it has a response. */
  get clientGone(): AbortSignal {
    return this.exchange.gone;
  }

  /** Ends it with this error, if it has not ended. */
  fail(error: BerthError): void {
    if (this.isOver) return;
    this.exchange.fail(error);
    this.#finish();
  }

  /** Serves it by this runner, until the response is out or the line breaks. Errors: `not_found`, `precondition`. */
  async attach(
    stream: SessionStream,
    messages: Messages<AttachSessionRequest>,
    attempt: number,
    lost: AbortSignal,
  ): Promise<void> {
    if (this.isOver) throw noSuchSession();
    if (attempt <= this.#attempt) throw superseded();
    if (this.#attempt > 0 && !this.#mayBeginAgain) {
      throw new BerthError('precondition', 'This request was begun, and cannot begin again.');
    }
    this.#attached?.abort();
    const attached = (this.#attached = new AbortController());
    this.#attempt = attempt;
    const signal = AbortSignal.any([lost, attached.signal, this.#ended.signal]);
    stream.write({ message: { $case: 'head', value: this.head } });
    try {
      const up = this.#passUp(stream, signal);
      // An answer may come before all was said; what the client says after it is nobody's.
      await Promise.race([this.#passDown(messages, signal), failing(up)]);
    } catch (error) {
      const failure = asFailure(error);
      if (this.#attached === attached) this.fail(failure);
      throw failure;
    } finally {
      if (this.#attached === attached) this.#attached = undefined;
      attached.abort();
    }
    if (this.#attempt !== attempt) throw superseded();
    if (this.exchange.complete) return this.#finish();
    if (this.isOver) throw new BerthError('cancelled', 'The client went away.');
    if (!this.#mayBeginAgain) this.fail(failureOf('container_exited'));
  }

  get #mayBeginAgain(): boolean {
    return (
      !this.#consumed &&
      !this.exchange.begun &&
      IDEMPOTENT.has(this.head.method) &&
      this.head.upgrade === Upgrade.UPGRADE_UNSPECIFIED
    );
  }

  async #passUp(stream: SessionStream, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#next ??= this.exchange.read();
      const piece = await unlessAborted(this.#next, signal);
      if (piece === ABORTED) return;
      this.#next = undefined;
      if (!piece) return;
      if (piece.$case !== 'end') this.#consumed = true;
      // A stream counts messages, not bytes: of large ones one at a time is on its way.
      if (piece.$case === 'socketMessage' && piece.value.data.length > LARGE_BYTES) {
        await unlessAborted(
          new Promise<void>((resolve) => stream.write({ message: piece }, () => resolve())),
          signal,
        );
      } else if (!stream.write({ message: piece })) await drained(stream, signal);
    }
  }

  async #passDown(messages: Messages<AttachSessionRequest>, signal: AbortSignal): Promise<void> {
    while (!this.exchange.complete) {
      const next = await unlessAborted(messages.next(), signal);
      if (next === ABORTED || !next) return;
      const piece: FromApp | undefined = next.message;
      if (!piece || piece.$case === 'hello') throw new BadResponse('a message is missing');
      if (piece.$case === 'failure') return this.fail(failureOf(piece.value.type));
      await unlessAborted(this.exchange.write(piece), signal);
    }
  }

  #finish(): void {
    this.#ended.abort();
    this.#end.resolve();
  }
}

/** The sessions of this gateway, by their ids. */
export class WebSessions {
  readonly #open = new Map<string, WebSession>();

  open(head: RequestHead, exchange: Exchange, credentialId?: string): WebSession {
    const session = new WebSession(head, exchange, credentialId);
    this.#open.set(session.id, session);
    void session.over.then(() => this.#open.delete(session.id));
    return session;
  }

  /** Errors: `not_found`. */
  find(id: string): WebSession {
    const session = this.#open.get(id);
    if (!session) throw noSuchSession();
    return session;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Ends those that this proxy token let in: a stream may be open for days. */
  revoke(credentialId: string): void {
    for (const session of [...this.#open.values()]) {
      if (session.credentialId === credentialId) session.fail(needsProxyToken());
    }
  }

  /** Ends all that there are. */
  failAll(error: BerthError): void {
    for (const session of [...this.#open.values()]) session.fail(error);
  }
}

const superseded = () => new BerthError('precondition', 'A newer attempt has this request.');

const noSuchSession = () => new BerthError('not_found', 'No such request is held here: its client has gone.');

/** Settles only by failing. */
const failing = (work: Promise<void>): Promise<never> =>
  new Promise((_, reject) => {
    work.catch(reject);
  });

function asFailure(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  if (error instanceof BadResponse) return failureOf('bad_response', error);
  return new BerthError('internal', 'Something went wrong inside Berth.', { cause: error });
}

const ABORTED = Symbol('aborted');

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | typeof ABORTED> {
  if (signal.aborted) {
    work.catch(() => undefined);
    return Promise.resolve(ABORTED);
  }
  return new Promise((resolve, reject) => {
    const abort = () => resolve(ABORTED);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

const drained = (stream: SessionStream, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const go = () => {
      stream.off('drain', go);
      signal.removeEventListener('abort', go);
      resolve();
    };
    stream.on('drain', go);
    signal.addEventListener('abort', go, { once: true });
  });
