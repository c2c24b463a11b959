/**
 * Who may call what, of everything that can be called: each RPC of each contract, on the service that really serves
 * it, and each REST route. Rows come from the contracts, so that a new method is tried without a word here.
 */
import { Client, credentials, Metadata, status, type ClientReadableStream } from '@grpc/grpc-js';
import { accessOf, contracts, ROLES, routeOf, type AccessRule, type DescMethod } from '@berth/contracts';
import { IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { openTokens, type ServiceModule } from '@berth/service-kit';
import { ask, testBed, type TestBed } from '@berth/testing';
import { billing } from '@berth/apps/billing';
import { functions } from '@berth/apps/functions';
import { gateway } from '@berth/apps/gateway';
import { identity } from '@berth/apps/identity';
import { runner } from '@berth/apps/runner';
import { scheduler } from '@berth/apps/scheduler';
import { sync } from '@berth/apps/sync';
import { workspace } from '@berth/apps/workspace';

/** In the order in which they start: whoever depends on a peer comes after it. */
const modules: ServiceModule[] = [identity, sync, billing, workspace, scheduler, functions, runner, gateway];

/** What is not tried on its real service. This list is exact: it may only become shorter. */
const NOT_TRIED: string[] = [];
/** What anybody may call. */
const ANONYMOUS: string[] = [];
/** What a handler itself says to an empty request, where that reads like the gate's refusal. */
const OWN_ANSWERS: Record<string, string> = {
  'berth.identity.v1.IdentityService/Authenticate': 'UNAUTHENTICATED', // Of the credential that it is shown.
};

const SERVICES = [
  'gateway',
  'identity',
  'workspace',
  'functions',
  'scheduler',
  'runner',
  'billing',
  'sync',
  'berth',
];

const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;
const ownerOf = (method: DescMethod) => method.parent.typeName.split('.')[1]!;
const methods = new Map(
  [...contracts()]
    .flatMap((type) => (type.kind === 'service' ? type.methods : []))
    .map((method) => [nameOf(method), method]),
);
const isTried = (method: DescMethod) => modules.some(({ name }) => name === ownerOf(method));
const triedNames = [...methods].flatMap(([name, method]) => (isTried(method) ? [name] : []));

let bed: TestBed;
let httpUrl: string;
const channels = new Map<string, Client>();

beforeAll(async () => {
  bed = await testBed();
  for (const module of modules) {
    const running = await bed.start(module, {
      BERTH_HTTP_PORT: '0',
      BERTH_GRPC_PORT: '0',
      BERTH_ENGINE: 'process', // Nothing is run here.
    });
    channels.set(module.name, new Client(running.address, credentials.createInsecure()));
    if ('httpUrl' in running) httpUrl = String(running.httpUrl);
  }
});
afterAll(async () => {
  for (const channel of channels.values()) channel.close();
  await bed?.close();
});

test('each method says who may call it', () => {
  expect([...methods].filter(([, method]) => !accessOf(method)).map(([name]) => name)).toEqual([]);
});

/** All that user code may do with the credential of its own run. */
const OPEN_TO_CONTAINERS = [
  'berth.functions.v1.FunctionsService/BindFunction',
  'berth.functions.v1.FunctionsService/CancelFunctionCall',
  'berth.functions.v1.FunctionsService/CloseFunctionCall',
  'berth.functions.v1.FunctionsService/FindFunctions',
  'berth.functions.v1.FunctionsService/GetApp',
  'berth.functions.v1.FunctionsService/GetFunction',
  'berth.functions.v1.FunctionsService/GetFunctionCall',
  'berth.functions.v1.FunctionsService/GetFunctionCallResult',
  'berth.functions.v1.FunctionsService/InvokeFunction',
  'berth.functions.v1.FunctionsService/ListApps',
  'berth.functions.v1.FunctionsService/ListFunctions',
  'berth.functions.v1.FunctionsService/MapFunction',
  'berth.functions.v1.FunctionsService/OpenFunctionCall',
  'berth.functions.v1.FunctionsService/PutFunctionCallInputs',
  'berth.functions.v1.FunctionsService/SpawnFunction',
  'berth.functions.v1.FunctionsService/StreamFunctionCallItems',
  'berth.functions.v1.FunctionsService/StreamFunctionCallOutputs',
  'berth.functions.v1.FunctionsService/StreamLogs',
  'berth.identity.v1.IdentityService/WhoAmI',
  'berth.sync.v1.SyncService/CreateTree',
  'berth.sync.v1.SyncService/FindMissingChunks',
  'berth.sync.v1.SyncService/GetChunk',
  'berth.sync.v1.SyncService/GetTree',
  'berth.sync.v1.SyncService/PutChunk',
  'berth.workspace.v1.WorkspaceService/GetEnvironment',
];

test('a container may do what calling functions needs, and no more', () => {
  const open = [...methods].filter(([, method]) => accessOf(method)?.containers).map(([name]) => name);
  expect(open.sort()).toEqual(OPEN_TO_CONTAINERS);
});

test('the lists of exceptions are exact', () => {
  expect([...methods.keys()].filter((name) => !triedNames.includes(name))).toEqual(NOT_TRIED);
  const anonymous = [...methods].filter(([, method]) => accessOf(method)?.anonymous);
  expect(anonymous.map(([name]) => name)).toEqual(ANONYMOUS);
});

/** Who a row is tried with. Undefined token: none is sent. */
interface Caller {
  who: string;
  token: string | undefined;
  expected(rule: AccessRule): string;
}

const LET_IN = 'let in';
/** What an empty request gets from a handler. Anything else never came so far, or is a bug. */
const ANSWERS = [status.OK, status.INVALID_ARGUMENT, status.NOT_FOUND, status.FAILED_PRECONDITION];

async function callers(): Promise<Caller[]> {
  const unknown = () => 'UNAUTHENTICATED';
  const user = await bed.caller();
  const list: Caller[] = [
    { who: 'nobody', token: undefined, expected: unknown },
    { who: 'nonsense', token: 'a.b.c', expected: unknown },
  ];
  for (const service of SERVICES) {
    const tokens = openTokens(service, bed.env.BERTH_KEYS_DIR!);
    list.push({
      who: `service ${service}`,
      token: await tokens.sign({ kind: 'service', service }),
      expected: ({ services }) => (services.includes(service) ? LET_IN : 'PERMISSION_DENIED'),
    });
    const other = service === 'berth' ? 'runner' : 'berth';
    list.push({
      who: `${service} as ${other}`,
      token: await tokens.sign({ kind: 'service', service: other }),
      expected: unknown,
    });
    if (service === 'identity') continue; // It alone may speak for users.
    list.push({ who: `${service} as a user`, token: await tokens.sign(user.principal), expected: unknown });
  }
  const { token: ofContainer } = await bed.caller({ credentialKind: 'container', role: 'member' });
  list.push({
    who: 'a container',
    token: ofContainer,
    expected: ({ containers }) => (containers ? LET_IN : 'PERMISSION_DENIED'),
  });
  for (const role of ROLES) {
    for (const scope of ['workspace', 'organization'] as const) {
      const { token } = await bed.caller({ role, scope });
      list.push({
        who: `${role} of the ${scope}`,
        token,
        expected: (rule) => {
          const reaches = rule.scope !== 'organization' || scope === 'organization';
          const ranks = rule.role !== 'unspecified' && ROLES.indexOf(role) >= ROLES.indexOf(rule.role);
          return reaches && ranks ? LET_IN : 'PERMISSION_DENIED';
        },
      });
    }
  }
  return list;
}

const empty = () => Buffer.alloc(0);
const asIs = (bytes: Buffer) => bytes;

/** What an empty request gets: the name of the status, or that a handler answered it. */
async function answerTo(method: DescMethod, token: string | undefined): Promise<string> {
  const channel = channels.get(ownerOf(method))!;
  const path = `/${nameOf(method)}`;
  const metadata = new Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  const options = { deadline: Date.now() + 10_000 };

  const code = await new Promise<status>((resolve) => {
    const settled = (call: ClientReadableStream<Buffer>) =>
      call
        .on('status', (end) => resolve(end.code))
        .on('error', () => undefined) // Its status says the same.
        .resume();
    switch (method.methodKind) {
      case 'unary':
        channel.makeUnaryRequest(path, asIs, asIs, empty(), metadata, options, (error) =>
          resolve(error?.code ?? status.OK),
        );
        return;
      case 'server_streaming':
        settled(channel.makeServerStreamRequest(path, asIs, asIs, empty(), metadata, options));
        return;
      default: {
        const call = channel.makeBidiStreamRequest(path, asIs, asIs, metadata, options);
        settled(call);
        call.end();
      }
    }
  });
  return ANSWERS.includes(code) ? LET_IN : status[code];
}

test.each(triedNames)('%s', async (name) => {
  const method = methods.get(name)!;
  const rule = accessOf(method)!;
  const expected: Record<string, string> = {};
  const got: Record<string, string> = {};
  for (const caller of await callers()) {
    const verdict = caller.expected(rule);
    expected[caller.who] = verdict === LET_IN ? (OWN_ANSWERS[name] ?? LET_IN) : verdict;
    got[caller.who] = await answerTo(method, caller.token);
  }
  expect(got).toEqual(expected);
});

describe('over REST', () => {
  const routes = [...methods.values()].flatMap((method) => {
    const route = routeOf(method);
    return route ? [{ method, ...route }] : [];
  });
  /** Headers that show a credential: an admin key, or a token of each role. */
  const credentials: Record<string, Record<string, string>> = {};
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  beforeAll(async () => {
    const people = bed.connect(IdentityServiceService, 'identity', 'berth');
    const places = bed.connect(WorkspaceServiceService, 'workspace', 'berth');
    const { organizationId, ownerUserId, adminApiKey } = await people.createOrganization({
      name: 'access',
      ownerEmail: 'owner@example.com',
      newAdminKey: false,
    });
    const made = await places.createWorkspace({ organizationId, name: 'access' });
    const { workspaceId } = made.workspace!;
    credentials.admin = { 'x-api-key': adminApiKey };
    for (const role of ROLES.slice(1)) {
      const token = (await ask(IdentityServiceService, people, 'createApiToken', {
        name: role,
        organizationId,
        workspaceId,
        userId: ownerUserId,
        role: ROLES.indexOf(role),
      })) as { tokenId: string; tokenSecret: string };
      credentials[role] = bearer(`${token.tokenId}.${token.tokenSecret}`);
    }
  });

  const request = async (verb: string, path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(httpUrl + path.replace(/\{[a-z_]+\}/g, 'x'), {
      method: verb,
      headers,
    });
    return { status: response.status, body: await response.json() };
  };
  const refusal = (httpStatus: number, code: string) => ({
    status: httpStatus,
    body: {
      error: expect.objectContaining({
        code,
        message: expect.stringMatching(/\w/),
        request_id: expect.stringMatching(/\w/),
      }),
    },
  });

  test('there are no routes but those of the contracts', async () => {
    const { body } = await request('GET', '/openapi.json');
    const described = Object.entries((body as { paths: Record<string, object> }).paths).flatMap(
      ([path, verbs]) => Object.keys(verbs).map((verb) => `${verb.toUpperCase()} ${path}`),
    );
    const written = routes.map(({ verb, path }) => `${verb} ${path}`);
    expect(described.filter((route) => route.includes(' /v1/')).sort()).toEqual(written.sort());
  });

  test.each(routes.map(({ verb, path }) => [verb, path]))('%s %s refuses strangers', async (verb, path) => {
    expect(await request(verb, path)).toEqual(refusal(401, 'unauthenticated'));
    const unknown = bearer('ak-0000000000000000000000.as-0000000000000000000000');
    expect(await request(verb, path, unknown)).toEqual(refusal(401, 'unauthenticated'));
  });

  const restricted = routes.flatMap(({ method, verb, path }) => {
    const { role, scope } = accessOf(method)!;
    return role === 'member' && scope !== 'organization' ? [] : [{ verb, path, role, scope }];
  });
  test.each(restricted)(
    '$verb $path is for the role $role on the $scope',
    async ({ verb, path, role, scope }) => {
      const denied = ROLES.slice(1).filter(
        (each) => scope === 'organization' || ROLES.indexOf(each) < ROLES.indexOf(role),
      );
      for (const each of denied) {
        expect(await request(verb, path, credentials[each])).toEqual(refusal(403, 'permission_denied'));
      }
      const admitted = scope === 'organization' ? credentials.admin : credentials[role];
      expect([401, 403, 500]).not.toContain((await request(verb, path, admitted)).status);
    },
  );
});
