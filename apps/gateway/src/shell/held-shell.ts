/**
 * One shell while the gateway holds it: a client at a WebSocket, and the runner whose container it runs in. It is given
 * to one runner, once: what ran in a container that is gone cannot go on elsewhere.
 *
 * The client is always read, so that it is known when it goes away; that it does not send more than the program reads is
 * agreed upon: it may have so many bytes on their way that were not said to be taken.
 */
import { randomBytes } from 'node:crypto';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { AttachShellRequest, AttachShellResponse, ShellStart } from '@berth/contracts/gateway/v1/shell';
import { BerthError, problemBody } from '@berth/service-kit';
import type { WebSocket } from 'ws';
import type { Messages } from '../web/messages';
import { readLater } from './client-messages';

export type ShellStream = ServerDuplexStream<AttachShellRequest, AttachShellResponse>;
type ToRunner = NonNullable<AttachShellResponse['message']>;

/** Of a client's input, not taken yet. Bytes. */
export const WINDOW_BYTES = 256 * 1024;
const HELD_MESSAGES_MAX = 4096;
/** A client that does not answer a ping for so long is gone. */
const PING_MS = 20_000;
/** Before the bytes of each binary message to the client. */
const STREAMS = { stdout: Buffer.of(1), stderr: Buffer.of(2) };
const CLOSE_OK = 1000;
const CLOSE_FAILED = 1011;

export class HeldShell {
  readonly id = randomBytes(24).toString('base64url');
  /** Aborted when it is over. */
  readonly over: AbortSignal;
  readonly #over = new AbortController();
  readonly #pings: NodeJS.Timeout;
  #held: ToRunner[] = [];
  #heldBytes = 0;
  #wake = () => {};
  #isTaken = false;
  /** When the client or the program last said something; milliseconds since 1970. */
  activeAt = Date.now();

  constructor(
    private readonly socket: WebSocket,
    private readonly start: ShellStart,
    private readonly requestId: string,
  ) {
    this.over = this.#over.signal;
    socket.on('message', (data: Buffer, isBinary) => this.#hear(data, isBinary));
    socket.on('error', () => undefined); // A close follows.
    socket.on('close', () => this.#finish());
    let answered = true;
    socket.on('pong', () => (answered = true));
    this.#pings = setInterval(() => {
      if (!answered) return socket.terminate();
      answered = false;
      socket.ping();
    }, PING_MS).unref();
    if (socket.readyState !== socket.OPEN) this.#finish();
    socket.resume(); // From here on it is heard.
  }

  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Tells the client something of the shell. */
  say(message: { type: string; [field: string]: unknown }): void {
    if (!this.over.aborted) this.socket.send(JSON.stringify(message));
  }

  /** Ends it with this error, if it has not ended. */
  fail(error: BerthError): void {
    if (this.over.aborted) return;
    this.say({ type: 'error', ...(JSON.parse(problemBody(error, this.requestId)) as object) });
    this.#close(CLOSE_FAILED);
  }

  /** Serves it by this runner until it is over. Errors: `precondition`, `not_found`. */
  async attach(
    stream: ShellStream,
    messages: Messages<AttachShellRequest>,
    containerId: string,
    lost: AbortSignal,
  ): Promise<void> {
    if (this.#isTaken) throw new BerthError('precondition', 'This shell has a container already.');
    this.#isTaken = true;
    const signal = AbortSignal.any([lost, this.over]);
    stream.write({ message: { $case: 'start', value: this.start } });
    this.activeAt = Date.now();
    this.say({ type: 'started', container_id: containerId });
    const up = this.#passUp(stream, signal).catch(() => undefined);
    await this.#passDown(messages, signal);
    if (!this.over.aborted) {
      this.fail(new BerthError('unavailable', 'The container of the shell ended before its program did.'));
    }
    await up;
  }

  #hear(data: Buffer, isBinary: boolean): void {
    if (this.over.aborted) return;
    this.activeAt = Date.now();
    try {
      if (isBinary) {
        this.#heldBytes += data.length;
        this.#held.push({ $case: 'stdin', value: data });
      } else {
        const message = readLater(data.toString());
        if (message.type === 'end') this.#held.push({ $case: 'stdinEnd', value: {} });
        else this.#held.push({ $case: 'resize', value: { columns: message.columns, rows: message.rows } });
      }
    } catch (error) {
      return this.fail(error as BerthError);
    }
    if (this.#heldBytes > WINDOW_BYTES || this.#held.length > HELD_MESSAGES_MAX) {
      return this.fail(new BerthError('invalid', 'More was sent than the program had room for.'));
    }
    this.#wake();
  }

  async #passUp(stream: ShellStream, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const piece = this.#held.shift();
      if (!piece) {
        await orAborted((resolve) => (this.#wake = resolve), signal);
        continue;
      }
      await orAborted((resolve) => stream.write({ message: piece }, () => resolve()), signal);
      if (piece.$case !== 'stdin') continue;
      this.#heldBytes -= piece.value.length;
      this.say({ type: 'taken', bytes: piece.value.length });
    }
  }

  /** Until the program has ended, or nobody is there any more. */
  async #passDown(messages: Messages<AttachShellRequest>, signal: AbortSignal): Promise<void> {
    for (;;) {
      let piece: AttachShellRequest['message'];
      await orAborted(
        (resolve) => void messages.next().then((next) => resolve((piece = next?.message))),
        signal,
      );
      if (!piece || piece.$case === 'hello' || signal.aborted) return;
      this.activeAt = Date.now();
      if (piece.$case === 'exit') {
        this.say({ type: 'exit', code: piece.value.code });
        return this.#close(CLOSE_OK);
      }
      const bytes = Buffer.concat([STREAMS[piece.$case], piece.value]);
      // A client that does not read holds up its own program, and nothing else.
      await orAborted((resolve) => this.socket.send(bytes, () => resolve()), signal);
    }
  }

  #close(code: number): void {
    this.socket.close(code);
    this.#finish();
  }

  #finish(): void {
    clearInterval(this.#pings);
    this.#over.abort();
  }
}

/** Resolves when `work` says so, or when `signal` aborts; leaves nothing at the signal. */
function orAborted(work: (resolve: (_?: unknown) => void) => unknown, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const go = () => {
      signal.removeEventListener('abort', go);
      resolve();
    };
    signal.addEventListener('abort', go, { once: true });
    work(go);
  });
}

/** The shells of this gateway, by their ids. */
export class HeldShells {
  readonly #open = new Map<string, HeldShell>();

  open(socket: WebSocket, start: ShellStart, requestId: string): HeldShell {
    const shell = new HeldShell(socket, start, requestId);
    if (shell.over.aborted) return shell;
    this.#open.set(shell.id, shell);
    shell.over.addEventListener('abort', () => this.#open.delete(shell.id), { once: true });
    return shell;
  }

  /** Errors: `not_found`. */
  find(id: string): HeldShell {
    const shell = this.#open.get(id);
    if (!shell) throw new BerthError('not_found', 'No such shell is held here: its user has gone.');
    return shell;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Ends all that there are. */
  failAll(error: BerthError): void {
    for (const shell of [...this.#open.values()]) shell.fail(error);
  }
}
