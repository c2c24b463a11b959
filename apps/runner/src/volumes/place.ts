import { chmod, chown, lchown, symlink, unlink, utimes } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { stampOf, type BaseFile } from '../domain/volume-changes';
import type { FileCache } from './file-cache';
import { OpenFolder } from './open-folder';
import type { Room } from './room';
import type { HeadFile } from './volume-client';

const AT_ONCE = 8;

export interface Owner {
  uid: number;
  gid: number;
}

export interface PlaceTools {
  cache: FileCache;
  room: Room;
  workspaceId: string;
  /** The container's copy. */
  data: string;
  /** On the same filesystem, and out of the container's reach: what is there is put into place by one rename. */
  aside: string;
  /** Who the container is; undefined: the same as we. */
  owner: Owner | undefined;
}

/**
 * Puts files of a head where the container finds them, each whole or not at all, and gives them with their stamps. What
 * is in the way (a folder where a file belongs, or the other way round) is the container's own, and stays: such a file is
 * not among those that are given. Errors: `exhausted` where the disk has no room for them, before any is placed.
 */
export async function placeFiles(
  tools: PlaceTools,
  files: ReadonlyMap<string, HeadFile>,
  signal?: AbortSignal,
): Promise<Map<string, BaseFile>> {
  await tools.room.check([...files.values()].reduce((sum, { size }) => sum + size, 0));
  const placed = new Map<string, BaseFile>();
  const byFolder = Map.groupBy(files, ([path]) => path.slice(0, Math.max(0, path.lastIndexOf('/'))));
  for (const [path, inside] of byFolder) {
    const found = await folderAt(tools, path);
    if (!found) continue;
    await using folder = found;
    const waiting = inside.values();
    const work = async () => {
      for (const [filePath, file] of waiting) {
        signal?.throwIfAborted();
        const name = filePath.slice(filePath.lastIndexOf('/') + 1);
        const stamp = await placeFile(tools, folder, name, file);
        if (stamp) placed.set(filePath, { ...file, stamp });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }
  return placed;
}

/** Its stamp; undefined where something of the container's is in the way. */
async function placeFile(
  { cache, workspaceId, aside, owner }: PlaceTools,
  folder: OpenFolder,
  name: string,
  file: HeadFile,
): Promise<string | undefined> {
  const partial = join(aside, randomUUID());
  try {
    if (file.link) {
      await symlink(file.link, partial);
      if (owner) await lchown(partial, owner.uid, owner.gid);
    } else {
      await cache.copyTo(workspaceId, file, partial);
      await chmod(partial, file.executable ? 0o755 : 0o644);
      if (owner) await chown(partial, owner.uid, owner.gid);
      await utimes(partial, file.modifiedAt, file.modifiedAt);
    }
    await folder.take(partial, name);
    return stampOf(await folder.stat(name));
  } catch (error) {
    await unlink(partial).catch(() => undefined);
    if (isInTheWay(error)) return undefined;
    throw error;
  }
}

/** The folder at a path below the copy, made where it is missing; undefined where a file or a link is in the way. */
async function folderAt({ data, owner }: PlaceTools, path: string): Promise<OpenFolder | undefined> {
  let folder = await OpenFolder.open(data);
  for (const name of path === '' ? [] : path.split('/')) {
    await using outer = folder;
    try {
      folder = await innerFolder(outer, name, owner);
    } catch (error) {
      if (isInTheWay(error)) return undefined;
      throw error;
    }
  }
  return folder;
}

async function innerFolder(outer: OpenFolder, name: string, owner: Owner | undefined): Promise<OpenFolder> {
  try {
    return await outer.folder(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await outer.makeFolder(name).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const made = await outer.folder(name);
  if (owner) await made.own(owner.uid, owner.gid);
  return made;
}

/** Takes files away that the head has no more, and the folders that they leave empty. */
export async function removeFiles(data: string, paths: Iterable<string>): Promise<void> {
  for (const path of paths) await removeFile(await OpenFolder.open(data), path.split('/'));
}

async function removeFile(opened: OpenFolder, [name, ...rest]: string[]): Promise<void> {
  await using folder = opened;
  try {
    if (rest.length === 0) return await folder.removeFile(name!);
    await removeFile(await folder.folder(name!), rest);
    await folder.removeFolder(name!);
  } catch (error) {
    // Gone already, or the container has made something else of it.
    if (!isInTheWay(error) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

const isInTheWay = (error: unknown): boolean =>
  ['EISDIR', 'ENOTDIR', 'ELOOP', 'ENOTEMPTY', 'EEXIST', 'EPERM', 'ENAMETOOLONG'].includes(
    (error as NodeJS.ErrnoException).code!,
  );
