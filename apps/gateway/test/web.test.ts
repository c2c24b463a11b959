/** The web door, with a test in the place of functions and of the runner that serves. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect as connectSocket } from 'node:net';
import WebSocket from 'ws';
import { InvocationStatus } from '@berth/contracts/functions/v1/functions';
import { openBus } from '@berth/events';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { gateway, type RunningGateway } from '../src/service';
import { RunnerLine, standInProxyTokens, standInWebFunctions, TOKEN, type WebCall } from './web-stand-ins';

jest.setTimeout(30_000);

let bed: TestBed;
let running: RunningGateway;
const functions = standInWebFunctions();
const identity = standInProxyTokens();
const BODY_BYTES_MAX = 100_000;

beforeAll(async () => {
  bed = await testBed();
  await bed.start(identity.module);
  await bed.start(functions.module);
  running = (await bed.start(gateway, {
    BERTH_HTTP_PORT: '0',
    BERTH_GRPC_PORT: '0',
    BERTH_WEB_BODY_BYTES_MAX: String(BODY_BYTES_MAX),
    BERTH_WEB_HELD_MAX: '10',
    BERTH_LOG_LEVEL: 'silent',
  })) as RunningGateway;
});
afterAll(() => bed?.close());

let taken = 0;
/** The next call that the gateway makes. */
const nextCall = (): Promise<WebCall> => eventually(() => functions.calls[taken] && functions.calls[taken++]);
const nextLine = async () => {
  const call = await nextCall();
  const line = await RunnerLine.attach(bed, call);
  await line.untilHeard('head');
  return { call, line };
};
beforeEach(() => {
  taken = functions.calls.length;
});
let labels = 0;
/** A label whose function nobody else has asked. */
const fresh = (kind: string) => `${running.httpUrl}/w/${kind}-${++labels}`;

interface Open {
  response: Promise<IncomingMessage>;
  /** Its text, or the error that cut it. */
  text: Promise<string>;
  write(piece: string | Buffer): boolean;
  end(): void;
  destroy(): void;
}

/** A request that a test writes and reads by hand. */
function ask(url: string, method = 'GET', headers: Record<string, string> = {}): Open {
  const sent = httpRequest(url, { method, headers, agent: false });
  const response = new Promise<IncomingMessage>((resolve, reject) =>
    sent.once('response', resolve).on('error', reject),
  );
  const text = response.then(async (got) => {
    let read = '';
    for await (const piece of got as AsyncIterable<Buffer>) read += piece.toString();
    return read;
  });
  text.catch(() => undefined);
  response.catch(() => undefined);
  if (method === 'GET' || method === 'HEAD') sent.end();
  else sent.flushHeaders();
  return {
    response,
    text,
    write: (piece) => sent.write(piece),
    end: () => sent.end(),
    destroy: () => sent.destroy(),
  };
}

/** Bytes to the port, and all that comes back. */
function raw(text: string): Promise<string> {
  const { hostname, port } = new URL(running.httpUrl);
  return new Promise((resolve, reject) => {
    const socket = connectSocket(Number(port), hostname);
    let got = '';
    socket.on('data', (piece) => (got += piece.toString()));
    socket.on('close', () => resolve(got));
    socket.on('error', reject);
    socket.setTimeout(2000, () => socket.end());
    socket.write(text);
  });
}

