import { createServer } from 'node:net';
import { errorOf, until } from './live-worker';
import { webWorker, type WebWorker } from './web-worker';

jest.setTimeout(30_000);

const open: WebWorker[] = [];
afterEach(async () => {
  for (const worker of open.splice(0)) await worker.close();
});
const python = async (web: Parameters<typeof webWorker>[1], main: string, handler = 'main:handler') => {
  const worker = await webWorker('python', web, { files: { 'main.py': main }, handler });
  open.push(worker);
  return worker;
};
const printed = ({ logs }: WebWorker) => logs.map(({ bytes }) => bytes.toString()).join('');

describe('an endpoint', () => {
  test('takes arguments from query and body by their annotations', async () => {
    const worker = await python(
      { kind: 'endpoint', method: 'POST' },
      `
from typing import List, Optional
def handler(n: int, f: float = 0.5, flag: bool = False, tags: List[int] = [], note: Optional[str] = None, data: dict = None):
    return [n, f, flag, tags, note, data]
`,
    );
    const ask = (query: string, body?: unknown) =>
      worker.ask({
        method: 'POST',
        query,
        ...(body === undefined ? {} : { body: [JSON.stringify(body)] }),
      });
    expect(JSON.parse((await ask('n=3&flag=yes&tags=1&tags=2')).body)).toEqual([
      3,
      0.5,
      true,
      [1, 2],
      null,
      null,
    ]);
    expect(JSON.parse((await ask('n=3&f=7', { n: '4', note: 'x' })).body)).toEqual([
      4,
      7,
      false,
      [],
      'x',
      { n: '4', note: 'x' },
    ]);
    const wrong: [string, unknown, string][] = [
      ['', undefined, 'n'],
      ['n=1.5', undefined, 'n'],
      ['n=1', { f: true }, 'f'],
      ['n=1', { note: 5 }, 'note'],
      ['n=1', { data: [] }, 'data'],
      ['n=1&flag=perhaps', undefined, 'flag'],
    ];
    for (const [query, body, field] of wrong) {
      const { status, body: text, outcome } = await ask(query, body);
      expect([status, JSON.parse(text).detail[0].loc[1]]).toEqual([422, field]);
      expect(outcome.kind).toBe('success');
    }
    const broken = await worker.ask({ method: 'POST', body: ['{"n": '] });
    expect([broken.status, JSON.parse(broken.body).detail[0].type]).toEqual([422, 'json_invalid']);
    expect(await worker.ask({ method: 'GET' })).toMatchObject({ status: 405, headers: { allow: 'POST' } });
  });

  test('returns JSON, text, bytes, a response object or a stream', async () => {
    const worker = await python(
      { kind: 'endpoint' },
      `
import types
def stream():
    yield "one"
    yield b"two"
async def astream():
    yield "three"
def handler(kind):
    return {
        "json": {"a": [1, None, "ü"]}, "text": "plain", "bytes": b"\\x00\\x01", "nothing": None,
        "object": types.SimpleNamespace(status_code=201, headers={"X-Made": "yes", "Content-Type": "text/html"}, body="<b>hi</b>"),
        "empty": types.SimpleNamespace(status_code=204, headers={}, body=b""),
        "stream": stream(), "astream": astream(),
    }[kind]
`,
    );
    const ask = (kind: string) => worker.ask({ query: `kind=${kind}` });
    expect(await ask('json')).toMatchObject({
      body: '{"a":[1,null,"ü"]}',
      headers: { 'content-length': '19' },
    });
    expect(await ask('text')).toMatchObject({
      body: 'plain',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
    });
    expect((await ask('bytes')).headers['content-type']).toBe('application/octet-stream');
    expect((await ask('nothing')).body).toBe('null');
    expect(await ask('object')).toMatchObject({
      status: 201,
      body: '<b>hi</b>',
      headers: { 'x-made': 'yes', 'content-type': 'text/html' },
    });
    expect((await ask('empty')).headers).toEqual({});
    expect((await ask('stream')).body).toBe('onetwo');
    expect((await ask('astream')).body).toBe('three');
  });

  test('an exception is an outcome with the user’s own lines, and no response', async () => {
    const worker = await python({ kind: 'endpoint' }, 'def handler():\n    return 1 / 0\n');
    const { status, outcome } = await worker.ask();
    expect(status).toBe(0);
    const error = errorOf(outcome);
    expect(error.type).toBe('ZeroDivisionError');
    expect(error.traceback).toContain('return 1 / 0');
    expect(error.traceback).not.toContain('berth_worker');
    expect((await worker.ask()).status).toBe(0); // It goes on serving.
  });

  test('a stream that breaks is not complete', async () => {
    const worker = await python(
      { kind: 'endpoint' },
      'def handler():\n    yield "some"\n    raise ValueError("half")\n',
    );
    const { status, body, complete, outcome } = await worker.ask();
    expect([status, body, complete]).toEqual([200, 'some', false]);
    expect(errorOf(outcome)).toMatchObject({ type: 'ValueError', message: 'half' });
  });

  test('several run at a time, and print in the name of their own input', async () => {
    const worker = await python(
      { kind: 'endpoint' },
      `
import threading
gate = threading.Barrier(5)
def handler(n: int):
    gate.wait(10)
    print("this is", n)
    return n
`,
    );
    const requests = await Promise.all(
      [0, 1, 2, 3, 4].map((n) => worker.open({ query: `n=${n}` }).then((request) => ({ ...request, n }))),
    );
    for (const { session } of requests) await session.send({ type: 'end' });
    for (const { session, outcome, inputId, n } of requests) {
      for await (const _ of session.frames());
      session.close();
      expect((await outcome).kind).toBe('success');
      const own = worker.logs.filter((log) => log.inputId === inputId).map(({ bytes }) => bytes.toString());
      expect(own.join('')).toBe(`this is ${n}\n`);
    }
  });

  test('a call that is no web request is told where to go', async () => {
    const worker = await python({ kind: 'endpoint' }, 'def handler(): return 1\n');
    expect(errorOf(await worker.call())).toMatchObject({
      type: 'NotCallable',
      message: expect.stringContaining('web_url'),
    });
  });

  test('a cancel ends an async endpoint, and a generator is closed', async () => {
    const worker = await python(
      { kind: 'endpoint' },
      `
import asyncio
async def handler():
    try:
        while True:
            yield "tick"
            await asyncio.sleep(0.01)
    finally:
        print("cleaned up")
`,
    );
    const { session, outcome, inputId } = await worker.open();
    await session.send({ type: 'end' });
    let ticks = 0;
    for await (const _ of session.frames()) if (++ticks === 5) worker.connection.cancel(inputId);
    expect(errorOf(await outcome).type).toBe('InputCancellation');
    await until(() => printed(worker).includes('cleaned up'));
  });
});

