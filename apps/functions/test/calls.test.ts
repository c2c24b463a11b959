/** An input from acceptance to its one outcome, with a runner's line and container events as they come, and as they go wrong. */
import {
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionsServiceService,
  InvocationStatus,
  InvokeFunctionRequest,
  Runtime,
  SpawnFunctionRequest,
  Verdict,
} from '@berth/contracts/functions/v1/functions';
import { ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import { newId, type Database } from '@berth/database';
import { createRelay, encodeShortRoom, SHORT_ROOM } from '@berth/events';
import type { CallContext, ClientOf, RunningService } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { Repair } from '../src/loops/repair';
import { functions } from '../src/service';
import { grantRedelivery, listLongPending, reclaimContainer } from '../src/store/input-store';
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

let names = 0;
const aFunction = async (change: Partial<CreateFunctionRequest> = {}) => {
  const name = `call-${++names}`;
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
const invoke = async (functionId: string, args = '[]', idempotencyKey?: string) =>
  (
    await client.invokeFunction(InvokeFunctionRequest.fromPartial({ functionId, args: Buffer.from(args) }), {
      for: owner,
      timeoutMs: 30_000,
      ...(idempotencyKey ? { idempotencyKey } : {}),
    })
  ).invocation!;
const spawn = async (functionId: string, args = '[]') =>
  (
    await client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId, args: Buffer.from(args) }), {
      for: owner,
    })
  ).functionCall!;
const get = async (callId: string) =>
  (await client.getFunctionCall({ callId }, { for: owner })).functionCall!;
const container = () => newId('ta');

const { INVOCATION_STATUS_SUCCESS: SUCCESS, INVOCATION_STATUS_FAILURE: FAILURE } = InvocationStatus;
const { INVOCATION_STATUS_RUNNING: RUNNING } = InvocationStatus;
const { VERDICT_ACCEPTED: ACCEPTED, VERDICT_STALE: STALE } = Verdict;

test('a call runs in a container and its caller gets the result, bytes untouched', async () => {
  const { functionId } = await aFunction();
  const invoked = invoke(functionId, '[12345678901234567890123]');
  const { input, ack } = await runner.next(functionId);
  expect(input.payload?.toString()).toBe('{"args":[12345678901234567890123],"kwargs":{}}');
  const where = container();
  expect(await runner.started(input, where)).toMatchObject({ verdict: ACCEPTED });
  expect(await get(input.callId)).toMatchObject({ status: RUNNING, containerId: where });
  expect(await runner.finished(input, where, success({ a: 1 }))).toMatchObject({ verdict: ACCEPTED });
  ack();
  const answer = await invoked;
  expect(answer).toMatchObject({ status: SUCCESS, containerId: where, attempts: 1 });
  expect(answer.result?.toString()).toBe('{"a":1}');
  expect(answer.phases.map(({ name }) => name)).toEqual(['queued', 'run', 'record']);
});

test('a start that is said again, as after a broken line, gets the same verdict', async () => {
  const { functionId } = await aFunction();
  await spawn(functionId);
  const { input } = await runner.next(functionId);
  const where = container();
  for (const _ of [1, 2]) expect(await runner.started(input, where)).toMatchObject({ verdict: ACCEPTED });
  expect(await runner.started(input, container())).toMatchObject({ verdict: STALE });
  expect(await runner.finished(input, where, success(1))).toMatchObject({ verdict: ACCEPTED });
});

test('an outcome that overtakes the word that it began is recorded; that word is stale', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  const where = container();
  expect(await runner.finished(input, where, success(1))).toMatchObject({ verdict: ACCEPTED });
  expect(await runner.started(input, where)).toMatchObject({ verdict: STALE });
  expect(await get(callId)).toMatchObject({ status: SUCCESS });
});

test('an outcome is recorded once: a repeat gets the same verdict, another container none', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  const [first, second] = [container(), container()];
  await runner.started(input, first);
  expect(await runner.finished(input, second, success('thief'))).toMatchObject({ verdict: STALE });
  const outcomes = await Promise.all([1, 2, 3].map((n) => runner.finished(input, first, success(n))));
  expect(outcomes.map(({ verdict }) => verdict)).toEqual([ACCEPTED, ACCEPTED, ACCEPTED]);
  expect(await runner.finished(input, first, failure('late'))).toMatchObject({ verdict: ACCEPTED });
  expect(await runner.finished(input, second, success('thief'))).toMatchObject({ verdict: STALE });
  const call = await get(callId);
  expect([call.status, call.result?.toString()]).toEqual([SUCCESS, '1']);
});

