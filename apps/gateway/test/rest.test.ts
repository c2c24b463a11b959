import { connect as connectSocket } from 'node:net';
import { Container, ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import { newId } from '@berth/database';
import { encodeContainerEvent } from '@berth/events';
import { BerthError, openTokens, type UserPrincipal } from '@berth/service-kit';
import { testBed, eventually, type TestBed } from '@berth/testing';
import { gateway, type RunningGateway } from '../src/service';
import {
  standInFunctions,
  standInIdentity,
  standInSync,
  TOKEN,
  type StandInFunctions,
  type StandInIdentity,
} from './stand-ins';

let bed: TestBed;
let running: RunningGateway;
let functions: StandInFunctions;
let identity: StandInIdentity;
let sync: ReturnType<typeof standInSync>;

beforeAll(async () => {
  bed = await testBed();
  identity = standInIdentity(bed);
  functions = standInFunctions();
  sync = standInSync();
  await bed.start(identity.module);
  await bed.start(functions.module);
  await bed.start(sync.module);
  running = (await bed.start(gateway, { BERTH_HTTP_PORT: '0', BERTH_GRPC_PORT: '0' })) as RunningGateway;
});
afterAll(() => bed?.close());

interface Asked {
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** Undefined: the good token. */
  token?: string | null;
}

async function ask(verb: string, path: string, { headers = {}, body, token = TOKEN }: Asked = {}) {
  const response = await fetch(running.httpUrl + path, {
    method: verb,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(typeof body === 'string' ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    ...(body === undefined ? {} : { body: body as RequestInit['body'] }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) };
}

const lastSeen = (method: string) => functions.seen.findLast((each) => each.method === method)!;

test('a message comes back as the contract spells it, with every field', async () => {
  const got = await ask('GET', '/v1/apps/ap-1', { headers: { 'x-request-id': 'mine-1' } });
  expect(got.status).toBe(200);
  expect(got.headers.get('x-request-id')).toBe('mine-1');
  expect(got.headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(got.json()).toEqual({
    app_id: 'ap-1',
    name: 'weather',
    state: 'deployed',
    environment: 'main',
    tags: {},
    created_at: '2026-01-31T09:30:00.250Z',
  });
  expect(lastSeen('getApp').call).toMatchObject({ requestId: 'mine-1', idempotencyKey: undefined });
});

test('a create answers 201, and carries its key, or one of the gateway where there is none', async () => {
  const body = '{"name":"weather","tags":{"a":"1"}}';
  const got = await ask('POST', '/v1/apps', { body, headers: { 'idempotency-key': 'k-1' } });
  expect(got.status).toBe(201);
  expect(got.json()).toMatchObject({ name: 'weather', tags: { a: '1' } });
  expect(lastSeen('createApp').call.idempotencyKey).toBe('k-1');
  await ask('POST', '/v1/apps', { body });
  expect(lastSeen('createApp').call.idempotencyKey).toMatch(/^[0-9a-f-]{36}$/);
});

test('a success without a body is 204', async () => {
  const got = await ask('DELETE', '/v1/apps/ap-1');
  expect([got.status, got.text]).toEqual([204, '']);
});

test('query parameters become fields', async () => {
  await ask('GET', '/v1/apps?state=Deployed&limit=7&name=a%20b%2Bc&environment=x+y');
  expect(lastSeen('listApps').request).toMatchObject({
    state: 2,
    limit: 7,
    name: 'a b+c',
    environment: 'x y',
  });
});

test('arguments and results pass through digit by digit', async () => {
  const args = '[12345678901234567890, 1.10, 1e400, -0, "\\ud83d\\ude00 é", {"b":1,"a":2,"b":3}]';
  const got = await ask('POST', '/v1/functions/fu-1/invocations', {
    body: ` { "kwargs" : { } , "args" : ${args} } `,
  });
  expect(got.status).toBe(200);
  expect((lastSeen('invokeFunction').request.args as Buffer).toString()).toBe(args);
  expect(got.text).toContain(`"result":${args},"error":null`);
  expect(got.text).toContain('"finished_at":null');
  expect(got.text).toContain(
    '"phases":[{"name":"queued","started_at":"2026-01-31T09:30:00.250Z","duration_ms":1.5}]',
  );
});

test('one graphics card or a list of them; a body that is one field', async () => {
  const definition = '{"runtime":"python","handler":"a:b","gpu":"H100","memory":256}';
  await ask('PUT', '/v1/functions/fu-1', { body: definition });
  expect(lastSeen('updateFunction').request).toMatchObject({
    functionId: 'fu-1',
    definition: { runtime: 1, handler: 'a:b', gpu: ['H100'], memory: 256, cpu: undefined },
  });
  await ask('PUT', '/v1/functions/fu-1', { body: '{"runtime":"NODE","handler":"a:b","gpu":["H100","any"]}' });
  expect(lastSeen('updateFunction').request).toMatchObject({
    definition: { runtime: 2, gpu: ['H100', 'any'] },
  });
});

test('raw bytes are a body of their own', async () => {
  const content = Buffer.from([0, 255, 1, 254]);
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await ask('PUT', '/v1/chunks/abc', { body: content, headers })).status).toBe(204);
  expect(sync.chunks.get('abc')).toEqual(content);
});

test('an encoded slash stays inside its id', async () => {
  const got = await ask('GET', '/v1/apps/ap-1%2Ffunctions');
  expect(got.status).toBe(404);
  expect(lastSeen('getApp').request).toMatchObject({ appId: 'ap-1/functions' });
  expect((await ask('GET', '/v1/apps/ap%252D1')).status).toBe(404);
  expect(lastSeen('getApp').request).toMatchObject({ appId: 'ap%2D1' }); // Decoded once.
});

const create = (body: string | Uint8Array, headers = {}) => ask('POST', '/v1/apps', { body, headers });
const define = (fields: string) =>
  ask('POST', '/v1/apps/ap-1/functions', {
    body: `{"name":"f","runtime":"python","handler":"a:b",${fields}}`,
  });

test.each<[string, () => ReturnType<typeof ask>, number, string | null, RegExp]>([
  [
    'text that is no JSON',
    () => create('{"name":'),
    400,
    null,
    /line 1, column 9: expected a value, found its end/,
  ],
  ['a comma too many', () => create('{\n "name":"x",\n}'), 400, null, /line 3, column 1: expected a name/],
  ['something after the end', () => create('{"name":"x"} {}'), 400, null, /expected the end of the body/],
  ['a list', () => create('[]'), 400, null, /must be an object, not a list/],
  ['null', () => create('null'), 400, null, /must be an object/],
  [
    'bytes that are no UTF-8',
    () => create(Buffer.from([0x7b, 0xff]), { 'content-type': 'application/json' }),
    400,
    null,
    /UTF-8/,
  ],
  [
    'another content type',
    () => create('{}', { 'content-type': 'text/plain' }),
    415,
    null,
    /application\/json/,
  ],
  ['an unknown field', () => create('{"nmae":"x"}'), 400, 'nmae', /did you mean name/],
  [
    'a field in camel case',
    () => define('"minContainers":1'),
    400,
    'minContainers',
    /did you mean min_containers/,
  ],
  ['__proto__', () => create('{"name":"x","__proto__":{}}'), 400, '__proto__', /no field/],
  ['a field twice', () => create('{"name":"x","name":"y"}'), 400, 'name', /given twice/],
  ['a map key twice', () => create('{"name":"x","tags":{"a":"1","a":"2"}}'), 400, 'tags.a', /given twice/],
  ['a number for text', () => create('{"name":7}'), 400, 'name', /must be text.*, not a number/],
  ['half a character', () => create('{"name":"\\ud800"}'), 400, 'name', /Unicode/],
  ['text for a number', () => define('"memory":"256"'), 400, 'memory', /a whole number/],
  ['a fraction for a whole number', () => define('"memory":1.5'), 400, 'memory', /a whole number/],
  ['a number out of range', () => define('"memory":3000000000'), 400, 'memory', /to 2147483647/],
  ['an infinite number', () => define('"cpu":1e999'), 400, 'cpu', /a number/],
  [
    'an unknown word',
    () => ask('POST', '/v1/apps/ap-1/functions', { body: '{"runtime":"ruby"}' }),
    400,
    'runtime',
    /one of python, node/,
  ],
  ['a wrong value in a map', () => define('"env":{"A":1}'), 400, 'env.A', /must be text/],
  ['a wrong element', () => define('"gpu":["H100",{}]'), 400, 'gpu[1]', /must be text/],
  ['an odd key', () => define('"files":{"a/b.py":null,"c":[]}'), 400, 'files["a/b.py"]', /must be text/],
  ['a field that is in the path', () => define('"app_id":"ap-2"'), 400, 'app_id', /from the path/],
  [
    'arguments nested too deep',
    () => ask('POST', '/v1/functions/fu-1/invocations', { body: `{"args":${'['.repeat(100_000)}` }),
    400,
    null,
    /deeper than 500/,
  ],
  [
    'arguments that do not end',
    () => ask('POST', '/v1/functions/fu-1/invocations', { body: '{"args":[1,2}' }),
    400,
    null,
    /expected ',' or '\]'/,
  ],
  [
    'a bad number in arguments',
    () => ask('POST', '/v1/functions/fu-1/invocations', { body: '{"args":[01]}' }),
    400,
    null,
    /not valid JSON/,
  ],
  [
    'a bad escape in arguments',
    () => ask('POST', '/v1/functions/fu-1/invocations', { body: '{"args":["\\x"]}' }),
    400,
    null,
    /not valid JSON/,
  ],
  [
    'an unknown query parameter',
    () => ask('GET', '/v1/apps?stat=deployed'),
    400,
    'stat',
    /did you mean state/,
  ],
  ['a query parameter twice', () => ask('GET', '/v1/apps?limit=1&limit=2'), 400, 'limit', /given twice/],
  [
    'a query parameter that is no number',
    () => ask('GET', '/v1/apps?limit=many'),
    400,
    'limit',
    /whole number/,
  ],
  ['an empty number', () => ask('GET', '/v1/apps?limit='), 400, 'limit', /whole number/],
  [
    'a body where none is taken',
    () => ask('DELETE', '/v1/apps/ap-1', { body: '{"a":1}' }),
    400,
    null,
    /takes no body/,
  ],
  ['a required field that is missing', () => create('{}'), 400, 'name', /missing/],
  ['a name that is taken', () => create('{"name":"taken"}'), 409, 'name', /taken/],
  ['an app that is not there', () => ask('GET', '/v1/apps/ap-2'), 404, 'app_id', /No such app/],
  ['a bug', () => ask('GET', '/v1/apps/ap-bug'), 500, null, /logs have it/],
  ['a path that cannot be read', () => ask('GET', '/v1/apps/%zz'), 400, null, /%/],
  ['an id without end', () => ask('GET', `/v1/apps/${'a'.repeat(600)}`), 404, null, /longer than any id/],
  ['a route that is not there', () => ask('GET', '/v1/app/ap-1'), 404, null, /did you mean \/v1\/apps\/ap-1/],
  [
    'a key too long',
    () => create('{"name":"x"}', { 'idempotency-key': 'k'.repeat(256) }),
    400,
    'Idempotency-Key',
    /255/,
  ],
  ['no credential', () => ask('GET', '/v1/apps', { token: null }), 401, null, /x-api-key/],
  ['an unknown credential', () => ask('GET', '/v1/apps', { token: 'ak-x.as-y' }), 401, null, /not valid/],
  [
    'another scheme',
    () => ask('GET', '/v1/apps', { token: null, headers: { authorization: 'Basic eDp5' } }),
    401,
    null,
    /Bearer/,
  ],
  [
    'two credentials',
    () => ask('GET', '/v1/apps', { headers: { 'x-api-key': 'bk_live_x' } }),
    400,
    'x-api-key',
    /differ/,
  ],
  [
    'what this service does not offer',
    () => ask('GET', '/v1/function-calls/fc-1'),
    501,
    null,
    /does not do this/,
  ],
])('%s: one clear error', async (_what, request, status, field, message) => {
  const got = await request();
  expect({ status: got.status, body: got.json() }).toEqual({
    status,
    body: {
      error: {
        code: expect.any(String),
        message: expect.stringMatching(message),
        field,
        request_id: got.headers.get('x-request-id'),
      },
    },
  });
});

test('a body over the limit is 413', async () => {
  const got = await create(`{"name":"${'x'.repeat(17 * 1024 * 1024)}"}`);
  expect(got.status).toBe(413);
  expect(got.json().error).toMatchObject({ code: 'too_large', field: null });
});

test('a verb that a path does not take names those that it takes', async () => {
  const got = await ask('PATCH', '/v1/apps/ap-1');
  expect([got.status, got.headers.get('allow')]).toEqual([405, 'GET, HEAD, DELETE']);
  const options = await ask('OPTIONS', '/v1/apps/ap-1', { token: null });
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, DELETE, OPTIONS']);
  expect((await ask('HEAD', '/v1/apps/ap-1')).status).toBe(200);
});

test('bytes that are no HTTP get an answer in the same shape', async () => {
  const { hostname, port } = new URL(running.httpUrl);
  const answer = await new Promise<string>((resolve) => {
    let said = '';
    const socket = connectSocket(Number(port), hostname, () => socket.write('NOT HTTP\r\n\r\n'));
    socket.on('data', (chunk) => (said += chunk.toString())).on('close', () => resolve(said));
  });
  expect(answer).toMatch(/^HTTP\/1.1 400 /);
  expect(JSON.parse(answer.split('\r\n\r\n')[1]!).error).toMatchObject({
    code: 'invalid_argument',
    field: null,
  });
});

test('a secret is in no log line', async () => {
  const lines: string[] = [];
  const write = jest
    .spyOn(process.stdout, 'write')
    .mockImplementation((line) => lines.push(String(line)) > 0);
  await ask('GET', '/v1/apps/ap-bug', { headers: { 'x-api-key': TOKEN } });
  await ask('GET', '/v1/apps', { token: 'ak-x.as-very-secret' });
  write.mockRestore();
  expect(lines.join('')).not.toMatch(/as-/);
});

describe('a stream', () => {
  const path = '/v1/apps/ap-1/logs?follow=true';

  test('is one document per line', async () => {
    const got = await ask('GET', path);
    expect(got.headers.get('content-type')).toBe('application/x-ndjson');
    expect(
      got.text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).text),
    ).toEqual(['one', 'two']);
  });

  test('that fails at once fails with a status; later, with a last line', async () => {
    const lines = functions.logLines;
    functions.logLines = async function* () {
      throw new BerthError('not_found', 'No such app.', { field: 'app_id' });
    };
    const early = await ask('GET', path);
    expect([early.status, early.json().error.field]).toEqual([404, 'app_id']);

    functions.logLines = async function* () {
      yield { text: 'one' };
      throw new BerthError('data_loss', 'The log is damaged.');
    };
    const late = await ask('GET', path);
    const last = JSON.parse(late.text.trimEnd().split('\n').at(-1)!);
    expect([late.status, last.error.code, last.error.message]).toEqual([
      200,
      'data_loss',
      'The log is damaged.',
    ]);
    functions.logLines = lines;
  });

  test('ends at its service when the client goes, also while it is silent', async () => {
    const lines = functions.logLines;
    let ended = false;
    functions.logLines = async function* (call) {
      yield { text: 'one' };
      await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
      ended = true;
    };
    const abort = new AbortController();
    const response = await fetch(running.httpUrl + path, {
      headers: { authorization: `Bearer ${TOKEN}` },
      signal: abort.signal,
    });
    await response.body!.getReader().read();
    abort.abort();
    await eventually(() => ended);
    functions.logLines = lines;
  });

  test('waits for a client that does not read', async () => {
    const lines = functions.logLines;
    let made = 0;
    functions.logLines = async function* (call) {
      const text = 'x'.repeat(100_000);
      for (; made < 5000 && !call.signal.aborted; made += 1) yield { text };
    };
    const abort = new AbortController();
    const response = await fetch(running.httpUrl + path, {
      headers: { authorization: `Bearer ${TOKEN}` },
      signal: abort.signal,
    });
    let before = -1;
    await eventually(async () => {
      const still = made === before && made > 0;
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 200)); // Long enough to tell waiting from working.
      return still;
    });
    expect(made).toBeLessThan(2000);
    abort.abort();
    await response.body!.cancel().catch(() => undefined);
    functions.logLines = lines;
  });
});

