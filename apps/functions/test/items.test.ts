/** What generators yield: recorded once, readable live and afterwards. */
import {
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionsServiceService,
  InvocationStatus,
  Runtime,
  SpawnFunctionRequest,
  StreamFunctionCallItemsRequest,
  Verdict,
} from '@berth/contracts/functions/v1/functions';
import { newId } from '@berth/database';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { functions } from '../src/service';
import { failure, RunnerLine, yielded } from './runner-line';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

let bed: TestBed;
let client: ClientOf<typeof FunctionsServiceService>;
let owner: CallContext;
let runner: RunnerLine;

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(syncStandIn());
  await bed.start(new SchedulerStandIn(() => bed).module);
  await bed.start(functions);
  client = bed.connect(FunctionsServiceService, 'functions', 'gateway');
  owner = await bed.caller();
  runner = await RunnerLine.attach(bed);
});
afterAll(async () => {
  await runner?.end();
  await bed?.close();
});

const { VERDICT_ACCEPTED: ACCEPTED, VERDICT_STALE: STALE } = Verdict;
const { INVOCATION_STATUS_SUCCESS: SUCCESS, INVOCATION_STATUS_FAILURE: FAILURE } = InvocationStatus;

let names = 0;
/** A call whose input a container has. */
async function begun(change: Partial<CreateFunctionRequest> = {}) {
  const name = `items-${++names}`;
  const { app } = await client.createApp(CreateAppRequest.fromPartial({ name }), { for: owner });
  const { function: made } = await client.createFunction(
    CreateFunctionRequest.fromPartial({
      appId: app!.appId,
      name,
      runtime: Runtime.RUNTIME_PYTHON,
      handler: 'main:run',
      files: { 'main.py': '' },
      ...change,
    }),
    { for: owner },
  );
  const { functionId } = made!;
  const { functionCall } = await client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId }), {
    for: owner,
  });
  const delivery = await runner.next(functionId);
  return {
    functionId,
    callId: functionCall!.callId,
    input: delivery.input,
    delivery,
    container: newId('ta'),
  };
}

const read = (callId: string, rest: Partial<StreamFunctionCallItemsRequest> = {}, as = owner) =>
  client.streamFunctionCallItems(StreamFunctionCallItemsRequest.fromPartial({ callId, ...rest }), {
    for: as,
  });
async function all(callId: string, rest: Partial<StreamFunctionCallItemsRequest> = {}) {
  const items: [number, unknown][] = [];
  for await (const { index, value } of read(callId, rest)) items.push([index, JSON.parse(value.toString())]);
  return items;
}
const get = async (callId: string) =>
  (await client.getFunctionCall({ callId }, { for: owner })).functionCall!;

test('items are there as soon as they are recorded, to who follows and to who comes later', async () => {
  const { callId, input, container } = await begun();
  expect(await all(callId)).toEqual([]);
  const live: unknown[] = [];
  const following = (async () => {
    for await (const { value } of read(callId, { follow: true })) live.push(JSON.parse(value.toString()));
  })();
  expect(await runner.items(input, container, 0, ['a', 'b'])).toMatchObject({ verdict: ACCEPTED });
  await eventually(() => live.length === 2);
  expect(await runner.items(input, container, 2, [{ c: 1 }])).toMatchObject({ verdict: ACCEPTED });
  await eventually(() => live.length === 3);
  expect(await all(callId, { after: 0 })).toEqual([
    [1, 'b'],
    [2, { c: 1 }],
  ]);
  expect(await runner.finished(input, container, yielded(3))).toMatchObject({ verdict: ACCEPTED });
  await following;
  const call = await get(callId);
  expect(call.status).toBe(SUCCESS);
  expect(JSON.parse(call.result!.toString())).toEqual(['a', 'b', { c: 1 }]);
  expect(await all(callId)).toHaveLength(3);
});

test('a message that is said again, and an attempt that yields again, record nothing twice', async () => {
  const { functionId, callId, input, container } = await begun({
    retries: 1,
    retryDelay: { first: 0, backoff: 1, max: 0 },
  });
  await runner.items(input, container, 0, [1, 2]);
  expect(await runner.items(input, container, 0, [1, 2])).toMatchObject({ verdict: ACCEPTED });
  await runner.finished(input, container, failure('ValueError'));
  expect(await runner.items(input, container, 2, [3])).toMatchObject({ verdict: STALE });

  const { input: again } = await runner.next(functionId);
  expect(again.attempt).toBe(2);
  const other = newId('ta');
  expect(await runner.items(again, other, 0, ['other', 'other', 'new'])).toMatchObject({ verdict: ACCEPTED });
  await runner.finished(again, other, yielded(3));
  expect(await all(callId)).toEqual([
    [0, 1],
    [1, 2],
    [2, 'new'],
  ]);
  expect(JSON.parse((await get(callId)).result!.toString())).toEqual([1, 2, 'new']);
});

