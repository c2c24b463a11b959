/** The event bus does not answer for ten seconds, with its connections open: nothing is lost, and nothing is doubled. */
import type { Berth, FunctionCall } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(240_000);

const CUT_MS = 10_000;
const SPAWNED = 12;
const SPAWNED_DURING = 6;
const INVOKED = 4;
const MAPPED = 300;
const MAPPED_BEFORE = 50;

let platform: Platform;
let berth: Berth;
let functionId: string;
beforeAll(async () => {
  platform = await new Platform().start('--separate');
  berth = platform.berth();
  const app = await berth.apps.create('nats-cut');
  const source = 'import time\ndef run(x, seconds=0.01):\n    time.sleep(seconds)\n    return x * 2';
  const options = { max_containers: 3, scaledown_window: 60 };
  functionId = (await makeFunction(berth, app.app_id, python(source, options))).function_id;
  await berth.call(functionId, { args: [0] });
});
afterAll(() => platform?.close());

test('calls that are in flight while NATS is cut for ten seconds', async () => {
  const { pid } = platform.child('nats').process!;
  const spawn = (x: number) =>
    berth.functions.spawn<number>(functionId, { args: [x, 0.2] }, { idempotencyKey: `spawned-${x}` });
  const invoke = (x: number) =>
    berth.functions.invoke<number>(functionId, { args: [x, 0.2] }, { idempotencyKey: `invoked-${x}` });
  const isCut = Promise.withResolvers<void>();

  const mapped: number[] = [];
  const inputs = Array.from({ length: MAPPED }, (_, x) => x);
  const mapping = (async () => {
    for await (const result of berth.map<number>(functionId, inputs)) {
      mapped.push(result);
      if (mapped.length === MAPPED_BEFORE) {
        process.kill(pid, 'SIGSTOP');
        isCut.resolve();
        setTimeout(() => process.kill(pid, 'SIGCONT'), CUT_MS);
      }
    }
  })();
  await eventually(() => mapped.length > 0);
  const accepted = await Promise.all(Array.from({ length: SPAWNED }, (_, x) => spawn(x)));
  const invoking = Promise.all(Array.from({ length: INVOKED }, (_, x) => invoke(x)));
  await isCut.promise;
  const during = Promise.all(Array.from({ length: SPAWNED_DURING }, (_, x) => spawn(SPAWNED + x)));

  await mapping;
  expect(mapped).toEqual(inputs.map((x) => x * 2));
  const calls = [...accepted, ...(await during)];
  const ended = ({ call_id }: FunctionCall) =>
    eventually(async () => {
      const call = await berth.calls.get<number>(call_id);
      return call.status !== 'pending' && call.status !== 'running' && call;
    }, 60_000);
  const finished = await Promise.all(calls.map(ended));
  expect(finished.map(({ status, result }) => [status, result])).toEqual(
    calls.map((_, x) => ['success', x * 2]),
  );
  const invoked = await invoking;
  expect(invoked.map(({ status, result }) => [status, result])).toEqual(
    invoked.map((_, x) => ['success', x * 2]),
  );
  // A key names the same call as before, and what ended stays as it is.
  expect((await Promise.all(calls.map((_, x) => spawn(x)))).map((call) => call.call_id)).toEqual(
    calls.map((call) => call.call_id),
  );
  expect(await Promise.all(invoked.map((_, x) => invoke(x)))).toEqual(invoked);
  expect(await Promise.all(calls.map(ended))).toEqual(finished);
  expect(platform.child('nats').restarts).toBe(0);
});
