import { IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { CreateProxyTokenRequest, ProxyTokenServiceService } from '@berth/contracts/identity/v1/proxy_tokens';
import { newId, type Database } from '@berth/database';
import { consume } from '@berth/events';
import { createLogger, type CallContext, type ClientOf } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { identity } from '../src/service';
import { workspacePeer } from './workspace-peer';

let bed: TestBed;
let db: Database;
let tokens: ClientOf<typeof ProxyTokenServiceService>;
let organizationId: string;

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspacePeer(new Map()));
  await bed.start(identity);
  db = await bed.database(identity);
  tokens = bed.connect(ProxyTokenServiceService, 'identity', 'gateway');
  const berth = bed.connect(IdentityServiceService, 'identity', 'berth');
  ({ organizationId } = await berth.createOrganization({
    name: 'proxies',
    ownerEmail: 'proxies@example.com',
    newAdminKey: false,
  }));
});
afterAll(() => bed?.close());

const aMember = () => bed.caller({ organizationId, role: 'member' });
const make = (caller: CallContext, asked: Partial<CreateProxyTokenRequest> = {}, idempotencyKey?: string) =>
  tokens.createProxyToken(CreateProxyTokenRequest.fromPartial(asked), {
    for: caller,
    ...(idempotencyKey ? { idempotencyKey } : {}),
  });
const show = ({ tokenId, tokenSecret }: { tokenId: string; tokenSecret: string }) =>
  tokens.authenticateProxyToken({ tokenId, tokenSecret });
const refused = { kind: 'unauthenticated', message: 'The proxy token is not valid.' };

test('a token opens its workspace; its secret is stored as a hash and shown once', async () => {
  const member = await aMember();
  const made = await make(member, { name: 'ci' });
  expect(made).toMatchObject({
    tokenId: expect.stringMatching(/^wk-[0-9A-Za-z]{22}$/),
    tokenSecret: expect.stringMatching(/^ws-[0-9A-Za-z]{43}$/),
    token: { name: 'ci', revokedAt: undefined },
  });
  const { workspaceId } = await show(made);
  expect(workspaceId).toBe((member.principal as { workspaceId: string }).workspaceId);

  const { data } = await tokens.listProxyTokens({ limit: 0, cursor: '' }, { for: member });
  expect(data).toEqual([made.token]);
  const stored = JSON.stringify(
    await db.query('SELECT to_jsonb(t)::text FROM proxy_token t WHERE id = $1', [made.tokenId]),
  );
  expect(stored).not.toContain(made.tokenSecret);
});

test('a repeated request is the same token', async () => {
  const member = await aMember();
  const [one, two] = await Promise.all([
    make(member, { name: 'once' }, 'key'),
    make(member, { name: 'once' }, 'key'),
  ]);
  expect(two).toEqual(one);
});

test('what is unknown, malformed, of another secret, revoked or expired opens nothing, and never says which', async () => {
  const member = await aMember();
  const [one, other] = [await make(member), await make(member)];
  await expect(show({ ...one, tokenSecret: other.tokenSecret })).rejects.toMatchObject(refused);
  await expect(show({ ...one, tokenId: newId('wk') })).rejects.toMatchObject(refused);
  await expect(show({ tokenId: "wk-'; --", tokenSecret: 'x' })).rejects.toMatchObject(refused);

  const brief = await make(member, { expiresAt: new Date(Date.now() + 200) });
  const { expiresAt } = await show(brief);
  expect(expiresAt!.getTime()).toBeLessThanOrEqual(brief.token!.expiresAt!.getTime());
  await eventually(() =>
    show(brief).then(
      () => false,
      (error: unknown) => expect(error).toMatchObject(refused) === undefined,
    ),
  );

  await tokens.revokeProxyToken({ tokenId: one.tokenId }, { for: member });
  await expect(show(one)).rejects.toMatchObject(refused);
  await expect(show(other)).resolves.toBeDefined();
});

test('a revocation says so once, in the event that gateways hear and in the audit log', async () => {
  const member = await aMember();
  const { tokenId } = await make(member);
  const heard: string[] = [];
  const events = await consume(
    bed.bus,
    {
      stream: 'BERTH_EVENTS',
      durable: 'proxy-token-test',
      filter: 'berth.events.credential.v1.revoked',
      handle: async ({ json }) => void heard.push((json() as { credential_id: string }).credential_id),
    },
    createLogger('test', 'silent'),
  );
  for (let i = 0; i < 3; i++) await tokens.revokeProxyToken({ tokenId }, { for: member });
  await eventually(() => heard.includes(tokenId));
  expect(heard.filter((id) => id === tokenId)).toHaveLength(1);
  const actions = await db.query<{ action: string }>(
    'SELECT action FROM audit_log WHERE target_id = $1 ORDER BY id',
    [tokenId],
  );
  expect(actions.map(({ action }) => action)).toEqual(['proxy_token.created', 'proxy_token.revoked']);
  await events.stop();
});

test('another workspace, of the same organization even, neither sees nor ends it', async () => {
  const made = await make(await aMember());
  const stranger = await aMember();
  expect((await tokens.listProxyTokens({ limit: 0, cursor: '' }, { for: stranger })).data).toEqual([]);
  await expect(tokens.revokeProxyToken({ tokenId: made.tokenId }, { for: stranger })).rejects.toMatchObject({
    kind: 'not_found',
    field: 'token_id',
  });
  await expect(show(made)).resolves.toBeDefined();
});

test.each([
  ['name', { name: 'two\nlines' }],
  ['expires_at', { expiresAt: new Date(0) }],
])('%s that cannot be is refused by its name', async (field, asked) => {
  await expect(make(await aMember(), asked)).rejects.toMatchObject({ kind: 'invalid', field });
});
