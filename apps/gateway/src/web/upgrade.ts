/** Requests that ask to go on as something else: as a WebSocket that the gateway speaks, or as bytes that it passes on. */
import { ServerResponse, STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Header, ResponseHead } from '@berth/contracts/gateway/v1/web';
import type { BerthError } from '@berth/service-kit';
import type { Exchange, FromApp, FromClient } from './exchange';
import { BadResponse, responseHeaders } from './headers';
import { HttpAnswer } from './http-answer';
import type { Holding, MessageBudget } from './message-budget';

/** Pieces of one message, as frames and as reads from its socket: each costs memory beside its bytes. */
const PIECES_MAX = 4096;
/** Around what a client's control frame carries: two bytes and the mask. */
const CONTROL_BYTES = 6;
/** A client that does not answer a ping for so long is gone. */
const PING_MS = 30_000;
/** What an app gets to end after its client has closed. */
const AFTER_CLOSE_MS = 10_000;

export interface UpgradeOptions {
  sharesOrigin: boolean;
  requestId: string;
}

export interface MessageBounds {
  /** Of one message. */
  bytesMax: number;
  /** Of all sockets. */
  budget: MessageBudget;
}

/** Whether a request is a WebSocket's, and one that can be accepted (RFC 6455, 4.2.1). */
export const isWebSocket = ({ method, headers }: IncomingMessage): boolean =>
  method === 'GET' &&
  headers.upgrade?.toLowerCase() === 'websocket' &&
  headers['sec-websocket-version'] === '13' &&
  /^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '');

/** The response of an upgrade that was not accepted. */
export function refusalOn(
  request: IncomingMessage,
  socket: Duplex,
  { sharesOrigin, requestId }: UpgradeOptions,
): HttpAnswer {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as never);
  response.on('finish', () => socket.end());
  return new HttpAnswer(request, response, sharesOrigin, requestId);
}

/** What both kinds have in common: before they are accepted they may be refused, with a plain response. */
abstract class UpgradeExchange implements Exchange {
  readonly gone: AbortSignal;
  protected readonly accepted = Promise.withResolvers<void>();
  protected isAccepted = false;
  protected isOver = false;
  #refusal: HttpAnswer | undefined;
  readonly #gone = new AbortController();

