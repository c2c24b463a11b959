/** Apps, functions and calls as callers see them; the peers are small stand-ins on real gRPC. */
import {
  AppState,
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionDefinition,
  FunctionsServiceService,
  InvocationStatus,
  InvokeFunctionRequest,
  ListAppsRequest,
  ListFunctionsRequest,
  ListInvocationsRequest,
  Runtime,
  SpawnFunctionRequest,
  StreamFunctionCallLogsRequest,
  StreamFunctionLogsRequest,
  StreamLogsRequest,
} from '@berth/contracts/functions/v1/functions';
import { drift, newId } from '@berth/database';
import { encodeLog } from '@berth/events';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { ask, eventually, testBed, type TestBed } from '@berth/testing';
import { functions } from '../src/service';
import { RunnerLine, success } from './runner-line';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

type Client = ClientOf<typeof FunctionsServiceService>;

let bed: TestBed;
let client: Client;
let owner: CallContext;
const scheduler = new SchedulerStandIn(() => bed);

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(syncStandIn());
  await bed.start(scheduler.module);
  await bed.start(functions);
  client = bed.connect(FunctionsServiceService, 'functions', 'gateway');
  owner = await bed.caller();
});
afterAll(() => bed?.close());

let names = 0;
const aName = () => `thing-${++names}`;
const anApp = async (caller = owner, name = aName()) =>
  (await client.createApp(CreateAppRequest.fromPartial({ name }), { for: caller })).app!;
const aDefinition = {
  runtime: Runtime.RUNTIME_PYTHON,
  handler: 'main:run',
  files: { 'main.py': 'def run(x): return x' },
};
const createFunction = (
  appId: string,
  change: Partial<CreateFunctionRequest> = {},
  { caller = owner, idempotencyKey }: { caller?: CallContext; idempotencyKey?: string } = {},
) =>
  client.createFunction(
    CreateFunctionRequest.fromPartial({ appId, name: aName(), ...aDefinition, ...change }),
    { for: caller, ...(idempotencyKey ? { idempotencyKey } : {}) },
  );
const aFunction = async (change: Partial<CreateFunctionRequest> = {}) => {
  const app = await anApp();
  return { app, ...(await createFunction(app.appId, change)).function! };
};
const spawn = (functionId: string, args = '[]', idempotencyKey?: string, caller = owner) =>
  client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId, args: Buffer.from(args) }), {
    for: caller,
    ...(idempotencyKey ? { idempotencyKey } : {}),
  });

test('migrations and entities agree', async () => {
  expect(await drift({ ...functions.database!, url: bed.env.BERTH_FUNCTIONS_POSTGRES_URL! })).toEqual([]);
});

