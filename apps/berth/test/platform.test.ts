/** `berth up` as a user runs it, over real Postgres and NATS; only the eight services are small stand-ins. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@nats-io/transport-node';
import { eventually } from '@berth/testing';
import { Client } from 'pg';
import { prepareDatabase } from '../src/up/database';
import { isAlive, type ProcessIdentity } from '../src/up/process-identity';
import type { PlatformState } from '../src/up/state';
import type { Parts } from '../src/up/up';

const root = join(__dirname, '../../..');
const service = join(__dirname, 'fixtures/service.mjs');

// Beside node_modules: the program looks for PostgreSQL there.
let built: string;
let program: string;
beforeAll(() => {
  mkdirSync(join(root, 'dist'), { recursive: true });
  built = mkdtempSync(join(root, 'dist/test-up-'));
  program = join(built, 'program.js');
  const { status, stderr } = spawnSync(
    join(root, 'node_modules/.bin/esbuild'),
    [
      join(__dirname, 'fixtures/program.ts'),
      '--bundle',
      '--platform=node',
      '--packages=external',
      `--outfile=${program}`,
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
});
afterAll(() => rmSync(built, { recursive: true, force: true }));

const platforms: Bench[] = [];
afterEach(async () => {
  for (const bench of platforms.splice(0)) await bench.clear();
});

interface Finished {
  code: number | null;
  output: string;
}

/** One data folder, and the program run in it. */
class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-up-'));
  private readonly env: NodeJS.ProcessEnv;

  constructor(parts: Partial<Parts> = {}, env: NodeJS.ProcessEnv = {}) {
    const processes = parts.processes ?? [
      { name: 'gateway', services: ['gateway'], args: [service] },
      { name: 'identity', services: ['identity'], args: [service] },
    ];
    this.env = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      BERTH_DATA_DIR: this.folder,
      BERTH_HTTP_PORT: '0',
      BERTH_GRPC_PORT: '0',
      BERTH_ENGINE: 'process',
      BERTH_TEST_PARTS: JSON.stringify({ processes, before: [], images: [], after: [], ...parts }),
      ...env,
    };
    platforms.push(this);
  }

  spawn(...words: string[]) {
    const child = spawn(process.execPath, [program, ...words], {
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const finished = once(child, 'close').then(([code]): Finished => ({
      code: code as number | null,
      output,
    }));
    return { child, finished, output: () => output };
  }

  run(...words: string[]): Promise<Finished> {
    return this.spawn(...words).finished;
  }

  state(): PlatformState {
    return JSON.parse(readFileSync(join(this.folder, 'run/state.json'), 'utf8')) as PlatformState;
  }

  child(name: string) {
    const found = this.state().children.find((child) => child.name === name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  }

  /** All that runs of it, the supervisor included. */
  processes(): ProcessIdentity[] {
    const { supervisor, children } = this.state();
    return [supervisor, ...children.flatMap(({ process }) => process ?? [])];
  }

  postgresUrl(): string {
    const { postgres } = JSON.parse(readFileSync(join(this.folder, 'keys/passwords.json'), 'utf8')) as {
      postgres: string;
    };
    const port = readFileSync(join(this.folder, 'postgres/postmaster.pid'), 'utf8').split('\n')[3];
    return `postgres://berth:${postgres}@127.0.0.1:${port}/postgres`;
  }

  async query<R>(text: string): Promise<R[]> {
    const client = new Client({ connectionString: this.postgresUrl() });
    await client.connect();
    try {
      return (await client.query(text)).rows as R[];
    } finally {
      await client.end();
    }
  }

  async clear() {
    await this.run('stop');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test('comes up detached, says where things are, and stops without a trace', async () => {
  const bench = new Bench();
  const started = await bench.run('up', '--detach');
  expect(started.output).toContain('Berth is ready.');
  expect(started.code).toBe(0);

  const version = await bench.query<{ server_version: string }>('SHOW server_version');
  expect(version[0]!.server_version).toMatch(/^18\./);
  for (const [setting, value] of [
    ['fsync', 'on'],
    ['synchronous_commit', 'on'],
    ['jit', 'off'],
  ])
    expect(await bench.query(`SHOW ${setting}`)).toEqual([{ [setting!]: value }]);

  const status = await bench.run('status');
  expect(status.output).toMatch(/gateway\s+up\s+\d+/);
  expect(status.code).toBe(0);
  expect(JSON.parse((await bench.run('status', '--json')).output)).toMatchObject({ running: true, ok: true });
  expect(status.output + started.output).not.toContain(bench.postgresUrl().split(':')[2]!.split('@')[0]);
  for (const path of ['keys', 'logs', 'run', 'nats', 'postgres'])
    expect(statSync(join(bench.folder, path)).mode & 0o077).toBe(0);
  expect(statSync(join(bench.folder, 'keys/passwords.json')).mode & 0o777).toBe(0o600);

  const again = await bench.run('up', '--detach');
  expect(again).toMatchObject({ code: 0, output: expect.stringContaining('up already') as string });

  const running = bench.processes();
  expect(running).toHaveLength(5);
  expect(await bench.run('stop')).toMatchObject({ code: 0 });
  expect(running.filter(isAlive)).toEqual([]);
  expect(await bench.run('status')).toMatchObject({ code: 3 });
  expect(existsSync(join(bench.folder, 'run/lock'))).toBe(false);
  expect(readFileSync(join(bench.folder, 'logs/postgres.log'), 'utf8')).toContain(
    'database system is shut down',
  );
});

test('keeps its data, ports and passwords over a restart', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  const url = bench.postgresUrl();
  await bench.query('CREATE TABLE kept AS SELECT 42 AS answer');
  await bench.run('stop');
  await bench.run('up', '--detach');
  expect(bench.postgresUrl()).toBe(url);
  expect(await bench.query('SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test.each(['postgres', 'nats', 'gateway'])(
  '%s that is killed is started again, and status says why',
  async (name) => {
    const bench = new Bench();
    await bench.run('up', '--detach');
    const before = bench.child(name).process!;
    process.kill(before.pid, 'SIGKILL');
    await eventually(() => bench.child(name).restarts === 1 && bench.child(name).state === 'up', 30_000);
    expect(bench.child(name).process).not.toEqual(before);
    const { code, output } = await bench.run('status');
    expect(output).toMatch(new RegExp(`${name} .*killed by SIGKILL, \\d+ s ago`));
    expect(code).toBe(0);
    if (name === 'postgres') expect(await bench.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    if (name === 'nats') {
      const { nats } = JSON.parse(readFileSync(join(bench.folder, 'keys/passwords.json'), 'utf8')) as {
        nats: string;
      };
      const port = /127\.0\.0\.1:(\d+)/.exec(readFileSync(join(bench.folder, 'run/nats.conf'), 'utf8'))![1];
      const servers = `127.0.0.1:${port}`;
      await expect(
        connect({ servers, user: 'berth', pass: 'wrong', maxReconnectAttempts: 0 }),
      ).rejects.toThrow();
      const connection = await connect({ servers, user: 'berth', pass: nats });
      await connection.close();
    }
  },
);

test('a service that keeps ending is down, with its reason, and does not take the others with it', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  for (const restarts of [1, 2, 3]) {
    const { pid } = bench.child('identity').process!;
    process.kill(pid, 'SIGKILL');
    await eventually(
      () => bench.child('identity').restarts === restarts && bench.child('identity').state === 'up',
      20_000,
    );
  }
  process.kill(bench.child('identity').process!.pid, 'SIGKILL');
  await eventually(() => bench.child('identity').state === 'waiting');
  const { code, output } = await bench.run('status');
  expect(output).toMatch(/identity\s+down, restarting/);
  expect(code).toBe(1);
  expect(bench.child('gateway')).toMatchObject({ state: 'up', restarts: 0 });
});

test('a service that cannot even be started is tried again, and the supervisor lives on', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  const logs = join(bench.folder, 'logs');
  renameSync(logs, `${logs}.away`);
  writeFileSync(logs, 'a file where the folder was: no log can be opened');
  process.kill(bench.child('identity').process!.pid, 'SIGKILL');
  await eventually(() => bench.child('identity').lastExit?.reason.startsWith('could not be started'), 20_000);
  rmSync(logs);
  renameSync(`${logs}.away`, logs);
  await eventually(() => bench.child('identity').state === 'up', 20_000);
  expect(bench.child('gateway')).toMatchObject({ state: 'up', restarts: 0 });
});

test('two platforms run side by side, and stopping one leaves the other', async () => {
  const [one, other] = [new Bench(), new Bench()];
  const started = await Promise.all([one.run('up', '--detach'), other.run('up', '--detach')]);
  expect(started.map(({ code }) => code)).toEqual([0, 0]);
  await one.run('stop');
  expect(await other.run('status')).toMatchObject({ code: 0 });
  expect(other.processes().every(isAlive)).toBe(true);
});

test('a second one in the same data folder is refused, and told where the first is', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  const second = await bench.run('up');
  expect(second.code).toBe(1);
  expect(second.output).toContain(`already runs in ${bench.folder} (pid ${bench.state().supervisor.pid})`);
  expect(await bench.run('status')).toMatchObject({ code: 0 });
});

test('a supervisor that is killed takes its services with it; the next start stops what it left', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  await bench.query('CREATE TABLE kept AS SELECT 42 AS answer');
  const left = bench.processes();
  const services = ['gateway', 'identity'].map((name) => bench.child(name).process!);
  process.kill(bench.state().supervisor.pid, 'SIGKILL');
  await eventually(() => !services.some(isAlive));
  expect(await bench.run('status')).toMatchObject({
    code: 3,
    output: expect.stringContaining('postgres (pid') as string,
  });

  const next = await bench.run('up', '--detach');
  expect(next.output).toMatch(/was killed; stopped its .*postgres/);
  expect(next.code).toBe(0);
  expect(left.filter(isAlive)).toEqual([]);
  expect(await bench.query('SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test('stop ends what a killed supervisor left', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  const left = bench.processes();
  process.kill(bench.state().supervisor.pid, 'SIGKILL');
  expect(await bench.run('stop')).toMatchObject({ code: 0 });
  expect(left.filter(isAlive)).toEqual([]);
});

test('in the foreground, Ctrl-C stops in order, also when it arrives twice at once', async () => {
  const bench = new Bench();
  const up = bench.spawn('up');
  await eventually(() => up.output().includes('Berth is ready.'), 30_000);
  const running = bench.processes();
  up.child.kill('SIGINT');
  up.child.kill('SIGINT'); // The terminal's and npm's.
  const { code, output } = await up.finished;
  expect(output).toContain('stopped: nothing of it runs any more');
  expect(code).toBe(0);
  expect(running.filter(isAlive)).toEqual([]);
  expect(readFileSync(join(bench.folder, 'logs/gateway.log'), 'utf8')).toContain('asked to stop');
  expect(readFileSync(join(bench.folder, 'logs/postgres.log'), 'utf8')).toContain(
    'database system is shut down',
  );
  const stopped = bench.state().children;
  expect(stopped.map(({ name }) => name)).toEqual(['gateway', 'identity', 'nats', 'postgres']);
  expect(stopped.map(({ since }) => since)).toEqual(stopped.map(({ since }) => since).sort());
});

test('Ctrl-C during the start stops what there is', async () => {
  const bench = new Bench({
    processes: [{ name: 'slow', services: ['gateway'], args: [service, 'never-ready'] }],
  });
  const up = bench.spawn('up');
  await eventually(() => bench.child('slow').process, 30_000);
  const running = bench.processes();
  up.child.kill('SIGINT');
  expect(await up.finished).toMatchObject({ code: 130 });
  expect(running.filter(isAlive)).toEqual([]);
});

test('a second Ctrl-C does not wait for what is deaf', async () => {
  const bench = new Bench({ processes: [{ name: 'deaf', services: ['gateway'], args: [service, 'deaf'] }] });
  const up = bench.spawn('up');
  await eventually(() => up.output().includes('Berth is ready.'), 30_000);
  const running = bench.processes();
  up.child.kill('SIGINT');
  await eventually(() => readFileSync(join(bench.folder, 'logs/deaf.log'), 'utf8').includes('asked to stop'));
  // A later press, not an echo of the first one.
  const second = setInterval(() => up.child.kill('SIGINT'), 500);
  await up.finished;
  clearInterval(second);
  expect(running.filter(isAlive)).toEqual([]);
}, 15_000);

test('a service that cannot start fails the start with its reason and its log, and leaves nothing', async () => {
  const bench = new Bench({
    processes: [{ name: 'gateway', services: ['gateway'], args: [service, 'exit-at-once'] }],
  });
  const { code, output } = await bench.run('up', '--detach');
  expect(code).toBe(1);
  expect(output).toContain('gateway exited with 7');
  expect(output).toContain('cannot find my configuration');
  expect(output).toContain(join(bench.folder, 'logs'));
  expect(bench.processes().filter(isAlive)).toEqual([]);
  const status = await bench.run('status');
  expect(status).toMatchObject({
    code: 3,
    output: expect.stringContaining('gateway exited with 7') as string,
  });
});

test('a step that fails stops the start, with its last words', async () => {
  const fails = ['-e', 'console.log("half way"); console.error("no such table"); process.exit(3)'];
  const bench = new Bench({ before: [{ name: 'migrate', args: fails }] });
  const { code, output } = await bench.run('up', '--detach');
  expect(code).toBe(1);
  expect(output).toContain('half way');
  expect(output).toMatch(/migrate failed with 3[^]*no such table/);
  expect(bench.state().children.map(({ name }) => name)).toEqual(['nats', 'postgres']);
});

test('images are made where containers come from a Docker Engine, and nowhere else', async () => {
  const parts = { images: [{ name: 'images', args: ['-e', 'console.log("making images")'] }] };
  expect((await new Bench(parts).run('up', '--detach')).output).not.toContain('making images');

  // Something that answers as an engine does is enough: no container is started here.
  const engine = createHttpServer((_request, response) => response.end('OK'));
  engine.listen(0, '127.0.0.1');
  await once(engine, 'listening');
  const { port } = engine.address() as { port: number };
  const bench = new Bench(parts, { BERTH_ENGINE: 'docker', DOCKER_HOST: `tcp://127.0.0.1:${port}` });
  const { code, output } = await bench.run('up', '--detach');
  engine.close();
  expect(output).toContain('making images');
  expect(code).toBe(0);
});

test('a port that is taken is said before anything starts', async () => {
  const squatter = createServer();
  squatter.listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const { port } = squatter.address() as { port: number };
  const bench = new Bench({}, { BERTH_HTTP_PORT: String(port) });
  const { code, output } = await bench.run('up', '--detach');
  squatter.close();
  expect(code).toBe(1);
  expect(output).toContain(`Port ${port} on 127.0.0.1 is taken: set BERTH_HTTP_PORT`);
  expect(bench.state().children).toEqual([]);
});

test('uses servers that exist, and stops only what it started', async () => {
  const host = new Bench();
  await host.run('up', '--detach');
  const { nats } = JSON.parse(readFileSync(join(host.folder, 'keys/passwords.json'), 'utf8')) as {
    nats: string;
  };
  const port = /127\.0\.0\.1:(\d+)/.exec(readFileSync(join(host.folder, 'run/nats.conf'), 'utf8'))![1];
  const guest = new Bench(
    {},
    { BERTH_POSTGRES_URL: host.postgresUrl(), BERTH_NATS_URL: `nats://berth:${nats}@127.0.0.1:${port}` },
  );
  expect(await guest.run('up', '--detach')).toMatchObject({ code: 0 });
  expect(guest.state().children.map(({ name }) => name)).toEqual(['gateway', 'identity']);
  await guest.run('stop');
  expect(await host.run('status')).toMatchObject({ code: 0 });
});

test('a NATS that does not answer is said at once', async () => {
  const bench = new Bench({}, { BERTH_NATS_URL: 'nats://127.0.0.1:1' });
  expect(await bench.run('up', '--detach')).toMatchObject({
    code: 1,
    output: expect.stringContaining('No NATS server answers at BERTH_NATS_URL') as string,
  });
});

test('gives each service its own role and schema, closed to the others', async () => {
  const bench = new Bench();
  await bench.run('up', '--detach');
  const url = (name: string) =>
    bench
      .postgresUrl()
      .replace(/berth:.*@/, `berth_${name}:p-${name}@`)
      .replace(/postgres$/, 'berth');
  const corners = ['identity', 'billing'].map((name) => ({ schema: name, url: url(name) }));
  await prepareDatabase(bench.postgresUrl(), corners);
  await prepareDatabase(bench.postgresUrl(), corners);

  const as = async (name: string, text: string) => {
    const client = new Client({ connectionString: url(name) });
    await client.connect();
    return client.query(text).finally(() => client.end());
  };
  await as('identity', 'CREATE TABLE identity.secret (word text)');
  await expect(as('billing', 'SELECT * FROM identity.secret')).rejects.toThrow(
    'permission denied for schema identity',
  );
  await expect(as('billing', 'CREATE TABLE public.mine (n int)')).rejects.toThrow('permission denied');
});

const asRoot = process.getuid?.() === 0 ? test : test.skip;

asRoot(
  'finds a place for the database that its user can reach, below a folder that is closed to him',
  async () => {
    const bench = new Bench();
    const closed = join(bench.folder, 'closed');
    mkdirSync(closed);
    chmodSync(closed, 0o700);
    const inside = new Bench({}, { BERTH_DATA_DIR: join(closed, 'data') });
    const started = await inside.run('up', '--detach');
    expect(started.output).toMatch(/files in \/var\/lib\/berth\/postgres-[0-9a-f]+/);
    expect(started.code).toBe(0);
    const cluster = /files in (\S+)/.exec(started.output)![1]!.replace(/[^0-9a-f]+$/, '');
    expect((await inside.run('stop')).code).toBe(0);
    expect(await inside.run('up', '--detach')).toMatchObject({ code: 0 });
    await inside.run('stop');
    expect(statSync(closed).mode & 0o777).toBe(0o700);
    rmSync(cluster, { recursive: true });
    rmSync(`${cluster}.txt`);
  },
);
