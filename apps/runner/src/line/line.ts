/**
 * The line to `functions`: what starts and ends is said on it, verdicts and cancellations come back.
 *
 * It is kept for ever: a line that breaks is made again, and what has no verdict yet is said again in order. The same
 * word gets the same verdict, so saying one twice is harmless and losing one is impossible while this process lives.
 */
import type {
  AttachRunnerRequest,
  AttachRunnerResponse,
  FunctionsServiceService,
  InputFinished,
  InputItems,
  InputStarted,
  InputVerdict,
} from '@berth/contracts/functions/v1/functions';
import { Verdict } from '@berth/contracts/functions/v1/functions';
import type { ClientOf, Logger } from '@berth/service-kit';
import { Backoff } from '../files/backoff';

type Functions = Pick<ClientOf<typeof FunctionsServiceService>, 'attachRunner'>;
type Stream = Awaited<ReturnType<Functions['attachRunner']>>;
type Message = NonNullable<AttachRunnerRequest['message']>;

/** Outcomes without a verdict that are kept while more inputs are taken; then slots wait. */
const UNSETTLED_MAX = 256;
const UNSETTLED_BYTES_MAX = 64 * 1024 * 1024;
/** A line whose other end is gone without a word: nothing that was said on it has been answered for so long. */
const SILENCE_MS = 30_000;

interface Said {
  message: Message;
  bytes: number;
  at: number;
  settle: (verdict: InputVerdict) => void;
}

export interface LineEvents {
  /** `functions` no longer wants this input; with an attempt, only that attempt of it. */
  onUnwanted(inputId: string, attempt?: number): void;
}

export class Line implements AsyncDisposable {
  #hello: { nodeId: string; incarnation: string } | undefined;
  #stream: Stream | undefined;
  #sequence = 0n;
  /** In the order in which it was said; by the sequence on the present line. */
  #unanswered = new Map<bigint, Said>();
  /** Said while there is no line, or before. */
  #waiting: Said[] = [];
  /** Starts that nobody waits for: an outcome goes over them. */
  #starts = new Map<string, Said>();
  #bytes = 0;
  #count = 0;
  #roomWaiters: (() => void)[] = [];
  #allSettled: (() => void) | undefined;
  #closed = new AbortController();
  #kept: Promise<void> | undefined;
  readonly #watch: NodeJS.Timeout;

  constructor(
    private readonly functions: Functions,
    private readonly log: Logger,
    private readonly events: LineEvents,
  ) {
    this.#watch = setInterval(() => this.#checkSilence(), SILENCE_MS / 3).unref();
  }

  /** Opens the line in the name of this node, and keeps it. A repeat changes what the next one says first. */
  attach(nodeId: string, incarnation: string): void {
    this.#hello = { nodeId, incarnation };
    this.#kept ??= this.#keep();
  }

