/** Generators: items on their way from user code to `functions`. */
import { Runtime, Verdict } from '@berth/contracts/functions/v1/functions';
import { eventually } from '@berth/testing';
import { Rig } from './rig';
import { errorOf } from './stand-ins';

jest.setTimeout(60_000);

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.open();
});
afterAll(() => rig?.[Symbol.asyncDispose]());

/** What was told of an input, each index as often as it was. */
const toldOf = (inputId: string) =>
  rig.functions.items
    .filter((each) => each.inputId === inputId)
    .flatMap(({ index, payloads }) =>
      payloads.map((payload, offset) => [index + offset, JSON.parse(payload.toString()) as unknown]),
    );

const countOf = ({ outcome }: Awaited<ReturnType<typeof rig.functions.outcomeOf>>) =>
  outcome?.$case === 'success' && outcome.value.format === 'items'
    ? Number(outcome.value.payload)
    : undefined;

test('the example: words come one by one, and their count at the end', async () => {
  const made = rig.example('streaming', { handler: 'story:tell' });
  const containerId = await rig.container(made);
  const { inputId, callId } = await made.call([300]);
  expect(countOf(await rig.functions.outcomeOf(inputId))).toBe(300);
  const told = toldOf(inputId);
  expect(told.map(([index]) => index)).toEqual(Array.from({ length: 300 }, (_, index) => index));
  expect(told.slice(0, 4).map(([, word]) => word)).toEqual(['once', 'upon', 'a', 'time']);
  expect(await rig.printed(callId, 1)).toEqual(['told']);
  await rig.end(containerId);
});

test('the example, in node, several at a time', async () => {
  const made = rig.example('streaming', { handler: 'count:count', runtime: Runtime.RUNTIME_NODE, slots: 3 });
  const containerId = await rig.container(made);
  const inputs = await Promise.all([50, 60, 0].map((last) => made.call([last])));
  for (const [index, count] of [50, 60, 0].entries()) {
    const { inputId } = inputs[index]!;
    expect(countOf(await rig.functions.outcomeOf(inputId))).toBe(count);
    expect(toldOf(inputId)).toHaveLength(count);
  }
  await rig.end(containerId);
});

test('a generator stands still while nothing is recorded, and goes on over a line that broke', async () => {
  const source = `
def handler():
    for i in range(200):
        print(i)
        yield i`;
  const made = rig.make(source);
  const containerId = await rig.container(made);
  rig.functions.answers = false;
  const { inputId, callId } = await made.call();
  await rig.printed(callId, 32);
  await new Promise((resolve) => setTimeout(resolve, 300)); // That no more come has no event.
  expect(rig.logs.filter((line) => line.callId === callId)).toHaveLength(32);
  rig.functions.answers = true;
  rig.functions.breakLines();
  expect(countOf(await rig.functions.outcomeOf(inputId))).toBe(200);
  // What had no verdict was said again, in order: whoever keeps each index once has all.
  const kept = new Map(toldOf(inputId).map(([index, value]) => [index, value]));
  expect([...kept.keys()]).toEqual(Array.from({ length: 200 }, (_, index) => index));
  await rig.end(containerId);
});

test('one whose items nobody wants is ended', async () => {
  const source = `
import time
def handler():
    try:
        for i in range(10000):
            yield i
            time.sleep(0.01)
    finally:
        print('closed')`;
  const made = rig.make(source);
  const containerId = await rig.container(made);
  rig.functions.itemsVerdict = Verdict.VERDICT_STALE;
  const { inputId, callId } = await made.call();
  expect(errorOf(await rig.functions.outcomeOf(inputId))).toMatchObject({ type: 'cancelled' });
  rig.functions.itemsVerdict = Verdict.VERDICT_ACCEPTED;
  expect(await rig.printed(callId, 1)).toEqual(['closed']);
  await rig.end(containerId);
});

test('what user code writes past its worker is no item', async () => {
  // As a hostile handler would: it takes the worker's own socket and claims what it likes.
  const source = `
import berth_worker
def handler(what):
    yield 1
    worker = berth_worker.worker
    if what == 'no json': berth_worker.encode = lambda value: b'{oops'
    yield 2`;
  const made = rig.make(source);
  const containerId = await rig.container(made);
  const { inputId } = await made.call(['no json']);
  const error = errorOf(await rig.functions.outcomeOf(inputId));
  expect(error).toMatchObject({ type: 'result_invalid', message: 'Item 1 of the generator is not JSON.' });
  expect(toldOf(inputId)).toEqual([[0, 1]]);
  await eventually(() => rig.functions.finished.some((each) => each.inputId === inputId));
  await rig.scheduler.forget(containerId);
});