describe('a request', () => {
  test('passes both ways as it comes, and its call is one', async () => {
    const asked = ask(`${fresh('endpoint')}/a%20b?q=1`, 'POST', { 'x-mine': 'yes' });
    const { line, call } = await nextLine();
    expect(call.request).toMatchObject({
      functionId: `fu-endpoint-${labels}`,
      gatewayAddress: bed.env.BERTH_GATEWAY_ADDRESS,
      proxyWorkspaceId: '',
    });
    expect(line.head).toMatchObject({ method: 'POST', path: '/a%20b', query: 'q=1', scheme: 'http' });
    expect(line.head!.headers).toContainEqual({ name: 'x-mine', value: 'yes' });
    asked.write('one ');
    await eventually(() => line.body === 'one ');
    // The answer begins before the question ends.
    line.say({ $case: 'head', value: { status: 201, headers: [{ name: 'x-app', value: 'ok' }] } });
    line.say({ $case: 'body', value: Buffer.from('first ') });
    const response = await asked.response;
    expect([response.statusCode, response.headers['x-app']]).toEqual([201, 'ok']);
    asked.write('two');
    asked.end();
    await line.untilHeard('end');
    expect(line.body).toBe('one two');
    line.say({ $case: 'body', value: Buffer.from('last') });
    line.say({ $case: 'end', value: {} });
    expect(await asked.text).toBe('first last');
    expect(await line.untilEnded()).toBe('ok');
    call.end();
    expect(functions.calls.length).toBe(taken);
  });

  test.each([
    ['timeout', 504],
    ['container_exited', 502],
    ['init_failed', 502],
    ['ValueError', 500],
  ])('whose input ends by %s is answered with %i and nothing of the code', async (type, status) => {
    const asked = ask(fresh('endpoint'));
    const call = await nextCall();
    call.end({
      status: InvocationStatus.INVOCATION_STATUS_FAILURE,
      error: { type, message: 'secret detail', traceback: 'secret lines' },
    });
    expect((await asked.response).statusCode).toBe(status);
    expect(await asked.text).not.toContain('secret');
  });

  test('whose container says that it failed is answered at once', async () => {
    const asked = ask(fresh('endpoint'));
    const { line } = await nextLine();
    line.say({ $case: 'failure', value: { type: 'KeyError' } });
    expect((await asked.response).statusCode).toBe(500);
  });

  test('of a label that nobody has is not found, and makes no call', async () => {
    const asked = ask(`${running.httpUrl}/w/nobody`);
    expect((await asked.response).statusCode).toBe(404);
    expect(functions.calls.length).toBe(taken);
  });
});

describe('the gate', () => {
  const gated = (headers: Record<string, string>) => ask(`${running.httpUrl}/w/gated`, 'GET', headers);
  test.each([
    ['nothing', {}],
    ['half of it', { 'modal-key': TOKEN.id }],
    ['a wrong secret', { 'modal-key': TOKEN.id, 'modal-secret': 'ws-wrong' }],
    ['what is no token', { 'modal-key': 'a.b', 'modal-secret': 'c.d' }],
    ['a token of another workspace', { 'modal-key': 'wk-other', 'modal-secret': 'ws-x' }],
    ['an API token', { authorization: 'Bearer ak-1.as-1' }],
  ])('lets %s not in, and makes no call', async (_, headers) => {
    const asked = gated(headers as Record<string, string>);
    expect((await asked.response).statusCode).toBe(401);
    expect(functions.calls.length).toBe(taken);
  });

  test('lets a token in, asks identity once, and keeps it from the app', async () => {
    for (const brand of ['modal', 'berth']) {
      const before = identity.asked;
      const asked = gated({ [`${brand}-key`]: TOKEN.id, [`${brand}-secret`]: TOKEN.secret });
      const { line, call } = await nextLine();
      expect(call.request.proxyWorkspaceId).toMatch(/^wo-/);
      expect(JSON.stringify(line.head)).not.toContain(TOKEN.secret);
      line.respond(200, [], 'in');
      expect(await asked.text).toBe('in');
      expect(identity.asked - before).toBe(brand === 'modal' ? 1 : 0);
    }
  });
});

test('a stream ends when the token that let it in is revoked', async () => {
  const headers = { 'modal-key': TOKEN.id, 'modal-secret': TOKEN.secret };
  const asked = ask(`${running.httpUrl}/w/gated`, 'GET', headers);
  const { line } = await nextLine();
  line.say({ $case: 'head', value: { status: 200, headers: [] } });
  line.say({ $case: 'body', value: Buffer.from('first') });
  await asked.response;
  const bus = await openBus(bed.env.BERTH_NATS_URL!, 'test');
  bus.nats.publish('berth.events.credential.v1.revoked', JSON.stringify({ credential_id: TOKEN.id }));
  await bus.nats.flush();
  await expect(asked.text).rejects.toThrow();
  await bus[Symbol.asyncDispose]();
});

