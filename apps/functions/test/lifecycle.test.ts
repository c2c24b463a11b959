/** Versions and their rollback, deployments of apps, deletion, look-up by name, and apps that end with their client. */
import {
  AppState,
  FindFunctionsRequest,
  InvocationStatus,
  ListAppsRequest,
  ListDeploymentsRequest,
  ListFunctionsRequest,
  ListFunctionVersionsRequest,
  ListInvocationsRequest,
} from '@berth/contracts/functions/v1/functions';
import { newId } from '@berth/database';
import { eventually } from '@berth/testing';
import { Repair } from '../src/loops/repair';
import { success } from './runner-line';
import { World } from './world';

let world: World;
beforeAll(async () => (world = await World.open({ BERTH_EPHEMERAL_SILENCE_SECONDS: '2' })));
afterAll(() => world?.close());

const finish = async (functionId: string, version: number) => {
  const { input, ack } = await world.runner.next(functionId, version);
  await world.runner.finished(input, newId('ta'), success(version));
  ack();
  return input;
};
const versions = async (functionId: string, change: Partial<ListFunctionVersionsRequest> = {}) =>
  world.client.listFunctionVersions(ListFunctionVersionsRequest.fromPartial({ functionId, ...change }), {
    for: world.owner,
  });
const rollback = async (functionId: string, version?: number, idempotencyKey?: string) =>
  (
    await world.client.rollbackFunction(
      { functionId, version },
      { for: world.owner, ...(idempotencyKey ? { idempotencyKey } : {}) },
    )
  ).function!;
const deploy = async (appId: string) =>
  (await world.client.createDeployment({ appId }, { for: world.owner })).deployment!;
const rollbackApp = async (appId: string, number?: number) =>
  (await world.client.rollbackApp({ appId, number }, { for: world.owner })).deployment!;

describe('versions', () => {
  test('are listed newest first with what each changed, page by page', async () => {
    const { functionId } = await world.aFunction();
    await world.anUpdate(functionId, { cpu: 2, env: { A: 'secret' } });
    await world.anUpdate(functionId, { cpu: 2, timeout: 10 });
    const first = await versions(functionId, { limit: 2 });
    expect(first.data).toMatchObject([
      { version: 3, current: true, changed: ['env', 'startup_timeout', 'timeout'] },
      { version: 2, current: false, changed: ['cpu', 'env'] },
    ]);
    expect(JSON.stringify(first)).not.toContain('secret');
    const second = await versions(functionId, { limit: 2, cursor: first.nextCursor });
    expect(second).toMatchObject({ data: [{ version: 1, changed: [] }], nextCursor: '' });
    await expect(
      versions(functionId, { cursor: Buffer.from('x').toString('base64url') }),
    ).rejects.toMatchObject({ kind: 'invalid', field: 'cursor' });
  });

  test('a rollback is one call: new calls run the version before, open ones finish on theirs', async () => {
    const { functionId } = await world.aFunction();
    await world.anUpdate(functionId, { cpu: 2 });
    const open = await world.spawn(functionId);
    expect(await rollback(functionId)).toMatchObject({ version: 1, cpu: 1 });
    const { callId } = await world.spawn(functionId);
    expect(await finish(functionId, 1)).toMatchObject({ callId });
    expect(await finish(functionId, 2)).toMatchObject({ callId: open.callId });
    expect((await versions(functionId)).data).toMatchObject([
      { version: 2, current: false },
      { version: 1, current: true },
    ]);
    // An update after a rollback is a version of its own, and a rollback may go forward.
    expect(await world.anUpdate(functionId, { cpu: 4 })).toMatchObject({ version: 3 });
    expect(await rollback(functionId, 2)).toMatchObject({ version: 2, cpu: 2 });
  });

  test('what is not there cannot be gone back to, and a repeat is the same request', async () => {
    const { functionId } = await world.aFunction();
    await expect(rollback(functionId)).rejects.toMatchObject({ kind: 'precondition', field: 'version' });
    for (const version of [0, 2, -1]) {
      await expect(rollback(functionId, version)).rejects.toMatchObject({
        kind: 'not_found',
        field: 'version',
      });
    }
    for (const cpu of [2, 3]) await world.anUpdate(functionId, { cpu });
    for (const _ of [1, 2])
      expect(await rollback(functionId, undefined, 'once')).toMatchObject({ version: 2 });
  });

  test('a version whose pool was retired runs again, and of two at once each is whole', async () => {
    const { functionId } = await world.aFunction();
    await world.spawn(functionId);
    await finish(functionId, 1);
    await world.anUpdate(functionId, { cpu: 2 });
    const context = { ...world, bus: world.bed.bus, log: console } as never;
    await eventually(async () => {
      await (new Repair(context) as unknown as { retire(): Promise<void> }).retire();
      const [pool] = await world.db.query(
        'SELECT retired_at FROM pool WHERE function_id = $1 AND version = 1',
        [functionId],
      );
      return pool?.retired_at;
    });
    await rollback(functionId);
    const { callId } = await world.spawn(functionId);
    expect(await finish(functionId, 1)).toMatchObject({ callId });
    await eventually(
      async () => (await world.call(callId)).status === InvocationStatus.INVOCATION_STATUS_SUCCESS,
    );

    const both = await Promise.all([
      world.anUpdate(functionId, { cpu: 5 }),
      world.anUpdate(functionId, { cpu: 6 }),
    ]);
    expect(both.map(({ version }) => version).sort()).toEqual([3, 4]);
  });

  test('the minimum goes with the current version', async () => {
    const { functionId } = await world.aFunction({ minContainers: 2 });
    await eventually(() => world.scheduler.wishOf(functionId)?.containers === 2);
    await world.anUpdate(functionId, {});
    await eventually(() => world.scheduler.wishOf(functionId)?.containers === 0);
    await rollback(functionId);
    await eventually(() => world.scheduler.wishOf(functionId)?.containers === 2);
  });
});