  constructor(
    protected readonly request: IncomingMessage,
    protected readonly socket: Duplex,
    protected readonly options: UpgradeOptions,
  ) {
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      this.accepted.resolve();
      if (!this.isAccepted || this.endsWithSocket) this.leave();
    });
    this.gone = this.#gone.signal;
  }

  get begun(): boolean {
    return this.isAccepted || (this.#refusal?.begun ?? false);
  }

  get complete(): boolean {
    return this.isOver || (this.#refusal?.complete ?? false);
  }

  /** Whether the connection's end is all that there is to say. */
  protected abstract readonly endsWithSocket: boolean;

  protected leave(): void {
    if (!this.complete) this.#gone.abort();
  }

  abstract read(): Promise<FromClient | undefined>;
  protected abstract accept(head: ResponseHead): Promise<void>;
  protected abstract pass(piece: FromApp): Promise<void>;
  protected abstract cut(): void;

  async write(piece: FromApp): Promise<void> {
    if (this.isAccepted) return this.pass(piece);
    if (piece.$case === 'head' && piece.value.status === 101) {
      if (this.#refusal) throw new BadResponse('an upgrade was refused and then accepted');
      await this.accept(piece.value);
      this.isAccepted = true;
      this.accepted.resolve();
      return;
    }
    this.#refusal ??= refusalOn(this.request, this.socket, this.options);
    if (piece.$case === 'head') return this.#refusal.head(piece.value);
    if (piece.$case === 'body') return this.#refusal.body(piece.value);
    if (piece.$case === 'end') return this.#refusal.end();
    throw new BadResponse('a WebSocket was not accepted, and used');
  }

  fail(error: BerthError): void {
    if (this.complete) return;
    if (this.isAccepted) {
      this.isOver = true;
      return this.cut();
    }
    this.#refusal ??= refusalOn(this.request, this.socket, this.options);
    this.#refusal.fail(error);
  }
}

/** A WebSocket: messages pass, the protocol's own frames stay here. */
export class SocketExchange extends UpgradeExchange {
  /** The app hears of a close, with its code. */
  protected override readonly endsWithSocket = false;
  #socket: WebSocket | undefined;
  #isClosed = false;
  #heard: FromClient[] = [];
  #wake: (() => void) | undefined;
  #pings: NodeJS.Timeout | undefined;
  #isClosing = false;
  /** What came of messages and is not passed on. */
  #holding: Holding | undefined;
  /** Of the message that is being passed on. */
  #passing = 0;

  constructor(
    request: IncomingMessage,
    socket: Duplex,
    private readonly head: Buffer,
    options: UpgradeOptions,
    private readonly messages: MessageBounds,
  ) {
    super(request, socket, options);
  }

  async read(): Promise<FromClient | undefined> {
    await this.accepted.promise;
    this.#holding?.take(-this.#passing);
    this.#passing = 0;
    for (;;) {
      const next = this.#heard.shift();
      if (next) {
        if (next.$case === 'socketMessage') this.#passing = next.value.data.length;
        if (this.#heard.length === 0) this.#socket?.resume();
        return next;
      }
      if (!this.#socket || this.#isClosed) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  protected override async accept({ headers }: ResponseHead): Promise<void> {
    const protocol = headers.find(({ name }) => name.toLowerCase() === 'sec-websocket-protocol')?.value;
    const offered = (this.request.headers['sec-websocket-protocol'] ?? '')
      .split(',')
      .map((each) => each.trim());
    if (protocol !== undefined && !offered.includes(protocol)) {
      throw new BadResponse('a WebSocket was accepted under a protocol that its client does not offer');
    }
    const extra = responseHeaders(
      headers.filter(({ name }) => !/^(sec-websocket-.*|content-length)$/i.test(name)),
      { sharesOrigin: this.options.sharesOrigin, keepUpgrade: false },
    );
    // One for each: what it answers with is this app's.
    const server = new WebSocketServer({
      noServer: true,
      maxPayload: this.messages.bytesMax,
      maxFragments: PIECES_MAX,
      maxBufferedChunks: PIECES_MAX,
      perMessageDeflate: false,
      handleProtocols: () => protocol ?? false,
    });
    server.on('headers', (lines) => {
      for (let at = 0; at < extra.length; at += 2) lines.push(`${extra[at]}: ${extra[at + 1]}`);
      lines.push(`x-request-id: ${this.options.requestId}`);
    });
    const socket = await new Promise<WebSocket>((resolve, reject) => {
      this.socket.once('close', () => reject(new BadResponse('the client is gone')));
      server.handleUpgrade(this.request, this.socket, this.head, resolve);
    });
    this.#use(socket);
  }

  #use(socket: WebSocket): void {
    this.#socket = socket;
    const holding = (this.#holding = this.messages.budget.open(() => {
      socket.close(1013);
      socket.terminate(); // Not after the client's own close: it may leave that unfinished, too.
    }));
    // Counted as they come: a message is told of only once it is whole.
    let unfinished = 0;
    this.socket.on('data', (data: Buffer) => {
      unfinished += data.length;
      holding.take(data.length);
    });
    const settle = (bytes: number) => {
      const done = Math.min(bytes, unfinished);
      unfinished -= done;
      holding.take(-done);
    };
    for (const control of ['ping', 'pong'] as const) {
      socket.on(control, (data: Buffer) => settle(data.length + CONTROL_BYTES));
    }
    const hear = (piece: FromClient) => {
      this.#heard.push(piece);
      socket.pause(); // Until it is taken: a client may send faster than the app reads.
      this.#wake?.();
    };
    socket.on('message', (data: Buffer, isBinary) => {
      // What came with it of the next one is at most one read's.
      settle(unfinished);
      holding.take(data.length);
      hear({ $case: 'socketMessage', value: { text: !isBinary, data } });
    });
    socket.on('error', () => undefined); // A close follows, with the code that says what was wrong.
    socket.on('close', (code, reason) => {
      clearInterval(this.#pings);
      holding.close();
      this.#isClosed = true;
      setTimeout(() => this.leave(), AFTER_CLOSE_MS).unref();
      this.#heard.push({ $case: 'socketClose', value: { code, reason: reason.toString() } });
      this.#wake?.();
    });
    let answered = true;
    socket.on('pong', () => (answered = true));
    this.#pings = setInterval(() => {
      // One that is not read from now cannot be heard to answer.
      if (!answered && !socket.isPaused) return socket.terminate();
      answered = false;
      socket.ping();
    }, PING_MS).unref();
  }

  protected override async pass(piece: FromApp): Promise<void> {
    const socket = this.#socket!;
    switch (piece.$case) {
      case 'socketMessage': {
        if (socket.readyState !== socket.OPEN) return;
        const { text, data } = piece.value;
        await new Promise<void>((resolve) => socket.send(data, { binary: !text }, () => resolve()));
        return;
      }
      case 'socketClose': {
        if (this.#isClosing) return;
        this.#isClosing = true;
        const { code, reason } = piece.value;
        if (!isCloseCode(code) || Buffer.byteLength(reason) > 123) {
          throw new BadResponse(`a WebSocket was closed with the code ${code}`);
        }
        const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
        socket.close(code, reason);
        socket.resume(); // The client's own close comes behind what it has sent.
        await closed;
        this.isOver = true;
        return;
      }
      default:
        throw new BadResponse('a WebSocket was answered with a plain response');
    }
  }

  protected override cut(): void {
    clearInterval(this.#pings);
    this.#socket?.close(1011);
    this.#socket?.resume();
    setTimeout(() => this.#socket?.terminate(), 1000).unref();
  }
}

/** The codes that may stand in a close frame (RFC 6455, 7.4). */
const isCloseCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);

/** An upgrade that the app itself accepts: from its 101 on, bytes. */
export class TunnelExchange extends UpgradeExchange {
  protected override readonly endsWithSocket = true;
  readonly #chunks: AsyncIterator<Buffer>;
  #first: Buffer | undefined;
  #isWhole = false;

  constructor(request: IncomingMessage, socket: Duplex, head: Buffer, options: UpgradeOptions) {
    super(request, socket, options);
    this.#first = head.length > 0 ? head : undefined;
    this.#chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  }

  async read(): Promise<FromClient | undefined> {
    await this.accepted.promise;
    if (!this.isAccepted || this.#isWhole) return undefined;
    const first = this.#first;
    this.#first = undefined;
    if (first) return { $case: 'body', value: first };
    const { done, value } = await this.#chunks.next().catch(() => ({ done: true, value: undefined }));
    if (!done) return { $case: 'body', value: value! };
    this.#isWhole = true;
    return { $case: 'end', value: {} };
  }

  protected override async accept({ headers }: ResponseHead): Promise<void> {
    const kept: Header[] = headers.filter(({ name }) => name.toLowerCase() !== 'content-length');
    const raw = responseHeaders(kept, { sharesOrigin: this.options.sharesOrigin, keepUpgrade: true });
    const lines = [`HTTP/1.1 101 ${STATUS_CODES[101]}`];
    for (let at = 0; at < raw.length; at += 2) lines.push(`${raw[at]}: ${raw[at + 1]}`);
    this.socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  }

  protected override async pass(piece: FromApp): Promise<void> {
    if (piece.$case === 'body') {
      if (this.socket.writable && !this.socket.write(piece.value)) await drained(this.socket);
      return;
    }
    if (piece.$case !== 'end') throw new BadResponse('a connection that was upgraded carries bytes');
    this.isOver = true;
    this.socket.end();
  }

  protected override cut(): void {
    this.socket.destroy();
  }
}

const drained = (socket: Duplex): Promise<void> =>
  new Promise((resolve) => {
    const go = () => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    socket.on('drain', go).on('close', go);
  });
