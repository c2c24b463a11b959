/** Web endpoints as their clients meet them: the example, deployed and run in real containers. */
import { createHash, randomBytes } from 'node:crypto';
import { request } from 'node:http';
import WebSocket from 'ws';
import type { BerthFunction } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { Platform } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const urls: Record<string, string> = {};
const ids: Record<string, string> = {};

beforeAll(async () => {
  platform = await new Platform().start();
  const deployed = await platform.cli('deploy', 'examples/web-endpoints');
  if (deployed.code !== 0) throw new Error(deployed.stderr);
  const { body } = await platform.request('GET', '/v1/apps?name=web-endpoints');
  const [app] = (body as { data: { app_id: string }[] }).data;
  const listed = await platform.request('GET', `/v1/apps/${app!.app_id}/functions`);
  for (const { name, web_url, function_id } of (listed.body as { data: BerthFunction[] }).data) {
    urls[name] = web_url!;
    ids[name] = function_id;
  }
});
afterAll(() => platform?.close());

test('a function is an endpoint: its query is its arguments, and what is wrong is told by field', async () => {
  const greeted = await fetch(`${urls.greet}?name=Ada&times=2`);
  expect(greeted.status).toBe(200);
  expect(await greeted.json()).toEqual({ greeting: 'hello, Ada! hello, Ada!' });

  const wrong = await fetch(`${urls.greet}?times=many`);
  expect(wrong.status).toBe(422);
  expect(await wrong.json()).toEqual({
    detail: [{ loc: ['query', 'times'], type: 'int_parsing', msg: expect.stringContaining('integer') }],
  });
  const posted = await fetch(urls.greet!, { method: 'POST', body: '{}' });
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
});

test('a JSON body is arguments too, and a generator is streamed as it yields', async () => {
  const response = await fetch(urls.total!, {
    method: 'POST',
    body: JSON.stringify({ numbers: [1, 2, 3], tax: 0.5 }),
  });
  expect(response.headers.get('content-length')).toBeNull();
  const times: number[] = [];
  let text = '';
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    times.push(performance.now());
    text += Buffer.from(piece).toString();
  }
  expect(text).toBe('1\n3\n6\nwith tax: 9\n');
  expect(times.at(-1)! - times[0]!).toBeGreaterThan(80);
});

test('an ASGI app knows where it is mounted, and starts once', async () => {
  for (const path of ['/', '/a%20b']) {
    const got = (await (await fetch(urls.clock + path)).json()) as object;
    const { pathname } = new URL(urls.clock!);
    expect(got).toEqual({ root_path: pathname, path: pathname + decodeURI(path), starts: 1 });
  }
});

test('a large body passes through, and is in nobody’s memory', async () => {
  const hash = createHash('sha256');
  const answer = new Promise<string>((resolve, reject) => {
    const upload = request(`${urls.clock}/digest`, { method: 'PUT' }, (response) => {
      let text = '';
      response.on('data', (piece: Buffer) => (text += piece.toString()));
      response.on('end', () => resolve(text));
    });
    upload.on('error', reject);
    let left = 300;
    const more = () => {
      while (left-- > 0) {
        const piece = randomBytes(256 * 1024);
        hash.update(piece);
        if (!upload.write(piece)) return void upload.once('drain', more);
      }
      upload.end();
    };
    more();
  });
  expect(await answer).toBe(hash.digest('hex'));
});

test('a WSGI app reads a form and redirects to where it is', async () => {
  const posted = await fetch(`${urls.guestbook}/`, {
    method: 'POST',
    body: new URLSearchParams({ entry: 'was here' }),
    redirect: 'manual',
  });
  expect(posted.status).toBe(303);
  expect(posted.headers.get('location')).toBe(`${new URL(urls.guestbook!).pathname}/`);
  expect(await (await fetch(`${urls.guestbook}/`)).text()).toBe('1. was here\n');
});

test('a call is recorded for each request, with its status and sizes', async () => {
  await fetch(`${urls.greet}?name=recorded`);
  await eventually(async () => {
    const { body } = await platform.request('GET', `/v1/functions/${ids.greet}/invocations?limit=1`);
    const [call] = (body as { data: { status: string; result: unknown }[] }).data;
    expect(call).toMatchObject({
      status: 'success',
      result: { status: 200, request_bytes: 0, response_bytes: 31 },
    });
    return true;
  });
});

test('a server on a port is passed on to, without the prefix that it does not know', async () => {
  const got = await fetch(`${urls.files}/endpoint.py`);
  expect(got.status).toBe(200);
  expect(await got.text()).toContain('def greet');
  expect((await fetch(`${urls.files}/nothing`)).status).toBe(404);
});

test('server-sent events come one by one, over a long time', async () => {
  const response = await fetch(`${urls.clock}/events?count=4`);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const times: number[] = [];
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    expect(Buffer.from(piece).toString()).toMatch(/^id: \d\ndata: [\d:]+\n\n$/);
    times.push(performance.now());
  }
  expect(times).toHaveLength(4);
  expect(times[3]! - times[0]!).toBeGreaterThan(200);
});

const openSocket = (url: string) =>
  new Promise<WebSocket>((resolve, reject) => {
    const socket = new WebSocket(url.replace('http', 'ws'));
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });

test('a WebSocket carries text, bytes and the close of either side', async () => {
  const socket = await openSocket(urls.clock!);
  const heard: unknown[] = [];
  socket.on('message', (data: Buffer, binary) => heard.push(binary ? [...data] : data.toString()));
  socket.send('hello');
  socket.send(Buffer.from([1, 2, 3]));
  const large = 'x'.repeat(900_000);
  socket.send(large);
  await eventually(() => heard.length === 3);
  expect(heard).toEqual(['HELLO', [3, 2, 1], large.toUpperCase()]);

  const closed = new Promise((resolve) =>
    socket.once('close', (code, reason) => resolve([code, reason.toString()])),
  );
  socket.send('bye');
  expect(await closed).toEqual([4000, 'as you wish']);

  const other = await openSocket(urls.clock!);
  other.close(4321, 'enough');
  await eventually(async () =>
    (await platform.cli('logs', 'web-endpoints')).stdout.includes('disconnected with 4321'),
  );
});

test('only a proxy token of the workspace opens a gated endpoint, and only until it is revoked', async () => {
  const shout = (headers: Record<string, string> = {}) =>
    fetch(urls.shout!, { method: 'POST', body: 'hello', headers });
  const refused = await shout();
  expect(refused.status).toBe(401);
  expect(await refused.text()).toContain('Modal-Key');
  expect((await shout({ 'modal-key': 'wk-x', 'modal-secret': 'ws-x' })).status).toBe(401);

  const made = await platform.request('POST', '/v1/proxy-tokens', { body: '{"name":"test"}' });
  const { token_id, token_secret } = made.body as { token_id: string; token_secret: string };
  for (const brand of ['modal', 'berth']) {
    const opened = await shout({ [`${brand}-key`]: token_id, [`${brand}-secret`]: token_secret });
    expect([opened.status, await opened.text()]).toEqual([200, 'HELLO']);
  }
  await platform.request('DELETE', `/v1/proxy-tokens/${token_id}`);
  await eventually(
    async () => (await shout({ 'berth-key': token_id, 'berth-secret': token_secret })).status === 401,
    1000,
  );
});
