/** The example with a secret, through the command line; and then the whole data folder is searched for its value. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { BerthApiError, type InvocationResult } from '@berth/sdk';
import { makeFunction, Platform, python, root } from './platform';

jest.setTimeout(300_000);

let platform: Platform;
const value = () => `value-${randomBytes(16).toString('hex')}`;
const values: string[] = [];

beforeAll(async () => {
  platform = await new Platform({ BERTH_LOG_LEVEL: 'debug' }).start();
});
afterAll(() => platform?.close());

/** The command line with something on its standard input. */
function cliWith(input: string, ...args: string[]) {
  const path = join(platform.dataDir, '..', `stdin-${randomBytes(4).toString('hex')}`);
  writeFileSync(path, input, { mode: 0o600 });
  const file = openSync(path, 'r');
  try {
    return spawnSync(process.execPath, [join(root, 'dist/berth/cli.js'), ...args], {
      env: platform.env,
      stdio: [file, 'pipe', 'pipe'],
      encoding: 'utf8',
    });
  } finally {
    closeSync(file);
    spawnSync('rm', ['-f', path]);
  }
}

const sign = async (message: string) =>
  JSON.parse((await platform.cli('invoke', 'signer.sign', message)).stdout) as { signature: string };

test('two functions share a key that no answer, log, file or message has', async () => {
  const key = value();
  values.push(key);
  const early = await platform.cli('deploy', 'examples/signer');
  expect(early).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/not_found.*signing-key[^]*secrets/),
  });

  const made = cliWith(`${key}\n`, 'secret', 'create', 'signing-key', 'SIGNING_KEY=-');
  expect(made.stderr).toBe('');
  expect(made.stdout).toContain('SIGNING_KEY');
  expect(await platform.cli('deploy', 'examples/signer')).toMatchObject({ code: 0 });
  const signed = await sign('hello');
  const verified = await platform.cli('invoke', 'signer.verify', JSON.stringify(signed));
  expect(verified.stdout.trim()).toBe('true');

  const listed = await platform.cli('secret', 'list');
  expect(listed.stdout).toMatch(/signing-key\s+main\s+SIGNING_KEY/);
  const again = cliWith('', 'secret', 'create', 'signing-key', 'A=1');
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining('--force') });

  const said = [made.stdout, listed.stdout, listed.stderr, again.stderr].join();
  expect(said).not.toContain(key);
});

test('a changed secret is in the containers that start from then on; a deleted one is said to the inputs', async () => {
  const berth = platform.berth();
  const app = await berth.apps.create('changing');
  const [before, after] = [value(), value()];
  values.push(before, after);
  const secret = await berth.secrets.put('changing', { TOKEN: before });
  const source =
    'import hashlib, os\ndef run():\n  return hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest()';
  const seen = async () => {
    const made = await makeFunction(berth, app.app_id, python(source, { secrets: ['changing'] }));
    return (): Promise<InvocationResult<string>> => berth.functions.invoke<string>(made.function_id);
  };
  const hashOf = (text: string) =>
    spawnSync('sha256sum', { input: text, encoding: 'utf8' }).stdout.slice(0, 64);
  const first = await seen();
  expect((await first()).result).toBe(hashOf(before));
  await berth.secrets.put('changing', { TOKEN: after });
  expect((await (await seen())()).result).toBe(hashOf(after));

  const orphan = await seen();
  await berth.secrets.delete(secret.secret_id);
  expect(await orphan()).toMatchObject({
    status: 'failure',
    error: { type: 'init_failed', message: expect.stringMatching(/main has no secret changing/) },
  });
});

test('what is wrong with a secret is said without its value', async () => {
  const wrong = value();
  values.push(wrong);
  const bodies = [
    { name: 'x', env: { [wrong]: 'A' } },
    { name: 'x', env: { A: `${wrong}\0` } },
    { name: 'x', env: { A: [wrong] } },
    { name: 'x', env: wrong },
  ].map((body) => JSON.stringify(body));
  for (const body of [...bodies, `{"name": "x", "env": {"A": "${wrong}"`, `{"env": {"A": ${wrong}}}`]) {
    const answer = await platform.request('POST', '/v1/secrets', { body });
    expect(answer.status).toBe(400);
    const text = JSON.stringify(answer.body);
    // A name that stands where a variable's does is named.
    if (body !== bodies[0]) expect(text).not.toContain(wrong);
  }
  const berth = platform.berth();
  await expect(berth.secrets.get('st-0000000000000000000000')).rejects.toBeInstanceOf(BerthApiError);
});

test('nothing in the data folder has a value: no table, no stream, no log, no state', () => {
  for (const each of values) {
    const found = spawnSync('grep', ['-rlaF', each, platform.dataDir], { encoding: 'utf8' });
    expect(found).toMatchObject({ status: 1, stdout: '' });
  }
});