test('a result has the items of the attempt that succeeded, not what a longer one had yielded', async () => {
  const { functionId, callId, input, container } = await begun({
    retries: 1,
    retryDelay: { first: 0, backoff: 1, max: 0 },
  });
  await runner.items(input, container, 0, [1, 2, 3]);
  await runner.finished(input, container, failure('ValueError'));
  const { input: again } = await runner.next(functionId);
  const other = newId('ta');
  await runner.items(again, other, 0, [1]);
  expect(await runner.finished(again, other, yielded(1))).toMatchObject({ verdict: ACCEPTED });
  expect(JSON.parse((await get(callId)).result!.toString())).toEqual([1]);
  expect(await all(callId)).toEqual([[0, 1]]);
});

test('only the container that holds an input yields in its name', async () => {
  const { callId, input, container } = await begun();
  await runner.started(input, container);
  expect(await runner.items(input, newId('ta'), 0, ['forged'])).toMatchObject({ verdict: STALE });
  expect(await runner.items({ ...input, attempt: 7 }, container, 0, ['forged'])).toMatchObject({
    verdict: STALE,
  });
  expect(await all(callId)).toEqual([]);
});

test('a generator that fails keeps its items, and its follower is let go', async () => {
  const { callId, input, container } = await begun();
  await runner.items(input, container, 0, ['a']);
  const following = all(callId, { follow: true });
  await runner.finished(input, container, failure('ValueError'));
  expect(await following).toEqual([[0, 'a']]);
  expect((await get(callId)).status).toBe(FAILURE);
});

test('a cancelled call wants no more items', async () => {
  const { callId, input, container } = await begun();
  await runner.started(input, container);
  const following = all(callId, { follow: true });
  await client.cancelFunctionCall({ callId }, { for: owner });
  expect(await following).toEqual([]);
  expect(await runner.items(input, container, 0, ['late'])).toMatchObject({ verdict: STALE });
});

test('nothing yielded is an empty list, and a count that is not so is a failure', async () => {
  const none = await begun();
  await runner.finished(none.input, none.container, yielded(0));
  expect((await get(none.callId)).result!.toString()).toBe('[]');
  for (const claim of ['1', 'many', '-1']) {
    const liar = await begun();
    await runner.finished(liar.input, liar.container, yielded(claim));
    expect((await get(liar.callId)).error).toMatchObject({ type: 'result_invalid' });
  }
});

test('a list that is larger than a result is null, and its items are read one by one', async () => {
  const { callId, input, container } = await begun();
  for (let index = 0; index < 5; index++) {
    await runner.items(input, container, index, ['x'.repeat(4 * 1024 * 1024)]);
  }
  await runner.finished(input, container, yielded(5));
  expect((await get(callId)).result!.toString()).toBe('null');
  expect((await all(callId)).map(([index]) => index)).toEqual([0, 1, 2, 3, 4]);
});

test('many items are given in order, over many pages', async () => {
  const { callId, input, container } = await begun();
  for (let index = 0; index < 1700; index += 100) {
    await runner.items(
      input,
      container,
      index,
      Array.from({ length: 100 }, (_, offset) => index + offset),
    );
  }
  const items = await all(callId);
  expect(items).toEqual(Array.from({ length: 1700 }, (_, index) => [index, index]));
});

test("another tenant's call is not found, nor an input that is not there", async () => {
  const { callId } = await begun();
  const stranger = await bed.caller();
  const consume = async (reading: AsyncIterable<unknown>) => {
    for await (const _ of reading);
  };
  await expect(consume(read(callId, {}, stranger))).rejects.toMatchObject({ kind: 'not_found' });
  await expect(consume(read(callId, { inputIndex: 3 }))).rejects.toMatchObject({ kind: 'not_found' });
  await expect(consume(read('fc-nothing'))).rejects.toMatchObject({ kind: 'not_found' });
  await expect(consume(read(callId, { after: -5 }))).rejects.toMatchObject({
    kind: 'invalid',
    field: 'after',
  });
});
