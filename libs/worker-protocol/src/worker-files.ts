import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Runtime } from './messages';

/** Where a container finds the folder of worker files, which is mounted there read-only. */
export const WORKER_FOLDER_INSIDE = '/berth/worker';

const FILES: Record<Runtime, string> = { python: 'berth_worker.py', node: 'berth-worker.mjs' };

/**
 * The folder of worker files on this machine: `dist/worker` beside a bundle, `libs/worker-protocol/worker` in the
 * sources. Found by walking up from `from`; throws where neither is there.
 */
export function workerFolder(from: string = __dirname): string {
  for (let folder = from; ; folder = dirname(folder)) {
    for (const candidate of [join(folder, 'worker'), join(folder, 'libs/worker-protocol/worker')]) {
      if (existsSync(join(candidate, FILES.python))) return candidate;
    }
    if (folder === dirname(folder)) {
      throw new Error(`no worker files above ${from}: run the build, which copies them to dist/worker`);
    }
  }
}

/**
 * The folder of the Python module `berth` on this machine, which containers find beside the worker's files: below
 * `dist/worker/lib` beside a bundle, `libs/python` in the sources. Throws where neither is there.
 */
export function pythonModule(from: string = __dirname): string {
  for (let folder = from; ; folder = dirname(folder)) {
    for (const candidate of [join(folder, 'worker/lib/berth'), join(folder, 'libs/python/berth')]) {
      if (existsSync(join(candidate, '__init__.py'))) return candidate;
    }
    if (folder === dirname(folder)) {
      throw new Error(`no Python module above ${from}: run the build, which copies it to dist/worker/lib`);
    }
  }
}

/** The worker of each runtime as a file on this machine. */
export function workerFiles(from?: string): Record<Runtime, string> {
  const folder = workerFolder(from);
  return { python: join(folder, FILES.python), node: join(folder, FILES.node) };
}

/**
 * The command that runs a worker whose files are in `folder`; to be run in the folder of the user's source with
 * `BERTH_SOCKET` and `BERTH_RUN_TOKEN` set.
 */
export function workerCommand(runtime: Runtime, folder: string = WORKER_FOLDER_INSIDE): string[] {
  const file = join(folder, FILES[runtime]);
  return runtime === 'python' ? ['python3', file] : ['node', file];
}
