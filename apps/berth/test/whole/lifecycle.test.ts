/** Retries with delays, buffers, versions, deployments and apps that end with their client, on a whole platform with real containers. */
import { eventually } from '@berth/testing';
import type { Berth, BerthFunction } from '@berth/sdk';
import { Platform, python } from './platform';

const platform = new Platform({ BERTH_EPHEMERAL_SILENCE_SECONDS: '3' });
let berth: Berth;

beforeAll(async () => {
  await platform.start();
  berth = platform.berth();
}, 300_000);
afterAll(() => platform.close(), 120_000);
jest.setTimeout(300_000);

const cli = async (...args: string[]) => {
  const { code, stdout, stderr } = await platform.cli(...args);
  if (code !== 0) throw new Error(`berth ${args.join(' ')}: ${stderr}`);
  return stdout;
};

describe('the example flaky-download', () => {
  let download: BerthFunction;
  beforeAll(async () => {
    await cli('deploy', 'examples/flaky-download');
    download = (await berth.functions.lookup('flaky-download', 'download'))!;
  });

  test('is tried again after growing waits, and says so meanwhile', async () => {
    const { call_id } = await berth.functions.spawn(download.function_id, { args: ['a.csv'] });
    const waiting = await eventually(async () => {
      const { waiting } = await berth.calls.get(call_id);
      return waiting?.includes('tried again') && waiting;
    }, 20_000);
    expect(waiting).toMatch(/attempt \d of 5, because MirrorBusy: no connection for a.csv/);
    const done = await eventually(async () => {
      const call = await berth.calls.get(call_id);
      return call.status === 'success' && call;
    }, 20_000);
    // Each container counts for itself, and there are two of them.
    expect(done.attempts).toBeGreaterThanOrEqual(3);
    expect(done.result).toEqual({ name: 'a.csv', tries: 3 });
    expect(Date.parse(done.started_at!) - Date.parse(done.created_at)).toBeGreaterThanOrEqual(1500);
  });

  test('keeps one idle container beside the one that is busy', async () => {
    const { call_id } = await berth.functions.spawn(download.function_id, { args: ['b.csv', 99] });
    await eventually(async () => {
      let ready = 0;
      const { function_id } = download;
      for await (const { state } of berth.containers.list({ function_id })) if (state === 'ready') ready++;
      return ready === 2;
    }, 20_000);
    expect((await berth.calls.cancel(call_id)).status).toBe('terminated');
  });
});

describe('versions and deployments', () => {
  test('an app goes back as a whole, from the command line', async () => {
    const app = await berth.apps.ensure('back');
    const deploy = async (text: string) => {
      const definition = python(`def run(): return ${JSON.stringify(text)}`);
      const one = await berth.functions.deploy(app.app_id, 'one', definition);
      const two = await berth.functions.deploy(app.app_id, 'two', definition);
      await berth.apps.noteDeployment(app.app_id);
      return [one.function.function_id, two.function.function_id];
    };
    const ids = await deploy('old');
    const call = () => Promise.all(ids.map((id) => berth.call<string>(id)));
    expect(await call()).toEqual(['old', 'old']);
    await deploy('new');
    expect(await call()).toEqual(['new', 'new']);
    expect(await cli('app', 'rollback', 'back')).toContain('one v1, two v1 (deployment 3)');
    expect(await call()).toEqual(['old', 'old']);
    const history = await cli('app', 'history', 'back');
    expect(
      history.split('\n').map((line) =>
        line
          .trim()
          .split(/\s{2,}/)
          .at(0),
      ),
    ).toEqual(expect.arrayContaining(['3', '2', '1']));
    expect(await cli('function', 'rollback', 'back.one', '--version', '2')).toContain('one runs version 2');
    expect(await call()).toEqual(['new', 'old']);
    const versions = (await cli('function', 'versions', 'back.one', '--json')).trim().split('\n');
    expect(versions.map((line) => JSON.parse(line))).toMatchObject([
      { version: 2, current: true, changed: ['source'] },
      { version: 1, current: false, changed: [] },
    ]);
    const first = platform.cli('app', 'rollback', 'back', '--version', 'x');
    expect(await first).toMatchObject({ code: 1, stderr: expect.stringContaining('whole number') });
  });

  test('a deleted function is gone with its containers, and its name is free', async () => {
    const app = await berth.apps.ensure('gone');
    const made = await berth.functions.create(
      app.app_id,
      'f',
      python('def run(): return 1', { min_containers: 1 }),
    );
    expect(await berth.call(made.function_id)).toBe(1);
    expect(await cli('function', 'delete', 'gone.f')).toContain('f is deleted');
    await eventually(async () => {
      const left = [];
      for await (const each of berth.containers.list({ function_id: made.function_id })) left.push(each);
      return left.length === 0;
    }, 20_000);
    const listed = await cli('call', 'list', made.function_id);
    expect(listed).toMatch(/fc-\S+\s+success/);
    await berth.functions.create(app.app_id, 'f', python('def run(): return 2'));
    expect(await berth.functions.lookup('gone', 'f')).not.toMatchObject({ function_id: made.function_id });
  });
});

test('an ephemeral app ends when its client does', async () => {
  const app = await berth.apps.create('trial', { ephemeral: true });
  expect(app.state).toBe('ephemeral');
  const made = await berth.functions.create(
    app.app_id,
    'f',
    python('def run(): return 1', { min_containers: 1 }),
  );
  expect(await berth.call(made.function_id)).toBe(1);
  await berth.apps.heartbeat(app.app_id);
  await eventually(async () => (await berth.apps.get(app.app_id)).state === 'stopped', 15_000);
  await eventually(async () => {
    const left = [];
    for await (const each of berth.containers.list({ app_id: app.app_id })) left.push(each);
    return left.length === 0;
  }, 20_000);
});
