/** `GET /v1/functions/{function_id}/shell`, as a WebSocket: a program of the caller's in a container of its own. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { OpenShellResponse, ShellFunctionsServiceService } from '@berth/contracts/functions/v1/shell';
import { BerthError, wasAnswered, type Logger } from '@berth/service-kit';
import { WebSocketServer, type WebSocket } from 'ws';
import { credentialOf, type Credential } from '../credentials/credential';
import type { Sessions } from '../credentials/sessions';
import { requestIdOf } from '../forward';
import { publicError, type Peers } from '../peers/peers';
import { HttpProblem } from '../problem';
import { stopping } from '../web/failures';
import { isWebSocket, refusalOn } from '../web/upgrade';
import { readStart, type StartMessage } from './client-messages';
import type { HeldShell, HeldShells } from './held-shell';

export interface ShellDoorOptions {
  /** Where runners dial this gateway. */
  address: string;
  /** A shell in which nothing is said for so long is ended. */
  idleSeconds: number;
}

export interface ShellDoorContext {
  peers: Peers;
  sessions: Sessions;
  shells: HeldShells;
  log: Logger;
}

const PATH = /^\/v1\/functions\/([\w-]{1,64})\/shell(?:\?|$)/;
/** More than a start may be long, and as much as a client may have on its way. */
const MESSAGE_BYTES_MAX = 256 * 1024;
/** What a client gets to say what it wants. */
const START_MS = 10_000;
/** How often it is looked at who holds a shell, and whether anything is said in it. */
const LOOK_MS = 5_000;
/** How long a service that restarts is waited for. */
const PATIENCE_MS = 45_000;
const AGAIN_MS = 500;