describe('ASGI', () => {
  test('a start-up that fails is a start that fails, in the app’s own words', async () => {
    const worker = await python(
      { kind: 'asgi' },
      `
async def handler(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no model here"})
`,
    );
    expect(worker.started).toMatchObject({ kind: 'init_failed', error: { message: 'no model here' } });
  });

  test('an app without lifespan serves; state of one that has it is shared; it is shut down at the end', async () => {
    const plain = await python(
      { kind: 'asgi' },
      `
async def handler(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(scope["client"]).encode()})
`,
    );
    expect(await plain.ask()).toMatchObject({ status: 200, body: "('192.0.2.1', 4321)", complete: true });

    const stateful = await python(
      { kind: 'asgi' },
      `
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["model"] = "loaded"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]})
    await send({"type": "http.response.body", "body": scope["state"]["model"].encode()})
def handler():
    return app
`,
    );
    expect((await stateful.ask()).body).toBe('loaded');
    expect(await stateful.connection.stop(5000)).toBe(true);
    expect(printed(stateful)).toContain('shut down');
    expect(await stateful.exited).toBe(0);
  });

  test('a client that leaves is a disconnect, then a cancellation', async () => {
    const worker = await python(
      { kind: 'asgi' },
      `
import asyncio
async def handler(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive())["type"] != "http.disconnect":
        pass
    print("heard")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("cancelled")
        raise
`,
    );
    const { session, outcome, inputId } = await worker.open();
    await session.send({ type: 'end' });
    session.close();
    worker.connection.cancel(inputId);
    expect(errorOf(await outcome).type).toBe('InputCancellation');
    expect(printed(worker)).toBe('heard\ncancelled\n');
  });

  test('an app that breaks the protocol is at fault, not the worker', async () => {
    const worker = await python(
      { kind: 'asgi' },
      `
async def handler(scope, receive, send):
    if scope["type"] == "lifespan": raise RuntimeError("none")
    if scope["path"] == "/twice":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.start", "status": 200})
    if scope["path"] == "/early":
        await send({"type": "http.response.body", "body": b"x"})
`,
    );
    for (const [path, message] of [
      ['/twice', 'http.response.start was sent twice'],
      ['/early', 'outside of a response'],
      ['/none', 'without a complete response'],
    ]) {
      expect(errorOf((await worker.ask({ path: path! })).outcome).message).toContain(message);
    }
  });

  test('a client that does not read holds its own response up, and not its memory', async () => {
    const worker = await python(
      { kind: 'asgi' },
      `
sent = 0
async def handler(scope, receive, send):
    global sent
    if scope["type"] == "lifespan": return
    if scope["path"] == "/sent":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": str(sent).encode()})
        return
    await send({"type": "http.response.start", "status": 200})
    for _ in range(1000):
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        sent += 100_000
    await send({"type": "http.response.body"})
`,
    );
    const slow = await worker.open();
    await slow.session.send({ type: 'end' });
    let before = -1;
    let sent = 0;
    while (sent === 0 || sent !== before) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
      sent = Number((await worker.ask({ path: '/sent' })).body);
    }
    expect(sent).toBeLessThan(3_000_000);
    let bytes = 0;
    for await (const { payload } of slow.session.frames()) bytes += payload.length;
    expect(bytes).toBe(100_000_000);
    slow.session.close();
    expect((await slow.outcome).kind).toBe('success');
  });
});