describe('what breaks on the way', () => {
  test('a GET of which nothing is out is taken again; an older attempt is not', async () => {
    const asked = ask(fresh('endpoint'));
    const { call, line } = await nextLine();
    line.cut();
    await line.untilEnded();
    const stale = await RunnerLine.attach(bed, call, 1);
    expect(await stale.untilEnded()).toMatchObject({ details: expect.stringContaining('newer attempt') });
    const again = await RunnerLine.attach(bed, call, 2);
    await again.untilHeard('head');
    again.respond(200, [], 'second');
    expect(await asked.text).toBe('second');
  });

  test('a newer attempt takes it from an older, whose words count no more', async () => {
    const asked = ask(fresh('endpoint'));
    const { call, line } = await nextLine();
    const newer = await RunnerLine.attach(bed, call, 2);
    await newer.untilHeard('head');
    expect(await line.untilEnded()).toMatchObject({ details: expect.stringContaining('newer attempt') });
    line.respond(200, [], 'older');
    newer.respond(200, [], 'newer');
    expect(await asked.text).toBe('newer');
  });

  test('a body that was begun is not begun again: 502', async () => {
    const asked = ask(fresh('endpoint'), 'PUT');
    const { line, call } = await nextLine();
    asked.write('some');
    await eventually(() => line.body === 'some');
    line.cut();
    expect((await asked.response).statusCode).toBe(502);
    const again = await RunnerLine.attach(bed, call, 2);
    expect(await again.untilEnded()).toMatchObject({ code: 5 });
    asked.destroy();
  });

  test('a POST that an app has seen is not shown to another: 502', async () => {
    const asked = ask(fresh('endpoint'), 'POST', { 'content-length': '0' });
    asked.end();
    const { line } = await nextLine();
    line.cut();
    expect((await asked.response).statusCode).toBe(502);
  });

  test('a response that was begun is cut where its client can tell', async () => {
    const asked = ask(fresh('endpoint'));
    const { line } = await nextLine();
    line.say({ $case: 'head', value: { status: 200, headers: [] } });
    line.say({ $case: 'body', value: Buffer.from('half') });
    expect((await asked.response).statusCode).toBe(200);
    line.cut();
    await expect(asked.text).rejects.toThrow(/aborted|hang up/);
  });

  test('a client that goes away ends the call and the line', async () => {
    const asked = ask(fresh('endpoint'));
    const { line, call } = await nextLine();
    asked.destroy();
    await eventually(() => call.signal.aborted);
    expect(await line.untilEnded()).toMatchObject({ code: 1 });

    const waiting = ask(fresh('endpoint'));
    const unserved = await nextCall();
    waiting.destroy();
    await eventually(() => unserved.signal.aborted);
  });
});

describe('a response', () => {
  const bad: [string, (line: RunnerLine) => void][] = [
    ['a header that is none', (line) => line.respond(200, [['x-a', 'b\r\nset-cookie: c']])],
    ['the status 101', (line) => line.respond(101)],
    ['the status 99', (line) => line.respond(99)],
    [
      'two lengths',
      (line) =>
        line.respond(200, [
          ['content-length', '1'],
          ['content-length', '2'],
        ]),
    ],
    ['a body without a head', (line) => line.say({ $case: 'body', value: Buffer.from('x') })],
    [
      'a WebSocket’s message',
      (line) => line.say({ $case: 'socketClose', value: { code: 1000, reason: '' } }),
    ],
  ];
  test.each(bad)('of %s is none: 502', async (_, say) => {
    const asked = ask(fresh('endpoint'));
    const { line } = await nextLine();
    say(line);
    const response = await asked.response;
    expect([response.statusCode, response.headers['set-cookie']]).toEqual([502, undefined]);
    expect(await line.untilEnded()).not.toBe('ok');
  });

  test.each([
    ['longer', '3'],
    ['shorter', '100'],
  ])('that is %s than it says is cut', async (_, length) => {
    const asked = ask(fresh('endpoint'));
    const { line } = await nextLine();
    line.respond(200, [['content-length', length]], 'hello');
    await expect(asked.text).rejects.toThrow();
  });

  test.each([
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ])('to %s with %i has no body, whatever the app says', async (method, status) => {
    const asked = ask(fresh('endpoint'), method);
    const { line } = await nextLine();
    line.respond(status, status === 200 ? [['content-length', '5']] : [], 'hello');
    expect((await asked.response).statusCode).toBe(status);
    expect(await asked.text).toBe('');
  });
});

