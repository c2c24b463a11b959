/** The example with images of its own, through the command line, on a real Docker; builds that fail, race and are killed. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Image, ImageBuildFailed } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { Platform, python } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const aWord = () => randomBytes(8).toString('hex');

beforeAll(async () => {
  platform = await new Platform({ BERTH_BUILD_MEMORY_MIB: '1024' }).start('--separate');
});
afterAll(() => platform?.close());

test('packages of Debian, PyPI and npm, copied files and a Containerfile: deployed and called', async () => {
  const deployed = await platform.cli('deploy', 'examples/own-image');
  expect(deployed.stderr).toContain('table │ Step 1 of 4: apt_install figlet');
  if (deployed.code !== 0) throw new Error(deployed.stderr);
  const call = async (...words: string[]) => {
    const { code, stdout, stderr } = await platform.cli('invoke', ...words);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as unknown;
  };
  expect(await call('own-image.table')).toEqual({
    figlet: expect.stringMatching(/FIGlet/),
    table: 'greeting.txt\nnouns.txt',
  });
  expect(await call('own-image.shout', 'ahoy')).toBe('AHOY');
  expect(await call('own-image.where')).toBe('ahoy');

  const again = await platform.cli('deploy', 'examples/own-image');
  expect(again).toMatchObject({ code: 0, stderr: '' }); // Nothing is built twice.
  const listed = await platform.cli('image', 'list');
  expect(listed.stdout).toMatch(
    /im-\w{22}\s+ready\s+berth\/base \+ apt_install \+ pip_install \+ copy \+ env/,
  );
});

test('of a hundred that ask at once one has it built; all get it, with its log', async () => {
  const berth = platform.berth();
  const word = aWord();
  const image = Image.debianSlim().runCommands(`echo ${word}`);
  const lines: string[][] = [];
  const built = await Promise.all(
    Array.from({ length: 100 }, (_, index) => {
      lines[index] = [];
      return berth.images.build(image, { onLine: ({ text }) => lines[index]!.push(text) });
    }),
  );
  expect(new Set(built.map(({ image_id }) => image_id)).size).toBe(1);
  expect(built[0]).toMatchObject({ state: 'ready', attempts: 1 });
  expect(lines.filter((each) => each.includes(word)).length).toBeGreaterThan(0);
});

test('a deploy whose image cannot be built shows why and deploys nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-image-'));
  const app = `broken-${aWord()}`;
  const steps = [{ run_commands: { commands: ['echo before', 'echo the reason >&2; exit 7'] } }];
  const one = { name: 'f', runtime: 'python', handler: 'main:f', image: { steps } };
  writeFileSync(join(folder, 'berth.json'), JSON.stringify({ app, functions: [one] }));
  writeFileSync(join(folder, 'main.py'), 'def f(): pass');
  const failed = await platform.cli('deploy', folder);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain('f │ the reason');
  expect(failed.stderr).toMatch(/Step 1 of 1 .*failed with exit code 7/);
  expect(await platform.berth().apps.find(app)).toBeUndefined();
  rmSync(folder, { recursive: true });
});

test('a build whose runner is killed is built again, with one outcome, and whoever follows it hears both', async () => {
  const berth = platform.berth();
  const word = aWord();
  const image = Image.debianSlim().runCommands(`echo begun-${word}`, 'sleep 3', `echo ended-${word}`);
  const lines: string[] = [];
  const building = berth.images.build(image, { onLine: ({ text }) => lines.push(text) });
  await eventually(() => lines.includes(`begun-${word}`), 30_000);
  process.kill(platform.child('runner').process!.pid, 'SIGKILL');
  const built = await building;
  expect(built).toMatchObject({ state: 'ready', attempts: 2 });
  expect(lines.filter((line) => line === `ended-${word}`)).toHaveLength(1);
});

test('a function may be called while its image is being built: it waits, says so, and runs', async () => {
  const berth = platform.berth();
  const word = aWord();
  const { image_id } = await berth.images.create(
    Image.debianSlim().runCommands(`sleep 2; echo ${word} > /word`).definition,
  );
  const app = await berth.apps.create(`waits-${word}`);
  const { function_id } = await berth.functions.create(
    app.app_id,
    'read',
    python('def run():\n  return open("/word").read().strip()', { image: image_id }),
  );
  const { call_id } = await berth.functions.spawn(function_id);
  expect((await berth.calls.get(call_id)).waiting).toContain(image_id);
  const done = await eventually(async () => {
    const call = await berth.calls.get(call_id);
    return call.status === 'success' && call;
  }, 30_000);
  expect(done.result).toBe(word);
});

test('what is wrong with a definition is said by its field', async () => {
  const answer = await platform.request('POST', '/v1/images', {
    body: JSON.stringify({ steps: [{ apt_install: { packages: ['-o'] }, env: { variables: {} } }] }),
  });
  expect(answer).toMatchObject({
    status: 400,
    body: { error: { field: expect.stringContaining('steps[0]') } },
  });
  const berth = platform.berth();
  await expect(berth.images.build(Image.fromRegistry('berth/image:im-0'))).rejects.toMatchObject({
    field: 'base',
  });
  expect(await berth.images.build(Image.debianSlim())).toMatchObject({ state: 'ready' });
  await expect(berth.images.build(Image.debianSlim().runCommands('exit 1'))).rejects.toBeInstanceOf(
    ImageBuildFailed,
  );
});