test('healthz says that the process is up; readyz names who is not', async () => {
  expect((await ask('GET', '/healthz', { token: null })).status).toBe(200);
  const ready = await ask('GET', '/readyz', { token: null });
  expect(ready.status).toBe(503);
  expect(ready.json().not_serving.sort()).toEqual(['billing', 'scheduler', 'workspace']);
});

test('the platform says its version and which services serve', async () => {
  const got = await ask('GET', '/v1/platform');
  expect(got.json().version).toMatch(/^\d+\.\d+\.\d+/);
  const serving = got.json().services.filter((each: { serving: boolean }) => each.serving);
  expect(serving.map((each: { name: string }) => each.name).sort()).toEqual([
    'functions',
    'gateway',
    'identity',
    'sync',
  ]);
});

describe('the credential of a container', () => {
  const aContainer = async (some: Partial<UserPrincipal> = {}) => {
    const containerId = newId('ta');
    const { token } = await bed.caller({ credentialKind: 'container', credentialId: containerId, ...some });
    return { containerId, token };
  };
  const end = (containerId: string, state: ContainerState) => {
    const { subject, payload } = encodeContainerEvent(Container.fromPartial({ containerId, state }));
    return bed.bus.jetstream.publish(subject, payload);
  };

  test('is a token that identity signed for it; services go on with that very token', async () => {
    const { token } = await aContainer();
    const asked = identity.asked.length;
    expect((await ask('GET', '/v1/apps/ap-1', { token })).status).toBe(200);
    expect(lastSeen('getApp').call).toMatchObject({ token, principal: { credentialKind: 'container' } });
    expect(identity.asked).toHaveLength(asked);
  });

  test.each([
    ['stopped', ContainerState.CONTAINER_STATE_STOPPED],
    ['failed', ContainerState.CONTAINER_STATE_FAILED],
    ['lost', ContainerState.CONTAINER_STATE_LOST],
  ])('opens nothing within a second of its end (%s), used before or not', async (_, state) => {
    const [used, fresh] = [await aContainer(), await aContainer()];
    expect((await ask('GET', '/v1/apps/ap-1', { token: used.token })).status).toBe(200);
    await end(used.containerId, state);
    await end(fresh.containerId, state);
    const refused = async (token: string) => (await ask('GET', '/v1/apps/ap-1', { token })).status === 401;
    await eventually(() => refused(used.token), 1000);
    await eventually(() => refused(fresh.token), 1000);
  });

  test("a service's own token, a user's internal token and a forged one are no credentials", async () => {
    const runner = openTokens('runner', bed.env.BERTH_KEYS_DIR!);
    const { token: ofUser, principal } = await bed.caller();
    const claims = { ...(principal as UserPrincipal), credentialKind: 'container' as const };
    const forged = (await aContainer()).token.split('.');
    forged[1] = Buffer.from(JSON.stringify({ principal: claims, iss: 'identity', aud: 'berth' })).toString(
      'base64url',
    );
    for (const token of [
      await runner.sign({ kind: 'service', service: 'runner' }),
      await runner.sign(claims),
      ofUser,
      forged.join('.'),
    ]) {
      expect((await ask('GET', '/v1/apps/ap-1', { token })).status).toBe(401);
    }
  });
});
