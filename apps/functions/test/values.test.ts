/** Payloads that are bytes with the name of a format: nothing here reads them. */
import {
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionsServiceService,
  InvocationStatus,
  InvokeFunctionRequest,
  MapFunctionRequest,
  PutFunctionCallInputsRequest,
  Runtime,
  SpawnFunctionRequest,
  Verdict,
} from '@berth/contracts/functions/v1/functions';
import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { newId } from '@berth/database';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { functions } from '../src/service';
import { failure, RunnerLine, success } from './runner-line';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

let bed: TestBed;
let client: ClientOf<typeof FunctionsServiceService>;
let owner: CallContext;
let runner: RunnerLine;
const syncFaults = { away: false, refused: 0 };
const scheduler = new SchedulerStandIn(() => bed);

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(syncStandIn(syncFaults));
  await bed.start(scheduler.module);
  await bed.start(functions);
  client = bed.connect(FunctionsServiceService, 'functions', 'gateway');
  owner = await bed.caller();
  runner = await RunnerLine.attach(bed);
});
afterAll(async () => {
  await runner?.end();
  await bed?.close();
});

let names = 0;
const aFunction = async (runtime = Runtime.RUNTIME_PYTHON, retries = 0) => {
  const name = `values-${++names}`;
  const { app } = await client.createApp(CreateAppRequest.fromPartial({ name }), { for: owner });
  const request = CreateFunctionRequest.fromPartial({
    appId: app!.appId,
    name,
    runtime,
    retries,
    retryDelay: { first: 0 },
    handler: 'main:run',
    files: { 'main.py': '', 'main.js': '' },
  });
  return (await client.createFunction(request, { for: owner })).function!.functionId;
};
/** No text, no JSON: as a pickle is. */
const BYTES = Buffer.from([0x80, 4, 0xff, 0, 0x22, 0x2e]);
const asPickle = { payload: BYTES, format: 'pickle' };
const pickled = (payload: Buffer) => ({
  $case: 'success' as const,
  value: { payload, format: 'pickle', blob: '' },
});
const resultOf = (callId: string, index = 0) =>
  client.getFunctionCallResult({ callId, index }, { for: owner });

test('a pickle goes to its container and its result comes back, bytes untouched', async () => {
  const functionId = await aFunction();
  const invoked = client.invokeFunction(InvokeFunctionRequest.fromPartial({ functionId, ...asPickle }), {
    for: owner,
    timeoutMs: 30_000,
  });
  const { input } = await runner.next(functionId);
  expect([input.format, Buffer.from(input.payload!)]).toEqual(['pickle', BYTES]);
  await expect(resultOf(input.callId)).rejects.toMatchObject({ kind: 'precondition' });
  const answer = Buffer.concat([BYTES, BYTES]);
  await runner.finished(input, newId('ta'), pickled(answer));
  const { invocation } = await invoked;
  expect(invocation).toMatchObject({
    status: InvocationStatus.INVOCATION_STATUS_SUCCESS,
    result: undefined,
    resultFormat: 'pickle',
  });
  expect(invocation!.resultBytes).toEqual(answer);
  expect(await resultOf(input.callId)).toEqual({ content: answer, format: 'pickle' });
});

test('a result that is JSON is shown as ever, and can be had as bytes', async () => {
  const functionId = await aFunction();
  const { functionCall } = await client.spawnFunction(
    SpawnFunctionRequest.fromPartial({ functionId, payload: Buffer.from('{"args":[1]}') }),
    { for: owner },
  );
  const { input } = await runner.next(functionId);
  expect([input.format, Buffer.from(input.payload!).toString()]).toEqual(['json', '{"args":[1]}']);
  await runner.finished(input, newId('ta'), success(1));
  const { callId } = functionCall!;
  const call = (await client.getFunctionCall({ callId }, { for: owner })).functionCall!;
  expect([call.result?.toString(), call.resultFormat, call.resultBytes]).toEqual(['1', 'json', undefined]);
  expect((await resultOf(callId)).content.toString()).toBe('1');
});

test('what failed has no result to fetch', async () => {
  const functionId = await aFunction();
  await client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId, ...asPickle }), { for: owner });
  const { input } = await runner.next(functionId);
  await runner.finished(input, newId('ta'), failure('ValueError'));
  await expect(resultOf(input.callId)).rejects.toMatchObject({
    kind: 'precondition',
    message: expect.stringContaining('failure'),
  });
});

