import { lstat, mkdir, chmod, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { newId } from '@berth/database';

/** What a socket's path may have, less what a container's folder adds to it. Bytes; see unix(7). */
const PATH_BYTES_MAX = 107;
/** Beside it, for the requests of a web endpoint. */
export const WEB_SOCKET_NAME = 'web.sock';
/** Of its worker. No name of a socket is longer. */
export const SOCKET_NAME = 'runner.sock';
/** Of what the container asks of the platform. */
export const API_SOCKET_NAME = 'api.sock';

/** Where each container has a folder of its own, holding the socket of its worker and that of its API. */
export interface RunFolders {
  make(containerId: string): Promise<string>;
  remove(containerId: string): Promise<void>;
}

/**
 * Empties what an earlier process left. Below the data folder where socket paths stay short enough, else in a folder
 * of the owner's name below the system's own for temporary files, which only this user may enter.
 */
export async function openRunFolders(folder: string, owner: string): Promise<RunFolders> {
  const longest = join(resolve(folder), 'run', newId('ta'), SOCKET_NAME);
  const root =
    Buffer.byteLength(longest) <= PATH_BYTES_MAX ? join(resolve(folder), 'run') : join(tmpdir(), owner);
  await rm(root, { recursive: true, force: true });
  await mkdir(root, { recursive: true, mode: 0o700 });
  const { uid, mode } = await lstat(root);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(`${root} belongs to somebody else, or others may enter it: remove it.`);
  }
  return {
    async make(containerId) {
      const made = join(root, containerId);
      await mkdir(made, { recursive: true });
      // The container's user is nobody: it may pass through, and neither list nor write.
      await chmod(made, 0o711);
      return made;
    },
    remove: (containerId) => rm(join(root, containerId), { recursive: true, force: true }),
  };
}
