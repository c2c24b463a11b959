/** Web endpoints as Python users write them, below `@app.function`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Platform } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const folder = mkdtempSync(join(tmpdir(), 'berth-web-'));
const urls: Record<string, string> = {};
beforeAll(async () => {
  platform = await new Platform().start();
  writeFileSync(
    join(folder, 'pages.py'),
    `
import http.server
import threading
import berth

app = berth.App("pages")
small = dict(cpu=0.2, memory=128, scaledown_window=10)

@app.function(**small)
@berth.web_endpoint()
def greet(name: str, times: int = 1):
    return {"greeting": ("hello, %s! " % name) * times}

@app.function(**small)
@berth.web_endpoint(method="POST")
def total(numbers: list):
    return sum(numbers)

@app.function(**small)
@berth.concurrent(max_inputs=10)
@berth.asgi_app()
def asgi():
    async def answer(scope, receive, send):
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"asgi at " + scope["path"].encode()[-4:]})
    return answer

@app.function(**small)
@berth.wsgi_app()
def wsgi():
    def answer(environ, start_response):
        start_response("201 Created", [("content-type", "text/plain")])
        return [b"wsgi by ", environ["REQUEST_METHOD"].encode()]
    return answer

@app.function(**small)
@berth.web_server(8000)
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"served")
        def log_message(self, *_): pass
    threading.Thread(target=http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever, daemon=True).start()

@app.function(**small)
@berth.web_endpoint(requires_proxy_auth=True)
def gated(): return "inside"
`,
  );
  const deployed = await platform.cli('deploy', join(folder, 'pages.py'));
  expect(deployed).toMatchObject({ code: 0, stderr: '' });
  for (const [, name, url] of deployed.stdout.matchAll(/^(\w+) .*?(https?:\S+)/gm)) urls[name!] = url!;
});
afterAll(async () => {
  await platform?.close();
  rmSync(folder, { recursive: true, force: true });
});

const ask = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init);
  return [response.status, await response.text()];
};

test('a deploy says where each is', () => {
  expect(Object.keys(urls).sort()).toEqual(['asgi', 'gated', 'greet', 'server', 'total', 'wsgi']);
});

test('an endpoint has the query and the body as its arguments', async () => {
  expect(await ask(`${urls.greet}?name=Ada&times=2`)).toEqual([
    200,
    '{"greeting":"hello, Ada! hello, Ada! "}',
  ]);
  expect((await ask(`${urls.greet}`))[0]).toBe(422);
  const body = JSON.stringify({ numbers: [1, 2, 3] });
  const headers = { 'content-type': 'application/json' };
  expect(await ask(urls.total!, { method: 'POST', body, headers })).toEqual([200, '6']);
  expect((await ask(urls.total!))[0]).toBe(405);
});

test('apps and servers answer, and a gate keeps strangers out', async () => {
  expect(await ask(`${urls.asgi}/deep`)).toEqual([200, 'asgi at deep']);
  expect(await ask(urls.wsgi!, { method: 'PUT' })).toEqual([201, 'wsgi by PUT']);
  expect(await ask(`${urls.server}/`)).toEqual([200, 'served']);
  expect((await ask(urls.gated!))[0]).toBe(401);
});
