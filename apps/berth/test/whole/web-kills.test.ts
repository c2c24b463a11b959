/** What becomes of web requests when a process of the platform is killed under them, and of a burst on a cold function. */
import type { Berth } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(240_000);

const PIECES = 30;
const SOURCE = `
import asyncio
async def run(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"][len(scope["root_path"]):]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(${PIECES} if path == "/stream" else 0):
        await send({"type": "http.response.body", "body": b"%d\\n" % number, "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"fine"})
`;
/** Begins to answer only after a while. */
const SLOW = `
import asyncio
async def run(scope, receive, send):
    if scope["type"] != "http":
        return
    await asyncio.sleep(3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
`;
const WHOLE = Array.from({ length: PIECES }, (_, number) => `${number}\n`).join('') + 'fine';

let platform: Platform;
let berth: Berth;
let appId: string;
const endpoint = async (source: string, options: object = {}) => {
  const made = await makeFunction(
    berth,
    appId,
    python(source, {
      web: { kind: 'asgi' },
      max_concurrent_inputs: 10,
      max_containers: 1,
      scaledown_window: 60,
      ...options,
    }),
  );
  return { url: made.web_url!, functionId: made.function_id };
};

let streaming: Awaited<ReturnType<typeof endpoint>>;
beforeAll(async () => {
  platform = await new Platform().start('--separate');
  berth = platform.berth();
  appId = (await berth.apps.create('web-kills')).app_id;
  streaming = await endpoint(SOURCE);
  expect(await (await fetch(streaming.url)).text()).toBe('fine');
});
afterAll(() => platform?.close());

const statuses = async (functionId: string): Promise<string[]> => {
  const { body } = await platform.request('GET', `/v1/functions/${functionId}/invocations?limit=10`);
  return (body as { data: { status: string }[] }).data.map(({ status }) => status);
};
const allEnded = (functionId: string) =>
  eventually(
    async () => (await statuses(functionId)).every((status) => !['running', 'pending'].includes(status)),
    60_000,
  );
/** Reads a body to its end, and tells of each piece. */
const read = async (response: Response, onPiece: () => void): Promise<string> => {
  let text = '';
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(piece).toString();
    onPiece();
  }
  return text;
};
/** kill -9, once; resolves when its supervisor has it up again. */
const killer = (name: string) => {
  let up: Promise<unknown> | undefined;
  return {
    kill: () => {
      if (up) return;
      const { process: victim, restarts } = platform.child(name);
      process.kill(victim!.pid, 'SIGKILL');
      up = eventually(
        () => platform.child(name).state === 'up' && platform.child(name).restarts > restarts,
        60_000,
      );
    },
    isUp: () => up,
  };
};
const answersAgain = () =>
  eventually(async () => (await (await fetch(streaming.url)).text()) === 'fine', 60_000);

test('a burst on a cold function waits, and every request of it is answered', async () => {
  const cold = await endpoint(SOURCE, { max_concurrent_inputs: 4, max_containers: 2 });
  const answers = await Promise.all(Array.from({ length: 24 }, async () => (await fetch(cold.url)).text()));
  expect(answers).toEqual(answers.map(() => 'fine'));
});

test('kill -9 of functions under a stream is not noticed', async () => {
  const { kill, isUp } = killer('functions');
  expect(await read(await fetch(`${streaming.url}/stream`), kill)).toBe(WHOLE);
  await isUp();
  await eventually(async () => (await statuses(streaming.functionId))[0] === 'success', 60_000);
  await answersAgain();
});

test('kill -9 of the gateway loses its connections, and nothing else', async () => {
  const { kill, isUp } = killer('gateway');
  await expect(read(await fetch(`${streaming.url}/stream`), kill)).rejects.toThrow();
  await isUp();
  await answersAgain();
  await allEnded(streaming.functionId);
});

test('kill -9 of the runner cuts what has begun; a request that has not is answered by the next container', async () => {
  const slow = await endpoint(SLOW);
  expect(await (await fetch(slow.url)).text()).toBe('fine');
  const waiting = fetch(slow.url);
  await eventually(async () => (await statuses(slow.functionId))[0] === 'running');
  const { kill, isUp } = killer('runner');
  await expect(read(await fetch(`${streaming.url}/stream`), kill)).rejects.toThrow();
  await isUp();
  expect(await (await waiting).text()).toBe('fine');
  await answersAgain();
  await allEnded(streaming.functionId);
});
