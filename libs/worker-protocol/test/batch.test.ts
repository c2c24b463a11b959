/** Several inputs in one call of the handler. */
import type { InputOutcome, Runtime, WorkerInput } from '../src/index';
import { errorOf, json, liveWorker, newInput, until, valueOf, type LiveWorker } from './live-worker';

const workers: LiveWorker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
});

async function start(runtime: Runtime, source: string, slots = 1): Promise<LiveWorker> {
  const worker = await liveWorker(runtime, {
    files: { [runtime === 'python' ? 'main.py' : 'main.mjs']: source },
    slots,
  });
  workers.push(worker);
  expect(worker.started.kind).toBe('ready');
  return worker;
}

type Call = [args: unknown[], kwargs?: Record<string, unknown>];

const batchOf = (calls: Call[]): { input: WorkerInput; payload: Buffer }[] =>
  calls.map(([args, kwargs]) => ({ input: newInput(), payload: json(args, kwargs) }));

const run = (worker: LiveWorker, calls: Call[]): Promise<InputOutcome[]> =>
  Promise.all(worker.connection.sendBatch(batchOf(calls)));

const PYTHON = `
import time
def handler(xs, scale=None):
    print('batch of', len(xs))
    if xs == ['short']: return []
    if 'short' in xs: return xs[1:]
    if 'text' in xs: return 'text'
    if 'raise' in xs: raise KeyError('somewhere')
    if 'slow' in xs:
        try:
            for _ in range(6000): time.sleep(0.01)
        finally: print('ended')
    if 'wait' in xs: time.sleep(0.5)
    return [x if isinstance(x, str) else
            ValueError('odd: %d' % x) if x % 2 else
            {1} if x == 100 else
            x * (scale[i] if scale else 1) for i, x in enumerate(xs)]
`;
const ASYNC = PYTHON.replace('def handler', 'async def handler')
  .replace('import time', 'import asyncio')
  .replaceAll('time.sleep', 'await asyncio.sleep');
const NODE = `
import { setTimeout as sleep } from 'node:timers/promises';
export async function handler(xs, named) {
  console.log('batch of', xs.length);
  if (xs[0] === 'short' && xs.length === 1) return [];
  if (xs.includes('short')) return xs.slice(1);
  if (xs.includes('text')) return 'text';
  if (xs.includes('raise')) throw new TypeError('somewhere');
  if (xs.includes('slow')) {
    try { await sleep(60_000, undefined, { signal: berth.context().signal }); }
    finally { console.log('ended'); }
  }
  if (xs.includes('wait')) await sleep(500);
  return xs.map((x, i) => typeof x === 'string' ? x : x % 2 ? new RangeError('odd: ' + x) : x === 100 ? 1n : x * (named?.scale[i] ?? 1));
}`;

describe.each<[string, Runtime, string, number]>([
  ['python', 'python', PYTHON, 1],
  ['python threads', 'python', PYTHON, 3],
  ['python tasks', 'python', ASYNC, 3],
  ['python async, one at a time', 'python', ASYNC, 1],
  ['node', 'node', NODE, 1],
  ['node, several at a time', 'node', NODE, 3],
])('%s', (_, runtime, source, slots) => {
  test('each argument is a list, and each input has its own part of the result', async () => {
    const worker = await start(runtime, source, slots);
    expect((await run(worker, [[[2]], [[4]], [[6]]])).map(valueOf)).toEqual([2, 4, 6]);
    expect((await run(worker, [[[8]]])).map(valueOf)).toEqual([8]);
    const scaled = await run(worker, [
      [[2], { scale: 10 }],
      [[4], { scale: 100 }],
    ]);
    expect(scaled.map(valueOf)).toEqual([20, 400]);
  });

  test('inputs that give other arguments are a batch of their own', async () => {
    const worker = await start(runtime, source, slots);
    const outcomes = await run(worker, [[[2]], [[4], { scale: 10 }], [[6]]]);
    expect(outcomes.map(valueOf)).toEqual([2, 40, 6]);
    const printed = worker.logs.map(({ bytes }) => bytes.toString()).sort();
    expect(printed).toEqual(['batch of 1\n', 'batch of 2\n']);
  });

  test('an element that is an exception, or cannot be JSON, fails alone', async () => {
    const worker = await start(runtime, source, slots);
    const [two, odd, bad] = await run(worker, [[[2]], [[3]], [[100]]]);
    expect(valueOf(two!)).toBe(2);
    expect(errorOf(odd!)).toMatchObject({
      type: runtime === 'python' ? 'ValueError' : 'RangeError',
      message: 'odd: 3',
    });
    expect(errorOf(bad!).type).toBe('ResultNotSerializable');
  });

  test('arguments that cannot be read fail alone', async () => {
    const worker = await start(runtime, source, slots);
    const batch = batchOf([[[2]], [[4]]]);
    batch[0]!.payload = Buffer.from('{"args": 7}');
    const [bad, fine] = await Promise.all(worker.connection.sendBatch(batch));
    expect(errorOf(bad!).type).toBe('ArgumentsNotReadable');
    expect(valueOf(fine!)).toBe(4);
  });

  test('a result of another length fails all, and says what is wanted', async () => {
    const worker = await start(runtime, source, slots);
    const list = runtime === 'python' ? 'a list' : 'an array';
    for (const outcome of await run(worker, [[['short']], [[2]]])) {
      expect(errorOf(outcome)).toMatchObject({
        type: 'BatchResultInvalid',
        message: `a batch of 2 inputs needs ${list} of 2 results; the function returned ${list} of 1`,
      });
      expect(outcome).not.toHaveProperty('ofBatch');
    }
    for (const outcome of await run(worker, [[['text']], [[2]]])) {
      expect(errorOf(outcome).message).toMatch(/returned something of type str/);
    }
  });

  test('what the handler raises says that it was for all', async () => {
    const worker = await start(runtime, source, slots);
    const outcomes = await run(worker, [[['raise']], [[2]]]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ kind: 'failure', ofBatch: 2 });
    const [alone] = await run(worker, [[['raise']]]);
    expect(errorOf(alone!).type).toBe(runtime === 'python' ? 'KeyError' : 'TypeError');
    expect(alone).not.toHaveProperty('ofBatch');
  });

  test('an input that is cancelled leaves its batch, and the last one ends user code', async () => {
    const worker = await start(runtime, source, slots);
    const batch = batchOf([[['wait']], [[2]], [[4]]]);
    const [first, second, third] = worker.connection.sendBatch(batch);
    await until(() => worker.logs.length > 0);
    worker.connection.cancel(batch[1]!.input.inputId);
    expect(errorOf(await second!).type).toBe('InputCancellation');
    expect(valueOf(await first!)).toBe('wait');
    expect(valueOf(await third!)).toBe(4);

    const slow = batchOf([[['slow']], [[2]]]);
    const outcomes = worker.connection.sendBatch(slow);
    await until(() => worker.logs.length > 1);
    for (const { input } of slow) worker.connection.cancel(input.inputId);
    for (const outcome of outcomes) expect(errorOf(await outcome).type).toBe('InputCancellation');
    expect(worker.logs.map(({ bytes }) => bytes.toString())).toContain('ended\n');
    expect((await run(worker, [[[2]]])).map(valueOf)).toEqual([2]);
  });
});
