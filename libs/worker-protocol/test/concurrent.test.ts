/** Several inputs at a time in one worker. */
import { errorOf, json, liveWorker, newInput, until, valueOf, type LiveWorker } from './live-worker';
import type { Runtime } from '../src/index';

const workers: LiveWorker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
});

async function start(runtime: Runtime, source: string, slots: number, handler?: string): Promise<LiveWorker> {
  const files = { [runtime === 'python' ? 'main.py' : 'main.mjs']: source };
  const worker = await liveWorker(runtime, { files, slots, ...(handler ? { handler } : {}) });
  workers.push(worker);
  expect(worker.started.kind).toBe('ready');
  return worker;
}
const textOf = (worker: LiveWorker, inputId: string) =>
  worker.logs
    .filter((log) => log.inputId === inputId)
    .map(({ bytes }) => bytes.toString())
    .join('');

/** Each input waits for all others to have begun: it ends only if they all run at a time. */
const MEETING: [string, Runtime, string][] = [
  [
    'python threads',
    'python',
    `
import threading
meeting = threading.Barrier(20)
def handler(name):
    print('hello', name)
    print('partly ', end='')
    meeting.wait(20)
    print(name)
    return name`,
  ],
  [
    'python tasks',
    'python',
    `
import asyncio
here, all_here = [], asyncio.Event()
async def handler(name):
    print('hello', name)
    print('partly ', end='')
    here.append(name)
    if len(here) == 20: all_here.set()
    await all_here.wait()
    await asyncio.create_task(later(name))
    return name
async def later(name):
    print(name)`,
  ],
  [
    'python, a plain function that gives an awaitable',
    'python',
    `
import asyncio, functools
here, all_here = [], asyncio.Event()
async def meet(name):
    print('hello', name)
    print('partly ', end='')
    here.append(name)
    if len(here) == 20: all_here.set()
    await all_here.wait()
    print(name)
    return name
def handler(name): return meet(name)`,
  ],
  [
    'node',
    'node',
    `
let count = 0;
const { promise, resolve } = Promise.withResolvers();
export async function handler(name) {
  console.log('hello', name);
  process.stdout.write('partly ');
  if (++count === 20) resolve();
  await promise;
  console.log(name);
  return name;
}`,
  ],
];

test.each(MEETING)('%s: all run at once, and what they print stays theirs', async (_, runtime, source) => {
  const worker = await start(runtime, source, 20);
  const inputs = Array.from({ length: 20 }, (_each, index) => ({ input: newInput(), name: `n${index}` }));
  const outcomes = await Promise.all(
    inputs.map(({ input, name }) => worker.connection.sendInput(input, json([name]))),
  );
  expect(outcomes.map(valueOf)).toEqual(inputs.map(({ name }) => name));
  for (const { input, name } of inputs) {
    expect(textOf(worker, input.inputId)).toBe(`hello ${name}\npartly ${name}\n`);
  }
});

const CANCEL: [string, Runtime, string][] = [
  [
    'a python thread',
    'python',
    `
import time
def handler(name):
    print('begun')
    if name == 'quick': return 'quick'
    try:
        for _ in range(6000): time.sleep(0.01)
    except BaseException as error:
        print('cleaning up after', type(error).__name__)
        time.sleep(0.3)  # A further cancel must not strike here.
        print('cleaned up')
        raise`,
  ],
  [
    'a python thread that prints all the time',
    'python',
    `
import time
def handler(name):
    print('begun')
    if name == 'quick': return 'quick'
    try:
        while True: print('x' * 3000)
    finally:
        print('cleaning up after InputCancellation')
        print('cleaned up')`,
  ],
  [
    'a python task',
    'python',
    `
import asyncio
async def handler(name):
    print('begun')
    if name == 'quick': return 'quick'
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print('cleaning up after InputCancellation')
        await asyncio.sleep(0.3)
        print('cleaned up')
        raise`,
  ],
  [
    'node by its signal',
    'node',
    `
import { setTimeout as sleep } from 'node:timers/promises';
export async function handler(name) {
  console.log('begun');
  if (name === 'quick') return 'quick';
  try {
    await sleep(60_000, undefined, { signal: berth.context().signal });
  } finally {
    console.log('cleaning up after', berth.context().signal.reason.name);
    await sleep(100);
    console.log('cleaned up');
  }
}`,
  ],
];

