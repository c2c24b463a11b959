/** The socket of a container, from its hostile side: what leaves it for the platform, and what does not. */
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, createLogger } from '@berth/service-kit';
import { eventually } from '@berth/testing';
import { openApiSocket, type ApiSocket } from '../src/api/api-socket';
import { openGatewayDoor, type GatewayDoor } from '../src/api/gateway-door';
import { RuntimeRoutes } from '../src/api/runtime-routes';

interface Seen {
  line: string;
  headers: IncomingMessage['headers'];
  body: string;
}

const folder = mkdtempSync(join(tmpdir(), 'berth-api-'));
const seen: Seen[] = [];
let gateway: Server;
let door: GatewayDoor;
let socket: ApiSocket;
let path: string;
let issued = 0;
let refuseToken = false;
let identityAnswers: 'token' | 'ended' | 'nothing' = 'token';
const hangingUp: string[] = [];
const routes = new RuntimeRoutes();
const log = createLogger('test', 'silent');

beforeAll(async () => {
  gateway = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += String(part);
    const { method, url, headers } = request;
    seen.push({ line: `${method} ${url}`, headers, body });
    if (refuseToken) return void response.writeHead(401).end('{}');
    if (url === '/v1/waits') {
      response.once('close', () => hangingUp.push(url));
      return;
    }
    if (url === '/v1/lines') {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write('{"n":1}\n');
      response.once('close', () => hangingUp.push(url));
      return;
    }
    response.writeHead(201, {
      'content-type': 'application/json',
      'x-request-id': 'r-1',
      'set-cookie': 'a=b',
    });
    response.end('{"ok":true}');
  });
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve));
  door = openGatewayDoor(`http://127.0.0.1:${(gateway.address() as AddressInfo).port}`);
  routes.add({
    method: 'POST',
    path: '/runtime/things/{name}/touch',
    async handle({ containerId, spec, params, body }) {
      if (params.name === 'none') throw new BerthError('not_found', 'No such thing.', { field: 'name' });
      return { containerId, app: spec.appId, name: params.name, body: body ?? null };
    },
  });
});
afterAll(async () => {
  await door?.close();
  gateway?.closeAllConnections();
  gateway?.close();
  rmSync(folder, { recursive: true, force: true });
});

let opened = 0;
beforeEach(async () => {
  seen.length = 0;
  hangingUp.length = 0;
  refuseToken = false;
  identityAnswers = 'token';
  path = join(folder, `${++opened}.sock`);
  const identity = {
    async issueContainerToken({ containerId }: { containerId: string }) {
      if (identityAnswers === 'ended') throw new BerthError('not_found', 'No such container lives.');
      if (identityAnswers === 'nothing') throw new BerthError('unavailable', 'identity is gone');
      return { token: `${containerId}-${++issued}`, expiresAt: new Date(Date.now() + 60_000) };
    },
  };
  const spec = ContainerSpec.fromPartial({ appId: 'ap-1' });
  const tools = { identity, gateway: door, routes };
  socket = await openApiSocket(tools, { path, containerId: 'ta-1', spec, log });
});
afterEach(() => socket.close());

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: unknown;
}

/** As a client that means well. */
const ask = (
  method: string,
  url: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = httpRequest(
      { socketPath: path, method, path: url, headers, agent: false },
      async (response) => {
        let text = '';
        for await (const part of response) text += String(part);
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: text ? JSON.parse(text) : undefined,
        });
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });

/** Bytes as they are; what came back until the other side hung up. */
const sendRaw = (bytes: string): Promise<string> =>
  new Promise((resolve) => {
    let got = '';
    const line = connect(path, () => line.write(bytes));
    line.on('data', (part) => (got += part.toString())).on('error', () => undefined);
    line.on('close', () => resolve(got));
  });

test('a request goes on in the name of the container, with what it may say and nothing else', async () => {
  const answer = await ask('POST', '/v1/functions/fu-1/spawn?x=1', '{"args":[1]}', {
    'content-type': 'application/json',
    'idempotency-key': 'k-1',
    authorization: 'Bearer ak-somebody.as-else',
    'x-api-key': 'bk_live_x',
    cookie: 'a=b',
    'x-forwarded-for': '10.0.0.1',
    host: 'elsewhere',
  });
  expect(answer).toMatchObject({ status: 201, body: { ok: true } });
  expect(answer.headers).toMatchObject({ 'x-request-id': 'r-1' });
  expect(answer.headers['set-cookie']).toBeUndefined();
  expect(seen).toHaveLength(1);
  const { line, headers, body } = seen[0]!;
  expect({ line, body }).toEqual({ line: 'POST /v1/functions/fu-1/spawn?x=1', body: '{"args":[1]}' });
  expect(headers).toMatchObject({
    authorization: `Bearer ta-1-${issued}`,
    'idempotency-key': 'k-1',
    'content-length': '12',
  });
  expect(Object.keys(headers).sort()).toEqual(
    ['authorization', 'connection', 'content-length', 'content-type', 'host', 'idempotency-key'].sort(),
  );
  expect(headers.host).toContain('127.0.0.1');
});

test('one token serves many requests, and one that is refused is asked for anew', async () => {
  const before = issued;
  await Promise.all([ask('GET', '/v1/apps'), ask('GET', '/v1/apps'), ask('GET', '/v1/apps')]);
  expect(issued).toBe(before + 1);
  refuseToken = true;
  expect(await ask('GET', '/v1/apps')).toMatchObject({
    status: 503,
    body: { error: { code: 'unavailable' } },
  });
  refuseToken = false;
  expect(await ask('GET', '/v1/apps')).toMatchObject({ status: 201 });
  expect(issued).toBe(before + 2);
});