test('inputs of a map have their formats, each its own', async () => {
  const functionId = await aFunction();
  const outputs: { resultFormat: string; result: string | undefined; resultBytes: Buffer | undefined }[] = [];
  const mapped = (async () => {
    const request = MapFunctionRequest.fromPartial({
      functionId,
      inputs: [asPickle, { args: Buffer.from('[1]') }],
    });
    for await (const { output } of client.mapFunction(request, { for: owner })) {
      const { resultFormat, result, resultBytes } = output!;
      outputs.push({ resultFormat, result: result?.toString(), resultBytes });
    }
  })();
  for (let taken = 0; taken < 2; taken++) {
    const { input, ack } = await runner.next(functionId);
    const outcome = input.format === 'pickle' ? pickled(BYTES) : success('json');
    await runner.finished(input, newId('ta'), outcome);
    ack();
  }
  await mapped;
  expect(outputs).toEqual([
    { resultFormat: 'pickle', result: undefined, resultBytes: BYTES },
    { resultFormat: 'json', result: '"json"', resultBytes: undefined },
  ]);
});

test('a function of Node refuses a pickle before any effect, whichever way it comes', async () => {
  const functionId = await aFunction(Runtime.RUNTIME_NODE);
  const refusal = { kind: 'invalid', message: expect.stringContaining('node') };
  const invoke = client.invokeFunction(InvokeFunctionRequest.fromPartial({ functionId, ...asPickle }), {
    for: owner,
  });
  await expect(invoke).rejects.toMatchObject({ ...refusal, field: 'format' });
  const request = MapFunctionRequest.fromPartial({ functionId, inputs: [asPickle] });
  const map = client.mapFunction(request, { for: owner })[Symbol.asyncIterator]().next();
  await expect(map).rejects.toMatchObject({ ...refusal, field: 'inputs[0].format' });
  const { functionCall } = await client.openFunctionCall({ functionId, webhook: undefined }, { for: owner });
  const { callId } = functionCall!;
  const put = client.putFunctionCallInputs(
    PutFunctionCallInputsRequest.fromPartial({ callId, inputs: [{ index: 0, ...asPickle }] }),
    { for: owner },
  );
  await expect(put).rejects.toMatchObject({ ...refusal, field: 'inputs[0].format' });
  expect((await client.getFunctionCall({ callId }, { for: owner })).functionCall!.numInputs).toBe(0);
});

test('one key is one request, in one format', async () => {
  const functionId = await aFunction();
  const spawn = (change: object) =>
    client.spawnFunction(
      SpawnFunctionRequest.fromPartial({ functionId, payload: Buffer.from('{}'), ...change }),
      { for: owner, idempotencyKey: 'one' },
    );
  const first = await spawn({});
  expect((await spawn({ format: 'json' })).functionCall!.callId).toBe(first.functionCall!.callId);
  await expect(spawn({ format: 'pickle' })).rejects.toMatchObject({ kind: 'precondition' });
});

