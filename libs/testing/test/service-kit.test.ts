import { Client, credentials } from '@grpc/grpc-js';
import {
  WorkspaceServiceService,
  GetWorkspaceRequest,
  CreateWorkspaceRequest,
} from '@berth/contracts/workspace/v1/workspace';
import {
  BerthError,
  connect,
  defineService,
  implement,
  openTokens,
  userOf,
  type Principal,
} from '@berth/service-kit';
import { testBed, type TestBed } from '@berth/testing';

const refuse = () => Promise.reject(new BerthError('unimplemented', 'not in this test'));

/** A service whose one method answers with what the gate let through. */
const echo = defineService('workspace', async () => ({
  services: [
    implement(WorkspaceServiceService, {
      createWorkspace: refuse,
      getWorkspace: async ({ workspaceId }, call) => {
        if (workspaceId === 'wo-bug') throw new TypeError('secret detail');
        if (workspaceId === 'wo-none')
          throw new BerthError('not_found', 'No such workspace.', { field: 'workspace_id' });
        const name = call.principal.kind === 'user' ? userOf(call).userId : call.principal.service;
        return { workspace: { workspaceId, organizationId: '', name, createdAt: new Date(0) } };
      },
      listWorkspaces: refuse,
      getEnvironment: refuse,
      createEnvironment: refuse,
      listEnvironments: refuse,
    }),
  ],
  async [Symbol.asyncDispose]() {},
}));

let bed: TestBed;
let address: string;
beforeAll(async () => {
  bed = await testBed();
  ({ address } = await bed.start(echo));
});
afterAll(() => bed?.close());

const get = (workspaceId: string) => GetWorkspaceRequest.fromPartial({ workspaceId });
const as = (service: string) => bed.connect(WorkspaceServiceService, 'workspace', service);

test('a service on the list gets through, in its own name', async () => {
  const { workspace } = await as('berth').getWorkspace(get('wo-1'));
  expect(workspace!.name).toBe('berth');
});

test('a service that is not on the list is denied', async () => {
  await expect(as('runner').getWorkspace(get('wo-1'))).rejects.toMatchObject({ kind: 'denied' });
});

test('a user is carried through by a peer', async () => {
  const caller = await bed.caller({ userId: 'us-somebody' });
  const { workspace } = await as('functions').getWorkspace(get('wo-1'), { for: caller });
  expect(workspace!.name).toBe('us-somebody');
});

test('too small a role and too small a scope are denied', async () => {
  const request = CreateWorkspaceRequest.fromPartial({ name: 'x' });
  const member = await bed.caller({ role: 'member', scope: 'organization' });
  const inside = await bed.caller({ role: 'owner', scope: 'workspace' });
  for (const caller of [member, inside]) {
    await expect(as('gateway').createWorkspace(request, { for: caller })).rejects.toMatchObject({
      kind: 'denied',
    });
  }
});

test.each<[string, string, Principal]>([
  [
    'a service that speaks for a user',
    'functions',
    {
      kind: 'user',
      credentialKind: 'api_token',
      credentialId: 'x',
      organizationId: 'or-x',
      workspaceId: 'wo-x',
      userId: 'us-x',
      role: 'owner',
      scope: 'organization',
    },
  ],
  ['a service that speaks for another', 'runner', { kind: 'service', service: 'berth' }],
])('%s is unauthenticated', async (_, signer, principal) => {
  const token = await openTokens(signer, bed.env.BERTH_KEYS_DIR!).sign(principal);
  const caller = { ...(await bed.caller()), token };
  await expect(as('gateway').getWorkspace(get('wo-1'), { for: caller })).rejects.toMatchObject({
    kind: 'unauthenticated',
  });
});

test.each(['', 'x', 'eyJhbGciOiJub25lIn0.e30.'])('the token %p is unauthenticated', async (token) => {
  const caller = { ...(await bed.caller()), token };
  await expect(as('gateway').getWorkspace(get('wo-1'), { for: caller })).rejects.toMatchObject({
    kind: 'unauthenticated',
  });
});

test('an error keeps its kind, message and field over the wire', async () => {
  await expect(as('berth').getWorkspace(get('wo-none'))).rejects.toMatchObject({
    kind: 'not_found',
    message: 'No such workspace.',
    field: 'workspace_id',
  });
});

test('a bug says nothing of itself to the caller', async () => {
  await expect(as('berth').getWorkspace(get('wo-bug'))).rejects.toMatchObject({
    kind: 'internal',
    message: expect.not.stringContaining('secret detail'),
  });
});

test('a required field that is missing is named', async () => {
  await expect(as('berth').getWorkspace(get(''))).rejects.toMatchObject({
    kind: 'invalid',
    field: 'workspace_id',
  });
});

test('a peer that is not there is unavailable within the deadline', async () => {
  const client = connect(
    WorkspaceServiceService,
    `unix:${bed.dataDir}/nobody.sock`,
    openTokens('berth', bed.env.BERTH_KEYS_DIR!),
  );
  await expect(client.getWorkspace(get('wo-1'), { timeoutMs: 2000 })).rejects.toMatchObject({
    kind: 'unavailable',
  });
  client.close();
});

/** What reflection answers to one request, as bytes: names stand in them as they are. */
const reflect = (field: number, text: string) =>
  new Promise<string>((resolve, reject) => {
    const client = new Client(address, credentials.createInsecure());
    const asIs = (bytes: Buffer) => bytes;
    const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    const stream = client.makeBidiStreamRequest(path, asIs, asIs);
    stream.on('error', reject).once('data', (answer: Buffer) => {
      resolve(answer.toString('latin1'));
      stream.end();
      client.close();
    });
    stream.write(Buffer.concat([Buffer.from([(field << 3) | 2, text.length]), Buffer.from(text)]));
  });

test('reflection lists what is served, and describes whatever it refers to', async () => {
  const [fileContainingSymbol, listServices] = [4, 7];
  const listed = await reflect(listServices, '*');
  expect(listed).toContain('berth.workspace.v1.WorkspaceService');
  expect(listed).not.toContain('berth.identity.v1.IdentityService');
  const described = await reflect(fileContainingSymbol, 'berth.workspace.v1.WorkspaceService');
  for (const name of ['CreateWorkspaceRequest', 'google.protobuf', 'Timestamp', 'Access']) {
    expect(described).toContain(name);
  }
  expect(await reflect(fileContainingSymbol, 'berth.functions.v1.Phase')).toContain('duration_ms');
});
