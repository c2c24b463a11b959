import { CreateWorkspaceRequest, WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { drift, newId } from '@berth/database';
import type { CallContext, ClientOf } from '@berth/service-kit';
import { ask, testBed, type TestBed } from '@berth/testing';
import { workspace } from '../src/service';

type Client = ClientOf<typeof WorkspaceServiceService>;

let bed: TestBed;
let berth: Client;
let gateway: Client;

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspace);
  berth = bed.connect(WorkspaceServiceService, 'workspace', 'berth');
  gateway = bed.connect(WorkspaceServiceService, 'workspace', 'gateway');
});
afterAll(() => bed?.close());

const aName = () => `workspace ${newId('wo')}`;
const anOwner = (organizationId: string = newId('or')) =>
  bed.caller({ organizationId, workspaceId: '', scope: 'organization', credentialKind: 'admin_key' });
const inside = (organizationId: string, workspaceId: string) => bed.caller({ organizationId, workspaceId });
const create = async (organizationId: string, name = aName()) =>
  (await berth.createWorkspace({ organizationId, name })).workspace!;
const notFound = (field: string) => ({ kind: 'not_found', field });

test('migrations and entities agree', async () => {
  expect(await drift({ ...workspace.database!, url: bed.env.BERTH_WORKSPACE_POSTGRES_URL! })).toEqual([]);
});

describe('workspaces', () => {
  test('an owner makes one in the own organization, with an environment main', async () => {
    const organizationId = newId('or');
    const request = CreateWorkspaceRequest.fromPartial({ name: 'été 🚀 計算' });
    const made = (await gateway.createWorkspace(request, { for: await anOwner(organizationId) })).workspace!;
    expect(made).toMatchObject({ organizationId, name: 'été 🚀 計算' });
    const { environment } = await gateway.getEnvironment(
      { name: '' },
      { for: await inside(organizationId, made.workspaceId) },
    );
    expect(environment).toMatchObject({ name: 'main', environmentId: expect.stringMatching(/^en-/) });
  });

  test('of ten that are made at once under one name, one is', async () => {
    const organizationId = newId('or');
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => create(organizationId, 'race')),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') {
        expect(outcome.reason).toMatchObject({ kind: 'conflict', field: 'name' });
      }
    }
    await create(newId('or'), 'race'); // Another organization has its own names.
  });

  test('two spellings of one name are one name', async () => {
    const organizationId = newId('or');
    await create(organizationId, 'caf\u00e9');
    await expect(create(organizationId, 'cafe\u0301')).rejects.toMatchObject({ kind: 'conflict' });
  });

  test('repeats under one Idempotency-Key, also at once, are one workspace', async () => {
    const owner = await anOwner();
    const make = (name: string, key: string) =>
      gateway.createWorkspace(CreateWorkspaceRequest.fromPartial({ name }), {
        for: owner,
        idempotencyKey: key,
      });
    const made = await Promise.all([make('once', 'k'), make('once', 'k'), make('once', 'k')]);
    expect(new Set(made.map(({ workspace }) => workspace!.workspaceId)).size).toBe(1);
    await expect(make('another', 'k')).rejects.toMatchObject({
      kind: 'precondition',
      field: 'Idempotency-Key',
    });
    await expect(make('once', 'another')).rejects.toMatchObject({ kind: 'conflict' });
  });

  test.each(['', ' ', 'a\u0000b', 'a\nb', 'a\u202eb', 'x'.repeat(256), '🚀'.repeat(256)])(
    'refuses the name %j',
    async (name) => {
      await expect(create(newId('or'), name)).rejects.toMatchObject({ kind: 'invalid', field: 'name' });
    },
  );

  test('takes a name of 255 characters, each of them an emoji', async () => {
    expect((await create(newId('or'), '🚀'.repeat(255))).name).toBe('🚀'.repeat(255));
  });

  test('a service has to say for which organization', async () => {
    const failure = { kind: 'invalid', field: 'organization_id' };
    await expect(create('')).rejects.toMatchObject(failure);
    await expect(create('a\u0000b')).rejects.toMatchObject(failure);
  });

  test('who may see a workspace does, and for everybody else it does not exist', async () => {
    const organizationId = newId('or');
    const [own, sibling] = [await create(organizationId), await create(organizationId)];
    const get = (caller: CallContext) =>
      gateway.getWorkspace({ workspaceId: own.workspaceId }, { for: caller });

    for (const caller of [await anOwner(organizationId), await inside(organizationId, own.workspaceId)]) {
      expect((await get(caller)).workspace).toEqual(own);
    }
    for (const service of ['berth', 'identity']) {
      const client = bed.connect(WorkspaceServiceService, 'workspace', service);
      expect((await client.getWorkspace({ workspaceId: own.workspaceId })).workspace).toEqual(own);
    }
    for (const caller of [
      await anOwner(),
      await inside(organizationId, sibling.workspaceId),
      await inside(newId('or'), own.workspaceId),
    ]) {
      await expect(get(caller)).rejects.toMatchObject(notFound('workspace_id'));
    }
    for (const workspaceId of [newId('wo'), 'wo-', 'a\u0000b']) {
      await expect(berth.getWorkspace({ workspaceId })).rejects.toMatchObject(notFound('workspace_id'));
    }
  });

  test('a user may not name another organization', async () => {
    const foreign = newId('or');
    const owner = await anOwner();
    for (const attempt of [
      gateway.createWorkspace({ name: 'x', organizationId: foreign }, { for: owner }),
      gateway.listWorkspaces({ limit: 0, cursor: '', organizationId: foreign }, { for: owner }),
    ]) {
      await expect(attempt).rejects.toMatchObject(notFound('organization_id'));
    }
  });

  test('a list has the organization in pages, oldest first; for a token, its own workspace', async () => {
    const organizationId = newId('or');
    await create(newId('or'));
    const made = [];
    for (let n = 0; n < 5; n++) made.push((await create(organizationId)).workspaceId);

    const list = (caller: CallContext, cursor: string) =>
      gateway.listWorkspaces({ limit: 2, cursor, organizationId: '' }, { for: caller });
    const seen = [];
    let cursor = '';
    do {
      const page = await list(await anOwner(organizationId), cursor);
      expect(page.data.length).toBeLessThanOrEqual(2);
      seen.push(...page.data.map(({ workspaceId }) => workspaceId));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual(made);

    const { data } = await list(await inside(organizationId, made[3]!), '');
    expect(data.map(({ workspaceId }) => workspaceId)).toEqual([made[3]]);
    expect((await list(await inside(newId('or'), made[3]!), '')).data).toEqual([]);
    const all = await berth.listWorkspaces({ limit: 100, cursor: '', organizationId });
    expect(all.data.map(({ workspaceId }) => workspaceId)).toEqual(made);
  });
});

