/** Maps on a whole platform: in real containers, over REST and through the SDK. */
import { execFileSync } from 'node:child_process';
import { FunctionFailed, type Berth, type FunctionOutput, type InvocationResult } from '@berth/sdk';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
beforeAll(async () => {
  platform = await new Platform().start();
  berth = platform.berth();
});
afterAll(() => platform?.close());

async function measureId(): Promise<string> {
  await platform.cli('deploy', 'examples/word-lengths');
  const app = await berth.apps.find('word-lengths');
  return (await berth.functions.find(app!.app_id, 'measure'))!.function_id;
}

const postMap = (functionId: string, body: object, headers: Record<string, string> = {}) => {
  const { api_url, token_id, token_secret } = platform.credentials();
  return fetch(new URL(`/v1/functions/${functionId}/map`, api_url), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token_id}.${token_secret}`,
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
  });
};
const linesOf = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as FunctionOutput);

test('the example over REST: a line for each input, in order, failures among them', async () => {
  const functionId = await measureId();
  const body = { inputs: ['rain', '42', 'sun'].map((word) => ({ args: [word] })), return_exceptions: true };
  const response = await postMap(functionId, body, { 'idempotency-key': 'words' });
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  const text = await response.text();
  const lines = linesOf(text);
  expect(lines).toMatchObject([
    { index: 0, status: 'success', result: 4, error: null },
    { index: 1, status: 'failure', result: null, error: { type: 'ValueError' } },
    { index: 2, status: 'success', result: 3 },
  ]);
  expect(await (await postMap(functionId, body, { 'idempotency-key': 'words' })).text()).toBe(text);
  expect(await berth.calls.get(lines[0]!.call_id)).toMatchObject({
    status: 'failure',
    num_inputs: 3,
    num_succeeded: 2,
    num_failed: 1,
  });
  const refused = await postMap(functionId, { inputs: [{ args: ['a'] }, { args: 'b' }] });
  expect([refused.status, await refused.json()]).toMatchObject([400, { error: { field: 'inputs[1].args' } }]);
});

test('the example through the SDK: more inputs than one request carries, from a generator', async () => {
  const functionId = await measureId();
  const words = async function* () {
    for (let length = 1; length <= 1500; length++) yield 'x'.repeat(length);
  };
  let expected = 0;
  for await (const length of berth.map<number>(functionId, words())) expect(length).toBe(++expected);
  expect(expected).toBe(1500);

  const failed: unknown[] = [];
  const mixed = berth.map<number>(functionId, ['a', '1', 'bc', '2'], { returnExceptions: true });
  for await (const result of mixed)
    failed.push(result instanceof FunctionFailed ? result.error?.type : result);
  expect(failed).toEqual([1, 'ValueError', 2, 'ValueError']);

  const stops = berth.forEach(functionId, ['a', '1', 'bc']);
  await expect(stops).rejects.toMatchObject({ name: 'FunctionFailed', error: { type: 'ValueError' } });
  await expect(berth.forEach(functionId, ['a', 'bc'])).resolves.toBeUndefined();
});

test('whoever leaves the loop ends the map; what its inputs throw ends it too', async () => {
  const app = await berth.apps.create('leaving');
  const slow = await makeFunction(
    berth,
    app.app_id,
    python('import time\ndef run(a, b):\n    time.sleep(b)\n    return a', { max_containers: 1 }),
  );
  const endless = function* () {
    yield [1, 0];
    for (;;) yield [2, 60];
  };
  for await (const a of berth.starmap<number>(slow.function_id, endless())) {
    expect(a).toBe(1);
    break;
  }
  const broken = async function* () {
    yield [1, 60];
    throw new Error('no more words');
  };
  await expect(berth.starmap(slow.function_id, broken()).next()).rejects.toThrow('no more words');
  for await (const { status } of berth.functions.invocations(slow.function_id))
    expect(status).toBe('terminated');
  await berth.apps.stop(app.app_id);
});

test('a reader that does not read holds nothing up but itself', async () => {
  const app = await berth.apps.create('slow-reader');
  const large = await makeFunction(
    berth,
    app.app_id,
    python('def run(x):\n    return "x" * 1_000_000', { max_containers: 2 }),
  );
  const response = await postMap(large.function_id, {
    inputs: Array.from({ length: 60 }, (_, x) => ({ args: [x] })),
  });
  const reader = response.body!.getReader();
  let bytes = (await reader.read()).value!.length;
  // All is recorded while nobody reads, and comes when it is read.
  const { value: call } = await berth.functions.invocations(large.function_id).next();
  const { call_id } = call as InvocationResult;
  let seen = 0;
  for await (const _ of berth.calls.outputs(call_id, { follow: true })) seen++;
  expect([seen, (await berth.calls.get(call_id)).num_succeeded]).toEqual([60, 60]);
  for (let part = await reader.read(); !part.done; part = await reader.read()) bytes += part.value.length;
  expect(bytes).toBeGreaterThan(60_000_000);
  await berth.apps.stop(app.app_id);
});

test('a pickle goes through REST and a real container as bytes', async () => {
  const app = await berth.apps.create('pickles');
  const source = 'def run(first, *, second):\n    return {first, second} if second else bytes(2_000_000)';
  const { function_id } = await makeFunction(berth, app.app_id, python(source));
  const inPython = (code: string, input = '') =>
    execFileSync('python3', ['-c', `import base64, pickle, sys; ${code}`], { input })
      .toString()
      .trim();
  const payload = inPython('print(base64.b64encode(pickle.dumps(((1j,), {"second": b"x"}), 4)).decode())');
  const { status, body } = await platform.request('POST', `/v1/functions/${function_id}/invocations`, {
    body: JSON.stringify({ payload, format: 'pickle' }),
  });
  expect([status, body]).toMatchObject([200, { status: 'success', result: null, result_format: 'pickle' }]);
  const { call_id, result_bytes } = body as InvocationResult;
  const unpickled = inPython(
    'value = pickle.loads(base64.b64decode(sys.stdin.read())); print(value == {1j, b"x"})',
    result_bytes!,
  );
  expect(unpickled).toBe('True');

  const large = inPython('print(base64.b64encode(pickle.dumps(((1j,), {"second": b""}), 4)).decode())');
  const elsewhere = await platform.request('POST', `/v1/functions/${function_id}/invocations`, {
    body: JSON.stringify({ payload: large, format: 'pickle' }),
  });
  expect(elsewhere.body).toMatchObject({ status: 'success', result_bytes: null, result_format: 'pickle' });
  let bytes = 0;
  const { result_blob } = elsewhere.body as InvocationResult;
  for await (const chunk of berth.blobs.read(result_blob)) bytes += chunk.length;
  expect(bytes).toBeGreaterThan(2_000_000);

  const { api_url, token_id, token_secret } = platform.credentials();
  const raw = await fetch(new URL(`/v1/function-calls/${call_id}/result`, api_url), {
    headers: { authorization: `Bearer ${token_id}.${token_secret}` },
  });
  expect(raw.headers.get('content-type')).toBe('application/octet-stream');
  expect(Buffer.from(await raw.arrayBuffer()).toString('base64')).toBe(result_bytes);
});

test('values larger than any message go around the queue, both ways', async () => {
  const app = await berth.apps.create('large');
  const source = 'def run(text):\n    return [len(text), text[::-1]]';
  const { function_id } = await makeFunction(berth, app.app_id, python(source, { memory: 1024 }));
  const text = 'ab'.repeat(10 * 1024 * 1024);
  const [length, reversed] = await berth.call<[number, string]>(function_id, { args: [text] });
  expect(length).toBe(text.length);
  expect(reversed === 'ba'.repeat(text.length / 2)).toBe(true);
  const { value } = await berth.functions.invocations(function_id).next();
  expect(value).toMatchObject({ status: 'success', result: null, result_format: 'json' });
  const { result_blob } = value as InvocationResult;
  let bytes = 0;
  for await (const chunk of berth.blobs.read(result_blob)) bytes += chunk.length;
  expect(bytes).toBeGreaterThan(text.length);
});
