import {
  AuthenticateResponse,
  CreateApiTokenRequest,
  CredentialKind,
  CreateOrganizationRequest,
  IdentityServiceService,
} from '@berth/contracts/identity/v1/identity';
import { Role, Scope } from '@berth/contracts/options/v1/options';
import { drift, newId, type Database } from '@berth/database';
import { consume } from '@berth/events';
import { createLogger, openTokens, type CallContext, type ClientOf } from '@berth/service-kit';
import { ask, eventually, testBed, type TestBed } from '@berth/testing';
import { identity } from '../src/service';
import { schedulerPeer, workspacePeer, type ContainerOwner } from './workspace-peer';

type Client = ClientOf<typeof IdentityServiceService>;

let bed: TestBed;
let db: Database;
let berth: Client;
let gateway: Client;
const organizationOfWorkspace = new Map<string, string>();
const containers = new Map<string, ContainerOwner>();

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspacePeer(organizationOfWorkspace));
  await bed.start(schedulerPeer(containers));
  await bed.start(identity);
  db = await bed.database(identity);
  berth = bed.connect(IdentityServiceService, 'identity', 'berth');
  gateway = bed.connect(IdentityServiceService, 'identity', 'gateway');
});
afterAll(() => bed?.close());

interface Organization {
  organizationId: string;
  ownerUserId: string;
  adminApiKey: string;
  workspaceId: string;
  /** The admin key, as it comes through the gateway. */
  owner: CallContext;
}

let organizations = 0;
const anOrganization = async (): Promise<Organization> => {
  const name = `organization ${++organizations}`;
  const made = await berth.createOrganization(
    CreateOrganizationRequest.fromPartial({ name, ownerEmail: `owner${organizations}@example.com` }),
  );
  const workspaceId = newId('wo');
  organizationOfWorkspace.set(workspaceId, made.organizationId);
  const owner = await bed.caller({
    credentialKind: 'admin_key',
    organizationId: made.organizationId,
    workspaceId: '',
    userId: made.ownerUserId,
    scope: 'organization',
  });
  return { ...made, workspaceId, owner };
};

const aToken = (
  { workspaceId, owner }: Organization,
  asked: Partial<CreateApiTokenRequest> = {},
  options: { idempotencyKey?: string } = {},
) =>
  gateway.createApiToken(CreateApiTokenRequest.fromPartial({ workspaceId, ...asked }), {
    for: owner,
    ...options,
  });

const withBearer = (value: string) => gateway.authenticate({ credential: { $case: 'bearer', value } });
const withApiKey = (value: string) => gateway.authenticate({ credential: { $case: 'apiKey', value } });
const unauthenticated = { kind: 'unauthenticated', message: expect.stringContaining('not valid') };

test('migrations and entities agree', async () => {
  expect(await drift({ ...identity.database!, url: bed.env.BERTH_IDENTITY_POSTGRES_URL! })).toEqual([]);
});

describe('organizations', () => {
  test('two that are made at once under one name are one, with one owner and one key', async () => {
    const request = CreateOrganizationRequest.fromPartial({ name: 'race', ownerEmail: 'Race@Example.com' });
    const made = await Promise.all(Array.from({ length: 8 }, () => berth.createOrganization(request)));
    expect(new Set(made.map(({ organizationId }) => organizationId)).size).toBe(1);
    expect(new Set(made.map(({ ownerUserId }) => ownerUserId)).size).toBe(1);
    expect(made.filter(({ adminApiKey }) => adminApiKey)).toHaveLength(1);
    expect(await db.query('SELECT email FROM app_user WHERE id = $1', [made[0]!.ownerUserId])).toEqual([
      { email: 'race@example.com' },
    ]);
  });

  test('a repeat may ask for another key; the first goes on opening', async () => {
    const request = { name: 'again', ownerEmail: 'again@example.com', newAdminKey: true };
    const first = await berth.createOrganization(request);
    const second = await berth.createOrganization(request);
    expect(second).toMatchObject({
      organizationId: first.organizationId,
      adminApiKey: expect.stringMatching(/^bk_live_[0-9A-Za-z]{43}$/),
    });
    expect(second.adminApiKey).not.toBe(first.adminApiKey);
    for (const { adminApiKey } of [first, second]) await withApiKey(adminApiKey);
  });

  test('one user may own several', async () => {
    const ownerEmail = 'several@example.com';
    const [a, b] = await Promise.all([
      berth.createOrganization({ name: 'several a', ownerEmail, newAdminKey: false }),
      berth.createOrganization({ name: 'several b', ownerEmail, newAdminKey: false }),
    ]);
    expect(a!.ownerUserId).toBe(b!.ownerUserId);
    expect(a!.organizationId).not.toBe(b!.organizationId);
  });

  test.each([
    ['', 'a@example.com', 'name'],
    ['a\u0000b', 'a@example.com', 'name'],
    ['x'.repeat(256), 'a@example.com', 'name'],
    [' padded', 'a@example.com', 'name'],
    ['fine', 'nobody', 'owner_email'],
    ['fine', 'a@b@c', 'owner_email'],
    ['fine', 'a b@example.com', 'owner_email'],
  ])('refuses name %j with e-mail %j', async (name, ownerEmail, field) => {
    await expect(berth.createOrganization({ name, ownerEmail, newAdminKey: false })).rejects.toMatchObject({
      kind: 'invalid',
      field,
    });
  });
});