describe('environments', () => {
  const aWorkspace = async () => {
    const organizationId = newId('or');
    const { workspaceId } = await create(organizationId);
    return inside(organizationId, workspaceId);
  };

  test('are made and listed by name, and found', async () => {
    const caller = await aWorkspace();
    for (const name of ['prod', '1.a_b-c', 'x'.repeat(63)]) {
      await gateway.createEnvironment({ name }, { for: caller });
    }
    const { data } = await gateway.listEnvironments({}, { for: caller });
    expect(data.map(({ name }) => name)).toEqual(['1.a_b-c', 'main', 'prod', 'x'.repeat(63)]);
    expect((await gateway.getEnvironment({ name: 'prod' }, { for: caller })).environment).toEqual(data[2]);
  });

  test('a repeat is the same one; the same name again is a conflict', async () => {
    const caller = await aWorkspace();
    const make = (options: object) =>
      gateway.createEnvironment({ name: 'prod' }, { for: caller, ...options });
    const first = await make({ idempotencyKey: 'k' });
    expect(await make({ idempotencyKey: 'k' })).toEqual(first);
    await expect(make({})).rejects.toMatchObject({ kind: 'conflict', field: 'name' });
  });

  test.each(['Main', '-x', '.x', 'a b', 'é', 'x'.repeat(64), 'a\u0000'])(
    'refuses the name %j',
    async (name) => {
      const caller = await aWorkspace();
      await expect(gateway.createEnvironment({ name }, { for: caller })).rejects.toMatchObject({
        kind: 'invalid',
        field: 'name',
      });
      await expect(gateway.getEnvironment({ name }, { for: caller })).rejects.toMatchObject(notFound('name'));
    },
  );

  test('those of another workspace are not there', async () => {
    const [own, foreign] = [await aWorkspace(), await aWorkspace()];
    await gateway.createEnvironment({ name: 'prod' }, { for: own });
    await expect(gateway.getEnvironment({ name: 'prod' }, { for: foreign })).rejects.toMatchObject(
      notFound('name'),
    );
    const { data } = await gateway.listEnvironments({}, { for: foreign });
    expect(data.map(({ name }) => name)).toEqual(['main']);
    const unknown = await bed.caller();
    await expect(gateway.createEnvironment({ name: 'prod' }, { for: unknown })).rejects.toMatchObject(
      notFound('workspace_id'),
    );
  });
});

describe('who may not', () => {
  const requests: Record<keyof typeof WorkspaceServiceService, object> = {
    createWorkspace: { name: 'x' },
    getWorkspace: { workspaceId: newId('wo') },
    listWorkspaces: {},
    getEnvironment: {},
    createEnvironment: { name: 'x' },
    listEnvironments: {},
  };
  const rpcs = Object.keys(requests) as (keyof typeof requests)[];
  const attempt = (client: Client, rpc: keyof typeof requests, caller?: CallContext) =>
    ask(WorkspaceServiceService, client, rpc, requests[rpc], caller);

  test.each(rpcs)('%s refuses a caller without a token', async (rpc) => {
    const nobody = { ...(await bed.caller()), token: '' };
    await expect(attempt(gateway, rpc, nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test.each(rpcs)('%s refuses a service that is not listed', async (rpc) => {
    const runner = bed.connect(WorkspaceServiceService, 'workspace', 'runner');
    await expect(attempt(runner, rpc)).rejects.toMatchObject({ kind: 'denied' });
  });

  test('making things takes the role for it', async () => {
    const member = await bed.caller({ role: 'member' });
    for (const rpc of ['createWorkspace', 'createEnvironment'] as const) {
      await expect(attempt(gateway, rpc, member)).rejects.toMatchObject({ kind: 'denied' });
    }
  });

  test.each(['getEnvironment', 'createEnvironment', 'listEnvironments'] as const)(
    '%s refuses an admin key, which opens no workspace',
    async (rpc) => {
      await expect(attempt(gateway, rpc, await anOwner())).rejects.toMatchObject({ kind: 'denied' });
    },
  );
});
