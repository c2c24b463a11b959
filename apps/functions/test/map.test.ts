/** Calls with many inputs: put in parts, recorded by many at once, read by cursor, ended in parts. */
import {
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionsServiceService,
  InvocationStatus,
  InvokeFunctionRequest,
  MapFunctionRequest,
  OutputOrder,
  PutFunctionCallInputsRequest,
  Runtime,
  SpawnFunctionRequest,
  StreamFunctionCallOutputsRequest,
  Verdict,
  type FunctionOutput,
  type InputFinished,
} from '@berth/contracts/functions/v1/functions';
import { newId, type Database } from '@berth/database';
import { inputConsumer, inputConsumerName, decodeInput, type InputMessage } from '@berth/events';
import type { CallContext, ClientOf, RunningService } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { Repair } from '../src/loops/repair';
import { functions } from '../src/service';
import { beginEnding } from '../src/store/map-store';
import { failure, RunnerLine, success } from './runner-line';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

let bed: TestBed;
let db: Database;
let client: ClientOf<typeof FunctionsServiceService>;
let owner: CallContext;
let service: RunningService;
let runner: RunnerLine;
const scheduler = new SchedulerStandIn(() => bed);

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(syncStandIn());
  await bed.start(scheduler.module);
  service = await bed.start(functions);
  db = await bed.database(functions);
  client = bed.connect(FunctionsServiceService, 'functions', 'gateway');
  owner = await bed.caller();
  runner = await RunnerLine.attach(bed);
});
afterAll(async () => {
  await runner?.end();
  await bed?.close();
});

const {
  INVOCATION_STATUS_PENDING: PENDING,
  INVOCATION_STATUS_RUNNING: RUNNING,
  INVOCATION_STATUS_SUCCESS: SUCCESS,
  INVOCATION_STATUS_FAILURE: FAILURE,
  INVOCATION_STATUS_TERMINATED: TERMINATED,
} = InvocationStatus;

let names = 0;
const aFunction = async (change: Partial<CreateFunctionRequest> = {}) => {
  const name = `map-${++names}`;
  const { app } = await client.createApp(CreateAppRequest.fromPartial({ name }), { for: owner });
  const request = CreateFunctionRequest.fromPartial({
    appId: app!.appId,
    name,
    runtime: Runtime.RUNTIME_PYTHON,
    handler: 'main:run',
    files: { 'main.py': '' },
    ...change,
  });
  return (await client.createFunction(request, { for: owner })).function!;
};

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const argsOf = (count: number, first = 0) =>
  Array.from({ length: count }, (_, place) => ({ args: json([first + place]) }));

const open = async (functionId: string, idempotencyKey?: string) =>
  (
    await client.openFunctionCall(
      { functionId, webhook: undefined },
      { for: owner, ...(idempotencyKey ? { idempotencyKey } : {}) },
    )
  ).functionCall!.callId;
const put = async (callId: string, first: number, count: number) =>
  (
    await client.putFunctionCallInputs(
      PutFunctionCallInputsRequest.fromPartial({
        callId,
        inputs: argsOf(count, first).map((input, place) => ({ ...input, index: first + place })),
      }),
      { for: owner, timeoutMs: 30_000 },
    )
  ).numAccepted;
const close = (callId: string) => client.closeFunctionCall({ callId }, { for: owner });
const get = async (callId: string) =>
  (await client.getFunctionCall({ callId }, { for: owner })).functionCall!;
const map = (
  functionId: string,
  inputs: ReturnType<typeof argsOf>,
  options: Partial<MapFunctionRequest> = {},
  call: { idempotencyKey?: string; signal?: AbortSignal } = {},
) =>
  client.mapFunction(MapFunctionRequest.fromPartial({ functionId, inputs, ...options }), {
    for: owner,
    ...call,
  });
const outputs = (
  callId: string,
  {
    after = '',
    order = OutputOrder.OUTPUT_ORDER_RECORDED,
    follow = true,
  }: Partial<StreamFunctionCallOutputsRequest> = {},
) => client.streamFunctionCallOutputs({ callId, after, order, follow }, { for: owner });

async function all(
  stream: AsyncIterable<{ output?: FunctionOutput | undefined }>,
): Promise<FunctionOutput[]> {
  const read: FunctionOutput[] = [];
  for await (const { output } of stream) read.push(output!);
  return read;
}
const resultsOf = (read: FunctionOutput[]) =>
  read.map(({ result }) => result && JSON.parse(result.toString()));