describe('WSGI', () => {
  const app = `
def handler(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/lines":
        lines = [line for line in environ["wsgi.input"]]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(lines).encode()]
    if path == "/partial":
        start_response("200 OK", [])
        first = environ["wsgi.input"].read(3)
        return [first, b"|", environ["wsgi.input"].readline(), b"|", environ["wsgi.input"].read()]
    if path == "/late":
        start_response("200 OK", [])
        try:
            raise ValueError("late")
        except ValueError:
            import sys
            start_response("500 Oops", [], sys.exc_info())
        return [b"changed my mind"]
    if path == "/write":
        write = start_response("200 OK", [])
        write(b"old ")
        return [b"style"]
    if path == "/boom":
        raise KeyError("boom")
    keys = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR",
            "HTTP_COOKIE", "HTTP_X_MANY", "CONTENT_TYPE"]
    start_response("200 OK", [])
    return [repr([environ.get(key) for key in keys]).encode()]
`;
  test('an app gets the environment that PEP 3333 names, and a body as it comes', async () => {
    const worker = await python({ kind: 'wsgi' }, app);
    const got = await worker.ask({
      root_path: '/w/x',
      path: '/a%20b/%C3%BC',
      query: 'q=1',
      headers: [
        ['cookie', 'a=1'],
        ['cookie', 'b=2'],
        ['x-many', '1'],
        ['X-Many', '2'],
        ['x_many', 'smuggled'],
        ['content-type', 'text/x'],
      ],
    });
    expect(got.body).toBe(
      "['GET', '/w/x', '/a b/Ã¼', 'q=1', 'example.com', '8080', '192.0.2.1', 'a=1; b=2', '1,2', 'text/x']",
    );
    const body = ['on', 'e\ntw', 'o\n', 'three'];
    expect((await worker.ask({ path: '/lines', body })).body).toBe("[b'one\\n', b'two\\n', b'three']");
    expect((await worker.ask({ path: '/partial', body })).body).toBe('one|\n|two\nthree');
    expect(await worker.ask({ path: '/late' })).toMatchObject({ status: 500, body: 'changed my mind' });
    expect((await worker.ask({ path: '/write' })).body).toBe('old style');
    expect(errorOf((await worker.ask({ path: '/boom' })).outcome).type).toBe('KeyError');
  });
});

describe('a server on a port', () => {
  const freePort = () =>
    new Promise<number>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(port));
      });
    });
  const echo = (port: number) => `
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0: break
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in (self.path.encode(), b" ", body):
            self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(piece), piece))
        self.wfile.write(b"0\\r\\n\\r\\n")
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"until the end")
        self.close_connection = True
    def log_message(self, *_): pass
def handler():
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("127.0.0.1", ${port}), Handler).serve_forever()
`;
  test('requests pass with bodies of a length and without, and answers however they are framed', async () => {
    const port = await freePort();
    const worker = await python({ kind: 'server', port }, echo(port));
    const post = { method: 'POST', path: '/p', query: 'q=1', body: ['hel', 'lo'] };
    expect((await worker.ask(post)).body).toBe('/p?q=1 hello');
    expect((await worker.ask({ ...post, headers: [['content-length', '5']] })).body).toBe('/p?q=1 hello');
    expect(await worker.ask()).toMatchObject({ body: 'until the end', complete: true });
  });

  test('a port in use, and a handler that raises, are starts that fail', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const taken = await python({ kind: 'server', port }, 'def handler(): pass\n');
    expect(taken.started).toMatchObject({
      kind: 'init_failed',
      error: { message: expect.stringContaining('in use') },
    });
    server.close();
    const raises = await python({ kind: 'server', port }, 'def handler(): raise OSError("no such model")\n');
    expect(raises.started).toMatchObject({ kind: 'init_failed', error: { message: 'no such model' } });
  });
});