test('a call that runs shows how its container came to be, and still does when it is cancelled', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  const where = container();
  const begun = Date.now();
  await runner.started(input, where, false, [
    { name: 'create', startedAt: new Date(begun), durationMs: 30 },
    { name: 'start', startedAt: new Date(begun + 30), durationMs: 200 },
  ]);
  const names = async () => (await get(callId)).phases.map(({ name }) => name);
  expect(await names()).toEqual(['queued', 'create', 'start']);
  await client.cancelFunctionCall({ callId }, { for: owner });
  expect((await names()).slice(0, 3)).toEqual(['queued', 'create', 'start']);
});

test('of twenty that say one input ended, one is recorded', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  const lines = await Promise.all([1, 2, 3, 4].map(() => RunnerLine.attach(bed)));
  const outcomes = await Promise.all(
    lines.flatMap((line) => [1, 2, 3, 4, 5].map(() => line.finished(input, container(), success(1)))),
  );
  expect(outcomes.filter(({ verdict }) => verdict === ACCEPTED)).toHaveLength(1);
  expect((await get(callId)).status).toBe(SUCCESS);
  for (const line of lines) await line.end();
});

test('a failure is tried again under a new attempt as often as was asked, then recorded', async () => {
  const { functionId } = await aFunction({
    retries: 2,
    retryDelay: { first: 0, backoff: undefined, max: undefined },
  });
  const { callId } = await spawn(functionId);
  for (const attempt of [1, 2, 3]) {
    const { input, ack } = await runner.next(functionId);
    expect(input).toMatchObject({ callId, attempt });
    const where = container();
    await runner.started(input, where);
    expect(await runner.finished(input, where, failure('OSError'))).toMatchObject({ verdict: ACCEPTED });
    ack();
  }
  expect(await get(callId)).toMatchObject({ status: FAILURE, attempts: 3, error: { type: 'OSError' } });
});

test('what the queue gives out again is asked for first, and fences off who had it', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const first = await runner.next(functionId);
  const [silent, other] = [container(), container()];
  await runner.started(first.input, silent);
  first.giveBack();

  const second = await runner.next(functionId);
  expect(second.redelivered).toBe(true);
  const verdict = await runner.started(second.input, other, true);
  expect(verdict).toMatchObject({ verdict: ACCEPTED, attempt: 2 });
  // The silent one comes back: too late.
  expect(await runner.finished(first.input, silent, success('old'))).toMatchObject({ verdict: STALE });
  const granted = { ...second.input, attempt: verdict.attempt };
  expect(await runner.finished(granted, other, success('new'))).toMatchObject({ verdict: ACCEPTED });
  const call = await get(callId);
  expect([call.result?.toString(), call.attempts]).toEqual(['"new"', 2]);
  // And once it has ended a redelivery runs nothing.
  expect(await runner.started(second.input, container(), true)).toMatchObject({ verdict: STALE });
});

test('a redelivery of a message that a retry has replaced runs nothing', async () => {
  const { functionId } = await aFunction({
    retries: 1,
    retryDelay: { first: 0, backoff: undefined, max: undefined },
  });
  await spawn(functionId);
  const first = await runner.next(functionId);
  const where = container();
  await runner.started(first.input, where);
  await runner.finished(first.input, where, failure('once')); // Never acknowledged.
  expect(await runner.started(first.input, container(), true)).toMatchObject({ verdict: STALE });
  const second = await runner.next(functionId);
  expect(second.input.attempt).toBe(2);
});

test('what ran in a lost container runs anew, and does not count as a failure', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  await eventually(() => scheduler.containersOf(functionId).length === 1);
  const [lost] = scheduler.containersOf(functionId);
  const { input } = await runner.next(functionId);
  await runner.started(input, lost!.containerId);
  await scheduler.become(lost!, ContainerState.CONTAINER_STATE_LOST);

  const again = await runner.next(functionId);
  expect(again.input).toMatchObject({ inputId: input.inputId, attempt: 2 });
  // The wish was told anew, for the input that is open still: the scheduler fills up on a new revision only.
  await eventually(() => scheduler.containersOf(functionId).some((each) => each !== lost));
  expect(await runner.finished(input, lost!.containerId, success('old'))).toMatchObject({ verdict: STALE });
  const where = container();
  await runner.finished(again.input, where, success('new'));
  expect(await get(callId)).toMatchObject({ status: SUCCESS, attempts: 2 });
});

test('an input that loses its container every time ends as a failure', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  let attempt = input.attempt;
  for (;;) {
    const where = container();
    const granted = await grantRedelivery(
      db,
      { inputId: input.inputId, attempt, containerId: where },
      new Date(),
    );
    if (granted === undefined) throw new Error('it should be open still');
    const { failed } = await db.transact((tx) => reclaimContainer(tx, where));
    if (failed.length > 0) break;
    attempt = granted + 1; // The message that was just published.
    if (attempt > 100) throw new Error('it never ends');
  }
  expect(await get(callId)).toMatchObject({ status: FAILURE, error: { type: 'infrastructure' } });
});