/** Takes inputs of a function from the queue until it is stopped, and says of each what `run` gives. */
async function work(
  functionId: string,
  run: (input: InputMessage, x: number) => InputFinished['outcome'] | Promise<InputFinished['outcome']>,
): Promise<() => Promise<void>> {
  const { manager, jetstream } = bed.bus;
  await manager.consumers.add('BERTH_INPUTS', inputConsumer(functionId, 1));
  const consumer = await jetstream.consumers.get('BERTH_INPUTS', inputConsumerName(functionId, 1));
  const messages = await consumer.consume({ max_messages: 100 });
  const done = (async () => {
    for await (const message of messages) {
      const input = decodeInput(message)!;
      const [x] = (JSON.parse(Buffer.from(input.payload!).toString()) as { args: number[] }).args;
      void Promise.resolve(run(input, x!)).then(async (outcome) => {
        await runner.finished(input, newId('ta'), outcome);
        message.ack();
      });
    }
  })();
  return async () => {
    await messages.close();
    await done;
  };
}

test('outputs come in the order of the inputs, though they end in another', async () => {
  const { functionId } = await aFunction();
  const held: (() => void)[] = [];
  const stop = await work(functionId, async (_, x) => {
    if (x % 2 === 0) await new Promise<void>((resolve) => held.push(resolve));
    else if (x === 9) for (const release of held.reverse()) release();
    return success(x * 2);
  });
  const read = await all(map(functionId, argsOf(10)));
  expect(read.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(resultsOf(read)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  const [{ callId }] = read as [FunctionOutput];
  expect(new Set(read.map((each) => each.callId))).toEqual(new Set([callId]));
  expect(await get(callId)).toMatchObject({
    status: SUCCESS,
    numInputs: 10,
    numSucceeded: 10,
    result: undefined,
  });
  const log = await all(outputs(callId));
  expect(log.map(({ index }) => index)).not.toEqual(read.map(({ index }) => index));
  expect(log.map(({ cursor }) => cursor)).toEqual(log.map((_, place) => `e${place + 1}`));
  await stop();
});

test('readers that come and go with a cursor miss nothing and get nothing twice, while many record', async () => {
  const { functionId } = await aFunction();
  const callId = await open(functionId);
  const stop = await work(functionId, (_, x) => success(x));
  const reader = async (parts: number) => {
    const read: FunctionOutput[] = [];
    for (;;) {
      const before = read.length;
      let size = 0;
      for await (const { output } of outputs(callId, { after: read.at(-1)?.cursor ?? '' })) {
        read.push(output!);
        if (++size === parts) break;
      }
      if (size < parts || read.length === before) return read;
    }
  };
  const readers = [1000, 61, 17].map(reader);
  for (let first = 0; first < 600; first += 120) expect(await put(callId, first, 120)).toBe(120);
  await close(callId);
  const [one, ...others] = await Promise.all(readers);
  expect(one!.map(({ index }) => index).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 600 }, (_, x) => x),
  );
  for (const other of others) expect(other).toEqual(one);
  expect(await all(outputs(callId, { after: 'e590' }))).toEqual(one!.slice(590));
  const byIndex = await all(outputs(callId, { order: OutputOrder.OUTPUT_ORDER_INDEX, after: 'i497' }));
  expect(byIndex.map(({ index }) => index)).toEqual(Array.from({ length: 102 }, (_, x) => 498 + x));
  await stop();
});

test('a put is repeated without effect; an index keeps its input', async () => {
  const { functionId } = await aFunction();
  const callId = await open(functionId, 'the same');
  expect(await open(functionId, 'the same')).toBe(callId);
  expect(await get(callId)).toMatchObject({ status: PENDING, numInputs: 0 });
  expect((await get(callId)).waiting).toContain('no inputs');
  await Promise.all([put(callId, 0, 20), put(callId, 10, 20), put(callId, 0, 20)]);
  expect(await get(callId)).toMatchObject({ status: PENDING, numInputs: 30 });
  expect((await get(callId)).waiting).toMatch(/\w/);
  const other = PutFunctionCallInputsRequest.fromPartial({
    callId,
    inputs: [{ index: 7, args: json(['other']) }],
  });
  await expect(client.putFunctionCallInputs(other, { for: owner })).rejects.toMatchObject({
    kind: 'precondition',
    field: 'inputs[0].index',
  });
  await close(callId);
  await close(callId);
  expect(await put(callId, 0, 30)).toBe(30);
  await expect(put(callId, 30, 1)).rejects.toMatchObject({ kind: 'precondition' });
  const stop = await work(functionId, (_, x) => success(x));
  expect(await all(outputs(callId))).toHaveLength(30);
  await stop();
});