describe('flow', () => {
  const PIECE = Buffer.alloc(64 * 1024);

  test('a client that does not read holds its runner up', async () => {
    const asked = ask(fresh('endpoint'));
    const { line } = await nextLine();
    line.say({ $case: 'head', value: { status: 200, headers: [] } });
    const response = await asked.response;
    let pieces = 0;
    let isFull = false;
    for (let quiet = 0; quiet < 20;) {
      while (pieces < 4000 && line.say({ $case: 'body', value: PIECE })) pieces++;
      isFull = pieces < 4000;
      const before = pieces;
      await new Promise((resolve) => setTimeout(resolve, 10));
      quiet = pieces === before && isFull ? quiet + 1 : 0;
      if (!isFull) break;
    }
    expect(isFull).toBe(true);
    expect(pieces * PIECE.length).toBeLessThan(32 * 1024 * 1024);
    response.destroy();
    await line.untilEnded();
  });

  test('a runner that does not read holds its client up', async () => {
    const asked = ask(fresh('server'), 'POST');
    const { line } = await nextLine();
    line.pause();
    let bytes = 0;
    while (bytes < BODY_BYTES_MAX * 0.9 && asked.write(PIECE.subarray(0, 1000))) bytes += 1000;
    line.resume();
    asked.end();
    await line.untilHeard('end');
    line.respond(200);
    await asked.text;
  });

  test('an answer to half a question is an answer', async () => {
    const asked = ask(fresh('endpoint'), 'POST', { 'content-length': '50000' });
    const { line } = await nextLine();
    asked.write('begun');
    await eventually(() => line.body === 'begun');
    line.respond(413, [], 'too much');
    expect((await asked.response).statusCode).toBe(413);
    expect(await asked.text).toBe('too much');
    expect(await line.untilEnded()).toBe('ok');
    asked.destroy();
  });
});

describe('bounds', () => {
  test('a body that says it is too large is refused before any call', async () => {
    const asked = ask(fresh('endpoint'), 'POST', { 'content-length': String(BODY_BYTES_MAX + 1) });
    expect((await asked.response).statusCode).toBe(413);
    asked.destroy();
    expect(functions.calls.length).toBe(taken);
  });

  test('a body that turns out to be is cut off', async () => {
    const asked = ask(fresh('endpoint'), 'POST');
    const { line } = await nextLine();
    asked.write(Buffer.alloc(BODY_BYTES_MAX + 1));
    expect((await asked.response).statusCode).toBe(413);
    expect(await line.untilEnded()).not.toBe('ok');
    asked.destroy();
  });

  test('more than are held for one function wait elsewhere, and others’ are let in', async () => {
    const url = fresh('endpoint');
    const held = Array.from({ length: 10 }, () => ask(url));
    for (const _ of held) await nextCall();
    const refused = ask(url);
    const response = await refused.response;
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1']);
    const other = ask(fresh('endpoint'));
    const { line } = await nextLine();
    line.respond(200);
    await other.text;
    for (const each of held) each.destroy();
    await eventually(() => functions.calls.slice(-11).every(({ signal }, i) => i === 10 || signal.aborted));
    const again = ask(url);
    (await nextLine()).line.respond(200, [], 'room');
    expect(await again.text).toBe('room');
  });
});

