/**
 * Chunks on disk: `chunks/<workspace>/<aa>/<hash>`.
 *
 * Each workspace has its own, though equal chunks could be shared: then "is it missing?" would tell one tenant what
 * another has. A chunk is written aside, synced and renamed, and its folder synced: under its name there is all of
 * it or nothing, whenever the power goes, and a put that was answered stays.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isId } from '@berth/database';
import { hashOf, isHash } from '../domain/chunk';

export interface ChunkStore {
  /** Stores content under its hash, which the caller has checked. A damaged chunk is mended. Repeatable. */
  put(workspaceId: string, hash: string, content: Uint8Array): Promise<void>;
  /** The content, checked against its hash; undefined when it is missing, or damaged: then it is missing from now on. */
  read(workspaceId: string, hash: string): Promise<Buffer | undefined>;
  /** Bytes of each of these chunks; undefined for one that is missing. */
  sizes(workspaceId: string, hashes: Iterable<string>): Promise<Map<string, number | undefined>>;
}

/** Files looked at at a time. */
const CONCURRENCY = 32;

const unlessMissing = (error: NodeJS.ErrnoException): undefined => {
  if (error.code === 'ENOENT') return undefined;
  throw error;
};

/** Opens the store in `folder`, whose only user is this process. */
export async function openChunkStore(folder: string): Promise<ChunkStore> {
  const aside = join(folder, 'aside');
  // What a process that was killed left half-written.
  await mkdir(aside, { recursive: true, mode: 0o700 });
  for (const name of await readdir(aside)) await rm(join(aside, name), { force: true });

  /** The one place where ids become a path: neither part can climb out of the folder. */
  const pathOf = (workspaceId: string, hash: string): string => {
    if (!isId('wo', workspaceId) || !isHash(hash)) throw new Error('not the id of a workspace and a hash');
    return join(folder, 'chunks', workspaceId, hash.slice(0, 2), hash);
  };

  const read = async (path: string, hash: string): Promise<Buffer | undefined> => {
    const content = await readFile(path).catch(unlessMissing);
    return content && hashOf(content) === hash ? content : undefined;
  };

  /** Takes a damaged chunk away, so that whoever has its content is asked for it. One that was mended meanwhile stays. */
  const condemn = async (path: string, hash: string): Promise<void> => {
    const taken = join(aside, randomUUID());
    await rename(path, taken).catch(unlessMissing);
    if (await read(taken, hash)) await rename(taken, path);
    else await rm(taken, { force: true });
  };

  return {
    async put(workspaceId, hash, content) {
      const path = pathOf(workspaceId, hash);
      if (await read(path, hash)) return;
      await makeFolder(dirname(path));
      const temporary = join(aside, randomUUID());
      try {
        await writeFile(temporary, content, { flag: 'wx', flush: true, mode: 0o600 });
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      await syncFolder(dirname(path));
    },

    async read(workspaceId, hash) {
      const path = pathOf(workspaceId, hash);
      const content = await read(path, hash);
      if (!content) await condemn(path, hash);
      return content;
    },

    async sizes(workspaceId, hashes) {
      const found = new Map<string, number | undefined>();
      const waiting = new Set(hashes).values();
      const look = async () => {
        for (const hash of waiting) {
          const file = await stat(pathOf(workspaceId, hash)).catch(unlessMissing);
          found.set(hash, file?.size);
        }
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, look));
      return found;
    },
  };
}

/** A folder that outlives a power cut: what names it, up to the first that was there, is synced too. */
async function makeFolder(folder: string): Promise<void> {
  const firstMade = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (!firstMade) return;
  const top = dirname(firstMade);
  for (let each = dirname(folder); each.length >= top.length; each = dirname(each)) {
    await syncFolder(each);
    if (each === top) return;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
