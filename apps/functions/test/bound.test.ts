/** Classes bound to parameters: functions with pools of their own, which follow their base. */
import {
  BindFunctionRequest,
  CreateAppRequest,
  CreateFunctionRequest,
  FunctionDefinition,
  FunctionsServiceService,
  ListFunctionsRequest,
  RollbackFunctionRequest,
  Runtime,
  SpawnFunctionRequest,
} from '@berth/contracts/functions/v1/functions';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { functions } from '../src/service';
import { specOf } from '../src/loops/container-spec';
import { bindFunction, findVersion, lockFunction } from '../src/store/function-store';
import { RunnerLine } from './runner-line';
import { SchedulerStandIn, syncStandIn, workspaceStandIn } from './stand-ins';

let bed: TestBed;
let client: ClientOf<typeof FunctionsServiceService>;
let owner: CallContext;
let runner: RunnerLine;
const scheduler = new SchedulerStandIn(() => bed);

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(syncStandIn());
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

const definition = {
  runtime: Runtime.RUNTIME_PYTHON,
  handler: 'main:Tagger',
  files: { 'main.py': '' },
};
let names = 0;
async function aClass() {
  const name = `class-${++names}`;
  const { app } = await client.createApp(CreateAppRequest.fromPartial({ name }), { for: owner });
  const request = CreateFunctionRequest.fromPartial({ appId: app!.appId, name, ...definition });
  return (await client.createFunction(request, { for: owner })).function!;
}
const bind = async (functionId: string, parameters?: unknown, as = owner) => {
  const given = parameters === undefined ? undefined : Buffer.from(JSON.stringify(parameters));
  const request = BindFunctionRequest.fromPartial({ functionId, ...(given ? { parameters: given } : {}) });
  return (await client.bindFunction(request, { for: as })).function!;
};
const get = async (functionId: string) =>
  (await client.getFunction({ functionId }, { for: owner })).function!;
const update = (functionId: string, memory: number) =>
  client.updateFunction(
    { functionId, definition: FunctionDefinition.fromPartial({ ...definition, memory }) },
    { for: owner },
  );

test('the same parameters are the same function, in whatever order, also when asked for at once', async () => {
  const base = await aClass();
  const all = await Promise.all([
    bind(base.functionId, { a: 1, b: { c: 2, d: 3 } }),
    bind(base.functionId, { b: { d: 3, c: 2 }, a: 1 }),
    bind(base.functionId, { a: 1, b: { c: 2, d: 3 } }),
  ]);
  expect(new Set(all.map(({ functionId }) => functionId)).size).toBe(1);
  expect(JSON.parse(all[0]!.parameters!.toString())).toEqual({ a: 1, b: { c: 2, d: 3 } });
  expect((await bind(base.functionId, { a: 2 })).functionId).not.toBe(all[0]!.functionId);
  expect((await bind(base.functionId)).functionId).toBe((await bind(base.functionId, {})).functionId);
  const listed = await client.listFunctions(ListFunctionsRequest.fromPartial({ appId: base.appId }), {
    for: owner,
  });
  expect(listed.data.map(({ functionId }) => functionId)).toEqual([base.functionId]);
});

test('it takes calls of its own, and its containers are made with its parameters', async () => {
  const base = await aClass();
  const { functionId } = await bind(base.functionId, { size: 'large' });
  await client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId, method: 'tags' }), {
    for: owner,
  });
  const { input } = await runner.next(functionId);
  expect(input.functionId).toBe(functionId);
  expect(Buffer.from(input.payload!).toString()).toBe('{"args":[],"kwargs":{},"method":"tags"}');
  const db = await bed.database(functions);
  const spec = specOf((await findVersion(db, functionId, 1))!);
  expect(spec).toMatchObject({ functionId, handler: 'main:Tagger', parameters: '{"size":"large"}' });
});

