import { chmod, cp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pythonModule, workerFolder } from '@berth/worker-protocol';

/**
 * Puts the worker's files, and the Python module `berth`, below the data folder, where they have the same path for the
 * engine as for us: a runner that is itself in a container has them in its own image, which the engine cannot mount from.
 * Returns the folder to mount.
 */
export async function placeWorkerFiles(folder: string): Promise<string> {
  const placed = join(folder, 'worker');
  const options = { recursive: true, filter: (path: string) => !path.includes('__pycache__') };
  await rm(placed, { recursive: true, force: true });
  await cp(workerFolder(), placed, options);
  await cp(pythonModule(), join(placed, 'lib/berth'), options);
  // The container's user is nobody: it may read, and nothing else.
  await chmod(placed, 0o755);
  for (const entry of await readdir(placed, { recursive: true, withFileTypes: true })) {
    await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  }
  return placed;
}
