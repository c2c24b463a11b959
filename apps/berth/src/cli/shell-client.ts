/** One shell from here: what is typed goes there, what its program writes comes back. */
import type { IncomingMessage } from 'node:http';
import { BerthApiError, type Credentials } from '@berth/sdk';
import { WebSocket } from 'ws';

export interface ShellRequest {
  functionId: string;
  /** For /bin/sh -c; undefined: a shell. */
  command: string | undefined;
  /** Whether the program has this terminal. */
  terminal: boolean;
  /** Seconds. */
  timeout: number | undefined;
}

type Said =
  | { type: 'waiting'; reason: string }
  | { type: 'started'; container_id: string }
  | { type: 'taken'; bytes: number }
  | { type: 'exit'; code: number }
  | { type: 'error'; error: ErrorBody };

interface ErrorBody {
  code: string;
  message: string;
  field: string | null;
  request_id: string;
}

/** Bytes that may be on their way and not taken by the program. */
const WINDOW_BYTES = 256 * 1024;
const PIECE_BYTES = 32 * 1024;

/**
 * Runs a program in a fresh container of the function, with this process's input and output; resolves to its exit
 * status. Errors: BerthApiError for what the platform refuses; the reason of `signal` when that aborts.
 */
export async function openShell(
  credentials: Credentials,
  { functionId, command, terminal, timeout }: ShellRequest,
  signal?: AbortSignal,
): Promise<number> {
  const { apiUrl, apiKey, tokenId, tokenSecret, socketPath } = credentials;
  if (socketPath) throw new Error('A container has no shells to give: use an API token for it.');
  const url = new URL(`/v1/functions/${encodeURIComponent(functionId)}/shell`, apiUrl);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const auth: Record<string, string> = apiKey
    ? { 'x-api-key': apiKey }
    : { authorization: `Bearer ${tokenId}.${tokenSecret}` };
  const socket = new WebSocket(url, { headers: auth, perMessageDeflate: false });
  const over = Promise.withResolvers<number>();
  const input = new Input(socket);
  const { stdin, stdout, stderr } = process;

  const abort = () => over.reject(signal!.reason);
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  const resize = () => socket.send(JSON.stringify({ type: 'resize', ...sizeOf(stdout) }));

  socket.on('error', (error) => over.reject(error));
  socket.on('unexpected-response', (_request, response) => {
    void refusalOf(response).then(over.reject, over.reject);
  });
  socket.on('close', () => over.reject(new Error('The connection to Berth broke: the shell is ended.')));
  socket.on('open', () =>
    socket.send(
      JSON.stringify({
        type: 'start',
        ...(command === undefined ? {} : { command }),
        ...(terminal ? { terminal: { ...sizeOf(stdout), term: process.env.TERM ?? 'xterm' } } : {}),
        ...(timeout === undefined ? {} : { timeout }),
      }),
    ),
  );
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) {
      const target = data[0] === 2 ? stderr : stdout;
      if (!target.write(data.subarray(1))) {
        socket.pause();
        target.once('drain', () => socket.resume());
      }
      return;
    }
    const said = JSON.parse(data.toString()) as Said;
    if (said.type === 'waiting') stderr.write(`waiting: ${said.reason}\n`);
    if (said.type === 'taken') input.taken(said.bytes);
    if (said.type === 'exit') over.resolve(said.code);
    if (said.type === 'error') over.reject(errorOf(said.error, 0));
    if (said.type === 'started') {
      if (terminal) {
        stdin.setRawMode(true);
        stdout.on('resize', resize);
        resize(); // It may have changed while the container was awaited.
      }
      void input.pass();
    }
  });
  // Whoever reads our output may have gone, as head does.
  stdout.on('error', over.reject);
  try {
    return await over.promise;
  } finally {
    signal?.removeEventListener('abort', abort);
    stdout.off('resize', resize).off('error', over.reject);
    if (stdin.isRaw) stdin.setRawMode(false);
    stdin.destroy();
    socket.resume();
    socket.close();
    setTimeout(() => socket.terminate(), 1000).unref();
  }
}

/** Sends what is typed, no faster than it is taken. */
class Input {
  #room = WINDOW_BYTES;
  #wake = () => {};

  constructor(private readonly socket: WebSocket) {}

  taken(bytes: number): void {
    this.#room += bytes;
    this.#wake();
  }

  async pass(): Promise<void> {
    try {
      for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length; at += PIECE_BYTES)
          await this.#send(chunk.subarray(at, at + PIECE_BYTES));
      }
      this.socket.send(JSON.stringify({ type: 'end' }));
    } catch {
      // The shell is over, and with it what there was to type.
    }
  }

  async #send(piece: Buffer): Promise<void> {
    while (this.#room < piece.length) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#room -= piece.length;
    this.socket.send(piece);
  }
}

const sizeOf = ({ columns, rows }: NodeJS.WriteStream) => ({ columns: columns || 80, rows: rows || 24 });

async function refusalOf(response: IncomingMessage): Promise<Error> {
  let text = '';
  for await (const piece of response) text += String(piece);
  try {
    return errorOf((JSON.parse(text) as { error: ErrorBody }).error, response.statusCode ?? 0);
  } catch {
    return new Error(`The platform answered ${response.statusCode}, and opened no shell.`);
  }
}

const errorOf = ({ code, message, field, request_id }: ErrorBody, status: number): BerthApiError =>
  new BerthApiError(status, code, message, field, request_id);