describe('deployments', () => {
  test('take all functions of an app back together, and each further one goes back further', async () => {
    const { appId } = await world.anApp();
    await expect(rollbackApp(appId)).rejects.toMatchObject({ kind: 'precondition' });
    const one = await world.aFunction({ appId });
    const two = await world.aFunction({ appId });
    expect(await deploy(appId)).toMatchObject({ number: 1, rollbackOf: undefined });
    await expect(rollbackApp(appId)).rejects.toMatchObject({ kind: 'precondition' });
    for (const { functionId } of [one, two]) await world.anUpdate(functionId, { cpu: 2 });
    expect(await deploy(appId)).toMatchObject({ number: 2 });
    expect(await deploy(appId)).toMatchObject({ number: 2 }); // Nothing is new.
    await world.anUpdate(one.functionId, { cpu: 3 });
    const late = await world.aFunction({ appId });
    expect((await deploy(appId)).functions).toHaveLength(3);

    const back = await rollbackApp(appId);
    expect(back).toMatchObject({ number: 4, rollbackOf: 2 });
    expect(back.functions.map(({ functionId, version }) => [functionId, version])).toEqual([
      [one.functionId, 2],
      [two.functionId, 2],
      [late.functionId, 1],
    ]);
    expect(await rollbackApp(appId)).toMatchObject({ number: 5, rollbackOf: 1 });
    expect(await rollbackApp(appId, 3)).toMatchObject({ number: 6, rollbackOf: 3 });
    await expect(rollbackApp(appId, 99)).rejects.toMatchObject({ kind: 'not_found', field: 'number' });

    const request = ListDeploymentsRequest.fromPartial({ appId, limit: 4 });
    const page = await world.client.listDeployments(request, { for: world.owner });
    expect(page.data.map(({ number }) => number)).toEqual([6, 5, 4, 3]);
    const rest = await world.client.listDeployments(
      { ...request, cursor: page.nextCursor },
      { for: world.owner },
    );
    expect(rest.data.map(({ number }) => number)).toEqual([2, 1]);
  });

  test('bring a function back that was deleted since, unless another has its name', async () => {
    const { appId } = await world.anApp();
    const { functionId, name } = await world.aFunction({ appId });
    await deploy(appId);
    await world.client.deleteFunction({ functionId }, { for: world.owner });
    const usurper = await world.aFunction({ appId, name });
    await deploy(appId);
    await expect(rollbackApp(appId)).rejects.toMatchObject({ kind: 'precondition' });
    await world.client.deleteFunction({ functionId: usurper.functionId }, { for: world.owner });
    expect((await rollbackApp(appId)).functions).toMatchObject([{ functionId, name, version: 1 }]);
    await world.spawn(functionId);
    await finish(functionId, 1);
  });

  test('of two at once each has a number of its own', async () => {
    const { appId } = await world.anApp();
    const { functionId } = await world.aFunction({ appId });
    await deploy(appId);
    await world.anUpdate(functionId, { cpu: 2 });
    const made = await Promise.all([deploy(appId), deploy(appId), deploy(appId)]);
    expect(made.map(({ number }) => number)).toEqual([2, 2, 2]);
    const back = await Promise.all([rollbackApp(appId, 1), rollbackApp(appId, 2)]);
    expect(back.map(({ number }) => number).sort()).toEqual([3, 4]);
  });
});

