/**
 * Files of volumes by their content, so that a container's copy is made on this node and not fetched again. A file here
 * never changes and nobody else can reach it: containers get copies (which share their blocks where the filesystem can
 * do that), never hard links, through which a write in place would change what all others have.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from '@berth/service-kit';
import { untilAnswered } from '../files/until-answered';
import type { Room } from './room';
import { copySparse, SparseWriter } from './sparse';
import type { HeadFile, VolumeClient } from './volume-client';

const BYTES_MAX = 32 * 1024 ** 3;

export interface FileCache {
  /** Puts a new file with this content at `target`, which is our own. Errors: `exhausted` where there is no room. */
  copyTo(workspaceId: string, file: Pick<HeadFile, 'chunks' | 'size'>, target: string): Promise<void>;
}

export async function openFileCache(
  folder: string,
  client: Pick<VolumeClient, 'fetchChunks'>,
  log: Logger,
  room: Room,
  bytesMax = BYTES_MAX,
): Promise<FileCache> {
  const aside = join(folder, 'unfinished');
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true, mode: 0o700 });
  const fetching = new Map<string, Promise<void>>();
  let bytes = (await filesIn(folder)).reduce((sum, file) => sum + file.bytes, 0);
  let pruning: Promise<void> | undefined;

  const fetch = async (workspaceId: string, chunks: readonly string[], path: string): Promise<void> => {
    const partial = join(aside, randomUUID());
    try {
      await using file = await open(partial, 'wx', 0o600);
      const writer = new SparseWriter(file);
      for await (const content of client.fetchChunks(workspaceId, chunks)) await writer.write(content);
      const written = await writer.end();
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await rename(partial, path);
      bytes += written;
    } finally {
      await rm(partial, { force: true });
    }
  };

  /** Until there is room, the least recently used go. One that is copied from meanwhile is read to its end. */
  const prune = async (): Promise<void> => {
    const files = (await filesIn(folder)).sort((a, b) => a.usedAt - b.usedAt);
    bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    for (const file of files) {
      if (bytes <= bytesMax) return;
      await rm(file.path, { force: true });
      bytes -= file.bytes;
    }
  };

  return {
    async copyTo(workspaceId, { chunks, size }, target) {
      if (chunks.length === 0) return writeFile(target, '', { flag: 'wx' });
      const key = createHash('sha256').update(chunks.join('')).digest('hex');
      const path = join(folder, workspaceId, key.slice(0, 2), key);
      for (;;) {
        try {
          await copySparse(path, target);
          break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        }
        let work = fetching.get(path);
        if (!work) {
          work = room
            .check(size)
            .then(() => untilAnswered(() => fetch(workspaceId, chunks, path)))
            .finally(() => fetching.delete(path));
          fetching.set(path, work);
        }
        await work;
      }
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined); // It may just have been removed.
      if (bytes <= bytesMax) return;
      pruning ??= prune()
        .catch((error: unknown) => log.warn({ err: error }, 'files of volumes could not be removed'))
        .finally(() => (pruning = undefined));
    },
  };
}

async function filesIn(folder: string): Promise<{ path: string; bytes: number; usedAt: number }[]> {
  const files = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const found = await stat(path).catch(() => undefined);
    if (found) files.push({ path, bytes: found.size, usedAt: found.mtimeMs });
  }
  return files;
}
