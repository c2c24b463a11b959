/** Writing one HTTP response that an app makes, piece by piece, to a client that may be slow or away. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResponseHead } from '@berth/contracts/gateway/v1/web';
import { problemBody, type BerthError } from '@berth/service-kit';
import { HttpProblem, statusOf } from '../problem';
import { readAway } from '../read-away';
import { BadResponse, lengthIn, responseHeaders } from './headers';

export class HttpAnswer {
  complete = false;
  #lengthLeft: number | undefined;

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly sharesOrigin: boolean,
    private readonly requestId: string,
  ) {
    response.sendDate = true;
    response.setHeader('x-request-id', requestId);
  }

  get begun(): boolean {
    return this.response.headersSent;
  }

  head({ status, headers }: ResponseHead): void {
    if (this.begun) throw new BadResponse('a response has a second head');
    if (!(status >= 200 && status <= 599)) throw new BadResponse(`a response has the status ${status}`);
    const raw = responseHeaders(headers, { sharesOrigin: this.sharesOrigin, keepUpgrade: false });
    const bodiless = status === 204 || status === 304 || this.request.method === 'HEAD';
    this.#lengthLeft = bodiless ? 0 : lengthIn(raw);
    this.response.statusCode = status;
    for (let at = 0; at < raw.length; at += 2) this.response.appendHeader(raw[at]!, raw[at + 1]!);
    this.response.flushHeaders();
  }

  /** Resolves when there is room for more. */
  async body(piece: Uint8Array): Promise<void> {
    if (!this.begun || this.complete) throw new BadResponse('a piece of a body is outside of a response');
    if (piece.length === 0) return;
    if (this.#lengthLeft !== undefined) {
      const { statusCode } = this.response;
      if (this.request.method === 'HEAD' || statusCode === 204 || statusCode === 304) return;
      this.#lengthLeft -= piece.length;
      if (this.#lengthLeft < 0) throw new BadResponse('a response is longer than it says');
    }
    if (!this.response.write(piece)) await drained(this.response);
  }

  end(): void {
    if (!this.begun || this.complete) throw new BadResponse('an end is outside of a response');
    if (this.#lengthLeft) throw new BadResponse('a response is shorter than it says');
    this.complete = true;
    this.response.end();
    void this.#leaveRequest();
  }

  fail(error: BerthError): void {
    if (this.complete) return;
    this.complete = true;
    if (this.begun) {
      // What is missing must not look like the end. Only a reset says so where the end of the connection is the body's.
      if (this.request.httpVersion === '1.0') this.response.socket?.resetAndDestroy();
      else this.response.destroy();
      return;
    }
    for (const name of this.response.getHeaderNames()) this.response.removeHeader(name);
    this.response.setHeader('x-request-id', this.requestId);
    if (error instanceof HttpProblem) {
      for (const [name, value] of Object.entries(error.headers)) this.response.setHeader(name, value);
    }
    if (!this.request.complete) this.response.setHeader('connection', 'close');
    const body = problemBody(error, this.requestId);
    this.response
      .writeHead(statusOf(error), {
        'content-type': 'application/json; charset=utf-8',
        'content-length': Buffer.byteLength(body),
      })
      .end(body);
    void this.#leaveRequest();
  }

  /** What the client still sends is read and forgotten, up to a bound; then its connection ends. */
  async #leaveRequest(): Promise<void> {
    if (this.request.complete) return;
    await readAway(this.request);
    if (!this.request.complete) this.request.destroy();
  }
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