describe('a deleted function', () => {
  test('takes no more, ends what it has, leaves its name, and its calls stay readable', async () => {
    const { appId } = await world.anApp();
    const { functionId, name } = await world.aFunction({ appId, minContainers: 1 });
    await world.spawn(functionId);
    const done = await finish(functionId, 1);
    const { callId } = await world.spawn(functionId);
    await eventually(() => world.scheduler.wishOf(functionId)?.containers === 1);
    for (const _ of [1, 2]) await world.client.deleteFunction({ functionId }, { for: world.owner });

    expect(await world.call(callId)).toMatchObject({
      status: InvocationStatus.INVOCATION_STATUS_TERMINATED,
      error: { type: 'cancelled', message: 'The function was deleted.' },
    });
    await eventually(() => world.scheduler.wishOf(functionId)?.containers === 0);
    for (const attempt of [world.spawn(functionId), world.anUpdate(functionId), rollback(functionId)]) {
      await expect(attempt).rejects.toMatchObject({ kind: 'precondition' });
    }
    const got = await world.client.getFunction({ functionId }, { for: world.owner });
    expect(got.function!.deletedAt).toBeInstanceOf(Date);
    const listed = await world.client.listInvocations(ListInvocationsRequest.fromPartial({ functionId }), {
      for: world.owner,
    });
    expect(listed.data.map((each) => each.callId).sort()).toEqual([done.callId, callId].sort());
    const functions = await world.client.listFunctions(ListFunctionsRequest.fromPartial({ appId }), {
      for: world.owner,
    });
    expect(functions.data).toEqual([]);
    const again = await world.aFunction({ appId, name });
    expect(again.functionId).not.toBe(functionId);
    expect(again.version).toBe(1);
  });

  test('a retry that waits is terminated with it', async () => {
    const { functionId } = await world.aFunction({
      retries: 1,
      retryDelay: { first: 60, backoff: 1, max: 60 },
    });
    const { callId } = await world.spawn(functionId);
    const { input, ack } = await world.runner.next(functionId);
    await world.runner.finished(input, newId('ta'), {
      $case: 'failure',
      value: { type: 'E', message: 'm', traceback: undefined },
    });
    ack();
    await world.client.deleteFunction({ functionId }, { for: world.owner });
    expect((await world.call(callId)).status).toBe(InvocationStatus.INVOCATION_STATUS_TERMINATED);
  });
});

