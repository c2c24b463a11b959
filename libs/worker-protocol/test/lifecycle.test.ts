import type { Runtime } from '../src/index';
import {
  errorOf,
  json,
  liveWorker,
  newInput,
  until,
  valueOf,
  type LiveOptions,
  type LiveWorker,
} from './live-worker';

const live: LiveWorker[] = [];
async function start(runtime: Runtime, options: LiveOptions): Promise<LiveWorker> {
  const worker = await liveWorker(runtime, options);
  live.push(worker);
  return worker;
}
afterEach(() => Promise.all(live.splice(0).map((worker) => worker.close())));

const textOf = (worker: LiveWorker, stream: 'stdout' | 'stderr' = 'stdout') =>
  worker.logs.flatMap((chunk) => (chunk.stream === stream ? [chunk.bytes.toString()] : [])).join('');

describe('a start that fails', () => {
  test.each<[string, Runtime, Record<string, string>, string, string, RegExp, RegExp?]>([
    ['no colon', 'python', {}, 'main', 'HandlerNotFound', /must be "module:function"/],
    ['no colon', 'node', {}, 'main', 'HandlerNotFound', /must be "module:function"/],
    ['no module', 'python', { 'app.py': '' }, 'main:f', 'HandlerNotFound', /no main\.py.*it has: app\.py/],
    [
      'no module',
      'node',
      { 'app.ts': '' },
      'main:f',
      'HandlerNotFound',
      /no module main\.ts.*it has: app\.ts/,
    ],
    ['outside the source', 'node', {}, '../../x:f', 'HandlerNotFound', /no module/],
    [
      'no function',
      'python',
      { 'main.py': 'import os\ndef hello(): pass\nclass Thing: pass\n_x = 1' },
      'main:helo',
      'HandlerNotFound',
      /main has no such function; it has: Thing, hello$/,
    ],
    [
      'no function',
      'node',
      { 'main.mjs': 'export const hello = () => 1; export default { other() {} }; export const x = 1;' },
      'main:helo',
      'HandlerNotFound',
      /main\.mjs exports no such function; it has: hello, other$/,
    ],
    ['not callable', 'python', { 'main.py': 'x = 3' }, 'main:x', 'HandlerNotFound', /of type int, which/],
    [
      'not callable',
      'node',
      { 'main.mjs': 'export const x = 3' },
      'main:x',
      'HandlerNotFound',
      /of type number/,
    ],
    [
      'a syntax error',
      'python',
      { 'main.py': 'def fine(): pass\n\ndef broken(:\n  pass\n' },
      'main:fine',
      'SyntaxError',
      /invalid syntax/,
      /File "main\.py", line 3\n\s+def broken\(:\n\s+\^/,
    ],
    [
      'a syntax error',
      'node',
      { 'main.mjs': 'export const x = 1;\nexport function broken( {\n' },
      'main:x',
      'SyntaxError',
      /./,
      /main\.mjs:[23]/,
    ],
    [
      'a syntax error in a module it needs',
      'node',
      { 'main.mjs': "import './below.mjs';\nexport const x = 1;\n", 'below.mjs': '\nconst = 3;\n' },
      'main:x',
      'SyntaxError',
      /./,
      /below\.mjs:2/,
    ],
    [
      'a syntax error',
      'node',
      { 'main.ts': 'export const x: = 1;\n' },
      'main:x',
      'SyntaxError',
      /./,
      /main\.ts:1/,
    ],
    [
      'a missing import',
      'python',
      { 'main.py': 'import no_such_thing\n' },
      'main:f',
      'ModuleNotFoundError',
      /No module named 'no_such_thing'/,
      /File "main\.py", line 1.*\n\s+import no_such_thing/,
    ],
    [
      'a missing import',
      'node',
      { 'main.mjs': "import 'no-such-thing';\n" },
      'main:f',
      'Error',
      /Cannot find package 'no-such-thing'/,
    ],
    [
      'a raise',
      'python',
      { 'main.py': 'raise ValueError("at import")' },
      'main:f',
      'ValueError',
      /at import/,
      /main\.py/,
    ],
    [
      'a throw',
      'node',
      { 'main.mjs': '\nthrow new RangeError("at import")' },
      'main:f',
      'RangeError',
      /at import/,
      /main\.mjs:2/,
    ],
    ['an exit', 'python', { 'main.py': 'import sys\nsys.exit(7)' }, 'main:f', 'SystemExit', /sys\.exit\(7\)/],
    ['an exit', 'node', { 'main.cjs': 'process.exit(7)' }, 'main:f', 'ProcessExit', /process\.exit\(7\)/],
  ])('%s (%s)', async (...row) => {
    // Not as parameters: jest takes one more than a short row has for a callback.
    const [, runtime, files, handler, type, message, traceback] = row;
    const worker = await start(runtime, { files, handler });
    expect(worker.started).toMatchObject({ kind: 'init_failed', error: { type } });
    const { error } = worker.started as { error: { message: string; traceback: string } };
    expect(error.message).toMatch(message);
    if (traceback) expect(error.traceback).toMatch(traceback);
    expect(error.traceback).not.toMatch(/berth.worker|importlib|node:internal/);
    expect(await worker.closedReason()).toBe('worker_left');
    expect(await worker.exited).toBeGreaterThan(0);
  });
});

describe('a handler is found', () => {
  test.each<[Runtime, string, Record<string, string>]>([
    ['python', 'pkg.sub.mod:f', { 'pkg/__init__.py': '', 'pkg/sub/mod.py': 'def f(): return "here"' }],
    [
      'python',
      'main:Thing.make',
      { 'main.py': 'class Thing:\n @classmethod\n def make(cls): return "here"' },
    ],
    ['python', 'main:f', { 'main.py': 'from other import f', 'other.py': 'def f(): return "here"' }],
    ['python', 'main:f', { 'main.py': 'f = lambda: "here"', 'traceback.py': 'raise 1', 'json.py': '1/0' }],
    ['node', 'main:f', { 'main.js': 'exports.f = () => "here"' }],
    ['node', 'main:f', { 'main.js': 'export const f = () => "here"' }],
    ['node', 'main:f', { 'main.cjs': 'module.exports = { f() { return this.x; }, x: "here" }' }],
    ['node', 'main:default', { 'main.mjs': 'export default async () => "here"' }],
    ['node', 'main:f', { 'main.mts': 'export default { f: (): string => "here" }' }],
    ['node', 'main:a.b', { 'main.mjs': 'export const a = { x: "here", b() { return this.x; } }' }],
    ['node', 'lib.deep:f', { 'lib/deep.ts': 'export const f = (): string => "here"' }],
    ['node', 'lib/deep:f', { 'lib/deep/index.mjs': 'export const f = () => "here"' }],
    ['node', 'main.mjs:f', { 'main.mjs': 'export const f = () => "here"', 'main.js': 'throw 1' }],
  ])('%s %s', async (runtime, handler, files) => {
    const worker = await start(runtime, { files, handler });
    expect(worker.started).toMatchObject({ kind: 'ready', initMs: expect.any(Number) });
    expect(valueOf(await worker.call())).toBe('here');
  });
});

describe.each<Runtime>(['python', 'node'])('%s: what user code prints', (runtime) => {
  const files: Record<string, string> =
    runtime === 'python'
      ? {
          'main.py': `
import sys, threading, os, subprocess, logging
print('at import')
def handler(what):
    if what == 'lines':
        print('one'); print('two', 'three', file=sys.stderr); sys.stdout.write('half'); return
    if what == 'flood':
        for i in range(20000): print('line', i)
        return 'done'
    if what == 'long': print('é' * 200000); return
    if what == 'threads':
        threads = [threading.Thread(target=lambda n=n: [print(str(n) * 50) for _ in range(200)]) for n in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]; return
    if what == 'bytes': sys.stdout.buffer.write(b'\\xff\\n'); return
    if what == 'outside': os.write(1, b'by descriptor\\n'); return
    if what == 'later': return 'quiet'
`,
        }
      : {
          'main.mjs': `
import fs from 'node:fs';
console.log('at import');
export function handler(what) {
  if (what === 'lines') { console.log('one'); console.error('two', 'three'); process.stdout.write('half'); return; }
  if (what === 'flood') { for (let i = 0; i < 20000; i++) console.log('line', i); return 'done'; }
  if (what === 'long') { console.log('é'.repeat(200000)); return; }
  if (what === 'threads') {
    return Promise.all(Array.from({ length: 8 }, async (_, n) => {
      for (let i = 0; i < 200; i++) { console.log(String(n).repeat(50)); await null; }
    })).then(() => null);
  }
  if (what === 'bytes') { process.stdout.write(Buffer.from([0xff, 10])); return; }
  if (what === 'outside') { fs.writeSync(1, 'by descriptor\\n'); return; }
  if (what === 'leftover') { setTimeout(() => console.log('from the first'), 20); return; }
  if (what === 'wait') return new Promise((resolve) => setTimeout(resolve, 60));
}
`,
        };

  test('comes line by line with the input it belongs to, before its outcome', async () => {
    const worker = await start(runtime, { files });
    expect(worker.logs).toMatchObject([
      { stream: 'stdout', inputId: null, bytes: Buffer.from('at import\n') },
    ]);
    worker.logs.length = 0;
    const input = newInput();
    await worker.connection.sendInput(input, json(['lines']));
    expect(worker.logs.map(({ stream, inputId, bytes }) => [stream, inputId, bytes.toString()])).toEqual([
      ['stdout', input.inputId, 'one\n'],
      ['stderr', input.inputId, 'two three\n'],
      ['stdout', input.inputId, 'half'],
    ]);
  });

  test('a flood loses nothing, keeps its order, and the result comes after it', async () => {
    const worker = await start(runtime, { files });
    worker.logs.length = 0;
    expect(valueOf(await worker.call(['flood']))).toBe('done');
    expect(textOf(worker)).toBe(Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join(''));
  });

  test('a long line is cut between characters', async () => {
    const worker = await start(runtime, { files });
    worker.logs.length = 0;
    await worker.call(['long']);
    expect(worker.logs.length).toBeGreaterThan(5);
    expect(Math.max(...worker.logs.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(65_536);
    expect(textOf(worker)).toBe('é'.repeat(200_000) + '\n');
  });

  test('lines of concurrent code stay whole', async () => {
    const worker = await start(runtime, { files });
    worker.logs.length = 0;
    await worker.call(['threads']);
    const lines = textOf(worker).split('\n').filter(Boolean);
    expect(lines).toHaveLength(1600);
    expect(lines.every((line) => /^(\d)\1{49}$/.test(line))).toBe(true);
  });

  test('bytes are what they were', async () => {
    const worker = await start(runtime, { files });
    worker.logs.length = 0;
    await worker.call(['bytes']);
    expect(Buffer.concat(worker.logs.map(({ bytes }) => bytes))).toEqual(Buffer.from([0xff, 10]));
  });

  test("what goes to the descriptors is the container's own output", async () => {
    const worker = await start(runtime, { files });
    await worker.call(['outside']);
    await until(() => worker.output().includes('by descriptor\n'));
    expect(textOf(worker)).not.toContain('by descriptor');
  });

  if (runtime === 'node') {
    test('a line that outlives its input keeps its name', async () => {
      const worker = await start(runtime, { files });
      const first = newInput();
      await worker.connection.sendInput(first, json(['leftover']));
      await worker.call(['wait']);
      expect(worker.logs.at(-1)).toMatchObject({ inputId: first.inputId });
      expect(worker.logs.at(-1)!.bytes.toString()).toBe('from the first\n');
    });
  }
});

describe('cancel', () => {
  const python = {
    'main.py': `
import asyncio, time, threading
def handler(what):
    print('running', what)
    if what == 'sleep': time.sleep(60)
    if what == 'spin':
        while True: pass
    if what == 'wait': threading.Event().wait(60)
    if what == 'print':
        while True: print('x' * 10000)
    if what == 'swallow':
        try: time.sleep(60)
        except Exception: return 'not an Exception'
    if what == 'tidy':
        try: time.sleep(60)
        finally: print('tidied')
    if what == 'deny':
        try: time.sleep(60)
        except BaseException: return 'denied'
    if what == 'echo': return what
    if what == 'async': return asleep()
async def asleep():
    try:
        await asyncio.sleep(60)
    finally:
        print('tidied')
`,
  };

  test.each(['sleep', 'spin', 'wait', 'print', 'swallow', 'tidy', 'async'])(
    'ends python in %s',
    async (what) => {
      const worker = await start('python', { files: python });
      const input = newInput();
      const outcome = worker.connection.sendInput(input, json([what]));
      await until(() => worker.logs.length > 0);
      worker.connection.cancel('in-of-somebody-else');
      worker.connection.cancel(input.inputId);
      worker.connection.cancel(input.inputId);
      const error = errorOf(await outcome);
      expect(error).toMatchObject({ type: 'InputCancellation', message: 'the input was cancelled' });
      if (what === 'tidy' || what === 'async') expect(textOf(worker)).toContain('tidied');
      worker.connection.cancel(input.inputId); // It has ended: nothing is sent.
      expect(valueOf(await worker.call(['echo']))).toBe('echo');
    },
  );

  test('an input that does not let itself be cancelled says how it ended', async () => {
    const worker = await start('python', { files: python });
    const input = newInput();
    const outcome = worker.connection.sendInput(input, json(['deny']));
    await until(() => worker.logs.length > 0);
    worker.connection.cancel(input.inputId);
    expect(valueOf(await outcome)).toBe('denied');
  });

  test.each<[Runtime, Record<string, string>]>([
    ['python', python],
    [
      'node',
      {
        'main.mjs': `
export function handler(what) {
  console.log('running', what);
  if (what === 'echo') return what;
  const { signal } = berth.context();
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}`,
      },
    ],
  ])(
    'at any moment, also before an input runs, gives each input one outcome (%s)',
    async (runtime, files) => {
      const worker = await start(runtime, { files });
      for (let i = 0; i < 300; i++) {
        const first = newInput();
        const second = newInput();
        const outcomes = [
          worker.connection.sendInput(first, json(['sleep'])),
          worker.connection.sendInput(second, json([i % 2 ? 'sleep' : 'echo'])),
        ];
        if (i % 3 === 0) await until(() => worker.logs.some(({ inputId }) => inputId === first.inputId));
        if (i % 2) worker.connection.cancel(second.inputId);
        worker.connection.cancel(first.inputId);
        expect(errorOf(await outcomes[0]!).type).toBe('InputCancellation');
        if (i % 2) expect(errorOf(await outcomes[1]!).type).toBe('InputCancellation');
        else expect(valueOf(await outcomes[1]!)).toBe('echo');
      }
      expect(worker.connection.runningCount).toBe(0);
    },
  );

  test('races with inputs that end by themselves are harmless', async () => {
    const worker = await start('python', { files: { 'main.py': 'def handler(n): return sum(range(n))' } });
    const seen = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const input = newInput();
      const outcome = worker.connection.sendInput(input, json([(i % 40) * 200]));
      if (i % 4) await new Promise(setImmediate);
      worker.connection.cancel(input.inputId);
      const { kind } = await outcome;
      seen.add(kind);
      expect(kind).not.toBe('lost');
    }
    expect(seen.size).toBeGreaterThan(0);
    expect(valueOf(await worker.call([3]))).toBe(3);
  });
});

describe.each<Runtime>(['python', 'node'])('%s: the end', (runtime) => {
  const files: Record<string, string> =
    runtime === 'python'
      ? {
          'main.py': `
import time, sys, os, atexit
atexit.register(lambda: print('at exit'))
def handler(what):
    print('running')
    if what == 'nap': time.sleep(0.3); return 'rested'
    if what == 'hang': time.sleep(60)
    if what == 'exit': os._exit(9)
    if what == 'echo': return what
`,
        }
      : {
          'main.mjs': `
export async function handler(what) {
  console.log('running');
  if (what === 'nap') { await new Promise((r) => setTimeout(r, 300)); return 'rested'; }
  if (what === 'hang') await new Promise((r) => setTimeout(r, 60_000));
  if (what === 'exit') process.exit(9);
  if (what === 'exit_flood') { for (let i = 0; i < 50_000; i++) console.log('x'.repeat(100)); process.exit(3); }
  if (what === 'echo') return what;
}`,
        };

  test('a stop when idle ends the process with 0', async () => {
    const worker = await start(runtime, { files });
    expect(await worker.connection.stop(5000)).toBe(true);
    expect(await worker.exited).toBe(0);
    expect(await worker.call(['echo'])).toMatchObject({ kind: 'lost', closed: { reason: 'worker_left' } });
    if (runtime === 'python') expect(textOf(worker)).toContain('at exit');
  });

  test('a stop lets the running input finish, and gives back the one that waits', async () => {
    const worker = await start(runtime, { files });
    const running = worker.call(['nap']);
    const waiting = worker.call(['echo']);
    await until(() => worker.logs.length > 0);
    const left = worker.connection.stop(5000);
    expect(valueOf(await running)).toBe('rested');
    expect(await waiting).toMatchObject({ kind: 'lost' });
    expect(await left).toBe(true);
    expect(await worker.exited).toBe(0);
  });

  test('a worker that does not stop in its grace is dropped, and ends', async () => {
    const worker = await start(runtime, { files });
    const running = worker.call(['hang']);
    await until(() => worker.logs.length > 0);
    expect(await worker.connection.stop(50)).toBe(false);
    expect(await running).toMatchObject({
      kind: 'lost',
      closed: { reason: 'runner_closed', message: 'the worker did not leave within 50 ms' },
    });
    expect(await worker.exited).toBe(1);
  });

  test('SIGTERM is a stop', async () => {
    const worker = await start(runtime, { files });
    const running = worker.call(['nap']);
    await until(() => worker.logs.length > 0);
    worker.child.kill('SIGTERM');
    expect(valueOf(await running)).toBe('rested');
    expect(await worker.exited).toBe(0);

    const idle = await start(runtime, { files });
    idle.child.kill('SIGTERM');
    expect(await idle.exited).toBe(0);
  });

  test('a worker killed in the middle of an input leaves it lost', async () => {
    const worker = await start(runtime, { files });
    const running = worker.call(['hang']);
    await until(() => worker.logs.length > 0);
    worker.child.kill('SIGKILL');
    expect(await running).toMatchObject({ kind: 'lost', closed: { reason: 'worker_left' } });
    expect(await worker.connection.closed).toMatchObject({ reason: 'worker_left' });
    expect(await worker.connection.stop(10)).toBe(true);
  });

  test('a runner that goes away takes the worker with it', async () => {
    const worker = await start(runtime, { files });
    void worker.call(['hang']);
    await until(() => worker.logs.length > 0);
    worker.connection.close();
    expect(await worker.exited).toBe(1);
  });

  test('user code that ends the process is told apart', async () => {
    const worker = await start(runtime, { files });
    const outcome = await worker.call(['exit']);
    if (runtime === 'python') expect(outcome).toMatchObject({ kind: 'lost' });
    else
      expect(errorOf(outcome)).toMatchObject({
        type: 'ProcessExit',
        message: 'user code called process.exit(9)',
      });
    expect(await worker.exited).toBe(9);
  });

  if (runtime === 'node') {
    test('process.exit loses nothing that was printed before', async () => {
      const worker = await start(runtime, { files });
      expect(errorOf(await worker.call(['exit_flood'])).message).toBe('user code called process.exit(3)');
      expect(textOf(worker).length).toBe('running\n'.length + 50_000 * 101);
      expect(await worker.exited).toBe(3);
    });
  }
});