describe('apps', () => {
  test('live in an environment, and a live name is unique there', async () => {
    const app = await anApp(owner, 'unique');
    expect(app).toMatchObject({ name: 'unique', environment: 'main', state: AppState.APP_STATE_DEPLOYED });
    await expect(anApp(owner, 'unique')).rejects.toMatchObject({ kind: 'conflict', field: 'name' });
    const prod = CreateAppRequest.fromPartial({ name: 'unique', environment: 'prod', tags: { team: 'a' } });
    expect((await client.createApp(prod, { for: owner })).app).toMatchObject({ tags: { team: 'a' } });
    await anApp(await bed.caller(), 'unique'); // Another workspace has its own names.

    await client.stopApp({ appId: app.appId }, { for: owner });
    const again = await anApp(owner, 'unique'); // A stopped app leaves its name.
    expect(again.appId).not.toBe(app.appId);
  });

  test('an environment that is not there is named by the field that the caller wrote', async () => {
    const request = CreateAppRequest.fromPartial({ name: aName(), environment: 'nowhere' });
    await expect(client.createApp(request, { for: owner })).rejects.toMatchObject({
      kind: 'not_found',
      field: 'environment',
    });
  });

  test('of ten that are made at once under one name, one is; under one key all ten are one', async () => {
    const raced = await Promise.allSettled(Array.from({ length: 10 }, () => anApp(owner, 'race')));
    expect(raced.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const request = CreateAppRequest.fromPartial({ name: 'repeated' });
    const repeated = await Promise.all(
      Array.from({ length: 10 }, () => client.createApp(request, { for: owner, idempotencyKey: 'app' })),
    );
    expect(new Set(repeated.map(({ app }) => app!.appId)).size).toBe(1);
  });

  test('are listed newest first, page by page, by environment, state and name', async () => {
    const caller = await bed.caller();
    const made = [];
    for (let index = 0; index < 5; index++) made.push((await anApp(caller, `app-${index}`)).appId);
    await client.stopApp({ appId: made[0]! }, { for: caller });
    const list = (filter: object) => client.listApps(ListAppsRequest.fromPartial(filter), { for: caller });

    const first = await list({ limit: 3 });
    const second = await list({ limit: 3, cursor: first.nextCursor });
    expect([...first.data, ...second.data].map(({ appId }) => appId)).toEqual([...made].reverse());
    expect(second.nextCursor).toBe('');
    expect((await list({ state: AppState.APP_STATE_STOPPED })).data).toMatchObject([{ appId: made[0] }]);
    expect((await list({ name: 'app-3' })).data).toMatchObject([{ appId: made[3] }]);
    expect((await list({ environment: 'prod' })).data).toEqual([]);
    await expect(list({ limit: 101 })).rejects.toMatchObject({ kind: 'invalid', field: 'limit' });
    await expect(list({ cursor: '!' })).rejects.toMatchObject({ kind: 'invalid', field: 'cursor' });
  });

  test.each(['', 'a b', '-a', 'x'.repeat(64), 'a/b', 'ü'])('the name %j is refused', async (name) => {
    await expect(anApp(owner, name)).rejects.toMatchObject({ kind: 'invalid', field: 'name' });
  });

  test('a stopped app takes no functions and no calls, and stopping it again changes nothing', async () => {
    const { app, functionId } = await aFunction();
    const { functionCall } = await spawn(functionId);
    await eventually(() => scheduler.wishOf(functionId)?.containers === 1);
    await client.stopApp({ appId: app.appId }, { for: owner });
    await client.stopApp({ appId: app.appId }, { for: owner });
    expect((await client.getApp({ appId: app.appId }, { for: owner })).app?.state).toBe(
      AppState.APP_STATE_STOPPED,
    );
    const { callId } = functionCall!;
    expect((await client.getFunctionCall({ callId }, { for: owner })).functionCall).toMatchObject({
      status: InvocationStatus.INVOCATION_STATUS_TERMINATED,
      error: { type: 'cancelled' },
    });
    await expect(spawn(functionId)).rejects.toMatchObject({ kind: 'precondition' });
    await expect(createFunction(app.appId)).rejects.toMatchObject({ kind: 'precondition' });
    await eventually(() => scheduler.wishOf(functionId)?.containers === 0);
  });
});

describe('functions', () => {
  test('have a version, which an update makes the next', async () => {
    const made = await aFunction({ name: 'versioned', gpu: ['h100:2', 'any'], env: { SECRET: 'x' } });
    expect(made).toMatchObject({ version: 1, cpu: 1, memory: 256, gpu: ['H100:2', 'any'], retries: 0 });
    const { functionId } = made;
    const update = () =>
      client.updateFunction(
        { functionId, definition: FunctionDefinition.fromPartial({ ...aDefinition, memory: 512 }) },
        { for: owner, idempotencyKey: 'update' },
      );
    const [updated, repeated] = await Promise.all([update(), update()]);
    expect(updated.function).toMatchObject({ functionId, version: 2, memory: 512 });
    expect(repeated.function).toEqual(updated.function);
    expect((await client.getFunction({ functionId }, { for: owner })).function).toEqual(updated.function);
    // What is as it was makes no version: the source is the same tree, given by its id.
    const same = FunctionDefinition.fromPartial({
      ...aDefinition,
      files: {},
      source: updated.function!.source,
      memory: 512,
    });
    const again = await client.updateFunction({ functionId, definition: same }, { for: owner });
    expect(again.function).toEqual(updated.function);
  });

  test('source is given inline or as a tree, and the handler is in it', async () => {
    const { appId } = await anApp();
    const made = (await createFunction(appId)).function!;
    const fromTree = await createFunction(appId, { files: {}, source: made.source });
    expect(fromTree.function?.source).toBe(made.source);
    const refused = (change: Partial<CreateFunctionRequest>) => expect(createFunction(appId, change)).rejects;
    await refused({ source: made.source }).toMatchObject({ kind: 'invalid', field: 'source' });
    await refused({ files: {}, source: newId('tr') }).toMatchObject({ kind: 'not_found', field: 'source' });
    await refused({ files: {} }).toMatchObject({ kind: 'invalid', field: 'files' });
    await refused({ handler: 'other:run' }).toMatchObject({ kind: 'invalid', field: 'handler' });
    await refused({ files: {}, source: made.source, handler: 'other:run' }).toMatchObject({
      kind: 'invalid',
      field: 'handler',
    });
  });

  test('a name is unique in its app, and a repeat under one key is the same function', async () => {
    const { appId } = await anApp();
    await createFunction(appId, { name: 'once' });
    await expect(createFunction(appId, { name: 'once' })).rejects.toMatchObject({
      kind: 'conflict',
      field: 'name',
    });
    const keyed = () => createFunction(appId, { name: 'keyed' }, { idempotencyKey: `key ${appId}` });
    const [first, second] = await Promise.all([keyed(), keyed()]);
    expect(second.function).toEqual(first.function);
    const { data } = await client.listFunctions(ListFunctionsRequest.fromPartial({ appId }), { for: owner });
    expect(data.map(({ name }) => name)).toEqual(['keyed', 'once']);
  });

  test('one with a minimum has its containers from the start, until a new version has none', async () => {
    const { functionId } = await aFunction({ minContainers: 2 });
    await eventually(() => scheduler.wishOf(functionId)?.containers === 2);
    const definition = FunctionDefinition.fromPartial(aDefinition);
    await client.updateFunction({ functionId, definition }, { for: owner });
    await eventually(() => scheduler.wishOf(functionId)?.containers === 0);
  });
});

describe('volumes', () => {
  test('are those of the app’s environment, and one that is not there is refused before any effect', async () => {
    const { appId } = await anApp();
    const refusal = { kind: 'not_found', field: 'volumes', message: expect.stringContaining('prod') };
    await expect(createFunction(appId, { name: 'f', volumes: { '/data': 'prod' } })).rejects.toMatchObject(
      refusal,
    );
    const volumes = { '/data': 'main' };
    const made = (await createFunction(appId, { name: 'f', volumes, minContainers: 1 })).function!;
    const { spec } = await eventually(() => scheduler.wishOf(made.functionId));
    expect(spec).toMatchObject({ volumes, environment: 'main' });
  });

  test.each<[string, Record<string, string>]>([
    ['a relative path', { data: 'main' }],
    ['a path of the platform', { '/berth/source': 'main' }],
    ['a path of the system', { '/proc/data': 'main' }],
    ['a path in another volume', { '/a': 'main', '/a/b': 'other' }],
    ['one volume at two paths', { '/a': 'main', '/b': 'main' }],
  ])('at %s are refused', async (_, volumes) => {
    const { appId } = await anApp();
    await expect(createFunction(appId, { volumes })).rejects.toMatchObject({
      kind: 'invalid',
      field: 'volumes',
    });
  });
});

describe('secrets', () => {
  test('are those of the app’s environment, and one that is not there is refused before any effect', async () => {
    const { appId } = await anApp();
    const prod = (
      await client.createApp(CreateAppRequest.fromPartial({ name: aName(), environment: 'prod' }), {
        for: owner,
      })
    ).app!;
    const refusal = { kind: 'not_found', field: 'secrets', message: expect.stringContaining('prod') };
    await expect(createFunction(appId, { name: 'f', secrets: ['main', 'prod'] })).rejects.toMatchObject(
      refusal,
    );
    const made = (await createFunction(appId, { name: 'f', secrets: ['main'], minContainers: 1 })).function!;
    expect(made.secrets).toEqual(['main']);
    await createFunction(prod.appId, { secrets: ['prod'] });

    const update = (secrets: string[]) =>
      client.updateFunction(
        {
          functionId: made.functionId,
          definition: FunctionDefinition.fromPartial({ ...aDefinition, secrets }),
        },
        { for: owner },
      );
    await expect(update(['prod'])).rejects.toMatchObject(refusal);
    expect((await update([])).function).toMatchObject({ version: 2, secrets: [] });
    const { spec } = await eventually(() => scheduler.wishOf(made.functionId));
    expect(spec).toMatchObject({ secrets: ['main'], environment: 'main', env: {} });
  });
});

describe('calls', () => {
  test('spawn answers at once; the wish follows', async () => {
    const { functionId } = await aFunction();
    const { functionCall } = await spawn(functionId, '[1]');
    expect(functionCall).toMatchObject({ status: InvocationStatus.INVOCATION_STATUS_PENDING, attempts: 1 });
    await eventually(() => scheduler.wishOf(functionId)?.containers === 1);
    await eventually(async () => {
      const { callId } = functionCall!;
      const { functionCall: seen } = await client.getFunctionCall({ callId }, { for: owner });
      return seen?.waiting === 'No node has such a card.';
    });
  });

  test('a key is one call, at once and later; with other arguments it is refused', async () => {
    const { functionId } = await aFunction();
    const made = await Promise.all(Array.from({ length: 8 }, () => spawn(functionId, '[1]', 'key')));
    expect(new Set(made.map(({ functionCall }) => functionCall!.callId)).size).toBe(1);
    await expect(spawn(functionId, '[2]', 'key')).rejects.toMatchObject({
      kind: 'precondition',
      field: 'Idempotency-Key',
    });
    const other = await aFunction();
    expect((await spawn(other.functionId, '[2]', 'key')).functionCall?.functionId).toBe(other.functionId);
  });

  test('arguments of another kind are refused before anything is written', async () => {
    const { functionId } = await aFunction();
    await expect(spawn(functionId, '{"x": 1}')).rejects.toMatchObject({ kind: 'invalid', field: 'args' });
    const list = ListInvocationsRequest.fromPartial({ functionId });
    expect((await client.listInvocations(list, { for: owner })).data).toEqual([]);
  });

  test('are listed newest first', async () => {
    const { functionId } = await aFunction();
    const made = [];
    for (let index = 0; index < 3; index++) made.push((await spawn(functionId)).functionCall!.callId);
    const page = (cursor: string) =>
      client.listInvocations(ListInvocationsRequest.fromPartial({ functionId, limit: 2, cursor }), {
        for: owner,
      });
    const first = await page('');
    const second = await page(first.nextCursor);
    expect([...first.data, ...second.data].map(({ callId }) => callId)).toEqual(made.reverse());
  });

  test('a page of calls with large results is as short as it must be, and the next goes on', async () => {
    const { functionId } = await aFunction();
    const runner = await RunnerLine.attach(bed);
    const made = [];
    for (let index = 0; index < 3; index++) {
      made.push((await spawn(functionId)).functionCall!.callId);
      const { input, ack } = await runner.next(functionId);
      await runner.finished(input, newId('ta'), success('x'.repeat(12 * 1024 * 1024)));
      ack();
    }
    await runner.end();
    const listed: string[] = [];
    let cursor = '';
    do {
      const request = ListInvocationsRequest.fromPartial({ functionId, cursor });
      const page = await client.listInvocations(request, { for: owner });
      listed.push(...page.data.map(({ callId }) => callId));
      cursor = page.nextCursor;
    } while (cursor);
    expect(listed).toEqual(made.reverse());
  });

  test('a cancelled call is terminated, stays so, and leaves the queue', async () => {
    const { functionId } = await aFunction();
    const { callId } = (await spawn(functionId)).functionCall!;
    const invoked = client.invokeFunction(InvokeFunctionRequest.fromPartial({ functionId }), { for: owner });
    const pending = await eventually(async () => {
      const { data } = await client.listInvocations(ListInvocationsRequest.fromPartial({ functionId }), {
        for: owner,
      });
      return data.length === 2 && data[0];
    });
    for (const id of [callId, pending.callId, callId]) {
      const { functionCall } = await client.cancelFunctionCall({ callId: id }, { for: owner });
      expect(functionCall?.status).toBe(InvocationStatus.INVOCATION_STATUS_TERMINATED);
    }
    expect((await invoked).invocation).toMatchObject({
      callId: pending.callId,
      status: InvocationStatus.INVOCATION_STATUS_TERMINATED,
    });
    await eventually(async () => {
      const { state } = await bed.bus.manager.streams.info('BERTH_INPUTS', {
        subjects_filter: `berth.inputs.${functionId}.>`,
      });
      return Object.keys(state.subjects ?? {}).length === 0;
    });
  });
});

describe('logs', () => {
  test('of a function and of a call, from a time on, before one, and the last ones', async () => {
    const { functionId, appId } = await aFunction();
    const workspaceId = (owner.principal as { workspaceId: string }).workspaceId;
    const { callId } = (await spawn(functionId)).functionCall!;
    const begun = Date.now();
    for (let n = 0; n < 5; n++) {
      const line = { workspaceId, appId, functionId, containerId: newId('ta'), callId: n < 2 ? callId : '' };
      const { subject, headers, data } = encodeLog({
        ...line,
        time: new Date(begun + n * 10),
        stream: 'stdout',
        text: `line ${n}`,
      });
      await bed.bus.jetstream.publish(subject, data, { headers });
    }
    const read = async (lines: AsyncIterable<{ line?: { text: string } | undefined }>) => {
      const texts = [];
      for await (const { line } of lines) texts.push(line!.text);
      return texts;
    };
    const ofFunction = (change: Partial<StreamFunctionLogsRequest>, caller = owner) =>
      read(
        client.streamFunctionLogs(StreamFunctionLogsRequest.fromPartial({ functionId, ...change }), {
          for: caller,
        }),
      );
    const all = [0, 1, 2, 3, 4].map((n) => `line ${n}`);
    expect(await ofFunction({})).toEqual(all);
    expect(await ofFunction({ tail: 2 })).toEqual(all.slice(3));
    expect(await ofFunction({ since: new Date(begun + 20) })).toEqual(all.slice(2));
    expect(await ofFunction({ until: new Date(begun + 20) })).toEqual(all.slice(0, 2));
    await expect(ofFunction({ tail: 10_001 })).rejects.toMatchObject({ kind: 'invalid', field: 'tail' });
    const ofCall = StreamFunctionCallLogsRequest.fromPartial({ callId });
    expect(await read(client.streamFunctionCallLogs(ofCall, { for: owner }))).toEqual(all.slice(0, 2));
    const stranger = await bed.caller();
    await expect(ofFunction({}, stranger)).rejects.toMatchObject({ kind: 'not_found' });
    await expect(read(client.streamFunctionCallLogs(ofCall, { for: stranger }))).rejects.toMatchObject({
      kind: 'not_found',
    });
  });

  const publish = (
    appId: string,
    functionId: string,
    text: string,
    callId = '',
    containerId = newId('ta'),
  ) => {
    const { subject, headers, data } = encodeLog({
      workspaceId: (owner.principal as { workspaceId: string }).workspaceId,
      appId,
      functionId,
      containerId,
      callId,
      stream: 'stdout',
      time: new Date(),
      text,
    });
    return bed.bus.jetstream.publish(subject, data, { headers });
  };

  test('are given from the beginning, narrowed, and followed until the caller goes', async () => {
    const { app, functionId } = await aFunction();
    const { callId } = (await spawn(functionId)).functionCall!;
    await publish(app.appId, functionId, 'outside');
    await publish(app.appId, functionId, 'inside', callId);
    const read = async (filter: object) => {
      const lines = [];
      const request = StreamLogsRequest.fromPartial({ appId: app.appId, ...filter });
      for await (const { text } of client.streamLogs(request, { for: owner })) lines.push(text);
      return lines;
    };
    expect(await read({})).toEqual(['outside', 'inside']);
    expect(await read({ callId })).toEqual(['inside']);
    expect(await read({ functionId: newId('fu') })).toEqual([]);

    const leave = new AbortController();
    const followed: string[] = [];
    const request = StreamLogsRequest.fromPartial({ appId: app.appId, follow: true });
    for await (const { text } of client.streamLogs(request, { for: owner, signal: leave.signal })) {
      followed.push(text);
      if (text === 'inside') await publish(app.appId, functionId, 'later');
      if (text === 'later') leave.abort();
    }
    expect(followed).toEqual(['outside', 'inside', 'later']);
  });

  test('of a container are all that its own credential shows', async () => {
    const { app, functionId } = await aFunction();
    const containerId = newId('ta');
    await publish(app.appId, functionId, 'mine', '', containerId);
    await publish(app.appId, functionId, 'of another');
    const { workspaceId } = owner.principal as { workspaceId: string };
    const itself = await bed.caller({
      credentialKind: 'container',
      credentialId: containerId,
      workspaceId,
      role: 'member',
    });
    const read = async (filter: object) => {
      const lines = [];
      const request = StreamLogsRequest.fromPartial({ appId: app.appId, ...filter });
      for await (const { text } of client.streamLogs(request, { for: itself })) lines.push(text);
      return lines;
    };
    expect(await read({})).toEqual(['mine']);
    expect(await read({ containerId })).toEqual(['mine']);
    await expect(read({ containerId: newId('ta') })).rejects.toMatchObject({
      kind: 'not_found',
      field: 'container_id',
    });
  });

  test('a filter is never part of a pattern', async () => {
    const { appId } = await anApp();
    const request = StreamLogsRequest.fromPartial({ appId, functionId: '>' });
    await expect(
      client.streamLogs(request, { for: owner })[Symbol.asyncIterator]().next(),
    ).rejects.toMatchObject({
      kind: 'not_found',
      field: 'function_id',
    });
  });
});

describe("who may call what, and another tenant's things", () => {
  const USERS = [
    'createApp',
    'listApps',
    'getApp',
    'stopApp',
    'createFunction',
    'updateFunction',
    'getFunction',
    'listFunctions',
    'invokeFunction',
    'spawnFunction',
    'listInvocations',
    'getFunctionCall',
    'cancelFunctionCall',
    'streamLogs',
  ] as const;

  test.each(USERS)('%s is for users: a service may not, an admin key opens no workspace', async (rpc) => {
    const fields = {
      name: 'x',
      runtime: Runtime.RUNTIME_PYTHON,
      handler: 'a:b',
      definition: FunctionDefinition.fromPartial({}),
    };
    for (const service of ['scheduler', 'runner', 'gateway']) {
      const peer = bed.connect(FunctionsServiceService, 'functions', service);
      await expect(ask(FunctionsServiceService, peer, rpc, fields)).rejects.toMatchObject({ kind: 'denied' });
    }
    const admin = await bed.caller({ workspaceId: '', scope: 'organization', credentialKind: 'admin_key' });
    await expect(ask(FunctionsServiceService, client, rpc, fields, admin)).rejects.toMatchObject({
      kind: 'denied',
    });
  });

  test('what runners ask is for runners', async () => {
    const fields = { inputId: newId('in') };
    await expect(
      ask(FunctionsServiceService, client, 'getInputPayload', fields, owner),
    ).rejects.toMatchObject({ kind: 'denied' });
    const scheduler = bed.connect(FunctionsServiceService, 'functions', 'scheduler');
    await expect(ask(FunctionsServiceService, scheduler, 'getInputPayload', fields)).rejects.toMatchObject({
      kind: 'denied',
    });
    const line = await scheduler.attachRunner();
    const error = await new Promise((resolve) => line.once('error', resolve).resume());
    expect(error).toMatchObject({ code: 7 });
  });

  test('foreign ids are not found, whatever is asked', async () => {
    const { app, functionId } = await aFunction();
    const { callId } = (await spawn(functionId)).functionCall!;
    const stranger = await bed.caller();
    const fields = {
      appId: app.appId,
      functionId,
      callId,
      name: 'mine',
      ...aDefinition,
      definition: FunctionDefinition.fromPartial(aDefinition),
    };
    for (const rpc of USERS) {
      if (rpc === 'createApp' || rpc === 'listApps') continue;
      await expect(ask(FunctionsServiceService, client, rpc, fields, stranger)).rejects.toMatchObject({
        kind: 'not_found',
      });
    }
    expect((await client.listApps(ListAppsRequest.fromPartial({}), { for: stranger })).data).toEqual([]);
    for (const id of ['', 'fu-', 'fu-\0', '../etc']) {
      await expect(spawn(id)).rejects.toMatchObject({ kind: 'not_found' });
    }
  });
});
