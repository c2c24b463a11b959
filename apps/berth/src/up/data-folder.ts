import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Refusal } from './refusal';

/** Where everything of one platform lies. Each is an absolute path. */
export interface DataFolder {
  root: string;
  postgres: string;
  nats: string;
  docker: string;
  keys: string;
  logs: string;
  /** State, lock, pid files. */
  run: string;
  /** Unix sockets: `run`, or a short folder of its own where `run` is too long for a socket's name. */
  sockets: string;
  sync: string;
  runner: string;
  credentials: string;
  state: string;
  lock: string;
}

/**
 * Bytes that a socket's path may have (104 on macOS, 108 on Linux, with the final zero), less the longest name that
 * is put under `sockets`: `docker/containerd/containerd-debug.sock`.
 */
const SOCKET_FOLDER_BYTES_MAX = 100 - 40;

/** The layout under `root`. `temporary` is where the short folder for sockets goes when one is needed. */
export function dataFolder(root: string, temporary: string): DataFolder {
  const absolute = resolve(root);
  const run = join(absolute, 'run');
  const name = createHash('sha256').update(absolute).digest('hex').slice(0, 10);
  return {
    root: absolute,
    postgres: join(absolute, 'postgres'),
    nats: join(absolute, 'nats'),
    docker: join(absolute, 'docker'),
    keys: join(absolute, 'keys'),
    logs: join(absolute, 'logs'),
    run,
    sockets: Buffer.byteLength(run) > SOCKET_FOLDER_BYTES_MAX ? join(temporary, `berth-${name}`) : run,
    sync: join(absolute, 'sync'),
    runner: join(absolute, 'runner'),
    credentials: join(absolute, 'credentials.json'),
    state: join(run, 'state.json'),
    lock: join(run, 'lock'),
  };
}

/** A short name that is this data folder's alone, as good as always: for a bridge, a range of ports. */
export const seedOf = (folder: DataFolder): number =>
  createHash('sha256').update(folder.root).digest().readUInt32BE(0);

/** Makes the folders, closed to others. Errors: `Refusal` when the sockets' folder is somebody else's. */
export function createDataFolder(folder: DataFolder): void {
  mkdirSync(folder.root, { recursive: true, mode: 0o700 });
  // Started by root, Postgres is another user who must pass through here; he can neither list nor read.
  chmodSync(folder.root, process.getuid?.() === 0 ? 0o711 : 0o700);
  for (const path of [folder.nats, folder.keys, folder.logs, folder.run, folder.sync, folder.runner]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  }
  if (folder.sockets === folder.run) return;
  mkdirSync(folder.sockets, { recursive: true, mode: 0o700 });
  const stat = lstatSync(folder.sockets);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0)
    throw new Refusal(
      `${folder.sockets}, which is to hold the sockets, belongs to somebody else or is open to others.\n` +
        'Remove it, or choose a data folder with a shorter path (BERTH_DATA_DIR).',
    );
}
