/** A file that is being written: run at once, served while it changes, and gone with the command. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BerthApp, Berth } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { Platform, root } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
const folder = mkdtempSync(join(tmpdir(), 'berth-run-'));
beforeAll(async () => {
  platform = await new Platform().start();
  berth = platform.berth();
});
afterAll(async () => {
  await platform?.close();
  rmSync(folder, { recursive: true, force: true });
});

const appsInState = async (state: BerthApp['state']) => {
  const found: BerthApp[] = [];
  for await (const app of berth.apps.list({ state })) found.push(app);
  return found;
};
/** A command that goes on until it is told to stop. */
function start(...words: string[]): { child: ChildProcess; said(): string; ended: Promise<number | null> } {
  const child = spawn(process.execPath, [join(root, 'dist/berth/cli.js'), ...words], {
    cwd: folder,
    env: platform.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout.on('data', (data: Buffer) => (text += data.toString()));
  child.stderr.on('data', (data: Buffer) => (text += data.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, said: () => text, ended };
}

test('berth run calls a function with the words of the command line, shows its log, and leaves nothing', async () => {
  const ran = await platform.cli('run', 'examples/squares/squares.py::square', '--x', '12');
  expect(ran).toMatchObject({ code: 0, stdout: 'squaring 12\n144\n' });
  expect(await appsInState('ephemeral')).toEqual([]);
  expect(await berth.apps.find('squares')).toBeUndefined();
});

test('a local entrypoint runs here, and what it calls there', async () => {
  const ran = await platform.cli('run', 'examples/squares/squares.py', '--n', '3');
  expect(ran.code).toBe(0);
  expect(ran.stdout).toContain('the sum is 5\n');
  expect(ran.stdout).toContain('squaring 2\n');
});

test('an error shows the lines of the user, there and here, and ends with 1', async () => {
  const failed = await platform.cli('run', 'examples/squares/squares.py::square', '13');
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('NoSquare: 13 brings bad luck') });
  expect(failed.stderr).toMatch(/File "squares\.py", line \d+, in square/);

  writeFileSync(
    join(folder, 'fails.py'),
    'import berth\napp = berth.App("fails")\n' +
      '@app.function(cpu=0.2, memory=128)\ndef divide(x: float): return 1 / x\n' +
      '@app.local_entrypoint()\ndef main(x: float = 0): divide.remote(x)\n',
  );
  const local = await platform.cli('run', join(folder, 'fails.py'));
  expect(local.code).toBe(1);
  expect(local.stderr).toMatch(/File "fails\.py", line 4, in divide/);
  expect(local.stderr).toMatch(/fails\.py", line 6, in main/);
  expect(local.stderr).toContain('ZeroDivisionError');
  expect(local.stderr).not.toContain('_client.py');
});

test.each([
  [
    ['examples/squares/squares.py::nothing'],
    /has no nothing. It has: main, square, sum_of_squares, describe/,
  ],
  [['examples/squares/squares.py::square'], /Missing: --x. It takes: --x INT/],
  [['examples/squares/squares.py::square', '--x', 'two'], /--x must be a whole number/],
  [['examples/squares/README.md'], /is no file with an app/],
  [['examples/squares/nowhere.py'], /there is no file .*nowhere\.py/],
])('berth run %s is refused before anything is made', async (words, message) => {
  const before = (await appsInState('stopped')).length;
  const { code, stderr } = await platform.cli('run', ...words);
  expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
  expect(await appsInState('stopped')).toHaveLength(before);
});

test('Ctrl-C stops the app and what runs in it', async () => {
  writeFileSync(
    join(folder, 'endless.py'),
    'import berth, time\napp = berth.App("endless")\n' +
      '@app.function(cpu=0.2, memory=128)\ndef wait():\n    print("waiting")\n    time.sleep(600)\n',
  );
  const run = start('run', 'endless.py');
  await eventually(() => run.said().includes('waiting'), 60_000);
  run.child.kill('SIGINT');
  expect(await run.ended).toBe(130);
  expect(run.said()).toContain('Interrupted: the app is stopped.');
  expect((await appsInState('ephemeral')).filter(({ name }) => name === 'endless')).toEqual([]);
});

test('berth serve runs what was saved last, outlives mistakes, and ends with Ctrl-C', async () => {
  const file = join(folder, 'served.py');
  const save = (body: string) => writeFileSync(file, `import berth\napp = berth.App("served")\n${body}`);
  const first = '@app.function(cpu=0.2, memory=128)\ndef f(): return "one"\n';
  save(first);
  const serve = start('serve', 'served.py');
  await eventually(() => serve.said().includes('Ctrl-C stops it.'), 60_000);
  const app = (await appsInState('ephemeral')).find(({ name }) => name === 'served')!;
  const f = (await berth.functions.find(app.app_id, 'f'))!;
  expect(await berth.call(f.function_id)).toBe('one');

  save(first.replace('one', 'two') + 'this is no Python');
  await eventually(() => serve.said().includes('Waiting for the next save.'));
  expect(await berth.call(f.function_id)).toBe('one');

  save(first.replace('one', 'two').replace('def f', 'def f') + first.replace('f()', 'g()'));
  await eventually(async () => (await berth.call(f.function_id)) === 'two', 30_000);
  const g = await eventually(() => berth.functions.find(app.app_id, 'g'));
  save(first);
  await eventually(async () => !(await berth.functions.find(app.app_id, 'g')), 30_000);
  expect(g.app_id).toBe(app.app_id);

  serve.child.kill('SIGINT');
  expect(await serve.ended).toBe(0);
  expect((await berth.apps.get(app.app_id)).state).toBe('stopped');
});
