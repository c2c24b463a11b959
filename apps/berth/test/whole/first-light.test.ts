/** The platform as its first user meets it: one command, then everything through the public surface. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@berth/testing';
import type { Berth, BerthApp, InvocationResult } from '@berth/sdk';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
let app: BerthApp;
beforeAll(async () => {
  platform = await new Platform({ BERTH_SIMULATED_GPUS: 'H100:2' }).start();
  berth = platform.berth();
  app = await berth.apps.create('first-light');
});
afterAll(() => platform?.close());

test('the start proves itself on the example, with the phases of a call', () => {
  expect(platform.said).toContain('1461 days in');
  expect(platform.said).toContain('4426 mm of rain');
  for (const phase of ['queued', 'create', 'start', 'init', 'run', 'record'])
    expect(platform.said).toContain(phase);
});

test('credentials.json is closed to others and holds what tools rely on', () => {
  expect(statSync(join(platform.dataDir, 'credentials.json')).mode & 0o777).toBe(0o600);
  expect(platform.credentials()).toEqual({
    api_url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    grpc_url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    organization_id: expect.stringMatching(/^or-[0-9A-Za-z]{22}$/),
    workspace_id: expect.stringMatching(/^wo-[0-9A-Za-z]{22}$/),
    token_id: expect.stringMatching(/^ak-/),
    token_secret: expect.stringMatching(/^as-/),
    admin_api_key: expect.stringMatching(/^bk_live_/),
  });
});

test.each(['/healthz', '/readyz'])('GET %s answers 200 without a credential', async (path) => {
  const { api_url } = platform.credentials();
  expect((await fetch(new URL(path, api_url))).status).toBe(200);
});

test('the OpenAPI document describes the routes that are served', async () => {
  const { body } = await platform.request('GET', '/openapi.json', { auth: false });
  const document = body as {
    openapi: string;
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  expect(document.openapi).toMatch(/^3\.1/);
  expect(document.paths['/v1/functions/{function_id}/invocations']?.post?.operationId).toBe('invokeFunction');
});

describe('the command line', () => {
  test('deploys, invokes both runtimes, shows logs, containers and nodes', async () => {
    const deployed = await platform.cli('deploy', 'examples/seattle-weather');
    expect(deployed).toMatchObject({ code: 0, stdout: expect.stringContaining('summarize-year') });

    const summed = await platform.cli(
      'invoke',
      '--trace',
      'seattle-weather.summarize-year',
      '--year',
      '2013',
    );
    expect(JSON.parse(summed.stdout)).toMatchObject({ years: [2013], days: 365 });
    expect(summed.stderr).toContain('run');

    const dry = await platform.cli('invoke', 'seattle-weather.longest-dry-run', '2012');
    expect(JSON.parse(dry.stdout)).toEqual({ from: '2012-07-23', to: '2012-09-08', days: 48 });

    await eventually(async () =>
      (await platform.cli('logs', 'seattle-weather')).stdout.includes('2013: 365 days'),
    );
    expect((await platform.cli('ps')).stdout).toMatch(/ta-[0-9A-Za-z]{22}.*ready/);
    expect((await platform.cli('node', 'list')).stdout).toMatch(/ready.*H100 \(simulated\)/);
  });

  test('a failure of user code prints its own lines and exits with 1', async () => {
    const failed = await platform.cli('invoke', 'seattle-weather.summarize-year', '1999');
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no weather of 1999') });
    expect(failed.stderr).toContain('weather.py');
  });

  test('a name that is not there says what there is', async () => {
    const failed = await platform.cli('invoke', 'seattle-weather.nonsense');
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('summarize-year') });
  });
});

describe('calls', () => {
  test('a warm container is used again', async () => {
    const echo = await makeFunction(berth, app.app_id, python('def run(x): return x'));
    const first = await berth.functions.invoke(echo.function_id, { args: [1] });
    const second = await berth.functions.invoke(echo.function_id, { args: [{ deep: [null, 'ü'] }] });
    expect(second).toMatchObject({
      status: 'success',
      result: { deep: [null, 'ü'] },
      container_id: first.container_id,
    });
    expect(first.phases.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['create', 'start', 'init', 'run']),
    );
    expect(second.phases.map(({ name }) => name)).not.toContain('create');
  });

  test('numbers that JavaScript cannot hold come back as they went in', async () => {
    const echo = await makeFunction(berth, app.app_id, python('def run(x): return x'));
    const response = await fetch(
      new URL(`/v1/functions/${echo.function_id}/invocations`, platform.credentials().api_url),
      {
        method: 'POST',
        headers: {
          authorization: `Bearer ${platform.credentials().token_id}.${platform.credentials().token_secret}`,
          'content-type': 'application/json',
        },
        body: '{"args": [12345678901234567890123]}',
      },
    );
    expect(await response.text()).toContain('12345678901234567890123');
  });

  test('spawn answers at once, and the call can be fetched and listed', async () => {
    const echo = await makeFunction(berth, app.app_id, python('def run(x): return x + 1'));
    const { call_id, status } = await berth.functions.spawn(echo.function_id, { kwargs: { x: 41 } });
    expect(['pending', 'running']).toContain(status);
    const call = await eventually(async () => {
      const found = await berth.calls.get(call_id);
      return found.status === 'success' && found;
    }, 30_000);
    expect(call).toMatchObject({ result: 42, attempts: 1 });
    const listed: InvocationResult[] = [];
    for await (const each of berth.functions.invocations(echo.function_id)) listed.push(each);
    expect(listed.map((each) => each.call_id)).toEqual([call_id]);
  });

  test('a repeated Idempotency-Key is the same call', async () => {
    const echo = await makeFunction(
      berth,
      app.app_id,
      python('import uuid\ndef run(): return str(uuid.uuid4())'),
    );
    const [first, second] = await Promise.all(
      [1, 2].map(() => berth.functions.invoke(echo.function_id, {}, { idempotencyKey: 'once' })),
    );
    expect(second).toMatchObject({ call_id: first!.call_id, result: first!.result });
  });

  test('a call that runs can be cancelled', async () => {
    const slow = await makeFunction(berth, app.app_id, python('import time\ndef run(): time.sleep(60)'));
    const { call_id } = await berth.functions.spawn(slow.function_id);
    await eventually(async () => (await berth.calls.get(call_id)).status === 'running', 30_000);
    expect((await berth.calls.cancel(call_id)).status).toBe('terminated');
    expect((await berth.calls.get(call_id)).status).toBe('terminated');
  });

  test('a stopped app takes no more and its containers end', async () => {
    const doomed = await berth.apps.create('doomed');
    const echo = await makeFunction(berth, doomed.app_id, python('def run(): return 1'));
    await berth.functions.invoke(echo.function_id);
    await berth.apps.stop(doomed.app_id);
    await expect(berth.functions.invoke(echo.function_id)).rejects.toMatchObject({
      code: 'failed_precondition',
    });
    await eventually(async () => {
      for await (const _ of berth.containers.list({ app_id: doomed.app_id })) return false;
      return true;
    }, 30_000);
  });

  test('a GPU function gets a card of its own, marked as simulated; one that fits nowhere says why', async () => {
    const card = await makeFunction(
      berth,
      app.app_id,
      python('import os\ndef run(): return os.environ.get("BERTH_SIMULATED_GPU")', { gpu: 'H100' }),
    );
    const { container_id, result } = await berth.functions.invoke<string>(card.function_id);
    expect(result).toMatch(/^[01]$/);
    for await (const each of berth.containers.list({ function_id: card.function_id })) {
      if (each.container_id === container_id) {
        expect(each.devices).toMatchObject([{ model: 'H100', simulated: true }]);
      }
    }
    const none = await makeFunction(berth, app.app_id, python('def run(): pass', { gpu: 'B200' }));
    const { call_id } = await berth.functions.spawn(none.function_id);
    const { waiting } = await eventually(async () => {
      const call = await berth.calls.get(call_id);
      return call.waiting?.includes('B200') && call;
    });
    expect(waiting).toContain('B200');
    await berth.calls.cancel(call_id);
  });
});

describe('user code that goes wrong ends in one clear error, and the platform goes on', () => {
  test.each<[string, string, object]>([
    [
      'a syntax error',
      'def run(:\n  pass',
      { type: 'init_failed', message: expect.stringContaining('SyntaxError') },
    ],
    ['no such handler', 'def walk(): pass', { type: 'init_failed', message: expect.stringContaining('run') }],
    [
      'an exception',
      'def inner():\n    raise KeyError("lost")\ndef run():\n    inner()',
      { type: 'KeyError', traceback: expect.stringContaining('main.py", line 2, in inner') },
    ],
    [
      'an exception with a NUL in it',
      'def run(): raise ValueError("a\\0b")',
      { type: 'ValueError', message: 'a\ufffdb' },
    ],
    ['sys.exit', 'import sys\ndef run(): sys.exit(3)', { type: 'SystemExit' }],
    [
      'the end of the process',
      'import os\ndef run(): os._exit(7)',
      { type: 'container_exited', message: expect.stringContaining('7') },
    ],
    ['output that is not JSON', 'def run(): return {1, 2}', { message: expect.stringContaining('set') }],
    ['NaN', 'def run(): return float("nan")', {}],
  ])('%s', async (_, source, error) => {
    const broken = await makeFunction(berth, app.app_id, python(source));
    const outcome = await berth.functions.invoke(broken.function_id);
    expect(outcome).toMatchObject({ status: 'failure', result: null, error });
  });

  test('a hang past its timeout', async () => {
    const hang = await makeFunction(
      berth,
      app.app_id,
      python('while_true = True\ndef run():\n    while while_true: pass', { timeout: 1 }),
    );
    expect(await berth.functions.invoke(hang.function_id)).toMatchObject({
      status: 'failure',
      error: { type: 'timeout' },
    });
  });

  test('more memory than it has', async () => {
    const hungry = await makeFunction(
      berth,
      app.app_id,
      python('def run(): return len(bytearray(512 * 1024 * 1024))', { memory: 64 }),
    );
    expect(await berth.functions.invoke(hungry.function_id)).toMatchObject({
      status: 'failure',
      error: { type: 'out_of_memory' },
    });
  });

  test('a failure is tried again as often as was asked', async () => {
    const flaky = await makeFunction(
      berth,
      app.app_id,
      python('def run(): raise OSError("no")', { retries: 2, retry_delay: { first: 0 } }),
    );
    expect(await berth.functions.invoke(flaky.function_id)).toMatchObject({
      status: 'failure',
      attempts: 3,
      error: { type: 'OSError' },
    });
  });

  test('and the platform goes on', async () => {
    const echo = await makeFunction(berth, app.app_id, python('def run(x): return x'));
    expect(await berth.call(echo.function_id, { args: ['on'] })).toBe('on');
  });
});

describe('bad requests', () => {
  const bad = (field: string | null, code = 'invalid_argument', status = 400) => ({ status, code, field });
  test.each<[string, string, string, string | undefined, ReturnType<typeof bad>]>([
    ['malformed JSON', 'POST', '/v1/apps', '{"name": ', bad(null)],
    ['not an object', 'POST', '/v1/apps', '[]', bad(null)],
    ['a missing name', 'POST', '/v1/apps', '{}', bad('name')],
    ['a wrong type', 'POST', '/v1/apps', '{"name": 3}', bad('name')],
    ['an unknown field', 'POST', '/v1/apps', '{"name": "x", "colour": "red"}', bad('colour')],
    [
      'an unknown environment',
      'POST',
      '/v1/apps',
      '{"name": "x", "environment": "nowhere"}',
      bad('environment', 'not_found', 404),
    ],
    ['a name in use', 'POST', '/v1/apps', '{"name": "first-light"}', bad('name', 'already_exists', 409)],
    ['an unknown app', 'GET', '/v1/apps/ap-0000000000000000000000', undefined, bad(null, 'not_found', 404)],
    ['an id of another form', 'GET', '/v1/apps/..%2F..%2Fetc', undefined, bad(null, 'not_found', 404)],
    ['an unknown route', 'GET', '/v1/nonsense', undefined, bad(null, 'not_found', 404)],
    ['an unknown cursor', 'GET', '/v1/apps?cursor=%00', undefined, bad('cursor')],
    ['a NUL in a filter', 'GET', '/v1/apps?name=%00', undefined, bad('name')],
    ['a NUL in a text', 'POST', '/v1/apps', '{"name": "x", "tags": {"a": "\\u0000"}}', bad('tags.a')],
    ['too long a page', 'GET', '/v1/apps?limit=1000', undefined, bad('limit')],
  ])('%s', async (_, method, path, body, expected) => {
    const { status, body: answer } = await platform.request(method, path, body === undefined ? {} : { body });
    expect(status).toBe(expected.status);
    expect(answer).toEqual({
      error: {
        code: expected.code,
        message: expect.stringMatching(/\w+/),
        field: expected.field === null ? null : expected.field,
        request_id: expect.stringMatching(/.+/),
      },
    });
  });

  test.each<[string, object, string]>([
    ['a runtime that is not there', { runtime: 'cobol' }, 'runtime'],
    ['a handler without a function', { handler: 'main' }, 'handler'],
    ['a module that is not among the files', { handler: 'other:run' }, 'handler'],
    ['no source at all', { files: {} }, 'files'],
    ['memory below the least', { memory: 1 }, 'memory'],
    ['a fraction of a MiB', { memory: 64.5 }, 'memory'],
    ['a card that does not exist', { gpu: 'RTX-1' }, 'gpu'],
    ['min above max', { min_containers: 3, max_containers: 2 }, 'min_containers'],
    ['a timeout of zero', { timeout: 0 }, 'timeout'],
  ])('a function with %s', async (_, change, field) => {
    const body = JSON.stringify({ name: 'bad', ...python('def run(): pass'), ...change });
    const { status, body: answer } = await platform.request('POST', `/v1/apps/${app.app_id}/functions`, {
      body,
    });
    expect({ status, answer }).toMatchObject({
      status: 400,
      answer: { error: { code: 'invalid_argument', field } },
    });
  });

  test('a body that is too large', async () => {
    const { status, body } = await platform.request('POST', '/v1/apps', {
      body: `{"name": "${'x'.repeat(40 * 1024 * 1024)}"}`,
    });
    expect({ status, body }).toMatchObject({ status: 413, body: { error: { code: 'too_large' } } });
  });

  test.each<[string, Record<string, string>]>([
    ['no credential', {}],
    ['an unknown token', { authorization: 'Bearer ak-0000000000000000000000.as-0000' }],
    ['a malformed one', { authorization: 'Basic eDp5' }],
    ['an unknown key', { 'x-api-key': 'bk_live_nonsense' }],
  ])('%s is 401', async (_, headers) => {
    const { status, body } = await platform.request('GET', '/v1/apps', { auth: false, headers });
    expect({ status, body }).toMatchObject({ status: 401, body: { error: { code: 'unauthenticated' } } });
  });
});

test("another tenant's things are not found, whatever is asked of them", async () => {
  const { api_url, admin_api_key } = platform.credentials();
  const admin = platform.client({ apiUrl: api_url, apiKey: admin_api_key });
  const { workspace_id } = await admin.http.json<{ workspace_id: string }>('POST', '/v1/workspaces', {
    body: { name: 'other' },
  });
  const token = await admin.http.json<{ token_id: string; token_secret: string }>('POST', '/v1/api-tokens', {
    body: { workspace_id },
  });
  const other = platform.client({
    apiUrl: api_url,
    tokenId: token.token_id,
    tokenSecret: token.token_secret,
  });

  const echo = await makeFunction(berth, app.app_id, python('def run(): return 1'));
  const { call_id } = await berth.functions.invoke(echo.function_id);
  const asked: (() => Promise<unknown>)[] = [
    () => other.apps.get(app.app_id),
    () => other.apps.stop(app.app_id),
    () => other.functions.get(echo.function_id),
    () => other.functions.create(app.app_id, 'mine', python('def run(): pass')),
    () => other.functions.update(echo.function_id, python('def run(): pass')),
    () => other.functions.invoke(echo.function_id),
    () => other.functions.spawn(echo.function_id),
    () => other.calls.get(call_id),
    () => other.calls.cancel(call_id),
    () => other.functions.invocations(echo.function_id).next(),
    () => other.functions.list(app.app_id).next(),
    () => other.apps.logs(app.app_id).next(),
  ];
  for (const ask of asked) await expect(ask()).rejects.toMatchObject({ code: 'not_found' });
  for await (const each of other.apps.list()) throw new Error(`sees ${each.name}`);
  for await (const each of other.containers.list({ all: true })) throw new Error(`sees ${each.container_id}`);

  // A revoked token opens nothing any more, within a second.
  await admin.http.json('DELETE', `/v1/api-tokens/${token.token_id}`);
  await eventually(async () => {
    const again = await other.whoAmI().catch((error: { status: number }) => error.status);
    return again === 401;
  }, 1000);
});

test('every container leaves usage intervals that add up to its life', async () => {
  const brief = await makeFunction(berth, app.app_id, python('def run(): return 1', { scaledown_window: 1 }));
  const { container_id } = await berth.functions.invoke(brief.function_id);
  const last = await eventually(async () => {
    const { data } = await berth.http.json<{
      data: { last: boolean; started_at: string; ended_at: string; cpu: number }[];
    }>('GET', '/v1/usage', { query: { container_id } });
    return data.find((interval) => interval.last);
  }, 60_000);
  expect(Date.parse(last.ended_at)).toBeGreaterThan(Date.parse(last.started_at));
  expect(last.cpu).toBe(0.2);
});
