/** Shells: a program of a user's own in a fresh container of a function, with its terminal, input and exit status. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { BerthApiError, type Berth, type BerthFunction } from '@berth/sdk';
import { eventually } from '@berth/testing';
import { makeFunction, Platform, python, root, run } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
let berth: Berth;
let shown: BerthFunction;
beforeAll(async () => {
  platform = await new Platform({ BERTH_SHELLS_MAX: '3', BERTH_SHELL_IDLE_SECONDS: '8' }).start();
  berth = platform.berth();
  await berth.secrets.put('shell-secret', { WORD: 'quiet' });
  await berth.volumes.create('shelf');
  const app = await berth.apps.create('shells');
  shown = await makeFunction(
    berth,
    app.app_id,
    python('def run(): return 1', {
      cpu: 0.1,
      env: { PLACE: 'here' },
      secrets: ['shell-secret'],
      volumes: { '/data': 'shelf' },
    }),
  );
});
afterAll(() => platform?.close());

/** The command line with this input, to its end. */
function cli(words: string[], input?: string) {
  const child = spawn(process.execPath, [join(root, 'dist/berth/cli.js'), ...words], {
    env: platform.env,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  child.stdout!.on('data', (data: Buffer) => (said.stdout += data.toString()));
  child.stderr!.on('data', (data: Buffer) => (said.stderr += data.toString()));
  if (input !== undefined) child.stdin!.end(input);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, said, ended };
}

const shellContainers = async () => {
  const found = [];
  for await (const each of berth.containers.list({ function_id: shown.function_id })) found.push(each);
  return found;
};
const nothingLeft = () => eventually(async () => (await shellContainers()).length === 0);

test('a command runs where the function would: its source, environment, secrets and volumes; its status is passed on', async () => {
  const command =
    'python3 -c "import main; print(main.run())"; echo $PLACE $WORD; echo note > /data/note; pwd; echo no >&2; exit 7';
  const ran = cli(['shell', 'shells', shown.name, '--cmd', command]);
  expect([await ran.ended, ran.said]).toEqual([
    7,
    { stdout: '1\nhere quiet\n/berth/source\n', stderr: expect.stringMatching(/^(waiting: .*\n)*no\n$/) },
  ]);
  await nothingLeft();

  // A shell commits what it wrote, as a call does.
  const again = cli(['shell', shown.function_id, '--cmd', 'cat /data/note']);
  expect([await again.ended, again.said.stdout]).toEqual([0, 'note\n']);
});

test('what is piped in is read by a shell, or by the command, to its end', async () => {
  const script = cli(['shell', `shells.${shown.name}`], 'x=$((6 * 7))\necho $x\nexit 3\n');
  expect([await script.ended, script.said.stdout]).toEqual([3, '42\n']);

  const much = cli(['shell', shown.function_id, '--cmd', 'wc -c'], 'x'.repeat(3_000_000));
  expect([await much.ended, much.said.stdout.trim()]).toEqual([0, '3000000']);
});

test('a terminal has its size and its changes; Ctrl-C goes to the program inside', async () => {
  const steps = [
    ['expect', '[$#] '],
    ['send', 'stty size; tty\r'],
    ['expect', '24 80\\s+/dev/pts/'],
    ['expect', '[$#] '],
    ['size', 120, 40],
    ['send', 'until [ "$(stty size)" = "40 120" ]; do :; done; echo changed $((1 + 1))\r'],
    ['expect', 'changed 2'],
    // It says when it is there to be interrupted; what is typed to it is echoed before.
    ['send', 'python3 -c "import signal; print(1 + 1, chr(33), flush=True); signal.pause()"\r'],
    ['expect', '2 !'],
    ['send', '\u0003'],
    ['expect', 'KeyboardInterrupt'],
    ['expect', '[$#] '],
    ['send', 'exit $((2 + 3))\r'],
  ];
  const ended = await run(
    'python3',
    [
      join(__dirname, 'terminal.py'),
      JSON.stringify(steps),
      process.execPath,
      join(root, 'dist/berth/cli.js'),
      'shell',
      shown.function_id,
    ],
    platform.env,
  );
  expect(ended).toMatchObject({ code: 5, stderr: '' });
  await nothingLeft();
});

test('a function of a file is looked into without being deployed', async () => {
  const ran = cli(['shell', 'examples/squares/squares.py::square', '--cmd', 'ls']);
  expect([await ran.ended, ran.said.stdout]).toEqual([0, expect.stringContaining('squares.py')]);
  expect(await berth.apps.find('squares')).toBeUndefined();
});

test('a client that vanishes takes its container with it', async () => {
  const gone = cli(['shell', shown.function_id, '--cmd', 'echo begun; sleep 1000']);
  await eventually(async () => gone.said.stdout === 'begun\n');
  expect(await shellContainers()).toMatchObject([{ state: 'ready', version: 0 }]);
  gone.child.kill('SIGKILL');
  await gone.ended;
  await nothingLeft();
});

// Killed from outside, at an engine that this test can reach.
(process.env.DOCKER_HOST ? test : test.skip)('a container that dies ends the shell', async () => {
  const shell = cli(['shell', shown.function_id, '--cmd', 'echo begun; while :; do sleep 1; done']);
  await eventually(async () => shell.said.stdout === 'begun\n');
  const [{ container_id }] = (await shellContainers()) as unknown as [{ container_id: string }];
  const killed = await run('docker', ['kill', container_id], process.env);
  expect(killed).toMatchObject({ code: 0, stderr: '' });
  expect(await shell.ended).not.toBe(0);
  await nothingLeft();
});

test('a workspace has so many shells at a time; one over its time, or in which nothing is said, is ended', async () => {
  const words = ['shell', shown.function_id, '--cmd', 'echo begun; sleep 1000'];
  const short = [1, 2].map(() => cli([...words, '--timeout', '5']));
  const idle = cli(words);
  // Three cold starts at once, on whatever machine this is.
  await eventually(async () => [...short, idle].every(({ said }) => said.stdout === 'begun\n'), 30_000);
  const fourth = cli(words);
  expect([await fourth.ended, fourth.said.stderr]).toEqual([
    1,
    expect.stringContaining('has 3 shells already'),
  ]);
  for (const { ended, said } of short) {
    expect([await ended, said.stderr]).toEqual([1, expect.stringContaining('longer than its 5 seconds')]);
  }
  expect([await idle.ended, idle.said.stderr]).toEqual([
    1,
    expect.stringContaining('nothing was said in it for 8 seconds'),
  ]);
  await nothingLeft();
});

test('an image that is not there is said', async () => {
  const app = await berth.apps.create('imageless');
  const lost = await makeFunction(
    berth,
    app.app_id,
    python('', { cpu: 0.1, image: 'localhost:1/nowhere:1' }),
  );
  const shell = cli(['shell', lost.function_id, '--cmd', 'true']);
  expect([await shell.ended, shell.said.stderr]).toEqual([
    1,
    expect.stringContaining('localhost:1/nowhere:1 cannot be had'),
  ]);
});

/** What the door says: a status before it is a WebSocket, or the error in it. */
function knock(functionId: string, headers: Record<string, string>, first = '{"type":"start"}') {
  const url = new URL(
    `/v1/functions/${functionId}/shell`,
    platform.credentials().api_url.replace('http', 'ws'),
  );
  const socket = new WebSocket(url, { headers });
  return new Promise<unknown>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('unexpected-response', (_request, { statusCode }) => resolve(statusCode));
    socket.on('open', () => socket.send(first));
    socket.on('message', (data: Buffer) => {
      const said = JSON.parse(data.toString()) as { error?: BerthApiError };
      if (said.error) resolve([said.error.code, said.error.field]);
      socket.terminate();
    });
  });
}