describe('authenticating', () => {
  test('a token opens its workspace with its role, by either header, and peers accept what comes of it', async () => {
    const organization = await anOrganization();
    const { tokenId, tokenSecret } = await aToken(organization, { role: Role.ROLE_MANAGER, name: '🚀 ci' });
    const principal = {
      credentialId: tokenId,
      organizationId: organization.organizationId,
      workspaceId: organization.workspaceId,
      userId: organization.ownerUserId,
      role: Role.ROLE_MANAGER,
      scope: Scope.SCOPE_WORKSPACE,
    };
    for (const answer of [
      await withBearer(`${tokenId}.${tokenSecret}`),
      await withApiKey(`${tokenId}.${tokenSecret}`),
    ]) {
      expect(answer.principal).toMatchObject(principal);
      expect(answer.expiresAt!.getTime()).toBeGreaterThan(Date.now());
      expect(answer.expiresAt!.getTime()).toBeLessThanOrEqual(Date.now() + 61_000);
      const seenByPeer = await openTokens('functions', bed.env.BERTH_KEYS_DIR!).verify(answer.internalToken);
      expect(seenByPeer).toMatchObject({ kind: 'user', role: 'manager', scope: 'workspace' });
      expect(await whoAmI(answer)).toMatchObject({
        principal,
        email: expect.stringContaining('@example.com'),
      });
    }
  });

  test('an admin key opens its organization and no workspace', async () => {
    const organization = await anOrganization();
    const answer = await withApiKey(organization.adminApiKey);
    const principal = {
      organizationId: organization.organizationId,
      workspaceId: '',
      userId: organization.ownerUserId,
      role: Role.ROLE_OWNER,
      scope: Scope.SCOPE_ORGANIZATION,
    };
    expect(answer.principal).toMatchObject(principal);
    expect(await whoAmI(answer)).toMatchObject({ principal });
  });

  const whoAmI = async ({ internalToken }: AuthenticateResponse) =>
    gateway.whoAmI({}, { for: { ...(await bed.caller()), token: internalToken } });

  test('whatever is wrong, the answer is the same', async () => {
    const organization = await anOrganization();
    const { tokenId, tokenSecret } = await aToken(organization);
    const other = await aToken(organization);
    const revoked = await aToken(organization);
    await gateway.revokeApiToken({ tokenId: revoked.tokenId }, { for: organization.owner });
    const expired = await aToken(organization, { expiresAt: new Date(Date.now() + 60_000) });
    await db.query('UPDATE api_token SET expires_at = now() WHERE id = $1', [expired.tokenId]);

    const messages = new Set<string>();
    for (const value of [
      '',
      'x',
      '.',
      tokenId,
      tokenSecret,
      `${tokenId}.`,
      `${tokenId}.${other.tokenSecret}`,
      `${newId('ak')}.${tokenSecret}`,
      `${tokenId}.${tokenSecret}x`,
      `${tokenId}.${tokenSecret}\u0000`,
      `${revoked.tokenId}.${revoked.tokenSecret}`,
      `${expired.tokenId}.${expired.tokenSecret}`,
      `bk_live_${'0'.repeat(43)}`,
      organization.adminApiKey.slice(0, -1),
      organization.adminApiKey.replace('live', 'test'),
      'x'.repeat(100_000),
    ]) {
      for (const attempt of [withBearer, withApiKey]) {
        const failure = await attempt(value).catch((error: unknown) => error);
        expect(failure).toMatchObject(unauthenticated);
        messages.add((failure as Error).message);
      }
    }
    expect(messages.size).toBe(1);
    await expect(gateway.authenticate({ credential: undefined })).rejects.toMatchObject(unauthenticated);
    await expect(withBearer(organization.adminApiKey)).rejects.toMatchObject(unauthenticated);
  });

  test('what the gateway may remember ends with the credential', async () => {
    const expiresAt = new Date(Date.now() + 5000);
    const { tokenId, tokenSecret } = await aToken(await anOrganization(), { expiresAt });
    expect((await withBearer(`${tokenId}.${tokenSecret}`)).expiresAt).toEqual(expiresAt);
  });
});

