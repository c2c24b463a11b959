/**
 * Promise 1: nothing accepted is lost. Each process of the platform in turn gets kill -9 with calls in flight;
 * afterwards every call that was acknowledged has ended in exactly one outcome.
 */
import type { Berth, FunctionCall } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(300_000);

const PROCESSES = [
  'gateway',
  'identity',
  'workspace',
  'functions',
  'scheduler',
  'runner',
  'billing',
  'sync',
  'nats',
  'postgres',
];
const CALLS_BEFORE = 12;
const CALLS_AFTER = 6;
/** Callers that wait for their call's outcome over the kill. */
const INVOKED = 4;

let platform: Platform;
let berth: Berth;
let functionId: string;
let quickId: string;
beforeAll(async () => {
  platform = await new Platform().start('--separate');
  berth = platform.berth();
  const app = await berth.apps.create('kill');
  const slow = await makeFunction(
    berth,
    app.app_id,
    python('import time\ndef run(x):\n    time.sleep(0.2)\n    return x * 2', {
      max_containers: 2,
      scaledown_window: 60,
    }),
  );
  functionId = slow.function_id;
  await berth.call(functionId, { args: [0] });
  const quick = await makeFunction(
    berth,
    app.app_id,
    python('import time\ndef run(x):\n    time.sleep(0.01)\n    return x * 2', {
      max_containers: 2,
      scaledown_window: 60,
    }),
  );
  quickId = quick.function_id;
});
afterAll(() => platform?.close());

const FINAL = ['success', 'failure', 'terminated'];

test.each(PROCESSES)('kill -9 of %s with calls in flight loses none and doubles none', async (name) => {
  const spawn = (x: number) =>
    berth.functions.spawn<number>(functionId, { args: [x] }, { idempotencyKey: `${name}-${x}` });
  const accepted = await Promise.all(Array.from({ length: CALLS_BEFORE }, (_, x) => spawn(x)));

  const invoke = (x: number) =>
    berth.functions.invoke<number>(functionId, { args: [x] }, { idempotencyKey: `${name}-invoked-${x}` });
  const invoked = Promise.all(Array.from({ length: INVOKED }, (_, x) => invoke(x)));

  const { process: victim, restarts } = platform.child(name);
  process.kill(victim!.pid, 'SIGKILL');
  // While it is away: callers retry with their key, as clients do.
  const during = Promise.all(Array.from({ length: CALLS_AFTER }, (_, x) => spawn(CALLS_BEFORE + x)));

  await eventually(() => {
    const child = platform.child(name);
    return (
      child.state === 'up' && child.restarts === restarts + 1 && child.lastExit?.reason.includes('SIGKILL')
    );
  }, 60_000);
  const calls = [...accepted, ...(await during)];

  const finished = await Promise.all(
    calls.map(({ call_id }) =>
      eventually<FunctionCall<number> | false>(async () => {
        const call = await berth.calls.get<number>(call_id);
        return FINAL.includes(call.status) && call;
      }, 90_000),
    ),
  );
  expect(finished.map((call) => call.status)).toEqual(calls.map(() => 'success'));
  expect(finished.map((call) => call.result)).toEqual(calls.map((_, x) => x * 2));
  const waited = await invoked;
  expect(waited.map(({ status, result }) => [status, result])).toEqual(
    waited.map((_, x) => ['success', x * 2]),
  );
  const invokedAgain = await Promise.all(waited.map((_, x) => invoke(x)));
  expect(invokedAgain).toEqual(waited);
  // The same key is still the same call: none was made twice.
  const again = await Promise.all(calls.map((_, x) => spawn(x)));
  expect(again.map((call) => call.call_id)).toEqual(calls.map((call) => call.call_id));
  // And one outcome each: what is final stays as it is.
  const later = await Promise.all(calls.map(({ call_id }) => berth.calls.get(call_id)));
  expect(later.map((call) => call.finished_at)).toEqual(finished.map((call) => call.finished_at));
});

const MAPPED = 500;
const MAPPED_BEFORE = 60;

test.each(['functions', 'nats', 'postgres', 'gateway', 'runner'])(
  'kill -9 of %s in the middle of a map loses no output and gives none twice',
  async (name) => {
    const read: number[] = [];
    const inputs = function* () {
      for (let x = 0; x < MAPPED; x++) yield x;
    };
    const { restarts } = platform.child(name);
    const orderOutputs = name !== 'functions'; // Both orders, each with its own cursor.
    for await (const result of berth.map<number>(quickId, inputs(), { orderOutputs })) {
      read.push(result);
      if (read.length === MAPPED_BEFORE) process.kill(platform.child(name).process!.pid, 'SIGKILL');
    }
    if (!orderOutputs) read.sort((a, b) => a - b);
    expect(read).toEqual(Array.from({ length: MAPPED }, (_, x) => x * 2));
    await eventually(
      () => platform.child(name).state === 'up' && platform.child(name).restarts > restarts,
      60_000,
    );
  },
);