export class ShellDoor {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
  });
  #stopping = false;

  constructor(
    private readonly options: ShellDoorOptions,
    private readonly context: ShellDoorContext,
  ) {}

  isFor({ url = '' }: IncomingMessage): boolean {
    return PATH.test(url);
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const requestId = requestIdOf(first(request.headers['x-request-id']));
    socket.on('error', () => socket.destroy());
    void this.#admit(request).then(
      (credential) =>
        this.#server.handleUpgrade(request, socket, head, (accepted) => {
          void this.#serve(accepted, PATH.exec(request.url!)![1]!, credential, requestId);
        }),
      (error: unknown) =>
        refusalOn(request, socket, { sharesOrigin: false, requestId }).fail(this.#shown(error, requestId)),
    );
  }

  /** Takes no more. */
  stop(): void {
    this.#stopping = true;
  }

  /** Ends what is left. */
  cut(): void {
    this.context.shells.failAll(stopping());
  }

  async #admit(request: IncomingMessage): Promise<Credential> {
    if (this.#stopping) throw stopping();
    const { headers } = request;
    const credential = credentialOf(headers.authorization, first(headers['x-api-key']));
    await this.context.sessions.tokenFor(credential);
    if (isWebSocket(request)) return credential;
    throw new HttpProblem('invalid', 'A shell is a WebSocket, version 13.', 426, {
      'sec-websocket-version': '13',
    });
  }

  async #serve(
    socket: WebSocket,
    functionId: string,
    credential: Credential,
    requestId: string,
  ): Promise<void> {
    const text = await firstText(socket);
    if (text === undefined) return socket.close(1002, 'the first message must be a start');
    let start: StartMessage | undefined;
    let invalid: BerthError | undefined;
    try {
      start = readStart(text);
    } catch (error) {
      invalid = error as BerthError;
    }
    const { command = '', terminal, timeout = 0 } = start ?? {};
    const size = terminal && { columns: terminal.columns, rows: terminal.rows };
    const shell = this.context.shells.open(
      socket,
      { command, terminal: size, term: terminal?.term ?? '' },
      requestId,
    );
    if (invalid) return shell.fail(invalid);
    const looks = setInterval(() => void this.#look(shell, credential), LOOK_MS).unref();
    try {
      await this.#follow(shell, functionId, credential, timeout, requestId);
    } catch (error) {
      shell.fail(this.#shown(error, requestId));
    } finally {
      clearInterval(looks);
    }
  }

  /** Asks for the container, and tells the client what becomes of it, until the shell is over. */
  async #follow(
    shell: HeldShell,
    functionId: string,
    credential: Credential,
    timeout: number,
    requestId: string,
  ): Promise<void> {
    const { openShell } = ShellFunctionsServiceService;
    const message = openShell.requestSerialize({
      functionId,
      shellId: shell.id,
      gatewayAddress: this.options.address,
      timeout,
    });
    let ends: NodeJS.Timeout | undefined;
    let lostAt: number | undefined;
    try {
      while (!shell.over.aborted) {
        const stream = await this.context.peers.stream({
          peer: 'functions',
          path: openShell.path,
          message,
          token: () => this.context.sessions.tokenFor(credential),
          requestId,
          idempotencyKey: undefined,
          traceparent: undefined,
          deadline: Infinity,
          patienceMs: PATIENCE_MS,
          signal: undefined,
        });
        const cancel = () => stream.cancel();
        shell.over.addEventListener('abort', cancel, { once: true });
        if (shell.over.aborted) cancel();
        try {
          let saidReason: string | undefined;
          for await (const bytes of stream as AsyncIterable<Buffer>) {
            lostAt = undefined;
            const { reason, ended, error } = OpenShellResponse.decode(bytes);
            if (ended) return this.#ended(shell, error?.message ?? reason);
            if (shell.isTaken) {
              ends ??= setTimeout(() => shell.fail(tooLong(timeout)), timeout * 1000).unref();
            } else if (reason && reason !== saidReason) {
              shell.say({ type: 'waiting', reason });
              saidReason = reason;
            }
          }
        } catch (error) {
          if (shell.over.aborted) return;
          const known = publicError(error, 'functions');
          if (known.kind !== 'unavailable' || Date.now() > (lostAt ??= Date.now()) + PATIENCE_MS) throw known;
          // The container goes on; functions that is back is told that somebody still wants it.
          await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        } finally {
          shell.over.removeEventListener('abort', cancel);
        }
      }
    } finally {
      clearTimeout(ends);
    }
  }

  /** The container has. What it last said may still be on its way, on another line. */
  #ended(shell: HeldShell, why: string | undefined): void {
    if (shell.over.aborted) return;
    shell.fail(new BerthError('precondition', why ?? 'The container of the shell ended.'));
  }

  /** Ends what nobody uses, and what belongs to a credential that opens nothing any more. */
  async #look(shell: HeldShell, credential: Credential): Promise<void> {
    const { idleSeconds } = this.options;
    if (shell.isTaken && Date.now() - shell.activeAt > idleSeconds * 1000)
      return shell.fail(idle(idleSeconds));
    try {
      await this.context.sessions.tokenFor(credential);
    } catch (error) {
      if (error instanceof BerthError && error.kind === 'unauthenticated') shell.fail(error);
    }
  }

  #shown(error: unknown, requestId: string): BerthError {
    if (error instanceof BerthError && error.kind !== 'internal') return error;
    if (!wasAnswered((error as { cause?: object }).cause ?? {})) {
      this.context.log.error({ err: error, requestId }, 'a shell failed');
    }
    return new BerthError(
      'internal',
      'Something went wrong inside Berth. The logs have it under this request id.',
    );
  }
}

const tooLong = (seconds: number) =>
  new BerthError('timeout', `The shell ran longer than its ${seconds} seconds.`);

const idle = (seconds: number) =>
  new BerthError('timeout', `The shell was ended: nothing was said in it for ${seconds} seconds.`);

/** The first message if it is text and comes in time; nothing that follows is lost. */
const firstText = (socket: WebSocket): Promise<string | undefined> =>
  new Promise((resolve) => {
    const done = (text: string | undefined) => {
      clearTimeout(late);
      socket.off('message', hear).off('close', gone);
      resolve(text);
    };
    const late = setTimeout(() => done(undefined), START_MS);
    const gone = () => done(undefined);
    const hear = (data: Buffer, isBinary: boolean) => {
      socket.pause();
      done(isBinary ? undefined : data.toString());
    };
    socket
      .on('message', hear)
      .on('close', gone)
      .on('error', () => undefined);
  });

const first = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value;
