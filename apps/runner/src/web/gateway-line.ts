/** The line to the gateway on which one web request comes and its response goes. */
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { AttachSessionRequest, AttachSessionResponse } from '@berth/contracts/gateway/v1/web';
import { BerthError, fromServiceError } from '@berth/service-kit';
import { Backoff } from '../files/backoff';
import type { Gateways } from './gateways';

export type FromGateway = NonNullable<AttachSessionResponse['message']>;
export type ToGateway = NonNullable<AttachSessionRequest['message']>;

/** What the payload of an input of format `web` says. */
export interface WebReference {
  session: string;
  gateway: string;
}

/** How long a gateway that does not answer is tried: it may be restarted, and then has forgotten the request. */
const PATIENCE_MS = 10_000;
const LARGE_BYTES = 128 * 1024;
/** What a gateway gets to take a last word, when its client may not read any more. */
const FAREWELL_MS = 1000;

export class GatewayLine {
  readonly #messages: AsyncIterator<AttachSessionResponse>;

  private constructor(
    private readonly stream: ClientDuplexStream<AttachSessionRequest, AttachSessionResponse>,
  ) {
    stream.on('error', () => undefined); // Whoever reads or writes hears of it.
    this.#messages = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<AttachSessionResponse>;
  }

  /**
   * Takes the request: resolves with its head. Errors: `not_found` and `precondition` where it is nobody's to serve any
   * more, `cancelled` when `signal` aborts, `unavailable` when its gateway is not there.
   */
  static async open(
    gateways: Gateways,
    { session, gateway }: WebReference,
    attempt: number,
    signal: AbortSignal,
  ): Promise<{ line: GatewayLine; head: Extract<FromGateway, { $case: 'head' }>['value'] }> {
    const until = Date.now() + PATIENCE_MS;
    const backoff = new Backoff(50, 1000);
    for (;;) {
      const line = new GatewayLine(await gateways.at(gateway).attachSession());
      const cancel = () => line.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        await line.write({ $case: 'hello', value: { sessionId: session, attempt } });
        const first = await line.read();
        if (first?.$case === 'head') return { line, head: first.value };
        throw new BerthError('unavailable', 'The gateway ended the line without a request.');
      } catch (error) {
        line.cancel();
        if (signal.aborted) throw new BerthError('cancelled', 'The request was cancelled.');
        const known = error as BerthError;
        if (known.kind !== 'unavailable' || Date.now() > until) throw known;
        await backoff.wait(signal);
      } finally {
        signal.removeEventListener('abort', cancel);
      }
    }
  }

  /** The next thing that the gateway says; undefined at its end. Throws a BerthError where the line breaks. */
  async read(): Promise<FromGateway | undefined> {
    try {
      const { done, value } = await this.#messages.next();
      return done ? undefined : value.message;
    } catch (error) {
      throw fromServiceError(error);
    }
  }

  /** Resolves when there is room for more. */
  async write(message: ToGateway): Promise<void> {
    const { stream } = this;
    if (stream.destroyed || stream.writableEnded) return;
    // A stream counts messages, not bytes: of large ones one at a time is on its way.
    if (bytesOf(message) > LARGE_BYTES) {
      await new Promise<void>((resolve) => stream.write({ message }, () => resolve()));
      return;
    }
    if (stream.write({ message })) return;
    await new Promise<void>((resolve) => {
      const go = () => {
        for (const event of ['drain', 'close', 'error', 'end']) stream.off(event, go);
        resolve();
      };
      for (const event of ['drain', 'close', 'error', 'end']) stream.on(event, go);
    });
  }

  /** Nothing more is said; resolves when the gateway has taken all, or the line is broken. */
  async end(): Promise<void> {
    this.stream.end();
    try {
      while (await this.read()) {
        // What the client still says is nobody's.
      }
    } catch {
      // It is over, one way or the other.
    }
  }

  /** There is no response, or no more of it. Resolves when the gateway knows, or does not say so in time. */
  async fail(type: string): Promise<void> {
    void this.write({ $case: 'failure', value: { type } });
    let late: NodeJS.Timeout | undefined;
    await Promise.race([this.end(), new Promise((resolve) => (late = setTimeout(resolve, FAREWELL_MS)))]);
    clearTimeout(late);
    this.cancel();
  }

  cancel(): void {
    this.stream.cancel();
  }
}

function bytesOf(message: ToGateway): number {
  if (message.$case === 'body') return message.value.length;
  return message.$case === 'socketMessage' ? message.value.data.length : 0;
}
