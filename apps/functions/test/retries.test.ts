/** Inputs that failed and wait to be tried again. */
import { InvocationStatus, Verdict } from '@berth/contracts/functions/v1/functions';
import { newId } from '@berth/database';
import { eventually } from '@berth/testing';
import { failure, success } from './runner-line';
import { World } from './world';

let world: World;
beforeAll(async () => (world = await World.open()));
afterAll(() => world?.close());

const { INVOCATION_STATUS_SUCCESS: SUCCESS, INVOCATION_STATUS_FAILURE: FAILURE } = InvocationStatus;
const { INVOCATION_STATUS_PENDING: PENDING, INVOCATION_STATUS_TERMINATED: TERMINATED } = InvocationStatus;
const seconds = (first: number, backoff = 2, max = 60) => ({ first, backoff, max });

/** Takes the next input of the function and fails it. */
const failNext = async (functionId: string, type = 'ValueError', version = 1) => {
  const { input, ack } = await world.runner.next(functionId, version);
  const where = newId('ta');
  await world.runner.started(input, where);
  expect(await world.runner.finished(input, where, failure(type))).toMatchObject({
    verdict: Verdict.VERDICT_ACCEPTED,
  });
  ack();
  return { input, where, at: Date.now() };
};

test('a failed input waits for its delay, then for longer, and ends with its last error', async () => {
  const { functionId } = await world.aFunction({ retries: 2, retryDelay: seconds(0.3, 3) });
  const { callId } = await world.spawn(functionId);
  const first = await failNext(functionId);
  expect((await world.call(callId)).waiting).toMatch(
    /^It will be tried again at \d{4}-.*Z, attempt 2 of 3, because ValueError: it was ValueError$/,
  );
  const second = await failNext(functionId);
  expect(second.at - first.at).toBeGreaterThanOrEqual(290);
  expect(second.input.attempt).toBe(2);
  const third = await failNext(functionId, 'KeyError');
  expect(third.at - second.at).toBeGreaterThanOrEqual(890);
  expect(await world.call(callId)).toMatchObject({
    status: FAILURE,
    error: { type: 'KeyError' },
    attempts: 3,
  });
});

test('a delay of nothing is no wait, and a delay has a largest value', async () => {
  const { functionId } = await world.aFunction({ retries: 2, retryDelay: seconds(0.2, 10, 0.3) });
  const { callId } = await world.spawn(functionId);
  await failNext(functionId);
  const second = await failNext(functionId);
  const third = await failNext(functionId);
  expect(third.at - second.at).toBeLessThan(2000);
  expect(await world.call(callId)).toMatchObject({ status: FAILURE });

  const none = await world.aFunction({ retries: 1, retryDelay: seconds(0) });
  const call = await world.spawn(none.functionId);
  await failNext(none.functionId);
  expect((await world.call(call.callId)).waiting).not.toContain('tried again');
  await failNext(none.functionId);
});

test('while it waits no container is kept for it, and it needs none to be asked for before', async () => {
  const { functionId } = await world.aFunction({
    retries: 1,
    retryDelay: seconds(3600, 1, 3600),
    scaledownWindow: 1,
  });
  await world.spawn(functionId);
  await eventually(() => world.scheduler.wishOf(functionId)?.containers === 1);
  await failNext(functionId);
  await eventually(() => world.scheduler.wishOf(functionId)?.containers === 0);
});

test('it asks for a container again when it is due', async () => {
  const { functionId } = await world.aFunction({
    retries: 1,
    // Long enough for a slow machine to see that none is wished for meanwhile.
    retryDelay: seconds(9, 1),
    scaledownWindow: 1,
  });
  await world.spawn(functionId);
  await failNext(functionId);
  await eventually(() => world.scheduler.wishOf(functionId)?.containers === 0);
  await eventually(() => world.scheduler.wishOf(functionId)?.containers === 1, 20_000);
});

test('a late word of the attempt that failed is stale, and a cancelled wait is over', async () => {
  const { functionId } = await world.aFunction({ retries: 1, retryDelay: seconds(0.5) });
  const { callId } = await world.spawn(functionId);
  const { input, where } = await failNext(functionId);
  expect(await world.runner.finished(input, where, success('late'))).toMatchObject({
    verdict: Verdict.VERDICT_STALE,
  });
  expect(await world.call(callId)).toMatchObject({ status: PENDING });
  const cancelled = await world.client.cancelFunctionCall({ callId }, { for: world.owner });
  expect(cancelled.functionCall).toMatchObject({ status: TERMINATED });
  const [row] = await world.db.query('SELECT due_at FROM input WHERE call_id = $1', [callId]);
  expect(row).toEqual({ due_at: null });
});

test('two that look at once make one message, and one that was lost with its process is found', async () => {
  const { functionId } = await world.aFunction({ retries: 1, retryDelay: seconds(0.1) });
  const { callId } = await world.spawn(functionId);
  await using second = await world.restart({ BERTH_FUNCTIONS_ADDRESS: `unix:${world.bed.dataDir}/two.sock` });
  expect(second.address).toContain('two.sock');
  const { input, ack } = await world.runner.next(functionId);
  const where = newId('ta');
  await world.runner.started(input, where);
  await world.runner.finished(input, where, failure('ValueError'));
  ack();
  const again = await world.runner.next(functionId);
  expect(again.input.attempt).toBe(2);
  await world.runner.finished(again.input, where, success(1));
  again.ack();
  expect(await world.call(callId)).toMatchObject({ status: SUCCESS, attempts: 2 });
  const info = await world.bed.bus.manager.consumers.info('BERTH_INPUTS', `${functionId}-1`);
  expect(info.num_pending).toBe(0);

  // As a process leaves it that died after the commit: nobody's timer knows of it.
  const { callId: orphan } = await world.spawn(functionId);
  const taken = await world.runner.next(functionId);
  taken.ack();
  await world.db.query(
    `UPDATE input SET attempt = 2, published_attempt = 2, failures = 1, due_at = now(), last_error = '{}' WHERE call_id = $1`,
    [orphan],
  );
  const found = await world.runner.next(functionId);
  expect(found.input).toMatchObject({ callId: orphan, attempt: 2 });
  found.ack();
});
