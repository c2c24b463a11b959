import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Runtime } from '../src/index';
import { errorOf, liveWorker, valueOf, type LiveWorker } from './live-worker';

/**
 * One module per runtime with the same functions, so that one table says what both do. All cases of a runtime run in
 * one worker, one after the other: what breaks the worker breaks the cases behind it.
 */
const SOURCES: Record<Runtime, Record<string, string>> = {
  python: {
    'main.py': `
import asyncio, json, os, sys, threading, time
from helpers import deep

def pick(name, *args, **kwargs):
    return globals()[name](*args, **kwargs)

def echo(value): return value
def add(a, b=10): return a + b
def nothing(): pass
async def later(value):
    await asyncio.sleep(0.001)
    return value
def circle():
    value = {'a': [1]}
    value['a'].append(value)
    return value
def not_a_number(): return {'x': [1.0, float('nan')]}
def infinite(): return float('-inf')
def unencodable(): return {'ok': 1, 'bad': [{1, 2}]}
def surrogate(): return {'s': 'a\\ud800'}
def deepest():
    value = []
    for _ in range(200000): value = [value]
    return value
def generator():
    yield 1
def big(n): return 'x' * n
def fails(message): raise ValueError(message)
def fails_below(): return deep.fall()
async def fails_later():
    await asyncio.sleep(0)
    raise KeyError('gone')
def chained():
    try:
        fails('first')
    except ValueError as error:
        raise RuntimeError('second') from error
def same_recursion(n): return same_recursion(n + 1)
def endless(): return same_recursion(0)
def unicode(): return 'żółw \\U0001f40d \\u0000'
def keywords(**kwargs): return kwargs
`,
    'helpers/__init__.py': '',
    'helpers/deep.py': `
def fall():
    raise LookupError('too deep')
`,
  },
  node: {
    'main.ts': `
import { fall } from './helpers/deep.ts';
const functions: Record<string, (...args: any[]) => unknown> = {
  echo: (value) => value,
  add: (a: number, b: number = 10) => a + b,
  nothing: () => {},
  later: async (value) => { await new Promise((r) => setTimeout(r, 1)); return value; },
  circle: () => { const value: any = { a: [1] }; value.a.push(value); return value; },
  not_a_number: () => ({ x: [1.0, NaN] }),
  infinite: () => -Infinity,
  unencodable: () => ({ ok: 1, bad: [new Set([1, 2])] }),
  surrogate: () => ({ s: 'a\\ud800' }),
  deepest: () => { let value: any = []; for (let i = 0; i < 200000; i++) value = [value]; return value; },
  generator: function* () { yield 1; },
  big: (n: number) => 'x'.repeat(n),
  fails: (message: string) => { throw new TypeError(message); },
  fails_below: () => fall(),
  fails_later: async () => { await null; throw new RangeError('gone'); },
  chained: () => {
    try { functions.fails!('first'); } catch (error) { throw new Error('second', { cause: error }); }
  },
  endless: () => functions.endless!(),
  unicode: () => 'żółw \\u{1f40d} \\u0000',
  keywords: (kwargs) => kwargs,
  bigint: () => ({ n: [10n] }),
  undefineds: () => ({ a: undefined, b: [undefined] }),
  symbol: () => Symbol('x'),
  map: () => ({ m: new Map([[1, 2]]) }),
  date: () => ({ at: new Date(0) }),
  lost: () => new Promise(() => { setTimeout(() => { throw new EvalError('from a timer'); }, 1); }),
  rejected: async () => { void Promise.reject(new EvalError('nobody waits')); await new Promise((r) => setTimeout(r, 50)); },
  string_thrown: () => { throw 'just text'; },
};
export function pick(name: string, ...args: unknown[]) {
  return functions[name]!(...args);
}
`,
    'helpers/deep.ts': `
export function fall(): never {
  throw new URIError('too deep');
}
`,
  },
};

const FRAMES_MAX = 1024 * 1024;

