/** Handlers that are classes: one object for the container's life. */
import type { InputOutcome, Runtime } from '../src/index';
import { errorOf, json, liveWorker, newInput, until, valueOf, type LiveWorker } from './live-worker';

const workers: LiveWorker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
});

interface Options {
  slots?: number;
  handler?: string;
  parameters?: Record<string, unknown>;
}
async function launch(runtime: Runtime, source: string, options: Options = {}): Promise<LiveWorker> {
  const files = { [runtime === 'python' ? 'main.py' : 'main.mjs']: source };
  const worker = await liveWorker(runtime, { files, handler: 'main:Counter', ...options });
  workers.push(worker);
  return worker;
}
async function start(...given: Parameters<typeof launch>): Promise<LiveWorker> {
  const worker = await launch(...given);
  expect(worker.started.kind).toBe('ready');
  return worker;
}

const payload = (method: string | undefined, args: unknown[]) =>
  Buffer.from(JSON.stringify({ args, kwargs: {}, ...(method ? { method } : {}) }));
const call = (worker: LiveWorker, method?: string, ...args: unknown[]): Promise<InputOutcome> =>
  worker.connection.sendInput(newInput(), payload(method, args));
const textOf = (worker: LiveWorker) => worker.logs.map(({ bytes }) => bytes.toString()).join('');

const MARKED = `
import asyncio
class Counter:
    __berth_class__ = {"enter": ["load", "warm"], "exit": ["save"], "methods": ["add", "later"]}
    start: int = 0
    step: int = 1
    def load(self):
        self.count = self.start
        print('loaded')
    async def warm(self):
        await asyncio.sleep(0)
        print('warm')
    def add(self, n):
        self.count += n * self.step
        return self.count
    async def later(self, n):
        await asyncio.sleep(0.01)
        return self.add(n)
    def secret(self): return 'secret'
    def save(self): print('saved', self.count)
`;
const PLAIN = `
class Counter:
    def __init__(self, start=0, step=1):
        self.count, self.step = start, step
    def __enter__(self): print('loaded'); print('warm')
    def __exit__(self, *error): print('saved', self.count)
    def add(self, n):
        self.count += n * self.step
        return self.count
    async def later(self, n): return self.add(n)
    def _secret(self): return 'secret'
`;
const NODE = `
class Base {
  async later(n) { await null; return this.add(n); }
}
export class Counter extends Base {
  constructor({ start = 0, step = 1 } = {}) { super(); this.count = start; this.step = step; }
  async enter() { await null; console.log('loaded'); console.log('warm'); }
  add(n) { this.count += n * this.step; return this.count; }
  _secret() { return 'secret'; }
  async exit() { await null; console.log('saved', this.count); }
}`;

describe.each<[string, Runtime, string, number]>([
  ['python, marked', 'python', MARKED, 1],
  ['python, marked, several at a time', 'python', MARKED, 4],
  ['python', 'python', PLAIN, 1],
  ['node', 'node', NODE, 1],
  ['node, several at a time', 'node', NODE, 4],
])('%s', (_, runtime, source, slots) => {
  test('is entered once before it is ready, keeps its state, and is exited when it stops', async () => {
    const worker = await start(runtime, source, { slots });
    await until(() => textOf(worker) === 'loaded\nwarm\n');
    expect(valueOf(await call(worker, 'add', 2))).toBe(2);
    expect(valueOf(await call(worker, 'later', 3))).toBe(5);
    expect(await worker.connection.stop(10_000)).toBe(true);
    expect(await worker.exited).toBe(0);
    expect(textOf(worker)).toBe('loaded\nwarm\nsaved 5\n');
  });

  test('is made with its parameters', async () => {
    const worker = await start(runtime, source, { slots, parameters: { start: 10, step: 5 } });
    expect(valueOf(await call(worker, 'add', 2))).toBe(20);
  });

  test.each([
    ['secret', /there is no method "secret"; Counter has: add, later/],
    ['_secret', /there is no method "_secret"/],
    ['__init__', /there is no method "__init__"/],
    ['constructor', /there is no method "constructor"/],
    [undefined, /a call of a class names a method; Counter has: add, later/],
  ])('calls nothing else: %s', async (method, message) => {
    const worker = await start(runtime, source, { slots });
    expect(errorOf(await call(worker, method, 1))).toMatchObject({ type: 'MethodNotFound', traceback: '' });
    expect(errorOf(await call(worker, method, 1)).message).toMatch(message);
    expect(valueOf(await call(worker, 'add', 1))).toBe(1);
  });
});

