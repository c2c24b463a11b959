/** Generators: what they yield is streamed, as fast as it is recorded and no faster. */
import type { InputOutcome, Runtime } from '../src/index';
import { errorOf, json, liveWorker, newInput, until, valueOf, type LiveWorker } from './live-worker';

const workers: LiveWorker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
});

async function start(runtime: Runtime, source: string, slots: number): Promise<LiveWorker> {
  const files = { [runtime === 'python' ? 'main.py' : 'main.mjs']: source };
  const worker = await liveWorker(runtime, { files, slots });
  workers.push(worker);
  expect(worker.started.kind).toBe('ready');
  return worker;
}

interface Streamed {
  inputId: string;
  items: unknown[];
  outcome: Promise<InputOutcome>;
}

/** Calls it; items count as recorded at once, but where `records` is false. */
function stream(worker: LiveWorker, args: unknown[], records = true): Streamed {
  const input = newInput();
  const items: unknown[] = [];
  const outcome = worker.connection.sendInput(input, json(args), ({ index, format, payload }) => {
    expect({ index, format }).toEqual({ index: items.length, format: 'json' });
    items.push(JSON.parse(payload.toString()));
    if (records) worker.connection.recorded(input.inputId, 1);
  });
  return { inputId: input.inputId, items, outcome };
}

const PYTHON = `
import time
def handler(count, what=None):
    print('begun')
    try:
        for i in range(count):
            if what == 'raise' and i == 2: raise ValueError('third')
            if what == 'sleep' and i == 2:
                for _ in range(6000): time.sleep(0.01)
            yield {1} if what == 'set' and i == 1 else 'x' * 300_000 if what == 'large' else i
    except BaseException as error:
        print('hit by', type(error).__name__)
        raise
    finally:
        print('closed')
`;
const ASYNC = PYTHON.replace('def handler', 'async def handler')
  .replace('import time', 'import asyncio')
  .replaceAll('time.sleep', 'await asyncio.sleep');
const NODE = (async: string) => `
import { setTimeout as sleep } from 'node:timers/promises';
export ${async}function* handler(count, what) {
  console.log('begun');
  try {
    for (let i = 0; i < count; i++) {
      if (what === 'raise' && i === 2) throw new RangeError('third');
      if (what === 'sleep' && i === 2) ${async ? 'await' : 'yield'} sleep(60_000, undefined, { signal: berth.context().signal });
      yield what === 'set' && i === 1 ? 1n : what === 'large' ? 'x'.repeat(300_000) : i;
    }
  } catch (error) {
    console.log('hit by', error.name === 'AbortError' ? 'InputCancellation' : error.name);
    throw error;
  } finally {
    console.log('closed');
  }
}`;

const textOf = (worker: LiveWorker) => worker.logs.map(({ bytes }) => bytes.toString()).join('');
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

describe.each<[string, Runtime, string, number]>([
  ['python', 'python', PYTHON, 1],
  ['python async', 'python', ASYNC, 1],
  ['python threads', 'python', PYTHON, 3],
  ['python tasks', 'python', ASYNC, 3],
  ['node', 'node', NODE(''), 1],
  ['node async', 'node', NODE('async '), 3],
])('%s', (_, runtime, source, slots) => {
  test('every item comes, in order, and then how many there were', async () => {
    const worker = await start(runtime, source, slots);
    const streams = numbers(slots).map((each) => stream(worker, [500 + each]));
    for (const [index, { items, outcome }] of streams.entries()) {
      const ended = await outcome;
      expect(ended).toMatchObject({ kind: 'success', format: 'items' });
      expect(valueOf(ended)).toBe(500 + index);
      expect(items).toEqual(numbers(500 + index));
    }
    const empty = stream(worker, [0]);
    expect(valueOf(await empty.outcome)).toBe(0);
  });

  test('a generator stands still while nothing is recorded, in items and in bytes', async () => {
    const worker = await start(runtime, source, slots);
    const many = stream(worker, [100], false);
    await until(() => many.items.length === 32);
    await new Promise((resolve) => setTimeout(resolve, 200)); // That no more come has no event.
    expect(many.items).toHaveLength(32);
    worker.connection.recorded(many.inputId, 10);
    await until(() => many.items.length === 42);
    for (let left = 90; left > 0; left -= 10) {
      worker.connection.recorded(many.inputId, 10);
      await until(() => many.items.length >= Math.min(100, 132 - left));
    }
    expect(valueOf(await many.outcome)).toBe(100);

    const large = stream(worker, [9, 'large'], false);
    await until(() => large.items.length === 4);
    worker.connection.recorded(large.inputId, 4);
    await until(() => large.items.length === 8);
    worker.connection.recorded(large.inputId, 4);
    expect(valueOf(await large.outcome)).toBe(9);
  });

  test('one that raises fails after the items that it yielded', async () => {
    const worker = await start(runtime, source, slots);
    const raised = stream(worker, [5, 'raise']);
    const error = errorOf(await raised.outcome);
    expect(error).toMatchObject({
      type: runtime === 'python' ? 'ValueError' : 'RangeError',
      message: 'third',
    });
    expect(error.traceback).toMatch(/main\.(py|mjs)/);
    expect(raised.items).toEqual([0, 1]);
    const unfit = stream(worker, [5, 'set']);
    expect(errorOf(await unfit.outcome).type).toBe('ResultNotSerializable');
    expect(unfit.items).toEqual([0]);
    expect(textOf(worker).match(/closed/g)).toHaveLength(2);
    expect(valueOf(await stream(worker, [3]).outcome)).toBe(3);
  });

  test.each(['sleep', 'wait for room'])('a cancel reaches it in its %s', async (what) => {
    const worker = await start(runtime, source, slots);
    const cancelled = stream(worker, [1000, what], what === 'sleep');
    await until(() => cancelled.items.length === (what === 'sleep' ? 2 : 32));
    worker.connection.cancel(cancelled.inputId);
    expect(errorOf(await cancelled.outcome).type).toBe('InputCancellation');
    // A plain generator of Node's is only closed by a promise that it yielded and that failed.
    expect(textOf(worker)).toMatch(/begun\n(hit by (InputCancellation|CancelledError)\n)?closed\n$/);
    expect(valueOf(await stream(worker, [3]).outcome)).toBe(3);
  });
});

test('other inputs run while a generator waits for room', async () => {
  const worker = await start('python', PYTHON, 2);
  const waiting = stream(worker, [100], false);
  await until(() => waiting.items.length === 32);
  expect(valueOf(await stream(worker, [7]).outcome)).toBe(7);
});
