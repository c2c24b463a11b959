import { chmod, cp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { workerFolder } from '@berth/worker-protocol';

/**
 * Puts the worker's files below the data folder, where they have the same path for the engine as for us: a runner that is
 * itself in a container has them in its own image, which the engine cannot mount from. Returns the folder to mount.
 */
export async function placeWorkerFiles(folder: string): Promise<string> {
  const placed = join(folder, 'worker');
  await rm(placed, { recursive: true, force: true });
  await cp(workerFolder(), placed, { recursive: true, filter: (path) => !path.includes('__pycache__') });
  // The container's user is nobody: it may read, and nothing else.
  await chmod(placed, 0o755);
  for (const name of await readdir(placed)) await chmod(join(placed, name), 0o644);
  return placed;
}
