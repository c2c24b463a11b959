import type { IncomingMessage, ServerResponse } from 'node:http';
import { BerthError } from '@berth/service-kit';
import type { Exchange, FromApp, FromClient } from './exchange';
import { BadResponse } from './headers';
import { HttpAnswer } from './http-answer';

/** A plain HTTP request: its body goes up while its response comes down. */
export class HttpExchange implements Exchange {
  readonly gone: AbortSignal;
  readonly #answer: HttpAnswer;
  readonly #chunks: AsyncIterator<Buffer>;
  #bytes = 0;
  #isWhole = false;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    private readonly options: { sharesOrigin: boolean; requestId: string; bodyBytesMax: number },
  ) {
    this.#answer = new HttpAnswer(request, response, options.sharesOrigin, options.requestId);
    this.#chunks = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
    const gone = new AbortController();
    response.once('close', () => {
      // One that was cut here has its outcome, whatever its client does.
      if (!response.writableFinished && !this.complete) gone.abort();
    });
    response.on('error', () => gone.abort());
    this.gone = gone.signal;
  }

  get begun(): boolean {
    return this.#answer.begun;
  }

  get complete(): boolean {
    return this.#answer.complete;
  }

  async read(): Promise<FromClient | undefined> {
    if (this.#isWhole) return undefined;
    const { done, value } = await this.#chunks.next().catch(() => {
      throw new BerthError('cancelled', 'The client went away in the middle of its request.');
    });
    if (done) {
      this.#isWhole = true;
      return { $case: 'end', value: {} };
    }
    this.#bytes += value.length;
    if (this.#bytes > this.options.bodyBytesMax) throw bodyTooLarge(this.options.bodyBytesMax);
    return { $case: 'body', value };
  }

  async write(piece: FromApp): Promise<void> {
    switch (piece.$case) {
      case 'head':
        return this.#answer.head(piece.value);
      case 'body':
        return this.#answer.body(piece.value);
      case 'end':
        return this.#answer.end();
      default:
        throw new BadResponse('a plain request was answered with a WebSocket');
    }
  }

  fail(error: BerthError): void {
    this.#answer.fail(error);
  }
}

export const bodyTooLarge = (bytesMax: number): BerthError =>
  new BerthError('too_large', `The body is larger than the ${bytesMax} bytes that are taken here.`);
