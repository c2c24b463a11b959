import { createServer } from 'node:net';
import { errorOf } from './live-worker';
import { webWorker, type WebWorker } from './web-worker';

jest.setTimeout(30_000);

const open: WebWorker[] = [];
afterEach(async () => {
  for (const worker of open.splice(0)) await worker.close();
});
const node = async (web: Parameters<typeof webWorker>[1], main: string) => {
  const worker = await webWorker('node', web, { files: { 'main.mjs': main } });
  open.push(worker);
  return worker;
};

test('an endpoint is a function from Request to Response, streaming both ways', async () => {
  const worker = await node(
    { kind: 'endpoint', method: 'POST' },
    `
export async function handler(request) {
  const url = new URL(request.url);
  if (url.pathname === '/values') return { a: [1, null] };
  if (url.pathname === '/text') return 'plain';
  if (url.pathname === '/boom') throw new TypeError('boom');
  if (url.pathname === '/half') {
    return new Response((async function* () { yield 'half'; throw new Error('broke'); })());
  }
  const pieces = request.body.pipeThrough(new TextDecoderStream());
  return new Response((async function* () { for await (const piece of pieces) yield piece.toUpperCase(); })(), {
    status: 201,
    headers: [['x-query', url.search], ['set-cookie', 'a=1'], ['set-cookie', 'b=2']],
  });
}
`,
  );
  const post = (path: string, body?: string[]) =>
    worker.ask({ method: 'POST', path, query: 'q=1', ...(body ? { body } : {}) });
  expect(await post('/', ['on', 'e'])).toMatchObject({
    status: 201,
    body: 'ONE',
    complete: true,
    headers: { 'x-query': '?q=1', 'set-cookie': 'b=2' },
    outcome: { kind: 'success' },
  });
  expect(await post('/values')).toMatchObject({
    body: '{"a":[1,null]}',
    headers: { 'content-type': 'application/json' },
  });
  expect((await post('/text')).body).toBe('plain');
  const boom = await post('/boom');
  expect([boom.status, errorOf(boom.outcome).type]).toEqual([0, 'TypeError']);
  const half = await post('/half');
  expect([half.status, half.body, half.complete]).toEqual([200, 'half', false]);
  expect(await worker.ask()).toMatchObject({ status: 405, headers: { allow: 'POST' } });
  expect(errorOf(await worker.call())).toMatchObject({ type: 'NotCallable' });
});

test('a client that leaves aborts the request, and a stream that nobody reads waits', async () => {
  const worker = await node(
    { kind: 'endpoint' },
    `
let sent = 0;
export function handler(request) {
  if (request.url.endsWith('/sent')) return String(sent);
  request.signal.addEventListener('abort', () => console.log('aborted'));
  return new Response((async function* () { for (;;) { yield 'x'.repeat(100_000); sent += 100_000; } })());
}
`,
  );
  const { session, inputId, outcome } = await worker.open();
  await session.send({ type: 'end' });
  let before = -1;
  let sent = 0;
  while (sent === 0 || sent !== before) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
    sent = Number((await worker.ask({ path: '/sent' })).body);
  }
  expect(sent).toBeLessThan(3_000_000);
  session.close();
  worker.connection.cancel(inputId);
  expect((await outcome).kind).toBe('failure');
  expect(worker.logs.map(({ bytes }) => bytes.toString()).join('')).toBe('aborted\n');
});

test('a server on a port gets requests, and upgrades as bytes', async () => {
  const port = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
  const worker = await node(
    { kind: 'server', port },
    `
import { createServer } from 'node:http';
export function handler() {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    response.end(request.method + request.url + body);
  });
  server.on('upgrade', (request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n');
    socket.pipe(socket);
  });
  server.listen(${port}, '127.0.0.1');
}
`,
  );
  expect(
    (
      await worker.ask({
        method: 'PUT',
        path: '/x',
        query: 'y=1',
        headers: [['host', 'x']],
        body: ['a', 'b'],
      })
    ).body,
  ).toBe('PUT/x?y=1ab');
  const { session, outcome } = await worker.open({
    upgrade: 'raw',
    headers: [
      ['host', 'x'],
      ['connection', 'Upgrade'],
      ['upgrade', 'echo'],
    ],
  });
  const frames = session.frames();
  expect(JSON.parse((await frames.next()).value!.header)).toMatchObject({ type: 'response', status: 101 });
  await session.send({ type: 'body' }, Buffer.from('hello'));
  expect((await frames.next()).value!.payload.toString()).toBe('hello');
  await session.send({ type: 'end' });
  for await (const _ of frames);
  session.close();
  expect((await outcome).kind).toBe('success');
});
