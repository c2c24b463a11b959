/** Several inputs at a time in one container, and what becomes of them when one of them means harm. */
import { Runtime } from '@berth/contracts/functions/v1/functions';
import { eventually } from '@berth/testing';
import { FAILED, Rig, STOPPED } from './rig';
import { errorOf, resultOf } from './stand-ins';

jest.setTimeout(60_000);

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.open();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

const NODE = Runtime.RUNTIME_NODE;

test('the example: one container runs twenty inputs at a time', async () => {
  const made = rig.example('concurrency', { handler: 'titles:fetch_title', slots: 20 });
  const containerId = await rig.container(made);
  const inputs = await Promise.all(Array.from({ length: 20 }, () => made.call(['the go-between', 1])));
  const outcomes = await Promise.all(inputs.map(({ inputId }) => rig.functions.outcomeOf(inputId)));
  expect(new Set(outcomes.map(resultOf))).toEqual(new Set(['The Go-Between']));
  const begins = outcomes.map(({ startedAt }) => startedAt!.getTime());
  const ends = outcomes.map(({ finishedAt }) => finishedAt!.getTime());
  expect(Math.max(...begins)).toBeLessThan(Math.min(...ends));

  const [cancelled, kept] = [await made.call(['one', 60]), await made.call(['two', 2])];
  await eventually(() => rig.functions.started.find(({ inputId }) => inputId === cancelled.inputId));
  rig.functions.cancel(cancelled.inputId);
  expect(errorOf(await rig.functions.outcomeOf(cancelled.inputId))).toMatchObject({ type: 'cancelled' });
  expect(await rig.printed(cancelled.callId, 1)).toEqual(['gave up on one']);
  expect(resultOf(await rig.functions.outcomeOf(kept.inputId))).toBe('Two');
  await rig.end(containerId);
});

test('the example: plain functions have threads', async () => {
  const made = rig.example('concurrency', { handler: 'titles:count_words', slots: 4 });
  const containerId = await rig.container(made);
  const inputs = await Promise.all(['one', 'one two', ''].map((text) => made.call([text])));
  const outcomes = await Promise.all(inputs.map(({ inputId }) => rig.functions.outcomeOf(inputId)));
  expect(outcomes.map(resultOf)).toEqual([1, 2, 0]);
  await rig.end(containerId);
});

test('the example: node hears of a cancel by its signal', async () => {
  const made = rig.example('concurrency', { handler: 'watch:watch', slots: 20, runtime: NODE });
  const containerId = await rig.container(made);
  const [one, other] = [await made.call(['the sea']), await made.call(['the sky', 1])];
  await eventually(() => rig.functions.started.find(({ inputId }) => inputId === one.inputId));
  rig.functions.cancel(one.inputId);
  expect(errorOf(await rig.functions.outcomeOf(one.inputId))).toMatchObject({ type: 'cancelled' });
  expect(await rig.printed(one.callId, 1)).toEqual([`stopped watching the sea in ${one.callId}`]);
  expect(resultOf(await rig.functions.outcomeOf(other.inputId))).toBe('the sky: nothing happened');
  await rig.end(containerId);
});

test('what does not end when it is told to has its container replaced, and the others run again once', async () => {
  const source = `
import time
def handler(what):
    print('begun')
    if what == 'deaf': time.sleep(600)
    for _ in range(70): time.sleep(0.1)
    return what`;
  const made = rig.make(source, { slots: 3 });
  const containerId = await rig.container(made);
  const deaf = await made.call(['deaf']);
  await rig.printed(deaf.callId, 1);
  // They end, if they may, after it has had its time to clean up.
  const others = await Promise.all([made.call(['one']), made.call(['two'])]);
  for (const { callId } of others) await rig.printed(callId, 1);
  rig.functions.cancel(deaf.inputId);
  expect(errorOf(await rig.functions.outcomeOf(deaf.inputId))).toMatchObject({ type: 'cancelled' });
  await rig.scheduler.reported(containerId, STOPPED);

  const next = await rig.container(made);
  const outcomes = await Promise.all(others.map(({ inputId }) => rig.functions.outcomeOf(inputId)));
  expect(outcomes.map(resultOf)).toEqual(['one', 'two']);
  for (const outcome of outcomes) expect(outcome).toMatchObject({ attempt: 2, containerId: next });
  const told = (inputId: string) => rig.functions.finished.filter((each) => each.inputId === inputId).length;
  expect([deaf, ...others].map(({ inputId }) => told(inputId))).toEqual([1, 1, 1]);
  await rig.end(next);
});

test('an input that ends the process takes no other one with it', async () => {
  const source = `
import os, time
def handler(what):
    time.sleep(0.5)
    if what == 'poison': os._exit(7)
    return what`;
  const made = rig.make(source, { slots: 2 });
  const poison = await made.call(['poison']);
  const innocent = await made.call(['innocent']);
  const first = await rig.container(made);
  await rig.scheduler.reported(first, FAILED);
  // What shared the container is not blamed at once: both go back to the queue. Apart, each shows what it is.
  const alone = { ...made.spec, slots: 1 };
  for (let round = 0; round < 3; round++) {
    const { containerId } = await rig.scheduler.assign(alone);
    const died = () =>
      rig.scheduler.reports.find((each) => each.containerId === containerId && each.state === FAILED);
    const all = () =>
      [poison, innocent].every((input) =>
        rig.functions.finished.some(({ inputId }) => inputId === input.inputId),
      );
    await eventually(() => died() ?? all(), 30_000);
    if (all()) break;
  }
  expect(errorOf(await rig.functions.outcomeOf(poison.inputId))).toMatchObject({ type: 'container_exited' });
  expect(resultOf(await rig.functions.outcomeOf(innocent.inputId))).toBe('innocent');
});

test('a container that is not ready in time is given up, and says which limit it was', async () => {
  const made = rig.make('import time\ntime.sleep(60)\ndef handler(): pass', {
    startupTimeout: 2,
    timeout: 60,
  });
  const { containerId } = await rig.scheduler.assign(made.spec);
  const { error } = await rig.scheduler.reported(containerId, FAILED);
  expect(error).toEqual({
    type: 'startup_timeout',
    message: "The container was not ready within the 2 seconds that the function's startup_timeout allows.",
    traceback: undefined,
  });
});
