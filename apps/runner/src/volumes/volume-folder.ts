/**
 * One container's copy of one volume: made from the head, written to by the container, compared with what it was when a
 * commit is due. Commits and reloads of one copy come one after the other. The container changes files all the while;
 * what a commit reads of a file that is being written is committed again once it has changed.
 */
import { constants } from 'node:fs';
import { BerthError } from '@berth/service-kit';
import { changesOf, isSameFile, stampOf, type BaseFile } from '../domain/volume-changes';
import { OpenFolder } from './open-folder';
import { placeFiles, removeFiles, type PlaceTools } from './place';
import { scan } from './scan';
import { Upload } from './upload';
import type { Head, HeadFile, VolumeClient } from './volume-client';

export interface FolderTools extends PlaceTools {
  client: VolumeClient;
  volumeId: string;
}

export interface Committed {
  /** Of the head that has this container's changes. */
  revision: number;
  /** Files put and removed. */
  changed: number;
  /** What a volume cannot keep: path and reason. */
  leftOut: ReadonlyMap<string, string>;
}

interface CommitHow {
  /** Leave a file alone that changes while it is read: the next commit has it whole. */
  skipUnstable: boolean;
  signal: AbortSignal;
  /** Files that came with a later revision stay as they are. */
  unlessChangedSince?: number;
}

export class VolumeFolder {
  #working: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly tools: FolderTools,
    private base: Map<string, BaseFile>,
    /** All that the head of this revision has is in the base. */
    private revision: number,
  ) {}

  /** An empty folder becomes the copy of a head. Throws between two files when `signal` aborts. */
  static async make(tools: FolderTools, head: Head, signal: AbortSignal): Promise<VolumeFolder> {
    const root = await OpenFolder.open(tools.data);
    await using opened = root;
    if (tools.owner) await opened.own(tools.owner.uid, tools.owner.gid);
    return new VolumeFolder(tools, await placeFiles(tools, head.files!, signal), head.revision);
  }

  /** A copy of which only the revision is known that it began with: all of it is compared with the head of now. */
  static found(tools: FolderTools, head: Head, revision: number): VolumeFolder {
    const base = new Map<string, BaseFile>();
    for (const [path, file] of head.files!) {
      // What came later was never in this copy, so that it is not there does not mean that it was removed.
      if (file.revision <= revision) base.set(path, { ...file, stamp: '' });
    }
    return new VolumeFolder(tools, base, revision);
  }

  /** Up to this revision, what others committed is known here. */
  get knownRevision(): number {
    return this.revision;
  }

  /**
   * Publishes what the container changed since the last time, all of it or nothing.
   * Errors: `too_large` for more than a volume may have; `not_found` when the volume is gone; `unavailable`.
   */
  commit(how: CommitHow): Promise<Committed> {
    return this.#inTurn(() => this.#commit(how));
  }

  /** Takes what others have committed. What the container changed itself stays. Errors: as commit. */
  reload(): Promise<number> {
    return this.#inTurn(() => this.#reload());
  }

  async #commit({ skipUnstable, signal, unlessChangedSince }: CommitHow): Promise<Committed> {
    const { client, workspaceId, volumeId, data } = this.tools;
    const { files, leftOut } = await scan(data);
    const { suspects, removed } = changesOf(this.base, files, leftOut.keys());
    const upload = new Upload(client, workspaceId, signal);
    const puts = new Map<string, BaseFile>();
    const unchanged = new Map<string, BaseFile>();
    await using root = await OpenFolder.open(data);
    for (const path of suspects) {
      const found = files.get(path)!;
      const now = found.link ? { ...found, chunks: [] } : await this.#read(root, path, upload, leftOut);
      if (!now || (skipUnstable && now.stamp === '')) continue;
      const before = this.base.get(path);
      (before && isSameFile(before, now) ? unchanged : puts).set(path, now);
    }
    await upload.flush();
    signal.throwIfAborted();
    let revision = this.revision;
    if (puts.size + removed.length > 0) {
      revision = await client.commit({
        workspaceId,
        volumeId,
        puts,
        removes: removed,
        ...(unlessChangedSince === undefined ? {} : { unlessChangedSince }),
      });
      // With nothing of others in between, this head is wholly known.
      if (revision === this.revision + 1) this.revision = revision;
    }
    for (const [path, file] of [...puts, ...unchanged]) this.base.set(path, file);
    for (const path of removed) this.base.delete(path);
    return { revision, changed: puts.size + removed.length, leftOut };
  }

  /** A file as it is now; without a stamp where it changed meanwhile; undefined where it is no file any more. */
  async #read(
    root: OpenFolder,
    path: string,
    upload: Upload,
    leftOut: Map<string, string>,
  ): Promise<BaseFile | undefined> {
    try {
      await using folder = await folderOf(root, path);
      await using file = await (folder ?? root).openFile(path.slice(path.lastIndexOf('/') + 1));
      const before = await file.stat({ bigint: true });
      if (!before.isFile()) return undefined;
      const { chunks, size } = await upload.read(file, Number(before.size));
      const after = await file.stat({ bigint: true });
      const isStable = stampOf(before) === stampOf(after) && size === Number(before.size);
      const executable = (after.mode & BigInt(constants.S_IXUSR)) !== 0n;
      return { executable, size, chunks, link: '', stamp: isStable ? stampOf(after) : '' };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EACCES') leftOut.set(path, 'may not be read by the runner');
      else if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(code!)) throw error;
      return undefined;
    }
  }

  async #reload(): Promise<number> {
    const { client, workspaceId, volumeId, data } = this.tools;
    const head = await client.open({ workspaceId, volumeId }, this.revision);
    if (!head.files) return head.revision;
    const { files, leftOut } = await scan(data);
    const { suspects, removed } = changesOf(this.base, files, leftOut.keys());
    const own = new Set([...suspects, ...removed]);
    const wanted = new Map<string, HeadFile>();
    for (const [path, file] of head.files) {
      const before = this.base.get(path);
      if (!own.has(path) && !(before && isSameFile(before, file))) wanted.set(path, file);
    }
    const gone = [...this.base.keys()].filter((path) => !head.files!.has(path) && !own.has(path));
    await removeFiles(data, gone);
    for (const path of gone) this.base.delete(path);
    const placed = await placeFiles(this.tools, wanted);
    for (const path of wanted.keys()) {
      const file = placed.get(path);
      // What could not be placed is not missing because the container removed it.
      if (file) this.base.set(path, file);
      else this.base.delete(path);
    }
    // What the container changed, and has not committed, is a change to this head from now on.
    for (const path of own) {
      const file = head.files.get(path);
      if (file) this.base.set(path, { ...file, stamp: '' });
      else this.base.delete(path);
    }
    this.revision = head.revision;
    return head.revision;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#working.then(work);
    this.#working = turn.catch(() => undefined);
    return turn;
  }
}

/** The folder that a file is in, opened step by step; undefined: the root itself. */
async function folderOf(root: OpenFolder, path: string): Promise<OpenFolder | undefined> {
  const names = path.split('/').slice(0, -1);
  let folder: OpenFolder | undefined;
  for (const name of names) {
    const inner: OpenFolder = await (folder ?? root)
      .folder(name)
      .finally(() => folder?.[Symbol.asyncDispose]());
    folder = inner;
  }
  return folder;
}

/** What a container is told that names a volume it does not have. */
export const volumeIsNotMounted = (name: string) =>
  new BerthError('not_found', `This container has no volume ${name}: the function has to name it.`, {
    field: 'name',
  });