test.each<[string, number[], string]>([
  ['below 0', [3, -1], 'inputs[1].index'],
  ['given twice', [3, 4, 3], 'inputs[2].index'],
])('an index %s is refused before any effect', async (_, indexes, field) => {
  const { functionId } = await aFunction();
  const callId = await open(functionId);
  const inputs = indexes.map((index) => ({ index }));
  const wrong = PutFunctionCallInputsRequest.fromPartial({ callId, inputs });
  await expect(client.putFunctionCallInputs(wrong, { for: owner })).rejects.toMatchObject({
    kind: 'invalid',
    field,
  });
  expect((await get(callId)).numInputs).toBe(0);
});

test('what is no list of arguments is refused, with the input at fault', async () => {
  const { functionId } = await aFunction();
  const wrong = all(map(functionId, [...argsOf(2), { args: json({ x: 1 }) }]));
  await expect(wrong).rejects.toMatchObject({ kind: 'invalid', field: 'inputs[2].args' });
  const cursor = all(outputs(await open(functionId), { after: 'i7' }));
  await expect(cursor).rejects.toMatchObject({ kind: 'invalid', field: 'after' });
});

test('a call with too many open inputs takes more as they end, and refuses none', async () => {
  const { functionId } = await aFunction({ maxContainers: 2 });
  const callId = await open(functionId);
  expect(await put(callId, 0, 900)).toBe(900);
  expect(await put(callId, 900, 200)).toBe(100);
  const waiting = put(callId, 1000, 100);
  const { input, ack } = await runner.next(functionId);
  await runner.finished(input, newId('ta'), success(1));
  ack();
  expect(await waiting).toBe(1);
  await client.cancelFunctionCall({ callId }, { for: owner });
});

test('the first failure is the last output, and the rest is cancelled; a repeat gets the same', async () => {
  const { functionId } = await aFunction();
  const seen: number[] = [];
  const stop = await work(functionId, (_, x) => {
    seen.push(x);
    if (x > 3) return new Promise(() => {}); // Runs for ever.
    return x === 3 ? failure('ValueError') : success(x);
  });
  const ask = (orderOutputs: boolean) =>
    all(map(functionId, argsOf(40), { orderOutputs }, { idempotencyKey: `fail ${orderOutputs}` }));
  for (const ordered of [true, false]) {
    const read = await ask(ordered);
    expect(read.at(-1)).toMatchObject({ index: 3, status: FAILURE, error: { type: 'ValueError' } });
    expect(read.slice(0, -1).every(({ status }) => status === SUCCESS)).toBe(true);
    expect(await ask(ordered)).toEqual(read);
    const { callId } = read[0]!;
    const ended = await get(callId);
    expect(ended).toMatchObject({ status: FAILURE, numInputs: 40, numFailed: 1 });
    expect(ended.numSucceeded + ended.numTerminated).toBe(39);
    const log = await all(outputs(callId));
    expect(log.find(({ status }) => status === TERMINATED)?.error?.message).toContain('Another input');
  }
  await stop();
});

test('with return_exceptions failures are outputs like others', async () => {
  const { functionId } = await aFunction();
  const stop = await work(functionId, (_, x) => (x % 3 === 0 ? failure('OSError') : success(x)));
  const read = await all(map(functionId, argsOf(9), { returnExceptions: true }));
  expect(read.map(({ status }) => status === SUCCESS)).toEqual(read.map(({ index }) => index % 3 !== 0));
  expect(await get(read[0]!.callId)).toMatchObject({ status: FAILURE, numSucceeded: 6, numFailed: 3 });
  await stop();
});

test('a map of nothing ends at once', async () => {
  const { functionId } = await aFunction();
  expect(await all(map(functionId, []))).toEqual([]);
});

