/** Secrets: what is kept, who may have it, and that values are in nothing but what containers get. */
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CreateSecretRequest,
  ListSecretsRequest,
  SecretServiceService,
} from '@berth/contracts/workspace/v1/secret';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { newId, type Database } from '@berth/database';
import type { CallContext, ClientOf, RunningService } from '@berth/service-kit';
import { ask, testBed, type TestBed } from '@berth/testing';
import { workspace } from '../src/service';

type Client = ClientOf<typeof SecretServiceService>;

let bed: TestBed;
let running: RunningService;
let db: Database;
let gateway: Client;
let runner: Client;

beforeAll(async () => {
  bed = await testBed();
  running = await bed.start(workspace);
  db = await bed.database(workspace);
  gateway = bed.connect(SecretServiceService, 'workspace', 'gateway');
  runner = bed.connect(SecretServiceService, 'workspace', 'runner');
});
afterAll(() => bed?.close());

/** A workspace with the environments `main` and `prod`, and its member. */
const aTenant = async () => {
  const organizationId = newId('or');
  const workspaces = bed.connect(WorkspaceServiceService, 'workspace', 'berth');
  const made = await workspaces.createWorkspace({ organizationId, name: `tenant ${newId('wo')}` });
  const { workspaceId } = made.workspace!;
  const owner = await bed.caller({ organizationId, workspaceId });
  const users = bed.connect(WorkspaceServiceService, 'workspace', 'gateway');
  await users.createEnvironment({ name: 'prod' }, { for: owner });
  return { workspaceId, caller: await bed.caller({ organizationId, workspaceId, role: 'member' }) };
};
const create = async (caller: CallContext, request: Partial<CreateSecretRequest>, idempotencyKey?: string) =>
  (
    await gateway.createSecret(CreateSecretRequest.fromPartial({ name: 'a', env: { A: '1' }, ...request }), {
      for: caller,
      ...(idempotencyKey ? { idempotencyKey } : {}),
    })
  ).secret!;
const opened = async (workspaceId: string, names: string[], environment = 'main') =>
  (await runner.openSecrets({ workspaceId, environment, names })).env;
const list = async (caller: CallContext, filter: Partial<ListSecretsRequest> = {}) =>
  (await gateway.listSecrets(ListSecretsRequest.fromPartial(filter), { for: caller })).data;
const aValue = () => `value-${randomBytes(12).toString('hex')}`;