describe('smuggling', () => {
  const path = () => new URL(fresh('endpoint')).pathname;
  test.each([
    ['a length and chunks', 'content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'content-length: 4\r\ncontent-length: 5\r\n\r\nabcd'],
    ['a length that is no number', 'content-length: +4\r\n\r\nabcd'],
    ['an encoding that is none', 'transfer-encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['chunked that is not last', 'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n'],
    ['a space before the colon', 'content-length : 4\r\n\r\nabcd'],
    ['a folded line', 'x-a: b\r\n content-length: 4\r\n\r\nabcd'],
    ['two hosts', 'host: y\r\n\r\n'],
    ['NUL in a value', 'x-a: b\0c\r\n\r\n'],
  ])('%s is no request', async (_, rest) => {
    const got = await raw(`POST ${path()} HTTP/1.1\r\nhost: x\r\n${rest}`);
    expect(got).toMatch(/^HTTP\/1\.1 400 /);
    expect(functions.calls.length).toBe(taken);
  });

  test('two hosts are no request to the API either, nor for an upgrade', async () => {
    for (const [path, more] of [
      ['/healthz', ''],
      [new URL(fresh('asgi')).pathname, 'connection: Upgrade\r\nupgrade: websocket\r\n'],
    ]) {
      const got = await raw(`GET ${path} HTTP/1.1\r\nhost: x\r\n${more}Host: y\r\n\r\n`);
      expect(got).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  test('headers that are too large are refused', async () => {
    const got = await raw(`GET ${path()} HTTP/1.1\r\nhost: x\r\nx-a: ${'b'.repeat(20_000)}\r\n\r\n`);
    expect(got).toMatch(/^HTTP\/1\.1 431 /);
  });

  test('a request without Host, and a tunnel, go nowhere', async () => {
    expect(await raw(`GET ${path()} HTTP/1.1\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400 /);
    expect(await raw('CONNECT example.com:80 HTTP/1.1\r\nhost: x\r\n\r\n')).toBe('');
    expect(functions.calls.length).toBe(taken);
  });

  test('a request behind another is another, and not part of it', async () => {
    const target = path();
    const both = raw(
      `POST ${target} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody` +
        `GET ${target}/second HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
    );
    const one = await nextLine();
    await one.line.untilHeard('end');
    expect([one.line.body, one.line.head!.path]).toEqual(['body', '/']);
    one.line.respond(200, [['content-length', '3']], 'one');
    const two = await nextLine();
    expect(two.line.head).toMatchObject({ method: 'GET', path: '/second' });
    two.line.respond(200, [['content-length', '3']], 'two');
    expect(await both).toMatch(/one(.|\s)*HTTP\/1\.1 200 OK(.|\s)*two$/);
  });

  test('an upgrade to HTTP/2 is a request of HTTP/1.1', async () => {
    const got = raw(
      `GET ${path()} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: x\r\n\r\n`,
    );
    const { line } = await nextLine();
    expect(line.head!.headers.map(({ name }) => name)).not.toContain('http2-settings');
    line.respond(200, [['connection', 'close']], 'plain');
    expect(await got).toContain('plain');
  });
});

describe('WebSockets', () => {
  const dial = (url: string, protocols: string[] = []) => new WebSocket(url.replace('http', 'ws'), protocols);
  const opened = (socket: WebSocket) =>
    new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const closed = (socket: WebSocket) =>
    new Promise<number>((resolve) => socket.on('error', () => undefined).once('close', resolve));

  test('carry messages, under the protocol that the app chooses', async () => {
    const socket = dial(fresh('asgi'), ['a', 'b']);
    const { line } = await nextLine();
    line.say({
      $case: 'head',
      value: { status: 101, headers: [{ name: 'sec-websocket-protocol', value: 'b' }] },
    });
    await opened(socket);
    expect(socket.protocol).toBe('b');
    socket.send('hello');
    await line.untilHeard('socketMessage');
    line.say({ $case: 'socketMessage', value: { text: false, data: Buffer.from([7]) } });
    const [message] = await new Promise<[Buffer]>((resolve) =>
      socket.once('message', (m: Buffer) => resolve([m])),
    );
    expect([...message]).toEqual([7]);
    const ended = closed(socket);
    line.say({ $case: 'socketClose', value: { code: 4001, reason: 'done' } });
    expect(await ended).toBe(4001);
    expect(await line.untilEnded()).toBe('ok');
  });

  test('may be refused with a response', async () => {
    const socket = dial(fresh('asgi'));
    const { line } = await nextLine();
    const refused = new Promise<number>((resolve) =>
      socket
        .on('error', () => undefined)
        .once('unexpected-response', (_, response) => resolve(response.statusCode!)),
    );
    line.respond(403);
    expect(await refused).toBe(403);
  });

  test('whose app is lost end with 1011, and whose message is too large with 1009', async () => {
    for (const [code, harm] of [
      [1011, (line: RunnerLine) => line.cut()],
      [1009, (_: RunnerLine, socket: WebSocket) => socket.send(Buffer.alloc(1024 * 1024 + 1))],
      [1011, (line: RunnerLine) => line.say({ $case: 'socketClose', value: { code: 1006, reason: '' } })],
    ] as const) {
      const socket = dial(fresh('asgi'));
      const { line } = await nextLine();
      line.say({ $case: 'head', value: { status: 101, headers: [] } });
      await opened(socket);
      const ended = closed(socket);
      harm(line, socket);
      expect(await ended).toBe(code);
      if (code === 1009) await line.untilHeard('socketClose');
      line.cut();
    }
  });

  test('that leave large messages unfinished are cut before they fill the memory, and others are not', async () => {
    const MIB = 1024 * 1024;
    const quiet = dial(fresh('asgi'));
    const { line } = await nextLine();
    line.say({ $case: 'head', value: { status: 101, headers: [] } });
    await opened(quiet);
    const sockets: WebSocket[] = [];
    let cut = 0;
    for (let at = 0; at < 80; at++) {
      const socket = dial(at % 8 === 0 ? fresh('asgi') : `${running.httpUrl}/w/asgi-${labels}`);
      sockets.push(socket);
      const { line } = await nextLine();
      line.say({ $case: 'head', value: { status: 101, headers: [] } });
      await opened(socket);
      void closed(socket).then(() => cut++);
      socket.send(Buffer.alloc(MIB - 1), { fin: false });
    }
    // Of 80 at most 64 have room.
    await eventually(() => cut >= 16);
    expect(cut).toBeLessThan(20);
    quiet.send('still here');
    await line.untilHeard('socketMessage');
    for (const socket of [quiet, ...sockets]) socket.terminate();
  });

  test('are not spoken by an endpoint, nor in another version', async () => {
    const socket = dial(fresh('endpoint'));
    const refused = new Promise<number>((resolve) =>
      socket
        .on('error', () => undefined)
        .once('unexpected-response', (_, response) => resolve(response.statusCode!)),
    );
    expect(await refused).toBe(400);
    const got = await raw(
      `GET ${new URL(fresh('asgi')).pathname} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 8\r\n\r\n`,
    );
    expect(got).toMatch(/^HTTP\/1\.1 426 .*\r\n(.*\r\n)*sec-websocket-version: 13/i);
    expect(functions.calls.length).toBe(taken);
  });

  test('to a server pass as bytes, once it has accepted', async () => {
    const socket = dial(fresh('server'));
    const { line } = await nextLine();
    const key = line.head!.headers.find(({ name }) => name === 'sec-websocket-key')!.value;
    expect(line.head!.headers).toContainEqual({ name: 'upgrade', value: 'websocket' });
    const { createHash } = await import('node:crypto');
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    line.say({
      $case: 'head',
      value: {
        status: 101,
        headers: [
          { name: 'Upgrade', value: 'websocket' },
          { name: 'Connection', value: 'Upgrade' },
          { name: 'Sec-WebSocket-Accept', value: accept },
        ],
      },
    });
    await opened(socket);
    line.say({ $case: 'body', value: Buffer.from([0x81, 2, 0x68, 0x69]) });
    const [message] = await new Promise<[Buffer]>((resolve) =>
      socket.once('message', (m: Buffer) => resolve([m])),
    );
    expect(message.toString()).toBe('hi');
    socket.terminate();
    await line.untilHeard('end'); // What an app makes of that is the app's: it may have more to say.
    line.say({ $case: 'end', value: {} });
    expect(await line.untilEnded()).toBe('ok');
  });
});

test('runners alone may attach, and only to what is held here', async () => {
  const asked = ask(fresh('endpoint'));
  const call = await nextCall();
  const guess = await RunnerLine.attach(bed, {
    ...call,
    request: { ...call.request, sessionId: 'a'.repeat(32) },
  });
  expect(await guess.untilEnded()).toMatchObject({ code: 5 });
  asked.destroy();
});

test('a gateway that stops ends what it holds, and says when to come back', async () => {
  const own = (await gateway.start({
    ...bed.env,
    BERTH_HTTP_PORT: '0',
    BERTH_GRPC_PORT: '0',
    BERTH_GATEWAY_LISTEN: '127.0.0.1:0',
    BERTH_WEB_DOMAIN: 'run.test',
    BERTH_PUBLIC_URL: 'https://berth.test',
    BERTH_LOG_LEVEL: 'silent',
  })) as RunningGateway;
  const closedPath = ask(`${own.httpUrl}/w/endpoint-1`);
  expect((await closedPath.response).statusCode).toBe(404);
  const asked = ask(own.httpUrl, 'GET', { host: 'endpoint-99.run.test' });
  await nextCall();
  const stopping = own[Symbol.asyncDispose]();
  const response = await asked.response;
  expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1']);
  await stopping;
});