test('a map goes on without its caller, and a repeat joins it and gets all from the start', async () => {
  const { functionId } = await aFunction();
  const leave = new AbortController();
  const left = all(map(functionId, argsOf(50), {}, { idempotencyKey: 'join', signal: leave.signal }));
  const first = await runner.next(functionId);
  leave.abort();
  await left.catch(() => undefined);
  const stop = await work(functionId, (_, x) => success(x));
  await runner.finished(first.input, newId('ta'), success(0));
  first.ack();
  await eventually(async () => (await get(first.input.callId)).status === SUCCESS);
  const read = await all(map(functionId, argsOf(50), {}, { idempotencyKey: 'join' }));
  expect(read.map(({ callId }) => callId)).toEqual(read.map(() => first.input.callId));
  expect(resultsOf(read)).toEqual(Array.from({ length: 50 }, (_, x) => x));
  const other = all(map(functionId, argsOf(51), {}, { idempotencyKey: 'join' }));
  await expect(other).rejects.toMatchObject({ kind: 'precondition', field: 'Idempotency-Key' });
  const invoked = client.invokeFunction(InvokeFunctionRequest.fromPartial({ functionId }), {
    for: owner,
    idempotencyKey: 'join',
  });
  await expect(invoked).rejects.toMatchObject({ kind: 'precondition' });
  await stop();
});

test('a cancelled map ends all its inputs and takes no more', async () => {
  const { functionId } = await aFunction();
  const callId = await open(functionId);
  await put(callId, 0, 700);
  await put(callId, 700, 300);
  const { input } = await runner.next(functionId);
  await runner.started(input, newId('ta'));
  expect(await get(callId)).toMatchObject({ status: RUNNING });
  const following = all(outputs(callId));
  const { functionCall } = await client.cancelFunctionCall({ callId }, { for: owner });
  expect(functionCall).toMatchObject({ status: TERMINATED, numInputs: 1000, numTerminated: 1000 });
  expect(await following).toHaveLength(1000);
  await eventually(() => runner.cancelled.includes(input.inputId));
  await expect(put(callId, 1000, 1)).rejects.toMatchObject({ kind: 'precondition' });
  expect((await runner.finished(input, newId('ta'), success(1))).verdict).toBe(Verdict.VERDICT_STALE);
  await eventually(async () => {
    const { state } = await bed.bus.manager.streams.info('BERTH_INPUTS', {
      subjects_filter: `berth.inputs.${functionId}.>`,
    });
    return Object.keys(state.subjects ?? {}).length <= 1; // The one that was taken.
  });
  const [again, done] = [await client.cancelFunctionCall({ callId }, { for: owner }), await get(callId)];
  expect(again.functionCall).toEqual(done);
});

test('a map that a process left half ended is ended by the next', async () => {
  const { functionId } = await aFunction();
  const callId = await open(functionId);
  await put(callId, 0, 30);
  expect(await beginEnding(db, callId, { cancelled: true })).toBe(true);
  const repair = new Repair({
    db,
    bus: bed.bus,
    log: { warn() {}, debug() {} },
    waiting: { announce() {}, announceChange() {} },
    autoscaler: { ended() {} },
    lines: { cancel() {} },
  } as never);
  await repair.endMaps();
  expect(await get(callId)).toMatchObject({ status: TERMINATED, numTerminated: 30 });
  expect(await db.query('SELECT id FROM call WHERE ending')).toEqual([]);
});

test('an app that stops ends its maps, also open ones, and their readers', async () => {
  const { functionId, appId } = await aFunction();
  const callId = await open(functionId);
  await put(callId, 0, 600);
  const following = all(outputs(callId));
  await client.stopApp({ appId }, { for: owner });
  expect(await following).toHaveLength(600);
  expect(await get(callId)).toMatchObject({ status: TERMINATED, numTerminated: 600 });
  await expect(put(callId, 600, 1)).rejects.toMatchObject({ kind: 'precondition' });
  await expect(open(functionId)).rejects.toMatchObject({ kind: 'precondition' });
});

test('a list of calls shows what maps have come to', async () => {
  const { functionId } = await aFunction();
  const stop = await work(functionId, (_, x) => success(x));
  const callId = await open(functionId);
  await put(callId, 5, 3); // Not from 0.
  await eventually(async () => (await get(callId)).numSucceeded === 3);
  const invoked = await client.invokeFunction(
    InvokeFunctionRequest.fromPartial({ functionId, args: json([8]) }),
    { for: owner },
  );
  const list = async () =>
    (await client.listInvocations({ functionId, limit: 10, cursor: '' }, { for: owner })).data;
  const [single, one] = await list();
  expect(single).toMatchObject({ callId: invoked.invocation!.callId, numInputs: 1, numSucceeded: 1 });
  expect(one).toMatchObject({ callId, status: RUNNING, numInputs: 3, numSucceeded: 3 });
  // By index it waits for those that are missing, until they can no longer come.
  const byIndex = all(outputs(callId, { order: OutputOrder.OUTPUT_ORDER_INDEX }));
  await close(callId);
  expect((await byIndex).map(({ index }) => index)).toEqual([5, 6, 7]);
  expect((await list())[1]).toMatchObject({ callId, status: SUCCESS });
  await stop();
});

