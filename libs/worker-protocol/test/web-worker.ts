/** A real worker of a web endpoint, and requests to it as a runner makes them. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  listenForSessions,
  parseSessionMessage,
  type InputOutcome,
  type Runtime,
  type SessionConnection,
  type SessionRequest,
} from '../src/index';
import { liveWorker, newFolder, newInput, type LiveOptions, type LiveWorker } from './live-worker';

export interface Asked extends Partial<Omit<SessionRequest, 'type'>> {
  body?: (string | Buffer)[];
}

export interface Answered {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** Whether the response was whole. */
  complete: boolean;
  outcome: InputOutcome;
}

export interface OpenRequest {
  inputId: string;
  session: SessionConnection;
  outcome: Promise<InputOutcome>;
}

export interface WebWorker extends LiveWorker {
  /** Hands the worker a request; what follows is the caller's. */
  open(asked?: Asked): Promise<OpenRequest>;
  /** A whole request, to its end. */
  ask(asked?: Asked): Promise<Answered>;
}

export async function webWorker(
  runtime: Runtime,
  web: { kind: string; method?: string; port?: number },
  options: LiveOptions,
): Promise<WebWorker> {
  const folder = await newFolder();
  const path = join(folder, 'web.sock');
  const sessions = await listenForSessions(path);
  const worker = await liveWorker(runtime, {
    ...options,
    slots: options.slots ?? 20,
    env: {
      BERTH_WEB: JSON.stringify({ method: 'GET', port: 0, ...web }),
      BERTH_WEB_SOCKET: path,
      ...options.env,
    },
  });
  const open = async ({ body: _, ...asked }: Asked = {}): Promise<OpenRequest> => {
    const { token, accepted } = sessions.expect();
    const input = { ...newInput(), format: 'web' };
    const payload = Buffer.from(JSON.stringify({ session: token }));
    const outcome = worker.connection.sendInput(input, payload);
    const session = await Promise.race([
      accepted,
      outcome.then((ended) => Promise.reject(new Error(`no session: ${JSON.stringify(ended)}`))),
    ]);
    await session.send({
      type: 'request',
      method: 'GET',
      scheme: 'http',
      authority: 'example.com:8080',
      root_path: '',
      path: '/',
      query: '',
      http_version: '1.1',
      headers: [],
      client_host: '192.0.2.1',
      client_port: 4321,
      upgrade: 'none',
      ...asked,
    });
    return { inputId: input.inputId, session, outcome };
  };
  return {
    ...worker,
    open,
    async ask(asked = {}) {
      const { session, outcome } = await open(asked);
      for (const piece of asked.body ?? []) await session.send({ type: 'body' }, Buffer.from(piece));
      await session.send({ type: 'end' });
      const answered = { status: 0, headers: {} as Record<string, string>, body: '', complete: false };
      for await (const { header, payload } of session.frames()) {
        const message = parseSessionMessage(header);
        if (message.type === 'response') {
          answered.status = message.status;
          for (const [name, value] of message.headers) answered.headers[name.toLowerCase()] = value;
        } else if (message.type === 'body') answered.body += payload.toString();
        else if (message.type === 'end') answered.complete = true;
      }
      session.close();
      return { ...answered, outcome: await outcome };
    },
    async close() {
      await worker.close();
      sessions.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