test('a container that identity does not know any more may do nothing; one that it cannot tell waits', async () => {
  identityAnswers = 'ended';
  expect(await ask('GET', '/v1/apps')).toMatchObject({
    status: 401,
    body: { error: { code: 'unauthenticated' } },
  });
  identityAnswers = 'nothing';
  expect(await ask('GET', '/v1/apps')).toMatchObject({ status: 503 });
  expect(seen).toEqual([]);
});

test.each([
  ['GET', '/'],
  ['GET', '/healthz'],
  ['GET', '/metrics'],
  ['GET', '/v2/apps'],
  ['GET', '/v1'],
  ['POST', '/runtime/nothing'],
  ['GET', '/runtime/things/a/touch'],
  ['GET', 'http://elsewhere/v1/apps'],
])('%s %s leads nowhere', async (method, url) => {
  expect(await ask(method, url)).toMatchObject({ status: 404, body: { error: { code: 'not_found' } } });
  expect(seen).toEqual([]);
});

describe('what is no honest request never reaches the platform', () => {
  const body = '{"args":[]}';
  const hidden = 'GET /v1/api-tokens HTTP/1.1\r\nHost: x\r\n\r\n';
  test.each<[string, string]>([
    [
      'a length and chunks at once',
      `POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    ],
    [
      'two lengths',
      `POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n${hidden}`,
    ],
    ['a length that is none', `POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\n${hidden}`],
    [
      'chunks under a false name',
      `POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n${hidden}`,
    ],
    ['a header across lines', `GET /v1/a HTTP/1.1\r\nHost: x\r\nAccept: a\r\n Authorization: b\r\n\r\n`],
    ['a bare line feed', `GET /v1/a HTTP/1.1\nHost: x\n\n`],
    ['a space before the colon', `GET /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length : 44\r\n\r\n${hidden}`],
    ['a path with a space', `GET /v1/a HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['a tunnel', `CONNECT 127.0.0.1:4600 HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['headers without an end', `GET /v1/a HTTP/1.1\r\nHost: x\r\nAccept: ${'a'.repeat(20_000)}\r\n\r\n`],
    ['a method that nobody knows', `STEAL /v1/a HTTP/1.1\r\nHost: x\r\n\r\n`],
  ])('%s', async (_, bytes) => {
    const got = await sendRaw(bytes);
    expect(got).not.toContain('201');
    expect(seen.filter(({ line }) => line.includes('api-tokens'))).toEqual([]);
  });

  test('what follows a body is a request of its own, under the same rules', async () => {
    const got = await sendRaw(
      `POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}` +
        'GET /v1/b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer other\r\nConnection: close\r\n\r\n',
    );
    expect(got.match(/201 Created/g)).toHaveLength(2);
    expect(new Set(seen.map(({ headers }) => headers.authorization)).size).toBe(1);
    expect(seen.find(({ line }) => line === 'POST /v1/a')?.body).toBe(body);
  });
});

test('more requests than a container may have open are refused, and others take their place', async () => {
  const waiting = Array.from({ length: 256 }, () => ask('GET', '/v1/waits').catch((error: Error) => error));
  await eventually(() => seen.length === 256);
  expect(await ask('GET', '/v1/apps')).toMatchObject({
    status: 429,
    body: { error: { code: 'resource_exhausted' } },
  });
  socket.close();
  await Promise.all(waiting);
});

test('lines come as they are said; who hangs up is not listened for any more', async () => {
  const first = await new Promise<{ text: string; leave(): void }>((resolve) => {
    const sent = httpRequest({ socketPath: path, path: '/v1/lines', agent: false }, (response) => {
      response.on('error', () => undefined);
      response.once('data', (part) => resolve({ text: String(part), leave: () => sent.destroy() }));
    });
    sent.on('error', () => undefined).end();
  });
  expect(first.text).toBe('{"n":1}\n');
  first.leave();
  await eventually(() => hangingUp.includes('/v1/lines'));
});

test('with the end of the container its socket is gone, and what it waited for is let go of', async () => {
  const waiting = ask('GET', '/v1/waits').catch((error: Error) => error);
  await eventually(() => seen.length === 1);
  socket.close();
  expect(await waiting).toMatchObject({ code: 'ECONNRESET' });
  await eventually(() => hangingUp.length === 1, 1000);
  await expect(ask('GET', '/v1/apps')).rejects.toMatchObject({ code: 'ENOENT' });
});

test('what the runner offers is told which container asks', async () => {
  expect(statSync(path).isSocket()).toBe(true);
  expect(await ask('POST', '/runtime/things/a%20b/touch', '{"x":1}')).toMatchObject({
    status: 200,
    body: { containerId: 'ta-1', app: 'ap-1', name: 'a b', body: { x: 1 } },
  });
  expect(await ask('POST', '/runtime/things/none/touch')).toMatchObject({
    status: 404,
    body: { error: { field: 'name' } },
  });
  expect(await ask('POST', '/runtime/things/a/touch', '{')).toMatchObject({ status: 400 });
  expect(await ask('POST', '/runtime/things/a/touch', `"${'x'.repeat(70_000)}"`)).toMatchObject({
    status: 413,
  });
  expect(await ask('POST', '/runtime/things/%zz/touch')).toMatchObject({ status: 404 });
  expect(seen).toEqual([]);
});