test('a stranger gets in nowhere', async () => {
  const { api_url, token_id, token_secret, admin_api_key } = platform.credentials();
  const admin = platform.client({ apiUrl: api_url, apiKey: admin_api_key });
  const { workspace_id } = await admin.http.json<{ workspace_id: string }>('POST', '/v1/workspaces', {
    body: { name: 'strangers' },
  });
  const stranger = await admin.http.json<{ token_id: string; token_secret: string }>(
    'POST',
    '/v1/api-tokens',
    {
      body: { workspace_id },
    },
  );
  const theirs = { authorization: `Bearer ${stranger.token_id}.${stranger.token_secret}` };
  const mine = { authorization: `Bearer ${token_id}.${token_secret}` };
  expect(await knock(shown.function_id, {})).toBe(401);
  expect(await knock(shown.function_id, { authorization: 'Bearer a.b' })).toBe(401);
  expect(await knock(shown.function_id, { 'x-api-key': admin_api_key })).toEqual(['permission_denied', null]);
  expect(await knock(shown.function_id, theirs)).toEqual(['not_found', null]);
  expect(await knock('fu-00000000000000000000000000', mine)).toEqual(['not_found', null]);
  expect(await knock(shown.function_id, mine, '{"type":"start","timeout":0}')).toEqual([
    'invalid_argument',
    'timeout',
  ]);
  expect(await knock(shown.function_id, mine, 'start')).toEqual(['invalid_argument', null]);
});
