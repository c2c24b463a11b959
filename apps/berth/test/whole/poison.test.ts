/** An input that kills its container each time fails after its retries; whoever runs beside it does not pay for it. */
import type { Berth, FunctionCall } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(240_000);

const SOURCE = `
import os, signal, time
def run(what):
    if what == "exit": os._exit(3)
    if what == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if what == "memory": return len(b"x" * (1 << 30))
    time.sleep(0.1)
    return what`;
const POISONS = { exit: 'container_exited', kill: 'container_exited', memory: 'out_of_memory' };
const INNOCENTS = 16;
const RETRIES = 1;

let platform: Platform;
let berth: Berth;
let appId: string;
beforeAll(async () => {
  platform = await new Platform().start();
  berth = platform.berth();
  appId = (await berth.apps.create('poison')).app_id;
});
afterAll(() => platform?.close());

const ended = (calls: FunctionCall[]) =>
  Promise.all(
    calls.map(({ call_id }) =>
      eventually(async () => {
        const call = await berth.calls.get(call_id);
        return call.status !== 'pending' && call.status !== 'running' && call;
      }, 120_000),
    ),
  );

test.each([1, 4])('with %i inputs in a container', async (max_concurrent_inputs) => {
  const options = { max_concurrent_inputs, max_containers: 2, retries: RETRIES, scaledown_window: 60 };
  const shared = (await makeFunction(berth, appId, python(SOURCE, options))).function_id;
  const other = (await makeFunction(berth, appId, python(SOURCE, options))).function_id;
  const spawn = (functionId: string, what: string) => berth.functions.spawn(functionId, { args: [what] });

  const [poisons, innocents, others] = await Promise.all([
    Promise.all(Object.keys(POISONS).map((what) => spawn(shared, what))),
    Promise.all(Array.from({ length: INNOCENTS }, (_, x) => spawn(shared, `innocent ${x}`))),
    Promise.all(Array.from({ length: INNOCENTS }, (_, x) => spawn(other, `other ${x}`))),
  ]);
  const unharmed = await ended([...innocents, ...others]);
  expect(unharmed.map(({ status }) => status)).toEqual(unharmed.map(() => 'success'));
  const guilty = await ended(poisons);
  expect(guilty.map(({ error }) => error?.type)).toEqual(Object.values(POISONS));
  if (max_concurrent_inputs === 1) {
    expect(guilty.map(({ attempts }) => attempts)).toEqual(guilty.map(() => 1 + RETRIES));
    expect(unharmed.map(({ attempts }) => attempts)).toEqual(unharmed.map(() => 1));
  }
  // It has containers again, and what ended stays as it is.
  expect(await berth.call(shared, { args: ['after'] })).toBe('after');
  expect(await ended([...poisons, ...innocents])).toEqual([...guilty, ...unharmed.slice(0, INNOCENTS)]);
});
