/** How the Python module speaks HTTP: with a platform that restarts, refuses, or is not there. */
import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
  port: number;
}

let server: Server;
let seen: Seen[] = [];
let answer: (request: Seen, response: ServerResponse) => void;
const folder = mkdtempSync(join(tmpdir(), 'berth-client-'));

beforeEach(async () => {
  seen = [];
  answer = (_, response) => response.end('{"is":"here"}');
  server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += String(part);
    const one = {
      method: request.method!,
      url: request.url!,
      headers: request.headers,
      body,
      port: request.socket.remotePort!,
    };
    seen.push(one);
    answer(one, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const portOf = () => (server.address() as AddressInfo).port;

/** What a Python program prints that has `api`, a client of this server. */
function python(source: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const prepared = `from berth._client import Client, client, find_credentials\nfrom berth import exceptions\n${source}`;
  return new Promise((resolve, reject) => {
    const child = spawn('python3', ['-c', prepared], {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        PYTHONPATH: join(__dirname, '..'),
        PYTHONDONTWRITEBYTECODE: '1',
        BERTH_API_URL: `http://127.0.0.1:${portOf()}`,
        BERTH_TOKEN_ID: 'ak-1',
        BERTH_TOKEN_SECRET: 'as-1',
        ...env,
      },
    });
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    child.stderr.on('data', (data: Buffer) => (text += data.toString()));
    child.once('error', reject).once('close', () => resolve(text));
  });
}

test('requests share a connection, show the credential, and a change has a key of its own', async () => {
  const said = await python(`
api = client()
print(api.get("/v1/apps", name="a b", all=True, none=None), api.post("/v1/x", {"ü": 1}), api.post("/v1/x", key="mine"))`);
  expect(said).toBe("{'is': 'here'} {'is': 'here'} {'is': 'here'}\n");
  expect(seen.map(({ method, url, body }) => [method, url, body])).toEqual([
    ['GET', '/v1/apps?name=a+b&all=true', ''],
    ['POST', '/v1/x', '{"ü":1}'],
    ['POST', '/v1/x', '{}'],
  ]);
  expect(new Set(seen.map(({ port }) => port)).size).toBe(1);
  expect(new Set(seen.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer ak-1.as-1']));
  expect(seen[0]!.headers['idempotency-key']).toBeUndefined();
  expect(seen[1]!.headers['idempotency-key']).toMatch(/^[0-9a-f-]{36}$/);
  expect(seen[2]!.headers['idempotency-key']).toBe('mine');
});

test('what is lost with a restart is sent again under the same key', async () => {
  answer = (_, response) => {
    if (seen.length === 2) response.destroy();
    else if (seen.length === 3)
      response.writeHead(503).end('{"error":{"code":"unavailable","message":"later"}}');
    else response.end('{"done":true}');
  };
  expect(await python('api = client()\napi.get("/")\nprint(api.post("/v1/x"))')).toBe("{'done': True}\n");
  expect(seen).toHaveLength(4);
  expect(new Set(seen.slice(1).map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
});

test('a refusal is an exception of its kind, with the field at fault', async () => {
  const refusals: [number, string, string][] = [
    [404, 'not_found', 'NotFoundError'],
    [400, 'invalid_argument', 'ApiError'],
    [401, 'unauthenticated', 'AuthError'],
  ];
  for (const [status, code, kind] of refusals) {
    const error = { code, message: 'No.', field: 'x', request_id: 'r' };
    answer = (_, response) => response.writeHead(status).end(JSON.stringify({ error }));
    const said = await python(`
try:
    client().get("/")
except exceptions.Error as error:
    print(type(error).__name__, error, getattr(error, "field", None))`);
    expect(said).toBe(`${kind} No. ${kind === 'AuthError' ? 'None' : 'x'}\n`);
  }
  answer = (_, response) => response.writeHead(502).end('<html>');
  expect(await python('client().get("/")')).toContain('is something else at this address?');
});

test('lines come one by one; the error at their end is raised', async () => {
  answer = (_, response) =>
    response.end('{"n":1}\n{"n":2}\n{"error":{"code":"internal","message":"broke"}}\n');
  const said = await python(`
try:
    for line in client().lines("/v1/lines"):
        print(line)
except exceptions.ApiError as error:
    print(error)`);
  expect(said).toBe("{'n': 1}\n{'n': 2}\nbroke\n");
});

test('a fork speaks on connections of its own', async () => {
  const said = await python(`
import os, sys
api = client()
api.get("/parent")
if os.fork() == 0:
    api.get("/child")
    os._exit(0)
os.wait()
api.get("/parent")`);
  expect(said).toBe('');
  const ports = seen.map(({ url, port }) => [url, port] as const);
  expect(ports[0]![1]).toBe(ports[2]![1]);
  expect(ports[1]![1]).not.toBe(ports[0]![1]);
});

test('credentials are the token of the environment, then the socket of a container, then the file', async () => {
  const said = await python(`
import json, os
token = {"BERTH_API_URL": "u", "BERTH_TOKEN_ID": "a", "BERTH_TOKEN_SECRET": "b"}
print(find_credentials({**token, "BERTH_API_SOCKET": "/s"})["headers"])
print(find_credentials({"BERTH_API_SOCKET": "/s", "BERTH_DATA_DIR": "/nowhere"}))
os.mkdir("data")
json.dump({"api_url": "http://f", "token_id": "c", "token_secret": "d"}, open("data/credentials.json", "w"))
print(find_credentials({"BERTH_DATA_DIR": "data"}))
try:
    find_credentials({"BERTH_DATA_DIR": "/nowhere"})
except exceptions.AuthError as error:
    print(error)`);
  expect(said.split('\n')).toEqual([
    "{'authorization': 'Bearer a.b'}",
    "{'url': 'http://berth', 'socket': '/s', 'headers': {}}",
    "{'url': 'http://f', 'headers': {'authorization': 'Bearer c.d'}}",
    expect.stringMatching(
      /^no credentials: \/nowhere\/credentials\.json cannot be read\. Set BERTH_DATA_DIR/,
    ),
    '',
  ]);
});

test('a module that only describes functions loads nothing that a call needs', async () => {
  const child = await new Promise<string>((resolve) => {
    let text = '';
    const source =
      'import sys, berth\nprint([n for n in ("http.client", "asyncio", "inspect", "pickle") if n in sys.modules])';
    const started = spawn('python3', ['-c', source], {
      env: { PATH: process.env.PATH, PYTHONPATH: join(__dirname, '..') },
    });
    started.stdout.on('data', (data: Buffer) => (text += data.toString()));
    started.once('close', () => resolve(text));
  });
  expect(child).toBe('[]\n');
});
