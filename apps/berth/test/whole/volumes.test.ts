/** Volumes in real containers: what one writes, what others see of it, and what a kill leaves. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '@berth/testing';
import type { Berth, BerthApp, FunctionDefinition, Volume } from '@berth/sdk';
import { makeFunction, Platform, python } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
let app: BerthApp;
beforeAll(async () => {
  platform = await new Platform().start('--separate');
  berth = platform.berth();
  app = await berth.apps.create('volumes');
});
afterAll(() => platform?.close());

let volumes = 0;
const aVolume = () => berth.volumes.create(`volume-${++volumes}`);
const using = (volume: Volume, source: string, options: Partial<FunctionDefinition> = {}) =>
  makeFunction(
    berth,
    app.app_id,
    python(`import berth, os, time\nvolume = berth.Volume.from_name("${volume.name}")\n${source}`, {
      volumes: { '/data': volume.name },
      ...options,
    }),
  );
const textOf = async (volume: Volume, path: string) => {
  const parts: Uint8Array[] = [];
  for await (const part of await berth.volumes.read(volume.volume_id, path)) parts.push(part);
  return Buffer.concat(parts).toString();
};
const pathsOf = async (volume: Volume) => {
  const paths: string[] = [];
  for await (const file of berth.volumes.files(volume.volume_id)) paths.push(file.path);
  return paths;
};

test('the trainer goes on from its last checkpoint, and its model sees the newest', async () => {
  const early = await platform.cli('deploy', 'examples/trainer/trainer.py');
  expect(early).toMatchObject({ code: 1, stderr: expect.stringMatching(/checkpoints/) });
  expect(await platform.cli('volume', 'create', 'checkpoints')).toMatchObject({ code: 0 });
  expect(await platform.cli('deploy', 'examples/trainer/trainer.py')).toMatchObject({ code: 0 });
  const train = async (...args: string[]) =>
    JSON.parse((await platform.cli('invoke', 'trainer.train', ...args)).stdout) as { epoch: number };
  expect(await train('line', '1')).toMatchObject({ epoch: 1 });
  expect((await platform.cli('invoke', 'trainer.predict', 'line', '2')).stdout).toMatch(/\d/);
  const [one, other] = await Promise.all([train('line', '20'), train('other', '3')]);
  expect([one.epoch, other.epoch]).toEqual([21, 3]);
  const predicted = await platform.cli('invoke', 'trainer.predict', 'line', '2');
  expect(Math.abs(Number(predicted.stdout) - 7)).toBeLessThan(0.2);
  const listed = await platform.cli('volume', 'ls', 'checkpoints');
  expect(listed.stdout).toMatch(/line\.json[^]*other\.json/);
});

test('containers that write different files at once lose none, and each sees the others’ after a reload', async () => {
  const volume = await aVolume();
  const source = `
def run(name, others):
  for n in range(5):
    os.makedirs(f"/data/{name}", exist_ok=True)
    with open(f"/data/{name}/{n}", "w") as file: file.write(name * 1000)
    volume.commit()
  until = time.monotonic() + 60
  while time.monotonic() < until:
    volume.reload()
    if all(os.path.exists(f"/data/{other}/4") for other in others): return sorted(os.listdir("/data"))
    time.sleep(0.05)
  return os.listdir("/data")`;
  const made = await using(volume, source, { max_containers: 3, min_containers: 3 });
  const names = ['a', 'b', 'c'];
  const seen = await Promise.all(names.map((name) => berth.call(made.function_id, { args: [name, names] })));
  expect(seen).toEqual([names, names, names]);
  expect(await pathsOf(volume)).toHaveLength(15);
  expect(await textOf(volume, 'b/4')).toBe('b'.repeat(1000));
});

test('what nobody committed is there a few seconds later, and what a container wrote last, once it has ended', async () => {
  const volume = await aVolume();
  const background = await using(volume, 'def run():\n  open("/data/early", "w").write("1")', {
    scaledown_window: 60,
  });
  await berth.call(background.function_id);
  await eventually(async () => (await pathsOf(volume)).includes('early'), 20_000);
  const atExit =
    'import atexit\natexit.register(lambda: open("/data/late", "w").write("2"))\ndef run():\n  os.mkdir("/data/dir"); open("/data/dir/f", "w").write("3")';
  const ending = await using(volume, atExit, { scaledown_window: 1 });
  await berth.call(ending.function_id);
  await eventually(async () => (await pathsOf(volume)).join() === 'dir/f,early,late', 30_000);
});

test('a runner that is killed in the middle of a commit leaves the head before it or after it, and loses nothing', async () => {
  const volume = await aVolume();
  const source = `
def run():
  folder = "/data/" + os.urandom(8).hex()
  os.mkdir(folder)
  for n in range(40):
    with open(f"{folder}/{n}", "wb") as file: file.write(os.urandom(1 << 20))
  open(folder + "/written", "w").write("x")
  volume.commit()`;
  const made = await using(volume, source, { timeout: 60, retries: 0, memory: 256 });
  const call = await berth.functions.spawn(made.function_id);
  const folder = join(platform.dataDir, 'runner/volumes/work');
  const written = await eventually(
    () =>
      readdirSync(folder, { recursive: true })
        .map((path) => /data\/(.*)\/written$/.exec(String(path))?.[1])
        .find(Boolean),
    60_000,
  );
  const chunks = join(platform.dataDir, 'sync/chunks');
  const before = readdirSync(chunks, { recursive: true }).length;
  await eventually(() => readdirSync(chunks, { recursive: true }).length > before + 3, 30_000);
  process.kill(platform.child('runner').process!.pid, 'SIGKILL');
  const committed = async () => (await pathsOf(volume)).filter((path) => path.startsWith(`${written}/`));
  expect([0, 41]).toContain((await committed()).length);
  // The next start of the runner commits what was left; the call runs again, and writes to another folder.
  await eventually(async () => (await committed()).length === 41, 60_000);
  expect(await textOf(volume, `${written}/written`)).toBe('x');
  await eventually(async () => (await berth.calls.get(call.call_id)).finished_at, 60_000);
});

test('user code finds no way out of the folder, and is told what a volume cannot keep', async () => {
  const volume = await aVolume();
  const source = `
def run():
  os.symlink("/etc/passwd", "/data/link")
  os.mkfifo("/data/pipe")
  open(b"/data/\\xff", "w").write("x")
  open("/data/good", "w").write("x")
  import warnings
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    volume.commit()
  return sorted(str(each.message) for each in caught)`;
  const made = await using(volume, source);
  const reasons = await berth.call(made.function_id);
  expect(reasons).toEqual([
    expect.stringMatching(/^pipe was left out of volume-\d: is neither a file nor a folder nor a link$/),
    expect.stringMatching(/ was left out of volume-\d: has a name that is not UTF-8$/),
  ]);
  expect(await pathsOf(volume)).toEqual(['good', 'link']);
  const read = await platform.request('GET', `/v1/volumes/${volume.volume_id}/content?path=link`);
  expect(read).toMatchObject({ status: 400, body: { error: { field: 'path' } } });
  const other = await using(volume, 'def run():\n  return os.readlink("/data/link")');
  expect(await berth.call(other.function_id)).toBe('/etc/passwd');

  const elsewhere = await makeFunction(
    berth,
    app.app_id,
    python('import berth\ndef run(name):\n  berth.Volume.from_name(name).commit()'),
  );
  const refused = await berth.functions.invoke(elsewhere.function_id, { args: [volume.name] });
  expect(refused).toMatchObject({
    status: 'failure',
    error: { message: expect.stringContaining('no volume') },
  });
});

test('the command line puts, lists, gets and removes files, and deletes', async () => {
  const local = mkdtempSync(join(tmpdir(), 'berth-volume-'));
  try {
    mkdirSync(join(local, 'up/dir'), { recursive: true });
    const large = randomBytes(9 * 1024 * 1024 + 3);
    writeFileSync(join(local, 'up/dir/large'), large);
    writeFileSync(join(local, 'up/run.sh'), '#!/bin/sh', { mode: 0o755 });
    const cli = (...args: string[]) => platform.cli('volume', ...args);
    await cli('create', 'files');
    expect((await cli('put', 'files', join(local, 'up'), '/in')).stdout).toContain('2 files');
    expect((await cli('put', 'files', join(local, 'up/run.sh'), '/in/copy/')).code).toBe(0);
    expect((await cli('ls', 'files', '/in')).stdout).toMatch(
      /in\/copy\/run\.sh[^]*in\/dir\/large[^]*in\/run\.sh/,
    );
    expect((await cli('get', 'files', '/in', join(local, 'down'))).code).toBe(0);
    expect(readFileSync(join(local, 'down/dir/large')).equals(large)).toBe(true);
    expect((await cli('get', 'files', 'in/run.sh', '-')).stdout).toBe('#!/bin/sh');
    expect(await cli('rm', 'files', '/in')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('recursive'),
    });
    expect((await cli('rm', '-r', 'files', '/in')).stdout).toContain('3 files removed');
    expect(await cli('delete', 'files')).toMatchObject({ code: 1, stderr: expect.stringContaining('--yes') });
    expect((await cli('delete', '--yes', 'files')).code).toBe(0);
    expect((await cli('list')).stdout).not.toMatch(/ files /);
  } finally {
    rmSync(local, { recursive: true, force: true });
  }
});

test('a file’s bytes are its own, whatever range is asked for', async () => {
  const volume = await aVolume();
  const content = randomBytes(5 * 1024 * 1024);
  const hash = createHash('sha256').update(content).digest('hex');
  const source =
    'import hashlib\ndef run():\n  return hashlib.sha256(open("/data/f", "rb").read()).hexdigest()';
  const local = join(platform.dataDir, 'upload');
  writeFileSync(local, content);
  await berth.volumes.upload(volume.volume_id, local, '/f');
  const made = await using(volume, source);
  expect(await berth.call(made.function_id)).toBe(hash);
  const { api_url, token_id, token_secret } = platform.credentials();
  const url = `${api_url}/v1/volumes/${volume.volume_id}/content?path=f&offset=4194300&length=10`;
  const response = await fetch(url, { headers: { authorization: `Bearer ${token_id}.${token_secret}` } });
  expect(response.headers.get('content-type')).toBe('application/octet-stream');
  expect(Buffer.from(await response.arrayBuffer()).equals(content.subarray(4194300, 4194310))).toBe(true);
});

test('a file that is damaged in its middle ends as a broken connection, and not as a shorter file', async () => {
  const volume = await aVolume();
  const local = join(platform.dataDir, 'upload');
  const content = randomBytes(12 * 1024 * 1024);
  writeFileSync(local, content);
  await berth.volumes.upload(volume.volume_id, local, '/f');
  const last = createHash('sha256')
    .update(content.subarray(8 * 1024 * 1024))
    .digest('hex');
  const { workspace_id } = platform.credentials();
  const chunk = join(platform.dataDir, 'sync/chunks', workspace_id, last.slice(0, 2), last);
  writeFileSync(chunk, randomBytes(4 * 1024 * 1024));
  await expect(textOf(volume, 'f')).rejects.toThrow();
  await berth.volumes.upload(volume.volume_id, local, '/f');
  expect((await platform.cli('volume', 'get', volume.name, 'f', local)).code).toBe(0);
});

test('a function whose volume is not there is not made, and one whose volume went says so', async () => {
  const volume = await aVolume();
  await expect(
    makeFunction(berth, app.app_id, python('def run(): pass', { volumes: { '/data': 'nowhere' } })),
  ).rejects.toMatchObject({ code: 'not_found', field: 'volumes' });
  const made = await using(volume, 'def run(): pass');
  await berth.volumes.delete(volume.volume_id);
  expect(await berth.functions.invoke(made.function_id)).toMatchObject({
    status: 'failure',
    error: { type: 'init_failed', message: expect.stringMatching(/no volume volume-\d/) },
  });
});
