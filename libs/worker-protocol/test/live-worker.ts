import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  listenForWorker,
  workerCommand,
  workerFolder,
  type InputOutcome,
  type ListenOptions,
  type LogChunk,
  type Runtime,
  type StartOutcome,
  type WorkerConnection,
} from '../src/index';

/** A real worker process on a source of its own, and the connection to it. */
export interface LiveWorker {
  connection: WorkerConnection;
  child: ChildProcess;
  started: StartOutcome;
  /** The folder that holds the source. */
  source: string;
  logs: LogChunk[];
  /** The process's own output: what did not come through the protocol. */
  output: () => string;
  /** The exit code, or the signal that ended it. */
  exited: Promise<number | string>;
  call: (args?: unknown[], kwargs?: Record<string, unknown>) => Promise<InputOutcome>;
  closedReason: () => Promise<string>;
  close: () => Promise<void>;
}

export interface LiveOptions {
  files: Record<string, string>;
  handler?: string;
  /** Replaces the interpreter, for other versions of it. */
  interpreter?: string;
  env?: Record<string, string>;
  listen?: Partial<ListenOptions>;
  slots?: number;
  parameters?: Record<string, unknown>;
}

let inputCount = 0;

/** The payload of a call in format `json`. */
export const json = (args: unknown[] = [], kwargs: Record<string, unknown> = {}) =>
  Buffer.from(JSON.stringify({ args, kwargs }));

export const newInput = () => ({
  inputId: `in-${++inputCount}`,
  callId: `fc-${inputCount}`,
  attempt: 1,
  format: 'json',
});

/** A folder for sockets and sources, short enough for a socket's path. */
export const newFolder = () => mkdtemp(join(tmpdir(), 'bw-'));

export async function liveWorker(runtime: Runtime, options: LiveOptions): Promise<LiveWorker> {
  const folder = await newFolder();
  const source = join(folder, 'source');
  for (const [path, text] of Object.entries({ '.keep': '', ...options.files })) {
    await mkdir(dirname(join(source, path)), { recursive: true });
    await writeFile(join(source, path), text);
  }
  const token = randomBytes(16).toString('hex');
  const logs: LogChunk[] = [];
  const server = await listenForWorker({
    at: { path: join(folder, 'runner.sock') },
    token,
    onLog: (chunk) => logs.push(chunk),
    ...options.listen,
  });
  const [command, ...args] = workerCommand(runtime, workerFolder());
  const child = spawn(options.interpreter ?? (runtime === 'node' ? process.execPath : command!), args, {
    cwd: source,
    env: {
      PATH: process.env.PATH,
      PYTHONDONTWRITEBYTECODE: '1',
      BERTH_SOCKET: server.address,
      BERTH_RUN_TOKEN: token,
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout!.on('data', (chunk) => (output += chunk));
  child.stderr!.on('data', (chunk) => (output += chunk));
  const exited = new Promise<number | string>((resolve) =>
    child.once('exit', (code, signal) => resolve(code ?? signal ?? -1)),
  );
  const connection = await Promise.race([
    server.accepted,
    exited.then((code) => Promise.reject(new Error(`worker exited with ${code}: ${output}`))),
  ]);
  const started = await connection.start(options.handler ?? 'main:handler', source, {
    slots: options.slots ?? 1,
    ...(options.parameters ? { parameters: options.parameters } : {}),
  });
  return {
    connection,
    child,
    started,
    source,
    logs,
    output: () => output,
    exited,
    call: (args, kwargs) => connection.sendInput(newInput(), json(args, kwargs)),
    closedReason: async () => (await connection.closed).reason,
    close: async () => {
      connection.close();
      server.close();
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The value of an outcome that must be a success. */
export function valueOf(outcome: InputOutcome): unknown {
  if (outcome.kind !== 'success') throw new Error(`expected a success: ${JSON.stringify(outcome, null, 1)}`);
  return JSON.parse(outcome.payload.toString());
}

/** The error of an outcome that must be a failure. */
export function errorOf(outcome: InputOutcome) {
  if (outcome.kind !== 'failure') throw new Error(`expected a failure: ${JSON.stringify(outcome)}`);
  return outcome.error;
}

/** Resolves when `condition` holds; it is looked at whenever the event loop comes round. Rejects after 10 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('the condition did not come true within 10 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