describe('look-up by name', () => {
  const find = async (change: Partial<FindFunctionsRequest>, caller = world.owner) =>
    (await world.client.findFunctions(FindFunctionsRequest.fromPartial(change), { for: caller })).data.map(
      ({ functionId }) => functionId,
    );

  test('finds by exact names in an environment, and only what is deployed and of this workspace', async () => {
    const app = await world.anApp();
    const prod = await world.anApp({ name: app.name, environment: 'prod' });
    const trial = await world.anApp({ name: app.name, ephemeral: true });
    const here = await world.aFunction({ appId: app.appId, name: 'run' });
    const there = await world.aFunction({ appId: prod.appId, name: 'run' });
    await world.aFunction({ appId: trial.appId, name: 'run' });
    expect(await find({ app: app.name, name: 'run' })).toEqual([here.functionId]);
    expect(await find({ app: app.name, name: 'run', environment: 'prod' })).toEqual([there.functionId]);
    expect(await find({ app: app.name, name: 'ru' })).toEqual([]);
    expect(await find({ app: app.name }, await world.bed.caller())).toEqual([]);
    await expect(find({ environment: 'nowhere' })).rejects.toMatchObject({
      kind: 'not_found',
      field: 'environment',
    });
    await world.client.deleteFunction({ functionId: here.functionId }, { for: world.owner });
    expect(await find({ app: app.name, name: 'run' })).toEqual([]);
  });
});

describe('an ephemeral app', () => {
  const heartbeat = (appId: string, caller = world.owner) =>
    world.client.sendHeartbeat({ appId }, { for: caller });

  test('lives while its client is heard, then is stopped with all it has', async () => {
    const { appId, state, name } = await world.anApp({ ephemeral: true });
    expect(state).toBe(AppState.APP_STATE_EPHEMERAL);
    await world.anApp({ ephemeral: true, name });
    await world.anApp({ name });
    const { functionId } = await world.aFunction({ appId });
    const { callId } = await world.spawn(functionId);
    const until = Date.now() + 3000;
    await eventually(async () => {
      expect((await heartbeat(appId)).app).toMatchObject({ state: AppState.APP_STATE_EPHEMERAL });
      return Date.now() > until;
    });
    await eventually(async () => {
      const { app } = await world.client.getApp({ appId }, { for: world.owner });
      return app!.state === AppState.APP_STATE_STOPPED;
    });
    expect((await world.call(callId)).status).toBe(InvocationStatus.INVOCATION_STATUS_TERMINATED);
    await expect(heartbeat(appId)).rejects.toMatchObject({ kind: 'precondition' });
  });

  test('a deployed app needs no heartbeat, and is not taken for one', async () => {
    const { appId } = await world.anApp();
    await expect(heartbeat(appId)).rejects.toMatchObject({ kind: 'precondition' });
    const ephemeral = AppState.APP_STATE_EPHEMERAL;
    const listed = await world.client.listApps(ListAppsRequest.fromPartial({ state: ephemeral }), {
      for: world.owner,
    });
    expect(listed.data.map((app) => app.appId)).not.toContain(appId);
  });
});

test("another workspace's things are not found", async () => {
  const stranger = await world.bed.caller();
  const { appId, functionId } = await world.aFunction();
  const as = { for: stranger };
  const attempts = [
    world.client.deleteFunction({ functionId }, as),
    world.client.listFunctionVersions(ListFunctionVersionsRequest.fromPartial({ functionId }), as),
    world.client.rollbackFunction({ functionId, version: 1 }, as),
    world.client.createDeployment({ appId }, as),
    world.client.listDeployments(ListDeploymentsRequest.fromPartial({ appId }), as),
    world.client.rollbackApp({ appId, number: 1 }, as),
    world.client.sendHeartbeat({ appId }, as),
  ];
  for (const attempt of await Promise.allSettled(attempts)) {
    expect(attempt).toMatchObject({ status: 'rejected', reason: { kind: 'not_found' } });
  }
});
