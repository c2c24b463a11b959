/**
 * Inputs from JetStream, one at a time for each free slot.
 *
 * A slot keeps one subscription and one pull request; a warm input costs one small message upstream. The client's own
 * `next()` subscribes anew for each message, and `consume()` asks ahead: a message that waits behind a running input
 * could have run elsewhere. What they recover from is recovered from here: a request that expired, a line that broke
 * (the server has forgotten who waits), a consumer that is gone.
 *
 * A message that was taken is *held* until it is acknowledged or given back: the queue is told every few seconds that
 * it is being worked on. A queue that lost its memory may deliver a held message again; then the new delivery is
 * joined to the old, and the input does not run twice. A retry has the same subject and is another message: it names
 * another attempt.
 */
import { createInbox, type Msg, type Subscription } from '@nats-io/transport-node';
import {
  INPUT_ACK_WAIT_MS,
  inputConsumer,
  inputConsumerName,
  type Bus,
  type ReceivedMessage,
} from '@berth/events';
import type { Logger } from '@berth/service-kit';
import { Backoff } from '../files/backoff';

const STREAM = 'BERTH_INPUTS';
const EXPIRES_MS = 30_000;
/** An answer to a pull that is this late was lost. */
const LATE_MS = EXPIRES_MS + 5_000;
/** What the end of a batch's time may be late. */
const GATHER_LATE_MS = 1_000;
const WORKING_MS = INPUT_ACK_WAIT_MS / 3;
const PULL = Buffer.from(JSON.stringify({ batch: 1, expires: EXPIRES_MS * 1e6 }));

const ACK = Buffer.from('+ACK');
const NAK = Buffer.from('-NAK');
const WORKING = Buffer.from('+WPI');

/** A message that this runner holds. */
export interface HeldMessage extends ReceivedMessage {
  /** The queue has given it out before. */
  redelivered: boolean;
  /** It is done with: never delivered again. */
  ack(): void;
  /** It goes to somebody else, at once. */
  giveBack(): void;
}

export interface SlotQueue {
  /** The next message; undefined after `close`. One at a time. */
  pull(): Promise<HeldMessage | undefined>;
  /** Up to `max` messages that are there or come within `waitMs`. Not while a pull is open. */
  gather(max: number, waitMs: number): Promise<HeldMessage[]>;
  /** Takes no more: what arrives all the same is given back. */
  close(): Promise<void>;
}

export interface InputQueue extends AsyncDisposable {
  /** Where one slot of a container of this function version takes its inputs. */
  openSlot(functionId: string, version: number): SlotQueue;
}

/** One attempt of one input: deliveries of it are the same message. */
const identityOf = ({ subject, headers }: Pick<ReceivedMessage, 'subject' | 'headers'>): string =>
  `${subject} ${headers?.get('Berth-Attempt')}`;

