/** What becomes of web requests when their container dies, their client leaves, or their time is over. */
import type { Berth } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(240_000);

const SOURCE = `
import asyncio, os
async def run(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"][len(scope["root_path"]):]
    async def start():
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    async def body(text, more=False):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": more})
    if path == "/die":
        os._exit(3)
    if path == "/die-late":
        await start()
        await body("half", True)
        await asyncio.sleep(0.3)
        os._exit(3)
    if path == "/boom":
        raise ValueError("not for strangers")
    if path == "/slow":
        await asyncio.sleep(3)
    if path == "/for-ever":
        try:
            await asyncio.sleep(3600)
        finally:
            print("was told")
    if path == "/stream":
        await start()
        for number in range(30):
            await body("%d\\n" % number, True)
            await asyncio.sleep(0.1)
        await body("")
        return
    await start()
    await body("fine")
`;

let platform: Platform;
let berth: Berth;
let app: Awaited<ReturnType<Berth['apps']['create']>>;
let url: string;
let functionId: string;
const endpoint = async (options: object = {}) => {
  const made = await makeFunction(
    berth,
    app.app_id,
    python(SOURCE, {
      web: { kind: 'asgi' },
      max_concurrent_inputs: 10,
      max_containers: 1,
      scaledown_window: 60,
      ...options,
    }),
  );
  return { url: made.web_url!, functionId: made.function_id };
};

beforeAll(async () => {
  platform = await new Platform().start();
  berth = platform.berth();
  app = await berth.apps.create('web-faults');
  ({ url, functionId } = await endpoint());
  expect(await (await fetch(url)).text()).toBe('fine');
});
afterAll(() => platform?.close());

interface Call {
  status: string;
  error: { type: string; traceback: string | null } | null;
  attempts: number;
}
const lastCall = async (id = functionId): Promise<Call> => {
  const { body } = await platform.request('GET', `/v1/functions/${id}/invocations?limit=1`);
  return (body as { data: Call[] }).data[0]!;
};
const pieces = async (response: Response, onPiece: (text: string) => void) => {
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    onPiece(Buffer.from(piece).toString());
  }
};

test('an exception is 500 without a word of it; its call has the traceback', async () => {
  const response = await fetch(`${url}/boom`);
  expect(response.status).toBe(500);
  expect(await response.text()).not.toMatch(/strangers|ValueError|main\.py/);
  await eventually(async () => (await lastCall()).error?.type === 'ValueError');
  expect((await lastCall()).error!.traceback).toContain('raise ValueError');
});

test('a client that leaves ends its call, and the code hears of it', async () => {
  const leave = new AbortController();
  const asked = fetch(`${url}/for-ever`, { signal: leave.signal });
  await eventually(async () => (await lastCall()).status === 'running');
  leave.abort();
  await expect(asked).rejects.toThrow();
  await eventually(async () => (await lastCall()).status === 'terminated');
  await eventually(async () => (await platform.cli('logs', 'web-faults')).stdout.includes('was told'));
  expect(await (await fetch(url)).text()).toBe('fine');
});

test('a request that takes too long is 504', async () => {
  const brief = await endpoint({ timeout: 1 });
  expect((await fetch(`${brief.url}/slow`)).status).toBe(504);
  await eventually(async () => (await lastCall(brief.functionId)).error?.type === 'timeout');
  expect(await (await fetch(brief.url)).text()).toBe('fine');
});

test('a container that dies is 502, or an end before the end; the next request has another', async () => {
  expect((await fetch(`${url}/die`)).status).toBe(502);
  expect(await (await fetch(url)).text()).toBe('fine');
  let text = '';
  const late = await fetch(`${url}/die-late`);
  await expect(pieces(late, (piece) => (text += piece))).rejects.toThrow();
  expect(text).toBe('half');
  await eventually(async () => (await lastCall()).status === 'failure');
  expect((await lastCall()).attempts).toBe(1);
  expect(await (await fetch(url)).text()).toBe('fine');
});
