/**
 * Web requests between a runner and a worker: one connection for each, so that what one client does not read holds up
 * nobody else, and the kernel's own buffers are the flow control. It lives beside the worker's own connection, over
 * which the same request comes as an input and gets its outcome.
 *
 * The worker connects and names the one-time token that came with the input; then both speak frames.
 */
import { randomBytes } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { FrameDecoder, ProtocolError, writeFrame, type Frame } from './frame';

/** A frame's payload here is a piece of a body or a WebSocket message. Bytes. */
const FRAME_BYTES_MAX = 17 * 1024 * 1024;
const HEADER_BYTES_MAX = 256 * 1024;
const HELLO_BYTES_MAX = 4096;
const HELLO_MS = 10_000;
const UNPROVEN_CONNECTIONS_MAX = 64;

/** Why there is no connection: it was closed on this side, or it broke. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost';
}

/** Listens at a path that only one container can reach. Rejects where it cannot. */
export async function listenForSessions(path: string): Promise<SessionServer> {
  const server = new SessionServer();
  await server.listen(path);
  return server;
}

export class SessionServer {
  #server: Server;
  #unproven = new Set<Socket>();
  #expected = new Map<string, (session: SessionConnection) => void>();

  constructor() {
    this.#server = createServer((socket) => this.#greet(socket));
  }

  /** For `listenForSessions`. */
  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(path, resolve);
    });
    // One that cannot be let in (this process has too many files open) is that one's loss.
    this.#server.on('error', () => undefined);
    await chmod(path, 0o666); // As the worker's own socket: the token says who may enter.
  }

  /** Waits for the connection that names `token`; never settles where none does: `forget` it then. */
  expect(): { token: string; accepted: Promise<SessionConnection>; forget(): void } {
    const token = randomBytes(24).toString('base64url');
    const accepted = new Promise<SessionConnection>((resolve) => this.#expected.set(token, resolve));
    return { token, accepted, forget: () => void this.#expected.delete(token) };
  }

  /** Takes no more; connections that were accepted stay. Safe to repeat. */
  close(): void {
    for (const socket of this.#unproven) socket.destroy();
    if (this.#server.listening) this.#server.close();
  }

  #greet(socket: Socket): void {
    socket.on('error', () => {}); // A close always follows.
    if (this.#unproven.size >= UNPROVEN_CONNECTIONS_MAX) return void socket.destroy();
    this.#unproven.add(socket);
    const decoder = new FrameDecoder({ frameBytesMax: HELLO_BYTES_MAX });
    const leave = () => {
      clearTimeout(timer);
      this.#unproven.delete(socket);
      socket.off('data', onData).off('close', leave);
    };
    const timer = setTimeout(() => socket.destroy(), HELLO_MS);
    const early: Frame[] = [];
    let accept: ((session: SessionConnection) => void) | undefined;
    const onData = (chunk: Buffer) => {
      try {
        decoder.push(chunk, (frame) => {
          if (accept) return void early.push(frame); // Sent together with the hello.
          const { type, token } = JSON.parse(frame.header) as Record<string, unknown>;
          accept = type === 'session' && typeof token === 'string' ? this.#expected.get(token) : undefined;
          if (!accept) throw new ProtocolError('nobody expects this session');
          this.#expected.delete(token as string);
          decoder.limit({ frameBytesMax: FRAME_BYTES_MAX, headerBytesMax: HEADER_BYTES_MAX });
        });
      } catch {
        return void socket.destroy();
      }
      if (!accept) return;
      leave();
      socket.pause();
      accept(new SessionConnection(socket, decoder, early));
    };
    socket.on('data', onData).on('close', leave);
  }
}

/** The runner's end of one web request. */
export class SessionConnection {
  /** For `SessionServer`. */
  constructor(
    private readonly socket: Socket,
    private readonly decoder: FrameDecoder,
    private readonly early: Frame[],
  ) {}

  /** What the worker says, as fast as it is taken; ends with its connection. Throws ProtocolError. */
  async *frames(): AsyncGenerator<Frame> {
    yield* this.early.splice(0);
    try {
      for await (const chunk of this.socket as AsyncIterable<Buffer>) {
        const frames: Frame[] = [];
        this.decoder.push(chunk, (frame) => frames.push(frame));
        yield* frames;
      }
    } catch (error) {
      // A worker that died in the middle of its words has ended them, too.
      if (error instanceof ProtocolError) throw error;
    }
  }

  /** Resolves when there is room for more. Throws SessionLost. */
  async send(header: object, payload?: Uint8Array): Promise<void> {
    if (this.socket.destroyed || this.socket.writableEnded) throw new SessionLost('the session is closed');
    writeFrame(this.socket, JSON.stringify(header), payload, FRAME_BYTES_MAX);
    if (!this.socket.writableNeedDrain) return;
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        this.socket.off('drain', go).off('close', go);
        if (this.socket.destroyed) reject(new SessionLost('the session is closed'));
        else resolve();
      };
      this.socket.on('drain', go).on('close', go);
    });
  }

  /** Both directions, at once. Safe to repeat. */
  close(): void {
    this.socket.destroy();
  }
}
