/** Inputs in batches: gathered by the runner, each with an outcome of its own. */
import { Runtime } from '@berth/contracts/functions/v1/functions';
import { inputConsumerName } from '@berth/events';
import { eventually } from '@berth/testing';
import { FAILED, Rig } from './rig';
import { errorOf, resultOf, type TestFunction } from './stand-ins';

jest.setTimeout(60_000);

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.open();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

const outcomesOf = (inputs: { inputId: string }[]) =>
  Promise.all(inputs.map(({ inputId }) => rig.functions.outcomeOf(inputId)));
const callAll = (made: TestFunction, all: unknown[][]) => Promise.all(all.map((args) => made.call(args)));
/** Lines that a function printed, of whichever call. */
const linesOf = (made: TestFunction) =>
  rig.logs.filter(({ functionId }) => functionId === made.functionId).map(({ text }) => text);

const batching = { maxBatchSize: 4, waitMs: 500 };

test('the example: calls that come together are one batch, and what is bad fails alone', async () => {
  const made = rig.example('batching', {
    handler: 'embed:embed',
    batching: { maxBatchSize: 16, waitMs: 300 },
  });
  const containerId = await rig.container(made);
  const inputs = await callAll(made, [['a tree'], [''], ['you']]);
  const [tree, empty, you] = await outcomesOf(inputs);
  expect(resultOf(tree!)).toEqual([1, 2, 0, 0, 0]);
  expect(resultOf(you!)).toEqual([0, 0, 0, 1, 1]);
  expect(errorOf(empty!)).toMatchObject({
    type: 'ValueError',
    message: 'there is nothing to embed in an empty text',
  });
  await eventually(() => linesOf(made).includes('a batch of 3'));
  await eventually(async () => (await made.queued()) === 0);
  await rig.end(containerId);
});

test('the example, in node', async () => {
  const spec = { handler: 'slugs:slugs', runtime: Runtime.RUNTIME_NODE, batching };
  const made = rig.example('batching', spec);
  const containerId = await rig.container(made);
  const [one, bad] = await outcomesOf(await callAll(made, [['Moby Dick, or the Whale'], [7]]));
  expect(resultOf(one!)).toBe('moby-dick-or-the-whale');
  expect(errorOf(bad!)).toMatchObject({ type: 'TypeError', message: 'a title is a string, not a number' });
  await rig.end(containerId);
});

test('a batch is full at its size, does not wait then, and takes nothing more from the queue', async () => {
  const source = `
import time
def handler(xs):
    print('batch of', len(xs))
    time.sleep(2)
    return xs`;
  const made = rig.make(source, { batching: { maxBatchSize: 4, waitMs: 20_000 } });
  const inputs = await callAll(made, [[1], [2], [3], [4], [5], [6]]);
  const containerId = await rig.container(made);
  await eventually(() => linesOf(made).includes('batch of 4'));
  const info = await rig.bed.bus.manager.consumers.info(
    'BERTH_INPUTS',
    inputConsumerName(made.functionId, 1),
  );
  expect(info).toMatchObject({ num_ack_pending: 4, num_pending: 2 });
  expect((await outcomesOf(inputs.slice(0, 4))).map(resultOf)).toEqual([1, 2, 3, 4]);
  // The two that are left wait for more; a container that stops does not keep them waiting.
  await eventually(async () => {
    const { num_pending } = await rig.bed.bus.manager.consumers.info(
      'BERTH_INPUTS',
      inputConsumerName(made.functionId, 1),
    );
    return num_pending === 0;
  });
  await rig.scheduler.stop(containerId);
  const next = await rig.container(made);
  expect((await outcomesOf(inputs.slice(4))).map(resultOf)).toEqual([5, 6]);
  await rig.end(next);
});

test('one that makes the handler raise fails, and the others run alone', async () => {
  const source = `
def handler(xs):
    print('batch of', len(xs))
    return [1 / x for x in xs]`;
  const made = rig.make(source, { batching });
  const containerId = await rig.container(made);
  const inputs = await callAll(made, [[1], [0], [2]]);
  const [one, zero, two] = await outcomesOf(inputs);
  expect([resultOf(one!), resultOf(two!)]).toEqual([1, 0.5]);
  expect(errorOf(zero!)).toMatchObject({ type: 'ZeroDivisionError' });
  expect(errorOf(zero!).traceback).toMatch(/main\.py", line 4, in/);
  const lines = await eventually(() => linesOf(made).length >= 4 && linesOf(made));
  expect(lines).toEqual(['batch of 3', 'batch of 1', 'batch of 1', 'batch of 1']);
  for (const { inputId } of inputs)
    expect(rig.functions.finished.filter((each) => each.inputId === inputId)).toHaveLength(1);
  await rig.end(containerId);
});

test('a cancelled input is left out while it waits, and while it runs', async () => {
  const source = `
import time
def handler(xs):
    print('batch', xs)
    time.sleep(1)
    return xs`;
  const made = rig.make(source, { batching: { maxBatchSize: 4, waitMs: 3_000 } });
  const containerId = await rig.container(made);
  const held = await made.call(['early']);
  await eventually(async () => {
    const name = inputConsumerName(made.functionId, 1);
    return (await rig.bed.bus.manager.consumers.info('BERTH_INPUTS', name)).num_ack_pending === 1;
  });
  // Given out by the server is not yet arrived here: so it is said until it must have been heard.
  const cancelling = setInterval(() => rig.functions.cancel(held.inputId), 100);
  const [late, kept] = await callAll(made, [['late'], ['kept']]);
  await eventually(() => linesOf(made).some((line) => /late/.test(line)));
  clearInterval(cancelling);
  rig.functions.cancel(late!.inputId);
  const [early, lateEnd, keptEnd] = await outcomesOf([held, late!, kept!]);
  expect(errorOf(early!)).toMatchObject({ type: 'cancelled' });
  expect(errorOf(lateEnd!)).toMatchObject({ type: 'cancelled' });
  expect(resultOf(keptEnd!)).toBe('kept');
  expect(linesOf(made).join()).not.toMatch(/early/);
  await rig.end(containerId);
});

test('one that kills its container is found out: the others of its batch end well', async () => {
  const source = `
import os
def handler(xs):
    if 'poison' in xs: os._exit(9)
    return xs`;
  const made = rig.make(source, { batching });
  const inputs = await callAll(made, [['one'], ['poison'], ['two']]);
  const [one, poison, two] = inputs;
  const isOver = () =>
    inputs.every(({ inputId }) => rig.functions.finished.some((each) => each.inputId === inputId));
  for (let containers = 0; containers < 3 && !isOver(); containers++) {
    const { containerId } = await rig.scheduler.assign(made.spec);
    await eventually(
      () =>
        isOver() ||
        rig.scheduler.reports.find((each) => each.containerId === containerId && each.state === FAILED),
      30_000,
    );
  }
  const ends = await outcomesOf([one!, poison!, two!]);
  expect([resultOf(ends[0]!), resultOf(ends[2]!)]).toEqual(['one', 'two']);
  expect(errorOf(ends[1]!)).toMatchObject({ type: 'container_exited' });
});

test('several batches run at a time where the function says so', async () => {
  const source = `
import threading
meeting = threading.Barrier(2)
def handler(xs):
    meeting.wait(20)
    return xs`;
  const made = rig.make(source, { batching: { maxBatchSize: 2, waitMs: 50 }, slots: 2 });
  const containerId = await rig.container(made);
  const ends = await outcomesOf(await callAll(made, [[1], [2], [3], [4]]));
  expect(ends.map(resultOf)).toEqual([1, 2, 3, 4]);
  await rig.end(containerId);
});