export function openInputQueue(bus: Bus, log: Logger): InputQueue {
  const held = new Map<string, Held>();
  const slots = new Set<Slot>();
  /** Shared consumers that are known to be there, and those that are being made. */
  const present = new Set<string>();
  const adding = new Map<string, Promise<void>>();

  const working = setInterval(() => {
    for (const message of held.values()) message.say(WORKING);
  }, WORKING_MS).unref();

  const hearReconnects = async () => {
    for await (const status of bus.nats.status()) {
      if (status.type === 'reconnect') for (const slot of slots) slot.askAgain();
    }
  };
  void hearReconnects();

  /** Makes sure of the consumer that all runners of a version share. */
  const ensure = (functionId: string, version: number): Promise<void> => {
    const name = inputConsumerName(functionId, version);
    let making = adding.get(name);
    if (!making) {
      making = bus.manager.consumers
        .add(STREAM, inputConsumer(functionId, version))
        .then(() => void present.add(name))
        .finally(() => adding.delete(name));
      adding.set(name, making);
    }
    return making;
  };

  class Held implements HeldMessage {
    readonly subject: string;
    readonly data: Uint8Array;
    readonly headers: ReceivedMessage['headers'];
    readonly redelivered: boolean;
    #deliveries: Msg[];

    constructor(message: Msg) {
      this.subject = message.subject;
      this.data = message.data;
      this.headers = message.headers;
      this.redelivered = deliveriesOf(message.reply!) > 1;
      this.#deliveries = [message];
      held.set(identityOf(this), this);
    }

    join(message: Msg): void {
      this.#deliveries.push(message);
    }

    ack(): void {
      this.#end(ACK);
    }

    giveBack(): void {
      this.#end(NAK);
    }

    say(word: Uint8Array): void {
      if (bus.nats.isClosed()) return;
      for (const delivery of this.#deliveries) delivery.respond(word);
    }

    #end(word: Uint8Array): void {
      if (held.get(identityOf(this)) !== this) return;
      held.delete(identityOf(this));
      this.say(word);
    }
  }

  class Slot implements SlotQueue {
    readonly #inbox = createInbox();
    readonly #name: string;
    readonly #subscription: Subscription;
    #waiting: PromiseWithResolvers<HeldMessage | undefined> | undefined;
    #gathering: { taken: Held[]; max: number; over: () => void } | undefined;
    #late: NodeJS.Timeout | undefined;
    #isClosed = false;
    readonly #backoff = new Backoff(50, 2000);

    constructor(
      private readonly functionId: string,
      private readonly version: number,
    ) {
      this.#name = inputConsumerName(functionId, version);
      this.#subscription = bus.nats.subscribe(this.#inbox, {
        callback: (error, message) => {
          if (error) log.warn({ err: error }, 'the queue of inputs said an error');
          else this.#take(message);
        },
      });
      slots.add(this);
      // Made while the container is: the first pull then finds it. Also one that was there before, for the queue of a version
      // that nobody called any more is taken away, and a rollback brings the version back.
      present.delete(this.#name);
      ensure(functionId, version).catch(() => undefined);
    }

    pull(): Promise<HeldMessage | undefined> {
      if (this.#isClosed) return Promise.resolve(undefined);
      this.#waiting = Promise.withResolvers();
      this.#ask();
      return this.#waiting.promise;
    }

    async gather(max: number, waitMs: number): Promise<HeldMessage[]> {
      const taken: Held[] = [];
      if (this.#isClosed || bus.nats.isClosed() || max < 1) return taken;
      const over = Promise.withResolvers<void>();
      this.#gathering = { taken, max, over: over.resolve };
      const request = JSON.stringify({ batch: max, expires: Math.max(1, waitMs) * 1e6 });
      bus.nats.publish(this.#subject, request, { reply: this.#inbox });
      // The server says when the time is over, after all that it has sent. A line that broke says nothing.
      const late = setTimeout(over.resolve, waitMs + GATHER_LATE_MS);
      await over.promise;
      clearTimeout(late);
      this.#gathering = undefined;
      return taken;
    }

    /** The server may have forgotten that somebody waits. */
    askAgain(): void {
      if (this.#waiting) this.#ask();
    }

    async close(): Promise<void> {
      if (this.#isClosed) return;
      this.#isClosed = true;
      slots.delete(this);
      clearTimeout(this.#late);
      this.#waiting?.resolve(undefined);
      this.#waiting = undefined;
      this.#gathering?.over();
      // Drained, not dropped: a message that is on its way is still heard, and given back.
      if (!bus.nats.isClosed()) await this.#subscription.drain().catch(() => undefined);
    }

    #ask(): void {
      clearTimeout(this.#late);
      this.#late = setTimeout(() => {
        // A pull of a consumer that is gone gets no answer at all.
        present.delete(this.#name);
        this.askAgain();
      }, LATE_MS).unref();
      if (present.has(this.#name)) this.#send();
      else void this.#addThenSend();
    }

    async #addThenSend(): Promise<void> {
      while (!this.#isClosed) {
        try {
          await ensure(this.functionId, this.version);
          if (this.#waiting) this.#send();
          return;
        } catch (error) {
          if (bus.nats.isClosed()) return;
          log.warn({ err: error, consumer: this.#name }, 'the queue of inputs does not answer: trying again');
          await this.#backoff.wait();
        }
      }
    }

    #send(): void {
      if (bus.nats.isClosed()) return;
      bus.nats.publish(this.#subject, PULL, { reply: this.#inbox });
    }

    get #subject(): string {
      return `$JS.API.CONSUMER.MSG.NEXT.${STREAM}.${this.#name}`;
    }

    #take(message: Msg): void {
      const code = message.headers?.code ?? 0;
      if (code !== 0) return this.#hearStatus(code, message.headers!.description);
      if (!message.reply) return;
      const earlier = held.get(identityOf(message));
      if (earlier) {
        earlier.join(message);
        return this.askAgain();
      }
      const taken = new Held(message);
      const gathering = this.#gathering;
      if (gathering && gathering.taken.length < gathering.max) {
        if (gathering.taken.push(taken) === gathering.max) gathering.over();
        return;
      }
      const waiting = this.#waiting;
      // Two requests of one slot may be open after a line that broke: only one of their messages is wanted.
      if (!waiting) return taken.giveBack();
      this.#waiting = undefined;
      clearTimeout(this.#late);
      this.#backoff.reset();
      waiting.resolve(taken);
    }

    #hearStatus(code: number, description: string): void {
      if (this.#gathering && code !== 100) return this.#gathering.over();
      if (!this.#waiting || code === 100) return;
      if (code === 408 || code === 404) return this.#ask();
      // The consumer is gone (409, 503), or the server cannot serve just now.
      log.debug({ code, description, consumer: this.#name }, 'a pull was refused: asking again');
      present.delete(this.#name);
      void this.#backoff.wait().then(() => this.askAgain());
    }
  }

  return {
    openSlot: (functionId, version) => new Slot(functionId, version),
    async [Symbol.asyncDispose]() {
      clearInterval(working);
      await Promise.all([...slots].map((slot) => slot.close()));
      for (const message of [...held.values()]) message.giveBack();
    },
  };
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.…`; newer servers put domain and account before the stream. */
function deliveriesOf(reply: string): number {
  const words = reply.split('.');
  return Number(words.length === 9 ? words[4] : words[6]);
}