describe('a secret', () => {
  test('shows the names of its variables, and gives their values to runners only', async () => {
    const { caller, workspaceId } = await aTenant();
    const env = { B_TOKEN: aValue(), A_KEY: 'été 🚀\nline two', EMPTY: '' };
    const made = await create(caller, { name: 'api', env });
    expect(made).toEqual({
      secretId: expect.stringMatching(/^st-[0-9A-Za-z]{22}$/),
      name: 'api',
      environment: 'main',
      variables: ['A_KEY', 'B_TOKEN', 'EMPTY'],
      createdAt: expect.any(Date),
      updatedAt: expect.any(Date),
    });
    expect(await gateway.getSecret({ secretId: made.secretId }, { for: caller })).toEqual({ secret: made });
    expect(await list(caller)).toEqual([made]);
    expect(await opened(workspaceId, ['api'])).toEqual(env);
  });

  test('belongs to one environment, where its name is its own', async () => {
    const { caller, workspaceId } = await aTenant();
    await create(caller, { env: { A: 'in main' } });
    await create(caller, { env: { A: 'in prod' }, environment: 'prod' });
    await expect(create(caller, {})).rejects.toMatchObject({ kind: 'conflict', field: 'name' });
    expect(await opened(workspaceId, ['a'])).toEqual({ A: 'in main' });
    expect(await opened(workspaceId, ['a'], 'prod')).toEqual({ A: 'in prod' });
    expect(await list(caller, { environment: 'prod' })).toMatchObject([{ environment: 'prod' }]);
    for (const attempt of [create(caller, { environment: 'x' }), list(caller, { environment: 'x' })]) {
      await expect(attempt).rejects.toMatchObject({ kind: 'not_found', field: 'environment' });
    }
  });

  test('of ten that are made at once under one name one is made, under one key all ten are one', async () => {
    const { caller } = await aTenant();
    const named = await Promise.allSettled(Array.from({ length: 10 }, () => create(caller, { name: 'x' })));
    expect(named.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const env = { A: '1', B: '2' };
    const keyed = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        create(caller, { name: 'y', env: n % 2 ? env : { B: '2', A: '1' } }, 'key'),
      ),
    );
    expect(new Set(keyed.map(({ secretId }) => secretId)).size).toBe(1);
    await expect(create(caller, { name: 'y', env: { A: '2' } }, 'key')).rejects.toMatchObject({
      kind: 'precondition',
    });
  });

  test('takes other variables in place of all that it has', async () => {
    const { caller, workspaceId } = await aTenant();
    const made = await create(caller, { env: { A: '1', B: '2' } });
    const changed = await gateway.updateSecret({ secretId: made.secretId, env: { C: '3' } }, { for: caller });
    expect(changed.secret).toMatchObject({ variables: ['C'], createdAt: made.createdAt });
    expect(changed.secret!.updatedAt!.getTime()).toBeGreaterThan(made.updatedAt!.getTime());
    expect(await opened(workspaceId, ['a'])).toEqual({ C: '3' });
  });

  test('that is deleted is gone for good, and a container is told what it lacks', async () => {
    const { caller, workspaceId } = await aTenant();
    const { secretId } = await create(caller, { name: 'first' });
    await create(caller, { name: 'second' });
    await gateway.deleteSecret({ secretId }, { for: caller });
    await expect(gateway.deleteSecret({ secretId }, { for: caller })).rejects.toMatchObject({
      kind: 'not_found',
    });
    await expect(opened(workspaceId, ['first', 'second', 'third'])).rejects.toMatchObject({
      kind: 'not_found',
      message: expect.stringMatching(/main has no secret first, third:/),
    });
    const asked = { environment: 'main', names: ['third', 'second', 'first'] };
    expect(await gateway.findMissingSecrets(asked, { for: caller })).toEqual({ missing: ['third', 'first'] });
  });

  test('of two with the same variable, the later one wins', async () => {
    const { caller, workspaceId } = await aTenant();
    await create(caller, { name: 'one', env: { A: '1', B: '1' } });
    await create(caller, { name: 'two', env: { A: '2' } });
    expect(await opened(workspaceId, ['one', 'two'])).toEqual({ A: '2', B: '1' });
    expect(await opened(workspaceId, ['two', 'one'])).toEqual({ A: '1', B: '1' });
  });

  test('is listed page by page, oldest first', async () => {
    const { caller } = await aTenant();
    for (const name of ['c', 'a', 'b']) await create(caller, { name });
    const first = await gateway.listSecrets(ListSecretsRequest.fromPartial({ limit: 2 }), { for: caller });
    const rest = await list(caller, { limit: 2, cursor: first.nextCursor });
    expect([...first.data, ...rest].map(({ name }) => name)).toEqual(['c', 'a', 'b']);
    expect((await list(caller, { name: 'a' })).map(({ name }) => name)).toEqual(['a']);
  });

  test.each<[string, Partial<CreateSecretRequest>, string]>([
    ['no name', { name: '' }, 'name'],
    ['a name with a slash', { name: 'a/b' }, 'name'],
    ['a long name', { name: 'x'.repeat(64) }, 'name'],
    ['no variables', { env: {} }, 'env'],
    ['a variable that is a value', { env: { 's3cret-value': 'A' } }, 'env'],
    ['a variable of the platform', { env: { BERTH_SOCKET: 'x' } }, 'env'],
    ['a value with NUL', { env: { A: 's3cret-value\0' } }, 'env'],
    ['more than fits', { env: { A: 's3cret-value'.repeat(6000) } }, 'env'],
  ])('with %s is refused, without a word of a value', async (_, request, field) => {
    const { caller } = await aTenant();
    const refused = await create(caller, request).catch((error: unknown) => error as Error);
    expect(refused).toMatchObject({ kind: 'invalid', field });
    expect((refused as Error).message).not.toContain('s3cret');
    expect(await list(caller)).toEqual([]);
  });
});

