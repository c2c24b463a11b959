import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  encodeFrame,
  listenForWorker,
  workerCommand,
  workerFiles,
  workerFolder,
  type Endpoint,
  type ListenOptions,
  type LogChunk,
  type WorkerConnection,
  type WorkerServer,
} from '../src/index';
import { json, liveWorker, newFolder, newInput, until, valueOf } from './live-worker';

const token = 'the-token-of-this-run';
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(options: Partial<ListenOptions> = {}) {
  const folder = await newFolder();
  const rejected: string[] = [];
  const logs: LogChunk[] = [];
  const server = await listenForWorker({
    at: { path: join(folder, 's') },
    token,
    onRejected: (reason) => rejected.push(reason),
    onLog: (chunk) => logs.push(chunk),
    ...options,
  });
  cleanups.push(
    () => rm(folder, { recursive: true, force: true }),
    () => server.close(),
  );
  return { server, rejected, logs };
}

/** A connection that says what it is told to, and how it ended. */
async function dial(server: WorkerServer) {
  const tcp = /^tcp:\/\/(.*):(\d+)$/.exec(server.address);
  const at: Endpoint = tcp ? { host: tcp[1]!, port: Number(tcp[2]) } : { path: server.address };
  const socket: Socket = connect(at as { path: string });
  socket.on('error', () => {});
  const closed = new Promise<true>((resolve) => socket.once('close', () => resolve(true)));
  socket.resume();
  cleanups.push(() => socket.destroy());
  await Promise.race([new Promise((resolve) => socket.once('connect', resolve)), closed]);
  const say = (header: unknown, payload?: Buffer) =>
    socket.write(encodeFrame(typeof header === 'string' ? header : JSON.stringify(header), payload));
  return { socket, closed, say };
}

const hello = { type: 'hello', token, runtime: 'python', version: '3.11.2', pid: 7 };

async function accepted(options: Partial<ListenOptions> = {}) {
  const listening = await listen(options);
  const worker = await dial(listening.server);
  worker.say(hello);
  const connection: WorkerConnection = await listening.server.accepted;
  return { ...listening, ...worker, connection };
}

test('a wrong hello is refused, and the right one after it becomes the worker', async () => {
  const { server, rejected } = await listen();
  const wrong: unknown[] = [
    { ...hello, token: 'the-token-of-another' },
    { ...hello, token: '' },
    { ...hello, runtime: 'perl' },
    { type: 'ready', init_ms: 1 },
    { type: 'success', input_id: 'in-1', attempt: 1, format: 'json', run_us: 1 },
    'garbage',
    '"hello"',
  ];
  for (const first of wrong) {
    const { closed, say } = await dial(server);
    say(first);
    expect(await closed).toBe(true);
  }
  expect(rejected).toHaveLength(wrong.length);
  expect(rejected[0]).toBe('wrong run token');
  expect(rejected.join()).not.toContain('the-token-of');

  const { say } = await dial(server);
  say(hello);
  expect(await server.accepted).toMatchObject({ runtime: 'python', version: '3.11.2', pid: 7 });
});

test('before the hello, no large frame is gathered', async () => {
  const { server, rejected } = await listen();
  const { socket, closed } = await dial(server);
  socket.write(Buffer.from([0, 1, 0, 0, 0, 0, 0, 2]));
  expect(await closed).toBe(true);
  expect(rejected).toEqual(['a frame claims 65536 bytes; at most 4096 are taken']);
});

test('who says nothing is dropped after a while, and nobody can crowd the worker out for long', async () => {
  const { server, rejected } = await listen({ helloMs: 100 });
  const silent = await Promise.all(Array.from({ length: 12 }, () => dial(server)));
  await Promise.all(silent.map(({ closed }) => closed));
  expect(rejected.filter((reason) => reason.startsWith('no hello within 100 ms'))).toHaveLength(8);
  expect(rejected.filter((reason) => reason.startsWith('too many connections'))).toHaveLength(4);
  const { say } = await dial(server);
  say(hello);
  await server.accepted;
});

test('exactly one worker is accepted: then the door is closed and its file gone', async () => {
  const { server } = await accepted();
  await until(() => !server.isListening);
  const second = await dial(server);
  expect(await second.closed).toBe(true);
  await expect(stat(server.address)).rejects.toThrow(/ENOENT/);
});

test('a listener that is closed says so to who waits', async () => {
  const { server } = await listen();
  const dialled = await dial(server);
  server.close();
  await expect(server.accepted).rejects.toThrow('closed before a worker said hello');
  expect(await dialled.closed).toBe(true);
  server.close();
});

test('a path too long for a socket is refused with what to do', async () => {
  await expect(listenForWorker({ at: { path: `/tmp/${'x'.repeat(120)}` }, token })).rejects.toThrow(
    /longer than 107 bytes: choose a shorter data folder/,
  );
});

