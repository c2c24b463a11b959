import { createWriteStream } from 'node:fs';
import { chmod, lstat, mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Http } from './http';
import { moveFiles, type UploadProgress } from './upload';

export interface Volume {
  volume_id: string;
  name: string;
  environment: string;
  /** Grows with each commit that changes something. JSON numbers of 64 bits come as strings. */
  revision: string;
  files: string;
  bytes: string;
  created_at: string;
  updated_at: string;
}

export interface VolumeFile {
  path: string;
  executable: boolean;
  size: string;
  chunks: string[];
  /** The target of a symbolic link; empty for a regular file. */
  link: string;
  modified_at: string;
  revision: string;
}

/** A file as it is put: regular, with chunks that are there, or a link. */
export interface VolumePut {
  path: string;
  executable?: boolean;
  size?: number | string;
  chunks?: string[];
  link?: string;
}

/** Files of one commit at most: more of them are put by several, one after the other. */
const PUTS_MAX = 10_000;

/** Shared file trees; functions mount them. */
export class Volumes {
  constructor(private readonly http: Http) {}

  /** Makes the volume, or gives the one that has this name. */
  create(name: string, environment?: string): Promise<Volume> {
    return this.http.json('POST', '/v1/volumes', { body: { name, ...(environment ? { environment } : {}) } });
  }

  list(filter: { environment?: string; name?: string } = {}): AsyncGenerator<Volume> {
    return this.http.pages('/v1/volumes', { query: filter });
  }

  get(volumeId: string): Promise<Volume> {
    return this.http.json('GET', pathOf(volumeId));
  }

  /** The volume of this name; undefined when there is none. */
  async find(name: string, environment = 'main'): Promise<Volume | undefined> {
    for await (const volume of this.list({ name, environment })) return volume;
    return undefined;
  }

  /** Removes it with all its files, for good. */
  delete(volumeId: string): Promise<void> {
    return this.http.json('DELETE', pathOf(volumeId));
  }

  /** Files by path: all, or those at and below one. */
  files(volumeId: string, path = ''): AsyncGenerator<VolumeFile> {
    return this.http.pages(`${pathOf(volumeId)}/files`, { query: { path, limit: 1000 } });
  }

  /** The bytes of a file, or a range of them, as they come. */
  read(
    volumeId: string,
    path: string,
    range: { offset?: number; length?: number } = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    return this.http.bytes(`${pathOf(volumeId)}/content`, { query: { path, ...range } });
  }

  /** Puts and removes files, all or none. */
  commit(
    volumeId: string,
    changes: { puts?: VolumePut[]; removes?: string[] },
  ): Promise<{ revision: string }> {
    return this.http.json('POST', `${pathOf(volumeId)}/commits`, { body: changes });
  }

  /** Removes a file, or a folder with all that is below it; how many files that were. */
  async remove(volumeId: string, path: string, options: { recursive?: boolean } = {}): Promise<number> {
    const query = { path, ...options };
    const { removed } = await this.http.json<{ removed: string }>('DELETE', `${pathOf(volumeId)}/files`, {
      query,
    });
    return Number(removed);
  }

  /**
   * Uploads a file to `to`, or a folder's files to below it; a `to` that ends with `/` is a folder to put the file in.
   * Symbolic links on this machine are left out. How many files that were.
   */
  async upload(
    volumeId: string,
    from: string,
    to = '/',
    onProgress?: (progress: UploadProgress) => void,
  ): Promise<number> {
    const prefix = to.replace(/^\/+|\/+$/g, '');
    const isFolder = (await lstat(from)).isDirectory();
    const target = to.endsWith('/') || prefix === '' ? joined(prefix, basename(resolve(from))) : prefix;
    const files = isFolder
      ? (await filesBelow(from)).map((path) => ({ path: joined(prefix, path), file: join(from, path) }))
      : [{ path: target, file: from }];
    for (let at = 0; at < files.length; at += PUTS_MAX) {
      const puts = await moveFiles(this.http, files.slice(at, at + PUTS_MAX), onProgress);
      await this.commit(volumeId, { puts });
    }
    return files.length;
  }

  /**
   * Downloads a file to `to`, or the files below a folder to below it. Symbolic links are not made: on this machine they
   * could lead anywhere. `onFile` is told of each path, and whether it was a link. Throws when there is nothing.
   */
  async download(
    volumeId: string,
    path: string,
    to: string,
    onFile: (path: string, isLink: boolean) => void = () => undefined,
  ): Promise<void> {
    const from = path.replace(/^\/+|\/+$/g, '');
    let found = 0;
    for await (const file of this.files(volumeId, from)) {
      found++;
      onFile(file.path, file.link !== '');
      if (file.link) continue;
      const target = file.path === from ? to : inside(to, relative(from || '.', file.path));
      await mkdir(dirname(resolve(target)), { recursive: true });
      await pipeline(Readable.from(await this.read(volumeId, file.path)), createWriteStream(target));
      if (file.executable) await chmod(target, 0o755);
    }
    if (found === 0) throw new Error(`The volume has no ${path}.`);
  }
}

const pathOf = (volumeId: string) => `/v1/volumes/${encodeURIComponent(volumeId)}`;

const joined = (folder: string, path: string) => (folder ? `${folder}/${path}` : path);

/** A path below a folder; whatever the platform answers, nothing is written elsewhere. */
function inside(folder: string, path: string): string {
  const root = resolve(folder);
  const target = resolve(root, path);
  if (!target.startsWith(root.endsWith(sep) ? root : root + sep))
    throw new Error(`${path} leads out of ${folder}.`);
  return target;
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}