describe('sealing', () => {
  /** Every row of every table of the service, as a thief of the database reads them. */
  const dump = async () => {
    const tables = await db.query<{ name: string }>(
      `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'berth_workspace'`,
    );
    const rows = await Promise.all(
      tables.map(({ name }) => db.query(`SELECT t.*::text AS row FROM "${name}" t`)),
    );
    return JSON.stringify(rows);
  };
  const keysFile = () => join(bed.env.BERTH_KEYS_DIR!, 'workspace-sealing.json');

  test('no value is in the database, nor a hash of one that could be tried out', async () => {
    const { caller } = await aTenant();
    const value = aValue();
    await create(caller, { env: { A: value } }, 'some key');
    const text = await dump();
    expect(text).toContain('some key');
    for (const form of [value, Buffer.from(value).toString('hex'), Buffer.from(value).toString('base64')]) {
      expect(text).not.toContain(form);
    }
    const request = CreateSecretRequest.fromPartial({ name: 'a', env: { A: value } });
    const hash = createHash('sha256').update(CreateSecretRequest.encode(request).finish()).digest('hex');
    expect(text).not.toContain(hash);
  });

  test('a sealed value that is moved to another secret, or changed, does not open', async () => {
    const { caller, workspaceId } = await aTenant();
    const one = await create(caller, { name: 'one', env: { A: 'one' } });
    const two = await create(caller, { name: 'two', env: { A: 'two' } });
    await db.query('UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE id = $1) WHERE id = $2', [
      one.secretId,
      two.secretId,
    ]);
    await expect(opened(workspaceId, ['two'])).rejects.toMatchObject({ kind: 'data_loss' });
    await db.query(
      'UPDATE secret SET sealed = set_byte(sealed, 20, 255 - get_byte(sealed, 20)) WHERE id = $1',
      [one.secretId],
    );
    await expect(opened(workspaceId, ['one'])).rejects.toMatchObject({ kind: 'data_loss' });
    await gateway.updateSecret({ secretId: one.secretId, env: { A: 'again' } }, { for: caller });
    expect(await opened(workspaceId, ['one'])).toEqual({ A: 'again' });
  });

  test('a new key takes over at a start: what the old one sealed is sealed anew, and opens without it', async () => {
    const { caller, workspaceId } = await aTenant();
    const { secretId } = await create(caller, { env: { A: 'kept' } });
    const ring = JSON.parse(readFileSync(keysFile(), 'utf8')) as {
      current: string;
      keys: Record<string, string>;
    };
    const restart = async (changed: typeof ring) => {
      await running[Symbol.asyncDispose]();
      writeFileSync(keysFile(), JSON.stringify(changed));
      running = await bed.start(workspace);
    };
    const fresh = randomBytes(32).toString('base64url');
    await restart({ current: 'k2', keys: { ...ring.keys, k2: fresh } });
    const rows = await db.query(
      'SELECT key_id, updated_at = created_at AS untouched FROM secret WHERE id = $1',
      [secretId],
    );
    expect(rows).toEqual([{ key_id: 'k2', untouched: true }]);
    await restart({ current: 'k2', keys: { k2: fresh } });
    expect(await opened(workspaceId, ['a'])).toEqual({ A: 'kept' });

    // A key that is lost is said, and the service serves all others.
    await restart({ current: 'k3', keys: { k3: randomBytes(32).toString('base64url') } });
    await expect(opened(workspaceId, ['a'])).rejects.toMatchObject({ kind: 'data_loss' });
    await create(caller, { name: 'after', env: { A: 'new' } });
    expect(await opened(workspaceId, ['after'])).toEqual({ A: 'new' });
  });

  test.each([
    ['is missing', undefined],
    ['is empty', ''],
    ['lacks its current key', '{"current":"k1","keys":{}}'],
    ['has a short key', '{"current":"k1","keys":{"k1":"c2hvcnQta2V5"}}'],
  ])('a key file that %s keeps the service from starting', async (_, text) => {
    const keysDir = join(bed.dataDir, `keys-${randomBytes(4).toString('hex')}`);
    cpSync(bed.env.BERTH_KEYS_DIR!, keysDir, { recursive: true });
    const path = join(keysDir, 'workspace-sealing.json');
    if (text === undefined) rmSync(path);
    else writeFileSync(path, text);
    const refused = await bed.start(workspace, { BERTH_KEYS_DIR: keysDir }).catch((error: unknown) => error);
    expect((refused as Error).message).toContain(path);
    expect((refused as Error).message).not.toContain('c2hvcnQta2V5');
  });
});