test('a container that fails by the fault of the user ends what waits with that error', async () => {
  const { functionId } = await aFunction();
  const invoked = invoke(functionId);
  await eventually(() => scheduler.containersOf(functionId).length === 1);
  await scheduler.become(scheduler.containersOf(functionId)[0]!, ContainerState.CONTAINER_STATE_FAILED, {
    error: { type: 'init_failed', message: 'SyntaxError: invalid syntax', traceback: 'main.py, line 1' },
  });
  expect(await invoked).toMatchObject({
    status: FAILURE,
    error: { type: 'init_failed', message: 'SyntaxError: invalid syntax', traceback: 'main.py, line 1' },
  });
});

test('trouble of the platform is tried again after rests that grow, and ends after several times in a row', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const failedAt: number[] = [];
  for (let failures = 1; failures <= 5; failures++) {
    const next = await eventually(() => scheduler.containersOf(functionId)[0], 30_000);
    failedAt.push(Date.now());
    await scheduler.become(next, ContainerState.CONTAINER_STATE_FAILED, {
      error: { type: 'infrastructure', message: 'the engine is away', traceback: undefined },
    });
    await eventually(async () => {
      const [pool] = await db.query<{ failures: number }>(
        'SELECT failures FROM pool WHERE function_id = $1',
        [functionId],
      );
      return pool?.failures === failures;
    });
    // From the third on nobody waits for the rest in a test.
    if (failures > 2) {
      await db.query(`UPDATE pool SET failed_at = now() - interval '1 hour' WHERE function_id = $1`, [
        functionId,
      ]);
    }
  }
  await eventually(async () => (await get(callId)).status === FAILURE);
  expect(await get(callId)).toMatchObject({
    error: { type: 'infrastructure', message: 'the engine is away' },
  });
  expect(failedAt[1]! - failedAt[0]!).toBeGreaterThan(1000);
  expect(failedAt[2]! - failedAt[1]!).toBeGreaterThan(2000);
});

test('what cannot be loaded is not tried for nobody, and tried at once for a call', async () => {
  const { functionId } = await aFunction({ minContainers: 1 });
  const fail = async () => {
    const next = await eventually(() => scheduler.containersOf(functionId)[0]);
    await scheduler.become(next, ContainerState.CONTAINER_STATE_FAILED, {
      error: { type: 'init_failed', message: 'SyntaxError', traceback: undefined },
    });
  };
  await fail();
  await eventually(async () => {
    const [pool] = await db.query<{ wish: number; failures: number }>(
      'SELECT wish, failures FROM pool WHERE function_id = $1',
      [functionId],
    );
    return pool?.failures === 1 && pool.wish === 0;
  });
  expect(scheduler.containersOf(functionId)).toEqual([]);
  const invoked = invoke(functionId);
  await fail();
  expect(await invoked).toMatchObject({ status: FAILURE, error: { type: 'init_failed' } });
});

test.each<[string, Buffer, string]>([
  ['no JSON', Buffer.from('1, "status": "success"'), 'json'],
  ['nothing', Buffer.alloc(0), 'json'],
  ['no text', Buffer.from([0x22, 0xff, 0x22]), 'json'],
  ['another format', Buffer.from('1'), 'js\0on'],
])(
  'a container that gives %s for a result has failed: answers embed results as they are',
  async (_, payload, format) => {
    const { functionId } = await aFunction();
    const { callId } = await spawn(functionId);
    const { input } = await runner.next(functionId);
    const outcome = { $case: 'success' as const, value: { payload, format, blob: '' } };
    expect(await runner.finished(input, container(), outcome)).toMatchObject({ verdict: ACCEPTED });
    expect(await get(callId)).toMatchObject({ status: FAILURE, error: { type: 'result_invalid' } });
  },
);

test('user code may say anything: an error that no row can hold is recorded as far as it can be read', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  const where = container();
  const outcome = {
    $case: 'failure' as const,
    value: { type: 'Value\0Error', message: `a\0b \ud800 ${'x'.repeat(1_000_000)}`, traceback: 'main.py\0' },
  };
  expect(await runner.finished(input, where, outcome)).toMatchObject({ verdict: ACCEPTED });
  const { status, error } = await get(callId);
  expect(status).toBe(FAILURE);
  expect(error).toMatchObject({ type: 'Value\ufffdError', traceback: 'main.py\ufffd' });
  expect(error!.message.length).toBeLessThan(100_000);
});