test.each(CANCEL)('a cancel ends one input and no other: %s', async (_, runtime, source) => {
  const worker = await start(runtime, source, 3);
  const [one, other] = [newInput(), newInput()];
  const outcome = worker.connection.sendInput(one, json(['slow']));
  const still = worker.connection.sendInput(other, json(['slow']));
  await until(() => [one, other].every(({ inputId }) => textOf(worker, inputId).includes('begun\n')));
  worker.connection.cancel(one.inputId);
  expect(valueOf(await worker.call(['quick']))).toBe('quick');
  expect(errorOf(await outcome)).toMatchObject({
    type: 'InputCancellation',
    message: 'the input was cancelled',
  });
  expect(textOf(worker, one.inputId)).toMatch(/cleaning up after InputCancellation\ncleaned up\n$/);
  expect(textOf(worker, other.inputId)).not.toContain('cleaned up');
  worker.connection.cancel(other.inputId);
  expect(errorOf(await still).type).toBe('InputCancellation');
  expect(valueOf(await worker.call(['quick']))).toBe('quick');
});

test.each<[string, string]>([
  ['threads', 'def handler(n): return sum(range(n))'],
  ['tasks', 'import asyncio\nasync def handler(n):\n  await asyncio.sleep(0)\n  return sum(range(n))'],
])('cancels that race with the end of their input tear nothing: %s', async (_, source) => {
  const worker = await start('python', source, 8);
  const seen = new Set<string>();
  const race = async (round: number) => {
    for (let i = 0; i < 150; i++) {
      const input = newInput();
      const outcome = worker.connection.sendInput(input, json([((i + round) % 40) * 200]));
      if (i % 4) await new Promise(setImmediate);
      worker.connection.cancel(input.inputId);
      const { kind } = await outcome;
      seen.add(kind);
      expect(kind).not.toBe('lost');
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_each, round) => race(round)));
  expect(seen.size).toBeGreaterThan(0);
  expect(valueOf(await worker.call([3]))).toBe(3);
});

test.each<[string, Runtime, string]>([
  [
    'python threads',
    'python',
    'import sys\ndef handler(what):\n  if what == "exit": sys.exit(3)\n  return what',
  ],
  [
    'python tasks',
    'python',
    'import sys, asyncio\nasync def handler(what):\n  await asyncio.sleep(0)\n  if what == "exit": sys.exit(3)\n  return what',
  ],
])('sys.exit fails its own input: %s', async (_, runtime, source) => {
  const worker = await start(runtime, source, 4);
  const [exited, fine] = await Promise.all([worker.call(['exit']), worker.call(['fine'])]);
  expect(errorOf(exited!)).toMatchObject({ type: 'SystemExit', message: 'user code called sys.exit(3)' });
  expect(valueOf(fine!)).toBe('fine');
});

test('an exception in a thread has the lines of the user and no others', async () => {
  const worker = await start(
    'python',
    'def handler():\n  return boom()\ndef boom():\n  raise ValueError("no")',
    4,
  );
  const { traceback } = errorOf(await worker.call());
  expect(traceback).toMatch(/main\.py", line 4, in boom/);
  expect(traceback).not.toMatch(/berth_worker/);
});

test.each<[string, Runtime, string]>([
  ['python threads', 'python', 'import time\ndef handler(s):\n  time.sleep(s)\n  return s'],
  ['python tasks', 'python', 'import asyncio\nasync def handler(s):\n  await asyncio.sleep(s)\n  return s'],
  [
    'node',
    'node',
    'export const handler = (s) => new Promise((resolve) => setTimeout(resolve, 1000 * s, s));',
  ],
])('a stop lets what runs finish, and then ends: %s', async (_, runtime, source) => {
  const worker = await start(runtime, source, 4);
  const outcomes = [0.2, 0.4].map((seconds) => worker.call([seconds]));
  expect(await worker.connection.stop(10_000)).toBe(true);
  expect((await Promise.all(outcomes)).map(valueOf)).toEqual([0.2, 0.4]);
  expect(await worker.exited).toBe(0);
});

test('a node function of one input at a time keeps the next one waiting', async () => {
  const source = `let running = 0;
export async function handler() {
  const before = running++;
  await new Promise((resolve) => setTimeout(resolve, 20));
  running--;
  return before;
}`;
  const worker = await start('node', source, 1);
  expect((await Promise.all([worker.call(), worker.call(), worker.call()])).map(valueOf)).toEqual([0, 0, 0]);
});