describe('who may not', () => {
  const requests: Record<keyof typeof SecretServiceService, object> = {
    createSecret: { name: 'x', env: { A: '1' } },
    updateSecret: { secretId: newId('st'), env: { A: '1' } },
    getSecret: { secretId: newId('st') },
    listSecrets: {},
    deleteSecret: { secretId: newId('st') },
    findMissingSecrets: {},
    openSecrets: { workspaceId: newId('wo') },
  };
  const rpcs = Object.keys(requests) as (keyof typeof requests)[];
  const users = rpcs.filter((rpc) => rpc !== 'openSecrets');
  const attempt = (client: Client, rpc: keyof typeof requests, caller?: CallContext, fields?: object) =>
    ask(SecretServiceService, client, rpc, { ...requests[rpc], ...fields }, caller);

  test.each(rpcs)('%s refuses a caller without a token', async (rpc) => {
    const nobody = { ...(await bed.caller()), token: '' };
    await expect(attempt(gateway, rpc, nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test.each(rpcs)('%s refuses a service that is not listed', async (rpc) => {
    const scheduler = bed.connect(SecretServiceService, 'workspace', 'scheduler');
    await expect(attempt(scheduler, rpc)).rejects.toMatchObject({ kind: 'denied' });
  });

  test.each(users)('%s refuses an admin key, which opens no workspace', async (rpc) => {
    const owner = await bed.caller({ workspaceId: '', scope: 'organization' });
    await expect(attempt(gateway, rpc, owner)).rejects.toMatchObject({ kind: 'denied' });
  });

  test('no user opens secrets as runners do, and a runner is given those of the workspace that it names', async () => {
    const { caller, workspaceId } = await aTenant();
    await create(caller, {});
    await expect(attempt(gateway, 'openSecrets', caller, { workspaceId })).rejects.toMatchObject({
      kind: 'denied',
    });
    const other = await aTenant();
    await expect(opened(other.workspaceId, ['a'])).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('another workspace’s secret is not there, whatever is asked', async () => {
    const { caller } = await aTenant();
    const { secretId } = await create(caller, {});
    const foreign = (await aTenant()).caller;
    for (const rpc of ['updateSecret', 'getSecret', 'deleteSecret'] as const) {
      for (const id of [secretId, newId('st'), 'x']) {
        await expect(attempt(gateway, rpc, foreign, { secretId: id })).rejects.toMatchObject({
          kind: 'not_found',
          field: 'secret_id',
        });
      }
    }
    expect(await list(foreign)).toEqual([]);
    const asked = { environment: 'main', names: ['a'] };
    expect(await gateway.findMissingSecrets(asked, { for: foreign })).toEqual({ missing: ['a'] });
    expect(await list(caller)).toHaveLength(1);
  });
});