test.each<[string, Record<string, unknown>, RegExp]>([
  ['an unknown one', { nothing: 1 }, /Counter has no parameter nothing/],
])('parameters that do not fit keep it from becoming ready: %s', async (_, parameters, message) => {
  const worker = await launch('python', MARKED, { parameters });
  expect(worker.started).toMatchObject({ kind: 'init_failed', error: { type: 'TypeError' } });
  expect(worker.started.kind === 'init_failed' && worker.started.error.message).toMatch(message);
});

test('a parameter without a default must be given', async () => {
  const source = 'class Counter:\n  size: int\n  def get(self): return self.size';
  const without = await launch('python', source);
  expect(without.started).toMatchObject({
    kind: 'init_failed',
    error: { message: 'Counter needs the parameter size' },
  });
  const given = await start('python', source, { parameters: { size: 7 } });
  expect(valueOf(await call(given))).toBe(7); // Its only method need not be named.
});

test.each<[Runtime, string]>([
  [
    'python',
    'class Counter:\n  def __enter__(self): raise OSError("no model")\n  def __exit__(self, *e): print("exited")',
  ],
  [
    'node',
    'export class Counter { enter() { throw new RangeError("no model"); } exit() { console.log("exited"); } }',
  ],
])('what its enter hook raises is why it never became ready (%s)', async (runtime, source) => {
  const worker = await launch(runtime, source);
  expect(worker.started).toMatchObject({ kind: 'init_failed', error: { message: 'no model' } });
  await worker.exited;
  expect(textOf(worker)).toBe('');
});

test.each<[Runtime, string]>([
  [
    'python',
    'class Counter:\n  def add(self): return 1\n  def __exit__(self, *e): raise OSError("disk full")',
  ],
  ['node', 'export class Counter { add() { return 1; } exit() { throw new RangeError("disk full"); } }'],
])('what its exit hook raises is printed, and it ends well (%s)', async (runtime, source) => {
  const worker = await start(runtime, source);
  expect(valueOf(await call(worker))).toBe(1);
  await worker.connection.stop(10_000);
  expect(await worker.exited).toBe(0);
  expect(textOf(worker)).toMatch(/disk full/);
});

test.each<[Runtime, string]>([
  ['python', 'def handler(): return 1'],
  ['node', 'export const handler = () => 1;'],
])('a function has no methods (%s)', async (runtime, source) => {
  const worker = await start(runtime, source, { handler: 'main:handler' });
  expect(errorOf(await call(worker, 'add')).type).toBe('MethodNotFound');
  expect(valueOf(await worker.connection.sendInput(newInput(), json()))).toBe(1);
});

test.each<[Runtime, string]>([
  [
    'python',
    'class Counter:\n  def double(self, xs): return [2 * x for x in xs]\n  def name(self, xs): return ["n"] * len(xs)',
  ],
  [
    'node',
    'export class Counter { double(xs) { return xs.map((x) => 2 * x); } name(xs) { return xs.map(() => "n"); } }',
  ],
])('batches are of one method each (%s)', async (runtime, source) => {
  const worker = await start(runtime, source);
  const batch = ['double', 'name', 'double'].map((method, index) => ({
    input: newInput(),
    payload: payload(method, [index]),
  }));
  expect((await Promise.all(worker.connection.sendBatch(batch))).map(valueOf)).toEqual([0, 'n', 4]);
});