test('outputs of a plain call are its one', async () => {
  const { functionId } = await aFunction();
  const { functionCall } = await client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId }), {
    for: owner,
  });
  const { callId } = functionCall!;
  expect(await all(outputs(callId, { follow: false }))).toEqual([]);
  const following = all(outputs(callId));
  const { input } = await runner.next(functionId);
  await runner.finished(input, newId('ta'), success('one'));
  expect(resultsOf(await following)).toEqual(['one']);
  expect(await all(outputs(callId, { after: 'e1' }))).toEqual([]);
  await expect(put(callId, 1, 1)).rejects.toMatchObject({ kind: 'precondition', field: 'call_id' });
});

test("another tenant's function and call are not found", async () => {
  const { functionId } = await aFunction();
  const callId = await open(functionId);
  const stranger = { for: await bed.caller() };
  const onePut = PutFunctionCallInputsRequest.fromPartial({ callId, inputs: [{ index: 0 }] });
  const tries = [
    all(client.mapFunction(MapFunctionRequest.fromPartial({ functionId }), stranger)),
    client.openFunctionCall({ functionId, webhook: undefined }, stranger),
    client.putFunctionCallInputs(onePut, stranger),
    client.closeFunctionCall({ callId }, stranger),
    client.getFunctionCallResult({ callId, index: 0 }, stranger),
    all(client.streamFunctionCallOutputs(StreamFunctionCallOutputsRequest.fromPartial({ callId }), stranger)),
  ];
  for (const each of await Promise.allSettled(tries)) {
    expect(each).toMatchObject({ status: 'rejected', reason: { kind: 'not_found' } });
  }
  expect(await get(callId)).toMatchObject({ status: PENDING, numInputs: 0 });
});

test('a burst of 1000 starts no more than the maximum, and holds up nobody else', async () => {
  const burst = await aFunction({ maxContainers: 3 });
  const other = await aFunction();
  const stop = await work(other.functionId, (_, x) => success(x));
  const bursting = all(map(burst.functionId, argsOf(1000)));
  const begin = performance.now();
  const invoked = await client.invokeFunction(
    InvokeFunctionRequest.fromPartial({ functionId: other.functionId, args: json([7]) }),
    { for: owner },
  );
  expect(invoked.invocation?.result?.toString()).toBe('7');
  expect(performance.now() - begin).toBeLessThan(3000);
  await eventually(() => scheduler.wishOf(burst.functionId)?.containers === 3);
  const work2 = await work(burst.functionId, (_, x) => success(x));
  expect(await bursting).toHaveLength(1000);
  const wishes = scheduler.wishes.filter(({ owner: of }) => of.startsWith(burst.functionId));
  expect(Math.max(...wishes.map(({ containers }) => containers))).toBe(3);
  await work2();
  await stop();
});

test('a service that stops sends readers away, who read on at the next', async () => {
  const { functionId } = await aFunction();
  const callId = await open(functionId);
  await put(callId, 0, 3);
  const first = await runner.next(functionId);
  await runner.finished(first.input, newId('ta'), success('before'));
  first.ack();
  const reading = outputs(callId)[Symbol.asyncIterator]();
  const { value } = (await reading.next()) as { value: { output: FunctionOutput } };
  const sentAway = expect(reading.next()).rejects.toMatchObject({ kind: 'unavailable' });
  await service[Symbol.asyncDispose]();
  await sentAway;

  service = await bed.start(functions);
  runner = await RunnerLine.attach(bed);
  const stop = await work(functionId, (_, x) => success(x));
  await close(callId);
  const rest = await all(outputs(callId, { after: value.output.cursor }));
  expect(
    rest
      .map(({ index }) => index)
      .concat(value.output.index)
      .sort(),
  ).toEqual([0, 1, 2]);
  await stop();
});