test('it follows the versions of its base, forth and back, and its deletion', async () => {
  const base = await aClass();
  const { functionId } = await bind(base.functionId, { n: 1 });
  await update(base.functionId, 512);
  expect(await get(functionId)).toMatchObject({ version: 2, memory: 512 });
  const later = await bind(base.functionId, { n: 2 });
  expect(later).toMatchObject({ version: 2, memory: 512 });
  await client.rollbackFunction(
    RollbackFunctionRequest.fromPartial({ functionId: base.functionId, version: 1 }),
    { for: owner },
  );
  for (const id of [functionId, later.functionId]) {
    expect(await get(id)).toMatchObject({ version: 1, memory: 256 });
    await client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId: id }), { for: owner });
  }
  await client.deleteFunction({ functionId: base.functionId }, { for: owner });
  await expect(
    client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId }), { for: owner }),
  ).rejects.toMatchObject({ kind: 'precondition' });
  await expect(bind(base.functionId, { n: 3 })).rejects.toMatchObject({ kind: 'precondition' });
});

test('it keeps the minimum that its base has, under each version that it comes to', async () => {
  const base = await aClass();
  const { functionId } = await bind(base.functionId, { n: 1 });
  await client.updateFunction(
    {
      functionId: base.functionId,
      definition: FunctionDefinition.fromPartial({ ...definition, minContainers: 1 }),
    },
    { for: owner },
  );
  await eventually(() => scheduler.wishOf(functionId, 2)?.containers === 1);
});

/** The connection of functions that waits for a lock. */
const WAITING = `pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = current_user`;

test('nothing is bound to what is deleted meanwhile', async () => {
  const base = await aClass();
  const db = await bed.database(functions);
  const binding = await db.transact(async (tx) => {
    await tx.query('UPDATE function SET deleted_at = now() WHERE id = $1', [base.functionId]);
    const refused = expect(bind(base.functionId, { n: 1 })).rejects.toMatchObject({ kind: 'precondition' });
    await eventually(async () => (await db.query(`SELECT pid FROM ${WAITING}`)).length > 0);
    return { refused };
  });
  await binding.refused;
  expect(await db.query('SELECT id FROM function WHERE base_id = $1', [base.functionId])).toEqual([]);
});

test('what is being bound while its base is deleted is deleted, too', async () => {
  const base = await aClass();
  const db = await bed.database(functions);
  const { boundId, deleting } = await db.transact(async (tx) => {
    await lockFunction(tx, base.functionId);
    const boundId = await bindFunction(tx, { function_id: base.functionId, name: base.name }, '{"n":1}');
    const deleting = client.deleteFunction({ functionId: base.functionId }, { for: owner });
    await eventually(async () => (await db.query(`SELECT pid FROM ${WAITING}`)).length > 0);
    return { boundId, deleting: [deleting] };
  });
  await Promise.all(deleting);
  await expect(
    client.spawnFunction(SpawnFunctionRequest.fromPartial({ functionId: boundId }), { for: owner }),
  ).rejects.toMatchObject({ kind: 'precondition' });
});

test('it is not changed by itself, nor bound again', async () => {
  const base = await aClass();
  const { functionId } = await bind(base.functionId, { n: 1 });
  for (const change of [
    () => update(functionId, 512),
    () => client.deleteFunction({ functionId }, { for: owner }),
    () => bind(functionId, { n: 2 }),
    () => client.rollbackFunction(RollbackFunctionRequest.fromPartial({ functionId }), { for: owner }),
  ]) {
    await expect(change()).rejects.toMatchObject({ kind: 'precondition' });
  }
});

test.each<[string, unknown]>([
  ['a list', [1]],
  ['a number', 7],
  ['null', null],
  ['too much', { text: 'x'.repeat(3000) }],
])('parameters that are %s are refused', async (_, parameters) => {
  const base = await aClass();
  await expect(bind(base.functionId, parameters)).rejects.toMatchObject({
    kind: 'invalid',
    field: 'parameters',
  });
});

test("another tenant's function is not found", async () => {
  const base = await aClass();
  await expect(bind(base.functionId, {}, await bed.caller())).rejects.toMatchObject({ kind: 'not_found' });
});