describe('blobs', () => {
  const store = async (files: Record<string, string>, caller = owner) => {
    const sync = bed.connect(SyncServiceService, 'sync', 'gateway');
    return (await sync.createTreeFromFiles({ files }, { for: caller })).tree!.treeId;
  };
  const inBlob = (blob: string) => ({
    $case: 'success' as const,
    value: { payload: Buffer.alloc(0), format: 'pickle', blob },
  });
  const spawn = (functionId: string, change: object) =>
    client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId, ...change }), { for: owner });

  test('arguments and a result that are elsewhere go by their names, over a retry too', async () => {
    const functionId = await aFunction(Runtime.RUNTIME_PYTHON, 1);
    const [blob, result] = [await store({ value: 'a' }), await store({ value: 'b' })];
    const { callId } = (await spawn(functionId, { blob, format: 'pickle' })).functionCall!;
    const first = await runner.next(functionId);
    expect(first.input).toMatchObject({ format: 'pickle', blob });
    expect(first.input.payload).toHaveLength(0);
    await runner.finished(first.input, newId('ta'), failure('OSError'));
    first.ack();
    const { input } = await runner.next(functionId);
    expect(input).toMatchObject({ attempt: 2, blob });
    await runner.finished(input, newId('ta'), inBlob(result));
    const call = (await client.getFunctionCall({ callId }, { for: owner })).functionCall!;
    expect(call).toMatchObject({
      status: InvocationStatus.INVOCATION_STATUS_SUCCESS,
      result: undefined,
      resultBytes: undefined,
      resultFormat: 'pickle',
      resultBlob: result,
    });
    await expect(resultOf(callId)).rejects.toMatchObject({
      kind: 'precondition',
      message: expect.stringContaining(result),
    });
  });

  test('inputs of a map may be elsewhere, each under its index for good', async () => {
    const functionId = await aFunction();
    const { callId } = (await client.openFunctionCall({ functionId, webhook: undefined }, { for: owner }))
      .functionCall!;
    const put = (blob: string) =>
      client.putFunctionCallInputs(
        PutFunctionCallInputsRequest.fromPartial({ callId, inputs: [{ index: 0, blob }] }),
        { for: owner },
      );
    const blob = await store({ value: 'c' });
    await put(blob);
    expect(await put(blob)).toEqual({ numAccepted: 1 });
    await expect(put(await store({ value: 'd' }))).rejects.toMatchObject({ kind: 'precondition' });
    expect((await runner.next(functionId)).input).toMatchObject({ format: 'json', blob });
  });

  test('a result in a blob waits alone while sync is away', async () => {
    const [first, second] = [await aFunction(), await aFunction()];
    const blob = await store({ value: 'kept' });
    const slow = (await spawn(first, {})).functionCall!.callId;
    const quick = (await spawn(second, {})).functionCall!.callId;
    const statusOf = async (callId: string) =>
      (await client.getFunctionCall({ callId }, { for: owner })).functionCall!.status;
    const [one, two] = [(await runner.next(first)).input, (await runner.next(second)).input];
    syncFaults.away = true;
    const waiting = runner.finished(one, newId('ta'), inBlob(blob));
    await eventually(() => syncFaults.refused > 0);
    await runner.finished(two, newId('ta'), success(1));
    expect(await statusOf(quick)).toBe(InvocationStatus.INVOCATION_STATUS_SUCCESS);
    expect(await statusOf(slow)).not.toBe(InvocationStatus.INVOCATION_STATUS_SUCCESS);
    syncFaults.away = false;
    expect(await waiting).toMatchObject({ verdict: Verdict.VERDICT_ACCEPTED });
    expect(await statusOf(slow)).toBe(InvocationStatus.INVOCATION_STATUS_SUCCESS);
  });

  test('what is no blob of the workspace is refused before any effect', async () => {
    const functionId = await aFunction();
    const foreign = await store({ value: 'x' }, await bed.caller());
    for (const blob of [foreign, newId('tr'), '../x']) {
      await expect(spawn(functionId, { blob })).rejects.toMatchObject({ kind: 'not_found', field: 'blob' });
    }
    const two = await store({ a: '', b: '' });
    await expect(spawn(functionId, { blob: two })).rejects.toMatchObject({ kind: 'invalid', field: 'blob' });
    const node = await aFunction(Runtime.RUNTIME_NODE);
    const blob = await store({ value: 'x' });
    await expect(spawn(node, { blob })).rejects.toMatchObject({ kind: 'invalid', field: 'blob' });
    const both = spawn(functionId, { blob, args: Buffer.from('[]') });
    await expect(both).rejects.toMatchObject({ kind: 'invalid', field: 'blob' });
  });

  test('a container that names a result of another workspace, or no blob, has failed', async () => {
    const functionId = await aFunction();
    const foreign = await store({ value: 'x' }, await bed.caller());
    for (const blob of [foreign, 'nonsense', await store({ a: '', b: '' })]) {
      const { callId } = (await spawn(functionId, {})).functionCall!;
      const { input, ack } = await runner.next(functionId);
      await runner.finished(input, newId('ta'), inBlob(blob));
      ack();
      expect((await client.getFunctionCall({ callId }, { for: owner })).functionCall).toMatchObject({
        status: InvocationStatus.INVOCATION_STATUS_FAILURE,
        error: { type: 'result_invalid' },
        resultBlob: '',
      });
    }
  });
});