describe('API tokens', () => {
  test('no secret is stored, not even in the answer kept for a repeat', async () => {
    const organization = await anOrganization();
    const { tokenSecret } = await aToken(organization, {}, { idempotencyKey: 'kept' });
    const tables = ['api_token', 'admin_key', 'audit_log', 'idempotency', 'outbox'];
    for (const secret of [tokenSecret, organization.adminApiKey]) {
      for (const table of tables) {
        const rows = await db.query(
          `SELECT FROM ${table} t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'`,
          [secret, Buffer.from(secret).toString('hex')],
        );
        expect(rows).toEqual([]);
      }
    }
  });

  test('a repeat under one Idempotency-Key gets the same token and secret; another request is refused', async () => {
    const organization = await anOrganization();
    const answers = await Promise.all(
      [1, 2, 3].map(() => aToken(organization, { name: 'once' }, { idempotencyKey: 'k' })),
    );
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    await withBearer(`${answers[2]!.tokenId}.${answers[2]!.tokenSecret}`);
    await expect(aToken(organization, { name: 'other' }, { idempotencyKey: 'k' })).rejects.toMatchObject({
      kind: 'precondition',
      field: 'Idempotency-Key',
    });
    expect(
      await db.query('SELECT id FROM api_token WHERE organization_id = $1', [organization.organizationId]),
    ).toHaveLength(1);
  });

  test('berth makes one in its own name when it says for whom and where', async () => {
    const { organizationId, ownerUserId, workspaceId } = await anOrganization();
    const ask = (request: Partial<CreateApiTokenRequest>) =>
      berth.createApiToken(CreateApiTokenRequest.fromPartial({ workspaceId, ...request }));
    const { token } = await ask({ organizationId, userId: ownerUserId });
    expect(token).toMatchObject({ workspaceId, userId: ownerUserId, role: Role.ROLE_MEMBER });
    await expect(ask({ userId: ownerUserId })).rejects.toMatchObject({
      kind: 'invalid',
      field: 'organization_id',
    });
    await expect(ask({ organizationId })).rejects.toMatchObject({ kind: 'invalid', field: 'user_id' });
    const foreign = await anOrganization();
    await expect(
      ask({ organizationId, userId: ownerUserId, workspaceId: foreign.workspaceId }),
    ).rejects.toMatchObject({ kind: 'not_found', field: 'workspace_id' });
  });

  test.each<[string, Partial<CreateApiTokenRequest>, string]>([
    ['a moment that is past', { expiresAt: new Date(Date.now() - 1000) }, 'expires_at'],
    ['a moment that is none', { expiresAt: new Date(8.64e15) }, 'expires_at'],
    ['a role that does not exist', { role: 77 as Role }, 'role'],
    ['a name too long', { name: 'x'.repeat(256) }, 'name'],
    ['a name with a line break', { name: 'a\nb' }, 'name'],
    ['no workspace', { workspaceId: '' }, 'workspace_id'],
  ])('refuses %s', async (_, asked, field) => {
    await expect(aToken(await anOrganization(), asked)).rejects.toMatchObject({ kind: 'invalid', field });
  });

  test.each<[string, (foreign: Organization) => Partial<CreateApiTokenRequest>]>([
    ['workspace', ({ workspaceId }) => ({ workspaceId })],
    ['member', ({ ownerUserId }) => ({ userId: ownerUserId })],
    ['organization', ({ organizationId }) => ({ organizationId })],
    ['workspace that is no id', () => ({ workspaceId: 'a\u0000b' })],
    ['member that is no id', () => ({ userId: 'a\u0000b' })],
  ])('a foreign %s is not found', async (_, asked) => {
    const [own, foreign] = [await anOrganization(), await anOrganization()];
    await expect(aToken(own, asked(foreign))).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('a list is the own organization only, newest first, in pages, without secrets', async () => {
    const organization = await anOrganization();
    await aToken(await anOrganization());
    const made = [];
    for (const name of ['a', 'b', 'c']) made.unshift((await aToken(organization, { name })).tokenId);

    const list = (cursor: string, limit = 2) =>
      gateway.listApiTokens({ limit, cursor }, { for: organization.owner });
    const first = await list('');
    const second = await list(first.nextCursor);
    expect([...first.data, ...second.data].map(({ tokenId }) => tokenId)).toEqual(made);
    expect(second.nextCursor).toBe('');
    expect(JSON.stringify(first)).not.toContain('as-');
    await expect(list('nonsense!')).rejects.toMatchObject({ kind: 'invalid', field: 'cursor' });
    await expect(list('', 101)).rejects.toMatchObject({ kind: 'invalid', field: 'limit' });
  });

  test('each change leaves one audit row, in the name of who made it', async () => {
    const organization = await anOrganization();
    const { tokenId } = await aToken(organization);
    for (let repeat = 0; repeat < 2; repeat++) {
      await gateway.revokeApiToken({ tokenId }, { for: organization.owner });
    }
    const rows = await db.query(
      'SELECT actor, action, target_id, request_id FROM audit_log WHERE organization_id = $1 ORDER BY id',
      [organization.organizationId],
    );
    expect(rows).toMatchObject([
      { actor: 'service:berth', action: 'organization.created', target_id: organization.organizationId },
      { actor: 'service:berth', action: 'admin_key.created' },
      {
        actor: organization.ownerUserId,
        action: 'api_token.created',
        target_id: tokenId,
        request_id: 'test',
      },
      {
        actor: organization.ownerUserId,
        action: 'api_token.revoked',
        target_id: tokenId,
        request_id: 'test',
      },
    ]);
  });
});

describe('revoking', () => {
  const revoke = ({ owner }: Organization, tokenId: string) =>
    gateway.revokeApiToken({ tokenId }, { for: owner });

  /** The credentials that were told to be revoked, in the order in which they were. */
  const revocations = async () => {
    const seen: string[] = [];
    const consumption = await consume(
      bed.bus,
      {
        stream: 'BERTH_EVENTS',
        durable: `revocations-${newId('ev')}`,
        filter: 'berth.events.credential.v1.revoked',
        handle: async ({ json }) => void seen.push((json() as { credential_id: string }).credential_id),
      },
      createLogger('test', 'silent'),
    );
    return { seen, [Symbol.asyncDispose]: () => consumption.stop() };
  };

  test('ends the token at once and says so once, within a second', async () => {
    const organization = await anOrganization();
    const { tokenId, tokenSecret } = await aToken(organization);
    await using events = await revocations();
    await withBearer(`${tokenId}.${tokenSecret}`);

    await Promise.all(Array.from({ length: 5 }, () => revoke(organization, tokenId)));
    await expect(withBearer(`${tokenId}.${tokenSecret}`)).rejects.toMatchObject(unauthenticated);
    await eventually(() => events.seen.includes(tokenId), 1000);

    // What is published after a repeat comes after it: had the repeat been told, it would have been seen by now.
    await revoke(organization, tokenId);
    const last = await aToken(organization);
    await revoke(organization, last.tokenId);
    await eventually(() => events.seen.includes(last.tokenId));
    expect(events.seen.filter((id) => id === tokenId)).toHaveLength(1);
  });

  test('another organization cannot, and learns nothing', async () => {
    const [own, foreign] = [await anOrganization(), await anOrganization()];
    const { tokenId, tokenSecret } = await aToken(own);
    const failures = [];
    for (const id of [tokenId, newId('ak'), 'a\u0000b']) {
      failures.push(await revoke(foreign, id).catch((error: Error) => error.message));
    }
    expect(new Set(failures).size).toBe(1);
    await expect(revoke(foreign, tokenId)).rejects.toMatchObject({ kind: 'not_found', field: 'token_id' });
    await withBearer(`${tokenId}.${tokenSecret}`);
  });

  test('a NATS that is killed loses no revocation', async () => {
    const organization = await anOrganization();
    const { tokenId } = await aToken(organization);
    await using events = await revocations();
    const back = bed.nats.restart();
    await revoke(organization, tokenId);
    await back;
    await eventually(() => events.seen.includes(tokenId), 20_000);
    await eventually(async () => (await db.query('SELECT id FROM outbox')).length === 0, 20_000);
  });
});

describe('the token of a container', () => {
  const owner = (): ContainerOwner => ({
    organizationId: newId('or'),
    workspaceId: newId('wo'),
    appId: newId('ap'),
    functionId: newId('fu'),
  });

  test('speaks for what the scheduler says the container is, and calls functions only', async () => {
    const runner = bed.connect(IdentityServiceService, 'identity', 'runner');
    const containerId = newId('ta');
    const { organizationId, workspaceId, appId, functionId } = owner();
    containers.set(containerId, { organizationId, workspaceId, appId, functionId });
    const { token, expiresAt } = await runner.issueContainerToken({ containerId });
    const left = expiresAt!.getTime() - Date.now();
    expect(left).toBeGreaterThan(25_000);
    expect(left).toBeLessThanOrEqual(60_000);

    const inItsName = { ...(await bed.caller()), token };
    const { principal, email } = await gateway.whoAmI({}, { for: inItsName });
    expect(principal).toEqual({
      credentialKind: CredentialKind.CREDENTIAL_KIND_CONTAINER,
      credentialId: containerId,
      organizationId,
      workspaceId,
      userId: '',
      role: Role.ROLE_MEMBER,
      scope: Scope.SCOPE_WORKSPACE,
      appId,
      functionId,
    });
    expect(email).toBe('');
    for (const ask of [
      () => gateway.listApiTokens({ limit: 0, cursor: '' }, { for: inItsName }),
      () => gateway.revokeApiToken({ tokenId: newId('ak') }, { for: inItsName }),
      () => gateway.issueContainerToken({ containerId }, { for: inItsName }),
    ]) {
      await expect(ask()).rejects.toMatchObject({ kind: 'denied' });
    }

    containers.delete(containerId);
    await expect(runner.issueContainerToken({ containerId })).rejects.toMatchObject({ kind: 'not_found' });
  });
});

describe('who may not', () => {
  const workspaceId = newId('wo');
  const requests: Record<keyof typeof IdentityServiceService, object> = {
    authenticate: { credential: { $case: 'bearer', value: 'x' } },
    createOrganization: { name: 'x', ownerEmail: 'x@example.com' },
    createApiToken: { workspaceId },
    listApiTokens: {},
    revokeApiToken: { tokenId: newId('ak') },
    whoAmI: {},
    issueContainerToken: { containerId: newId('ta') },
  };
  const rpcs = Object.keys(requests) as (keyof typeof requests)[];
  const attempt = (client: Client, rpc: keyof typeof requests, caller?: CallContext) =>
    ask(IdentityServiceService, client, rpc, requests[rpc], caller);

  test.each(rpcs)('%s refuses a caller without a token', async (rpc) => {
    const nobody = { ...(await bed.caller()), token: '' };
    await expect(attempt(gateway, rpc, nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test.each(rpcs)('%s refuses a service that is not listed', async (rpc) => {
    const billing = bed.connect(IdentityServiceService, 'identity', 'billing');
    await expect(attempt(billing, rpc)).rejects.toMatchObject({ kind: 'denied' });
  });

  test.each(rpcs.filter((rpc) => rpc !== 'whoAmI'))('%s refuses a token of a workspace', async (rpc) => {
    await expect(attempt(gateway, rpc, await bed.caller())).rejects.toMatchObject({ kind: 'denied' });
  });
});