describe.each<Runtime>(['python', 'node'])('%s', (runtime) => {
  let worker: LiveWorker;
  beforeAll(async () => {
    worker = await liveWorker(runtime, {
      files: SOURCES[runtime],
      handler: 'main:pick',
      listen: { frameBytesMax: FRAMES_MAX },
    });
    expect(worker.started).toMatchObject({ kind: 'ready' });
  });
  afterAll(() => worker.close());
  // Whatever the case did, the same worker still answers.
  afterEach(async () => expect(valueOf(await worker.call(['echo', 'alive']))).toBe('alive'));

  test.each<[string, unknown[], Record<string, unknown>, unknown]>([
    [
      'echo',
      [{ a: [1, 2.5, null, true, 'ü', '\u{1f40d}'] }],
      {},
      { a: [1, 2.5, null, true, 'ü', '\u{1f40d}'] },
    ],
    ['echo', [''], {}, ''],
    ['add', [1, 2], {}, 3],
    ['add', [1], {}, 11],
    ['nothing', [], {}, null],
    ['later', ['x'], {}, 'x'],
    ['unicode', [], {}, 'żółw \u{1f40d} \u0000'],
    ['keywords', [], { a: 1, b: 'two' }, { a: 1, b: 'two' }],
    ['big', [900_000], {}, 'x'.repeat(900_000)],
  ])('%s returns its value', async (name, args, kwargs, value) => {
    expect(valueOf(await worker.call([name, ...args], kwargs))).toEqual(value);
  });

  const own = runtime === 'python' ? 'main.py' : 'main.ts';
  const line = (text: string) =>
    SOURCES[runtime][own]!.split('\n').findIndex((each) => each.includes(text)) + 1;

  test.each<[string, string, RegExp, RegExp?]>([
    ['circle', 'ResultNotSerializable', /^result\["?'?a'?"?\]\[1\] contains itself/],
    ['not_a_number', 'ResultNotSerializable', /^result\[['"]x['"]\]\[1\] is NaN.*JSON cannot carry/i],
    ['infinite', 'ResultNotSerializable', /^result is -inf/i],
    ['unencodable', 'ResultNotSerializable', /^result\[['"]bad['"]\]\[0\] is of type set.*Return a/i],
    ['surrogate', 'ResultNotSerializable', /lone surrogate/],
    ['deepest', 'ResultNotSerializable', /nested too deeply/],
  ])('%s gives a clear failure', async (name, type, message) => {
    const error = errorOf(await worker.call([name]));
    expect(error).toMatchObject({ type, traceback: '' });
    expect(error.message).toMatch(message);
  });

  test('a result larger than a frame is a failure that says so', async () => {
    const error = errorOf(await worker.call(['big', FRAMES_MAX]));
    expect(error.type).toBe('ResultTooLarge');
    expect(error.message).toMatch(/1048578 bytes( of JSON| long); at most \d+ may be returned/);
  });

  test('an exception comes back with its class, message, and the line it was raised in', async () => {
    const error = errorOf(await worker.call(['fails', 'no such luck']));
    expect(error.type).toBe(runtime === 'python' ? 'ValueError' : 'TypeError');
    expect(error.message).toBe('no such luck');
    expect(error.traceback).toContain(
      runtime === 'python' ? `File "main.py", line ${line('def fails(')}` : `main.ts:${line('fails: (')}`,
    );
    expect(error.traceback).toMatch(/raise ValueError\(message\)|throw new TypeError\(message\)/);
    expect(error.traceback).not.toMatch(/berth.worker|node:internal|importlib/);
  });

  test('an exception from deeper in the source shows the whole way', async () => {
    const { traceback } = errorOf(await worker.call(['fails_below']));
    expect(traceback).toMatch(/helpers\/deep\.(py", line 3|ts:3)/);
    expect(traceback).toMatch(/main\.(py|ts)/);
    expect(traceback).toMatch(/(raise LookupError|throw new URIError)\('too deep'\)/);
  });

  test('an exception of async code comes back', async () => {
    const error = errorOf(await worker.call(['fails_later']));
    expect(error.type).toBe(runtime === 'python' ? 'KeyError' : 'RangeError');
    expect(error.traceback).toMatch(/fails_later/);
    expect(error.traceback).not.toMatch(/berth.worker/);
  });

  test('a chain of exceptions is shown', async () => {
    const { message, traceback } = errorOf(await worker.call(['chained']));
    expect(message).toBe('second');
    expect(traceback).toMatch(/first/);
    expect(traceback).toMatch(/second/);
    expect(traceback).not.toMatch(/berth.worker/);
  });

  test('an endless recursion ends as a failure', async () => {
    const error = errorOf(await worker.call(['endless']));
    expect(error.type).toMatch(/RecursionError|RangeError/);
    expect(error.traceback.length).toBeLessThan(20_000);
  });

  test('arguments that are not what the format says are a failure', async () => {
    const send = (format: string, payload: string) =>
      worker.connection.sendInput(
        { inputId: `in-${format}-${payload.length}`, callId: 'fc-1', attempt: 3, format },
        Buffer.from(payload),
      );
    const cbor = errorOf(await send('cbor', '\x80\x04'));
    expect(cbor).toMatchObject({
      type: 'FormatNotSupported',
      message: expect.stringMatching(/^this worker reads arguments as json( or pickle)?, not as cbor$/),
    });
    const pickle = errorOf(await send('pickle', '\x80\x04'));
    expect(pickle.type).toBe(runtime === 'python' ? 'ArgumentsNotReadable' : 'FormatNotSupported');
    for (const payload of ['{', '[1]', '{"args":1}', '{"kwargs":[1]}', '"x"']) {
      expect(errorOf(await send('json', payload)).type).toBe('ArgumentsNotReadable');
    }
    expect(errorOf(await send('json', '['.repeat(300_000))).type).toBe('ArgumentsNotReadable');
  });

  test('10,000 inputs in sequence each get their own answer, and memory stays', async () => {
    const round = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const value = valueOf(await worker.call(['add', i, 1]));
        if (value !== i + 1) throw new Error(`input ${i} answered ${String(value)}`);
      }
    };
    await round(2_000);
    const before = residentBytes(worker.child.pid!);
    await round(10_000);
    expect(residentBytes(worker.child.pid!) - before).toBeLessThan(32 * 1024 * 1024);
    expect(worker.connection.runningCount).toBe(0);
  });
});

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}

describe('node alone', () => {
  let worker: LiveWorker;
  beforeAll(async () => {
    worker = await liveWorker('node', { files: SOURCES.node, handler: 'main:pick' });
  });
  afterAll(() => worker.close());
  afterEach(async () => expect(valueOf(await worker.call(['echo', 'alive']))).toBe('alive'));

  test.each([
    ['bigint', /^result\["n"\]\[0\] is a BigInt/],
    ['symbol', /^result is a symbol/],
    ['map', /^result\["m"\] is of type Map/],
  ])('%s is not serializable', async (name, message) => {
    const error = errorOf(await worker.call([name]));
    expect(error.type).toBe('ResultNotSerializable');
    expect(error.message).toMatch(message);
  });

  test('what JSON.stringify does on purpose stays', async () => {
    expect(valueOf(await worker.call(['undefineds']))).toEqual({ b: [null] });
    expect(valueOf(await worker.call(['date']))).toEqual({ at: '1970-01-01T00:00:00.000Z' });
  });

  test.each([
    ['lost', 'from a timer'],
    ['rejected', 'nobody waits'],
  ])('an error that nobody catches fails the input that runs (%s)', async (name, message) => {
    expect(errorOf(await worker.call([name]))).toMatchObject({ type: 'EvalError', message });
  });

  test('what is thrown need not be an Error', async () => {
    expect(errorOf(await worker.call(['string_thrown']))).toEqual({
      type: 'string',
      message: 'just text',
      traceback: '',
    });
  });
});

describe('python alone', () => {
  let worker: LiveWorker;
  beforeAll(async () => {
    worker = await liveWorker('python', {
      files: {
        'main.py': `
import os, sys, asyncio, threading
class Odd(Exception):
    def __str__(self): raise RuntimeError('no words')
class Thing:
    class Inner:
        @staticmethod
        def add(a, b): return a + b
def pick(name, *args): return globals()[name](*args)
def echo(v): return v
def leaves(code): sys.exit(code)
async def leaves_async(): sys.exit(4)
def interrupted(): raise KeyboardInterrupt()
def odd(): raise Odd()
def huge(): return 10 ** 5000
def big_int(): return 2 ** 80
def keys(): return {(1, 2): 3}
def two(a, b): pass
def closed():
    sys.stdout.close(); sys.stderr.close(); print('still here')
def forked():
    pid = os.fork()
    if pid == 0:
        print('from the child', flush=True)
        return 'child'
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])
def loops():
    return asyncio.run(echo_async(1))
async def echo_async(v): return v
state = {}
async def keeps_loop():
    loop = asyncio.get_running_loop()
    same = state.setdefault('loop', loop) is loop
    return same
def environment(): return dict(os.environ)
def path(): return [sys.path[0], os.getcwd()]
def roundtrip(value, by): return value, by
def lambda_(): return lambda: 1
`,
      },
      handler: 'main:pick',
      env: { USER_OWN: 'x' },
    });
    expect(worker.started).toMatchObject({ kind: 'ready' });
  });
  afterAll(() => worker.close());
  afterEach(async () => expect(valueOf(await worker.call(['echo', 'alive']))).toBe('alive'));

  test.each<[string, unknown[], object]>([
    ['leaves', [3], { type: 'SystemExit', message: 'user code called sys.exit(3)' }],
    ['leaves', ['why'], { type: 'SystemExit', message: "user code called sys.exit('why')" }],
    ['leaves_async', [], { type: 'SystemExit', message: 'user code called sys.exit(4)' }],
    ['interrupted', [], { type: 'KeyboardInterrupt' }],
    ['odd', [], { type: 'Odd', message: "<the exception's __str__ raised RuntimeError>" }],
    ['huge', [], { type: 'ResultNotSerializable', message: expect.stringMatching(/more digits/) }],
    ['keys', [], { type: 'ResultNotSerializable', message: expect.stringMatching(/key of type tuple/) }],
    ['two', [1], { type: 'TypeError', message: expect.stringMatching(/two\(\) missing 1 required .* 'b'/) }],
  ])('%s', async (name, args, error) => {
    expect(errorOf(await worker.call([name, ...args]))).toMatchObject(error);
  });

  test('an integer keeps all its digits', async () => {
    const outcome = await worker.call(['big_int']);
    expect(outcome.kind === 'success' && outcome.payload.toString()).toBe(String(2n ** 80n));
  });

  test('closing standard output does not take it from later inputs', async () => {
    await worker.call(['closed']);
    expect(worker.logs.map(({ bytes }) => bytes.toString())).toContain('still here\n');
  });

  test('a fork that comes back out of user code has no voice in the conversation', async () => {
    expect(valueOf(await worker.call(['forked']))).toBe(1);
    expect(worker.output()).toContain('from the child');
  });

  test('async handlers share one loop, and asyncio.run works beside it', async () => {
    expect(valueOf(await worker.call(['keeps_loop']))).toBe(true);
    expect(valueOf(await worker.call(['loops']))).toBe(1);
    expect(valueOf(await worker.call(['keeps_loop']))).toBe(true);
  });

  test('user code sees its own variables and folder, and not the run token', async () => {
    const environment = valueOf(await worker.call(['environment']));
    expect(environment).toMatchObject({ USER_OWN: 'x' });
    expect(environment).not.toHaveProperty('BERTH_RUN_TOKEN');
    expect(valueOf(await worker.call(['path']))).toEqual([worker.source, worker.source]);
  });

  test('an empty payload is a call without arguments', async () => {
    const outcome = await worker.connection.sendInput(
      { inputId: 'in-empty', callId: 'fc-1', attempt: 1, format: 'json' },
      Buffer.alloc(0),
    );
    expect(errorOf(outcome).message).toMatch(/pick\(\) missing 1 required positional argument: 'name'/);
  });

  test('what comes as a pickle is answered as one', async () => {
    const pickled = (source: string) =>
      execFileSync('python3', [
        '-c',
        `import pickle,sys; sys.stdout.buffer.write(pickle.dumps(${source}, 4))`,
      ]);
    let count = 0;
    const send = (payload: Buffer) =>
      worker.connection.sendInput(
        { inputId: `in-pickle-${++count}`, callId: 'fc-1', attempt: 1, format: 'pickle' },
        payload,
      );
    const outcome = await send(pickled(`(('roundtrip', {1, 2}, 2j), {})`));
    expect(outcome).toMatchObject({ kind: 'success', format: 'pickle' });
    const { payload } = outcome as { payload: Buffer };
    expect(
      execFileSync('python3', ['-c', 'import pickle,sys; print(pickle.load(sys.stdin.buffer))'], {
        input: payload,
      }).toString(),
    ).toBe('({1, 2}, 2j)\n');
    expect(errorOf(await send(pickled(`(('lambda_',), {})`)))).toMatchObject({
      type: 'ResultNotSerializable',
      message: expect.stringContaining('cannot be pickled'),
    });
    for (const wrong of [Buffer.from('no pickle'), pickled('[1]'), pickled(`('x', {})`)]) {
      expect(errorOf(await send(wrong)).type).toBe('ArgumentsNotReadable');
    }
    // And the next as JSON again.
    expect(valueOf(await worker.call(['keeps_loop']))).toBe(true);
  });
});