  /** A first delivery has begun. Nobody waits; a verdict against it is an `onUnwanted`. */
  tellStarted(started: InputStarted): void {
    const said = this.#make({ $case: 'started', value: started }, 0, ({ verdict }) => {
      this.#starts.delete(started.inputId);
      if (verdict === Verdict.VERDICT_STALE) this.events.onUnwanted(started.inputId, started.attempt);
    });
    this.#starts.set(started.inputId, said);
    this.#say(said);
  }

  /** Asks whether a redelivered input may run; waits as long as it takes. */
  ask(started: InputStarted): Promise<InputVerdict> {
    return new Promise((settle) => this.#say(this.#make({ $case: 'started', value: started }, 0, settle)));
  }

  /** Tells an outcome; resolves with its verdict, however often it had to be said. */
  tellFinished(finished: InputFinished): Promise<InputVerdict> {
    this.#forgetStart(finished.inputId);
    const bytes = finished.outcome?.$case === 'success' ? finished.outcome.value.payload.length : 0;
    this.#bytes += bytes;
    this.#count++;
    return new Promise((resolve) => {
      const settle = (verdict: InputVerdict) => {
        this.#bytes -= bytes;
        this.#count--;
        if (this.#count === 0) this.#allSettled?.();
        this.#wakeRoomWaiters();
        resolve(verdict);
      };
      this.#say(this.#make({ $case: 'finished', value: finished }, bytes, settle));
    });
  }

  /** Tells what a generator yielded; resolves with the verdict, however often it had to be said. */
  tellItems(items: InputItems): Promise<InputVerdict> {
    const bytes = items.payloads.reduce((sum, payload) => sum + payload.length, 0);
    this.#bytes += bytes;
    return new Promise((resolve) => {
      const settle = (verdict: InputVerdict) => {
        this.#bytes -= bytes;
        this.#wakeRoomWaiters();
        resolve(verdict);
      };
      this.#say(this.#make({ $case: 'items', value: items }, bytes, settle));
    });
  }

  /** Whether more inputs should be taken: too many outcomes without a verdict would fill the memory. */
  get hasRoom(): boolean {
    return this.#count < UNSETTLED_MAX && this.#bytes < UNSETTLED_BYTES_MAX;
  }

  /** Resolves when there is room, or when `signal` aborts. */
  room(signal: AbortSignal): Promise<void> {
    if (this.hasRoom || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const go = () => {
        signal.removeEventListener('abort', go);
        resolve();
      };
      this.#roomWaiters.push(go);
      signal.addEventListener('abort', go);
    });
  }

  /** Resolves when every outcome has its verdict, or after `ms`. */
  async settled(ms: number): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, ms);
      this.#allSettled = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch);
    this.#closed.abort();
    this.#stream?.end();
    this.#stream?.cancel();
    await this.#kept;
  }

  #wakeRoomWaiters(): void {
    if (this.hasRoom) for (const go of this.#roomWaiters.splice(0)) go();
  }

  #make(message: Message, bytes: number, settle: Said['settle']): Said {
    return { message, bytes, settle, at: Date.now() };
  }

  #say(said: Said): void {
    if (this.#stream) this.#write(this.#stream, said);
    else this.#waiting.push(said);
  }

  #write(stream: Stream, said: Said): void {
    const sequence = ++this.#sequence;
    said.at = Date.now();
    this.#unanswered.set(sequence, said);
    stream.write({ sequence, message: said.message });
  }

  #forgetStart(inputId: string): void {
    const start = this.#starts.get(inputId);
    if (!start) return;
    this.#starts.delete(inputId);
    // Its verdict, if it still comes, belongs to nobody; on a new line it is not said again.
    start.settle = () => undefined;
    if (!this.#stream) this.#waiting = this.#waiting.filter((said) => said !== start);
    else
      for (const [sequence, said] of this.#unanswered) if (said === start) this.#unanswered.delete(sequence);
  }

  async #keep(): Promise<void> {
    const backoff = new Backoff(50, 1000);
    while (!this.#closed.signal.aborted) {
      try {
        const stream = await this.functions.attachRunner();
        await this.#use(stream, () => backoff.reset());
      } catch (error) {
        this.log.debug({ err: error }, 'the line to functions could not be opened');
      }
      if (!this.#closed.signal.aborted) await backoff.wait(this.#closed.signal);
    }
  }

  /** Resolves when the line is over. */
  async #use(stream: Stream, heard: () => void): Promise<void> {
    const over = Promise.withResolvers<void>();
    stream.on('data', (response: AttachRunnerResponse) => {
      heard();
      this.#hear(response);
    });
    stream.on('error', (error: Error) => {
      if (!this.#closed.signal.aborted) this.log.debug({ err: error }, 'the line to functions broke');
      over.resolve();
    });
    stream.on('end', () => over.resolve());
    stream.on('close', () => over.resolve());
    this.#stream = stream;
    this.#sequence = 0n;
    const again = this.#waiting;
    this.#waiting = [];
    stream.write({ sequence: this.#sequence, message: { $case: 'hello', value: this.#hello! } });
    for (const said of again) this.#write(stream, said);

    await over.promise;
    this.#stream = undefined;
    this.#waiting = [...this.#unanswered.values(), ...this.#waiting];
    this.#unanswered.clear();
    stream.cancel();
  }

  #hear({ message }: AttachRunnerResponse): void {
    if (message?.$case === 'cancelled') return this.events.onUnwanted(message.value.inputId);
    if (message?.$case !== 'verdict') return;
    const said = this.#unanswered.get(message.value.sequence);
    if (!said) return; // The start of an input that has ended meanwhile.
    this.#unanswered.delete(message.value.sequence);
    said.settle(message.value);
  }

  #checkSilence(): void {
    const [oldest] = this.#unanswered.values();
    if (oldest && Date.now() - oldest.at > SILENCE_MS) this.#stream?.cancel();
  }
}
