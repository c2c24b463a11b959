import { createWriteStream } from 'node:fs';
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { BerthError, type ClientOf } from '@berth/service-kit';
import { isPathInside } from '../domain/tree-path';
import { Backoff } from '../files/backoff';

/** Longer than a restart of sync takes; its supervisor starts it again. */
const TRY_MS = 30_000;
const FETCH_MS = 600_000;

/** Source trees as folders. A tree never changes, so one that is here is here for good. */
export interface Sources {
  /** The folder of a tree; containers that want it at the same time share one fetch. */
  folderOf(workspaceId: string, treeId: string): Promise<string>;
}

/** Begins with what an earlier process fetched; what it had not finished is removed. */
export async function openSources(
  folder: string,
  sync: Pick<ClientOf<typeof SyncServiceService>, 'fetchTree'>,
): Promise<Sources> {
  const aside = join(folder, 'unfinished');
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true, mode: 0o700 });
  const folders = new Map<string, Promise<string>>();
  let count = 0;

  const fetch = async (workspaceId: string, treeId: string): Promise<string> => {
    // By workspace: a tree id opens nothing to anybody but the workspace that has it.
    const final = join(folder, workspaceId, treeId);
    if (await stat(final).catch(() => undefined)) return final;
    const partial = join(aside, `${treeId}-${count++}`);
    try {
      await writeTree(sync.fetchTree({ workspaceId, treeId }, { timeoutMs: FETCH_MS }), partial);
      await mkdir(dirname(final), { recursive: true, mode: 0o700 });
      await rename(partial, final);
      return final;
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
  };

  const fetchForSure = async (workspaceId: string, treeId: string): Promise<string> => {
    const until = Date.now() + TRY_MS;
    const backoff = new Backoff(100, 1000);
    for (;;) {
      try {
        return await fetch(workspaceId, treeId);
      } catch (error) {
        const mayPass = error instanceof BerthError && ['unavailable', 'timeout'].includes(error.kind);
        if (!mayPass || Date.now() > until) throw error;
        await backoff.wait();
      }
    }
  };

  return {
    folderOf(workspaceId, treeId) {
      const key = `${workspaceId}/${treeId}`;
      let found = folders.get(key);
      if (!found) {
        found = fetchForSure(workspaceId, treeId);
        folders.set(key, found);
        found.catch(() => folders.delete(key));
      }
      return found;
    },
  };
}

type Parts = ReturnType<ClientOf<typeof SyncServiceService>['fetchTree']>;

/** Readable for the container's user, who is nobody: only the folder's parents keep others away. */
async function writeTree(parts: Parts, folder: string): Promise<void> {
  await makeFolder(folder, folder);
  let file: Writable | undefined;
  const endFile = async () => {
    if (!file) return;
    file.end();
    await finished(file);
  };
  try {
    for await (const { part } of parts) {
      if (part?.$case === 'entry') {
        await endFile();
        const { path, executable } = part.value;
        if (!isPathInside(path))
          throw new Error(`the tree has a path that leaves it: ${JSON.stringify(path)}`);
        const target = join(folder, path);
        await makeFolder(dirname(target), folder);
        const mode = executable ? 0o755 : 0o644;
        const stream = createWriteStream(target, { mode, flags: 'wx' });
        // From here on, or an error between two writes would have no listener.
        stream.on('error', () => undefined);
        stream.once('open', () => void chmod(target, mode).catch(() => undefined));
        file = stream;
      } else if (part?.$case === 'content' && file) {
        if (!file.write(part.value)) await drained(file);
      }
    }
    await endFile();
  } finally {
    file?.destroy();
  }
}

/** Whatever the umask is, each folder from `root` down to `folder` can be entered by the container's user. */
async function makeFolder(folder: string, root: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o755 });
  if (made) for (let each = folder; each.startsWith(root); each = dirname(each)) await chmod(each, 0o755);
}

const drained = (stream: Writable): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.once('drain', resolve);
    stream.once('error', reject);
  });
