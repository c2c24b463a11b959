import { EventEmitter, on } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import type Docker from 'dockerode';

import { readLines } from '../lines';
import { OWNER_LABEL } from './create-body';

/** As the Docker Engine sends it. `exec_die` is how an exec's exit code arrives without asking for it. */
export interface DockerEvent {
  action: 'start' | 'oom' | 'die' | 'destroy' | 'exec_die';
  id: string;
  attributes: Record<string, string>;
  time: Date;
}

interface RawEvent {
  Action: string;
  Actor: { ID: string; Attributes?: Record<string, string> };
  timeNano: number;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

/**
 * One connection that hears of every container of an owner: each `wait` costs a listener instead of a request that
 * hangs. A lost connection is opened again from the last event's time on, and `resumed` tells listeners to look
 * for themselves, since the engine keeps only its newest 256 events.
 */
export class EventFeed {
  readonly #emitter = new EventEmitter<{ event: [DockerEvent]; resumed: [] }>();
  readonly #stopped = new AbortController();
  #lastNanos: bigint;
  #finished: Promise<void> = Promise.resolve();

  /** `startNanos`: the engine's own clock, so that nothing falls between asking and being subscribed. */
  constructor(
    private readonly docker: Docker,
    private readonly owner: string,
    startNanos: bigint,
  ) {
    this.#emitter.setMaxListeners(0);
    this.#lastNanos = startNanos;
  }

  /** Resolves when the engine has accepted the subscription. */
  async open(): Promise<void> {
    const stream = await this.#connect();
    this.#finished = this.#run(stream);
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#finished;
  }

  onEvent(listener: (event: DockerEvent) => void): () => void {
    this.#emitter.on('event', listener);
    return () => this.#emitter.off('event', listener);
  }

  onResumed(listener: () => void): () => void {
    this.#emitter.on('resumed', listener);
    return () => this.#emitter.off('resumed', listener);
  }

  /** Heard from this call on, not from the first read on. Ends when `signal` aborts or the feed closes. */
  iterate(signal: AbortSignal): AsyncGenerator<DockerEvent> {
    const either = AbortSignal.any([signal, this.#stopped.signal]);
    if (either.aborted) return nothing();
    return untilAborted(on(this.#emitter, 'event', { signal: either }), either);
  }

  async #connect(): Promise<Readable> {
    const filters = {
      type: ['container'],
      event: ['start', 'oom', 'die', 'destroy', 'exec_die'],
      label: [`${OWNER_LABEL}=${this.owner}`],
    };
    const since = `${this.#lastNanos / 1_000_000_000n}.${String(this.#lastNanos % 1_000_000_000n).padStart(9, '0')}`;
    // The types take a number of seconds, the engine also their fraction.
    const options = { filters: JSON.stringify(filters), since: since as unknown as number };
    const abort = { abortSignal: this.#stopped.signal };
    return (await this.docker.getEvents({ ...options, ...abort })) as Readable;
  }

  async #run(first: Readable): Promise<void> {
    let stream: Readable | undefined = first;
    let retryMs = RETRY_MS_MIN;
    while (!this.#stopped.signal.aborted) {
      try {
        stream ??= await this.#reconnect();
        retryMs = RETRY_MS_MIN;
        await this.#read(stream);
      } catch {
        // A connection that broke and one that ended are the same: open it again.
      }
      stream = undefined;
      await delay(retryMs, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
      retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
    }
  }

  async #reconnect(): Promise<Readable> {
    const stream = await this.#connect();
    this.#emitter.emit('resumed');
    return stream;
  }

  async #read(stream: Readable): Promise<void> {
    const stop = () => stream.destroy();
    this.#stopped.signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const line of readLines(stream)) {
        if (line) this.#hear(line);
      }
    } finally {
      this.#stopped.signal.removeEventListener('abort', stop);
      stream.destroy();
    }
  }

  #hear(line: string): void {
    // 19 digits do not fit a double: the number is read from the text.
    const nanos = BigInt(/"timeNano":(\d+)/.exec(line)?.[1] ?? 0);
    const raw = JSON.parse(line) as RawEvent;
    if (nanos >= this.#lastNanos) this.#lastNanos = nanos + 1n;
    this.#emitter.emit('event', {
      action: raw.Action as DockerEvent['action'],
      id: raw.Actor.ID,
      attributes: raw.Actor.Attributes ?? {},
      time: new Date(Number(nanos / 1_000_000n)),
    });
  }
}

async function* nothing(): AsyncGenerator<never> {}

async function* untilAborted(
  source: AsyncIterable<DockerEvent[]>,
  signal: AbortSignal,
): AsyncGenerator<DockerEvent> {
  try {
    for await (const [event] of source) yield event!;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