describe('a worker that breaks the protocol is dropped, and its inputs are lost', () => {
  const success = { type: 'success', input_id: 'in-9', attempt: 1, format: 'json', run_us: 1 };
  test.each<[string, (dialled: Awaited<ReturnType<typeof dial>>) => void, RegExp]>([
    ['a second hello', ({ say }) => say(hello), /second hello/],
    ['garbage', ({ socket }) => socket.write('GET / HTTP/1.1\r\n\r\n'), /a frame claims \d+ bytes/],
    ['a header that is not JSON', ({ say }) => say('{'), /not JSON/],
    ['an unknown type', ({ say }) => say({ type: 'start' }), /no known "type"/],
    ['an input it never had', ({ say }) => say({ ...success, input_id: 'in-x' }), /in-x.*does not run/],
    ['another attempt', ({ say }) => say({ ...success, attempt: 2 }), /attempt 2.*does not run/],
    ['a second ready', ({ say }) => say({ type: 'ready', init_ms: 1 }), /ready without a start/],
    ['an oversized frame', ({ say }) => say({ ...success }, Buffer.alloc(70_000)), /at most 65536 are taken/],
    [
      'a second outcome',
      ({ say }) => {
        say({ ...success, input_id: 'in-8' });
        say({ ...success, input_id: 'in-8' });
      },
      /in-8.*does not run/,
    ],
  ])('%s', async (_, misbehave, message) => {
    const worker = await accepted({ frameBytesMax: 65_536 });
    const started = worker.connection.start('main:f', '/berth/source');
    worker.say({ type: 'ready', init_ms: 3 });
    expect(await started).toEqual({ kind: 'ready', initMs: 3 });
    const input = (inputId: string) => ({ inputId, callId: 'fc-1', attempt: 1, format: 'json' });
    const running = worker.connection.sendInput(input('in-9'), json());
    void worker.connection.sendInput(input('in-8'), json());

    misbehave(worker);
    expect(await running).toMatchObject({ kind: 'lost', closed: { reason: 'protocol_error' } });
    expect((await worker.connection.closed).message).toMatch(message);
    expect(await worker.closed).toBe(true);
  });

  test('ready before start', async () => {
    const { connection, say } = await accepted();
    say({ type: 'ready', init_ms: 1 });
    expect(await connection.closed).toMatchObject({ reason: 'protocol_error' });
    expect(await connection.start('main:f', '/x')).toMatchObject({ kind: 'lost' });
  });
});

test('a log names only inputs that the worker has or had', async () => {
  const { connection, say, logs } = await accepted();
  const started = connection.start('main:f', '/berth/source');
  say({ type: 'ready', init_ms: 3 });
  await started;
  const input = newInput();
  const running = connection.sendInput(input, json());
  say({ type: 'log', stream: 'stdout', input_id: input.inputId }, Buffer.from('a'));
  say({ type: 'log', stream: 'stdout', input_id: 'in-of-somebody-else' }, Buffer.from('b'));
  say({ type: 'success', input_id: input.inputId, attempt: 1, format: 'json', run_us: 1 }, Buffer.from('1'));
  say({ type: 'log', stream: 'stderr', input_id: input.inputId }, Buffer.from('c'));
  await running;
  await until(() => logs.length === 3);
  expect(logs.map(({ stream, inputId, bytes }) => [stream, inputId, bytes.toString()])).toEqual([
    ['stdout', input.inputId, 'a'],
    ['stdout', null, 'b'],
    ['stderr', input.inputId, 'c'],
  ]);
});

test('misuse by the runner is a thrown error', async () => {
  const { connection, say } = await accepted({ frameBytesMax: 1000 });
  expect(() => connection.sendInput(newInput(), json())).toThrow('the worker is not ready');
  const started = connection.start('main:f', '/berth/source');
  expect(() => connection.start('main:f', '/berth/source')).toThrow('a worker starts once');
  say({ type: 'ready', init_ms: 3 });
  await started;
  const input = newInput();
  void connection.sendInput(input, json());
  expect(() => connection.sendInput(input, json())).toThrow(/is running in this worker already/);
  expect(() => connection.sendInput(newInput(), Buffer.alloc(2000))).toThrow(RangeError);
  expect(connection.runningCount).toBe(1);
});

test.each(['python', 'node'] as const)('the %s worker speaks TCP too', async (runtime) => {
  const files = {
    'main.py': 'def handler(n): return n + 1',
    'main.mjs': 'export const handler = (n) => n + 1',
  };
  const worker = await liveWorker(runtime, { files, listen: { at: { host: '127.0.0.1', port: 0 } } });
  cleanups.push(worker.close);
  expect(worker.connection.runtime).toBe(runtime);
  expect(valueOf(await worker.call([1]))).toBe(2);
});

test('the worker files are found beside a bundle, else in the sources', async () => {
  const root = await newFolder();
  cleanups.push(() => rm(root, { recursive: true, force: true }));
  const [sources, built] = [join(root, 'libs/worker-protocol/worker'), join(root, 'dist/worker')];
  const bundle = join(root, 'dist/runner');
  const put = async (folder: string) => {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'berth_worker.py'), '');
  };
  await mkdir(bundle, { recursive: true });
  await mkdir(built); // A folder of that name without the files is not it.
  expect(() => workerFolder(bundle)).toThrow(/run the build/);
  await put(sources);
  expect(workerFolder(bundle)).toBe(sources);
  await put(built);
  expect(workerFolder(bundle)).toBe(built);
  expect(workerFolder(join(root, 'libs/worker-protocol/src'))).toBe(sources);
});

test('the files that are found are there, and commands name them as a container sees them', async () => {
  const files = workerFiles();
  for (const runtime of ['python', 'node'] as const) {
    expect((await stat(files[runtime])).isFile()).toBe(true);
    expect(workerCommand(runtime, workerFolder())).toContain(files[runtime]);
  }
  expect(workerCommand('python')).toEqual(['python3', '/berth/worker/berth_worker.py']);
});