test('what was cancelled while it ran is told to its runner, and its outcome is dropped', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  const where = container();
  await runner.started(input, where);
  await client.cancelFunctionCall({ callId }, { for: owner });
  await eventually(() => runner.cancelled.includes(input.inputId));
  expect(await runner.finished(input, where, success(1))).toMatchObject({ verdict: STALE });
  expect((await get(callId)).status).toBe(InvocationStatus.INVOCATION_STATUS_TERMINATED);
});

test('what begins after it was cancelled is told at once', async () => {
  const { functionId } = await aFunction();
  const { callId } = await spawn(functionId);
  const { input } = await runner.next(functionId);
  await client.cancelFunctionCall({ callId }, { for: owner });
  const before = runner.cancelled.length;
  expect(await runner.started(input, container())).toMatchObject({ verdict: STALE });
  await eventually(() => runner.cancelled.slice(before).includes(input.inputId));
});

test('arguments that are too large for a message travel by reference', async () => {
  const { functionId } = await aFunction();
  const large = JSON.stringify(['x'.repeat(600_000)]);
  await spawn(functionId, large);
  const { input } = await runner.next(functionId);
  expect(input.payload).toBeUndefined();
  const peer = bed.connect(FunctionsServiceService, 'functions', 'runner');
  const { payload, format } = await peer.getInputPayload({ inputId: input.inputId });
  expect([payload.toString(), format]).toEqual([`{"args":${large},"kwargs":{}}`, 'json']);
  await runner.finished(input, container(), success(1));
  await expect(peer.getInputPayload({ inputId: input.inputId })).rejects.toMatchObject({ kind: 'not_found' });
});

test('a caller that goes away leaves its call to go on; one that comes back under its key joins it', async () => {
  const { functionId } = await aFunction();
  const leave = new AbortController();
  const request = InvokeFunctionRequest.fromPartial({ functionId });
  const left = client.invokeFunction(request, { for: owner, idempotencyKey: 'k', signal: leave.signal });
  const { input } = await runner.next(functionId);
  leave.abort();
  await expect(left).rejects.toMatchObject({ kind: 'cancelled' });
  const joined = invoke(functionId, '[]', 'k');
  const where = container();
  await runner.finished(input, where, success('for both'));
  expect((await joined).callId).toBe(input.callId);
  expect((await invoke(functionId, '[]', 'k')).result?.toString()).toBe('"for both"');
});

test('a scheduler that is away is told as soon as it is back', async () => {
  const { functionId } = await aFunction();
  scheduler.away = true;
  await spawn(functionId);
  scheduler.away = false;
  await eventually(() => scheduler.wishOf(functionId)?.containers === 1);
});

test('idle containers make room for those that wait, and busy ones do not', async () => {
  const idle = await aFunction({ scaledownWindow: 3600 });
  const busy = await aFunction({ scaledownWindow: 3600 });
  for (const { functionId } of [idle, busy]) {
    await spawn(functionId);
    await eventually(() => scheduler.wishOf(functionId)?.containers === 1);
  }
  const { input } = await runner.next(idle.functionId);
  await runner.finished(input, container(), success(1));
  // Said again while it is true, as the scheduler does.
  await eventually(() => {
    bed.bus.nats.publish(SHORT_ROOM, encodeShortRoom({ containers: 1000, withCards: 0 }));
    return scheduler.wishOf(idle.functionId)?.containers === 0;
  });
  expect(scheduler.wishOf(busy.functionId)?.containers).toBe(1);
});

test('an input that the queue lost is found', async () => {
  const { functionId } = await aFunction();
  await spawn(functionId);
  await eventually(async () =>
    (await listLongPending(db, new Date(), '', 1000)).some((each) => each.function_id === functionId),
  );
  await bed.bus.manager.streams.purge('BERTH_INPUTS', { filter: `berth.inputs.${functionId}.>` });
  const log = { warn: () => undefined, info: () => undefined, debug: () => undefined } as never;
  const relay = createRelay(db, bed.bus, 'berth_functions', log);
  const repair = new Repair({ db, bus: bed.bus, relay, log } as never);
  await repair.republishUnqueued(new Date());
  const { input } = await runner.next(functionId);
  expect(input).toMatchObject({ functionId, attempt: 2 });
  await relay.stop();
});

test('a service that stops sends its callers away, who join their calls at the next', async () => {
  const { functionId } = await aFunction();
  const waiting = invoke(functionId, '[]', 'over a restart');
  const { input } = await runner.next(functionId);
  const settled = expect(waiting).rejects.toMatchObject({ kind: 'unavailable' });
  await service[Symbol.asyncDispose]();
  await settled;

  service = await bed.start(functions);
  const joined = invoke(functionId, '[]', 'over a restart');
  runner = await RunnerLine.attach(bed);
  await runner.finished(input, container(), success('after all'));
  expect(await joined).toMatchObject({ callId: input.callId, status: SUCCESS });
});
