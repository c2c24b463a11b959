import { createWriteStream, renameSync } from 'node:fs';
import { chmod, lstat, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import { BerthError, type ClientOf, type Logger } from '@berth/service-kit';
import { isPathInside } from '../domain/tree-path';
import { Backoff } from '../files/backoff';

/** Longer than a restart of sync takes; its supervisor starts it again. */
const TRY_MS = 30_000;
const FETCH_MS = 600_000;

/** Source trees as folders. A tree never changes, so one that is here need not be fetched again. */
export interface Sources {
  /** Wants a tree for as long as a container mounts it; those that want it at the same time share one fetch. */
  hold(workspaceId: string, treeId: string): HeldSource;
}

export interface HeldSource {
  folder: Promise<string>;
  /** It may go now, when there are too many. Safe to repeat. */
  release(): void;
}

/** What trees that nobody holds may take together, beside which the least recently used are removed. */
export interface SourcesKept {
  trees: number;
  bytes: number;
}

const KEPT: SourcesKept = { trees: 1000, bytes: 8 * 1024 ** 3 };

interface Tree {
  folder: Promise<string>;
  /** Where it is, once it is there. */
  path: string | undefined;
  bytes: number | undefined;
  holders: number;
}

/** Begins with what an earlier process fetched; what it had not finished is removed. */
export async function openSources(
  folder: string,
  sync: Pick<ClientOf<typeof SyncServiceService>, 'fetchTree'>,
  log: Logger,
  kept = KEPT,
): Promise<Sources> {
  const aside = join(folder, 'unfinished');
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true, mode: 0o700 });
  /** By workspace and tree, the least recently used first. */
  const trees = new Map<string, Tree>();
  let count = 0;
  const newAside = (treeId: string) => join(aside, `${treeId}-${count++}`);

  const fetch = async (workspaceId: string, treeId: string): Promise<string> => {
    // By workspace: a tree id opens nothing to anybody but the workspace that has it.
    const final = join(folder, workspaceId, treeId);
    const partial = newAside(treeId);
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

  const begin = (key: string, workspaceId: string, treeId: string): Tree => {
    const tree: Tree = {
      folder: fetchForSure(workspaceId, treeId),
      path: undefined,
      bytes: undefined,
      holders: 0,
    };
    tree.folder.then(
      (path) => (tree.path = path),
      () => trees.delete(key),
    );
    return tree;
  };

  const prune = async (): Promise<void> => {
    for (const tree of [...trees.values()]) {
      // One that somebody else took away takes nothing, and is dropped from the record below.
      if (tree.path) tree.bytes ??= await bytesOf(tree.path).catch(() => 0);
    }
    const idle = [...trees].filter(([, { holders, path }]) => holders === 0 && path);
    let bytes = idle.reduce((sum, [, tree]) => sum + (tree.bytes ?? 0), 0);
    let left = idle.length;
    for (const [key, tree] of idle) {
      if (left <= kept.trees && bytes <= kept.bytes) break;
      left--;
      bytes -= tree.bytes ?? 0;
      if (tree.holders > 0) continue; // Somebody came for it meanwhile.
      // In one go with that look: whoever wants it from here on fetches it anew.
      const gone = newAside('removed');
      trees.delete(key);
      renameSync(tree.path!, gone);
      await rm(gone, { recursive: true, force: true });
    }
  };
  let pruning: Promise<void> | undefined;
  let again = false;
  const pruneSoon = () => {
    again = true;
    pruning ??= (async () => {
      while (again) {
        again = false;
        await prune();
      }
    })()
      .catch((error: unknown) => log.warn({ err: error }, 'source trees could not be removed'))
      .finally(() => (pruning = undefined));
  };

  for (const { key, path } of await treesIn(folder, aside)) {
    trees.set(key, { folder: Promise.resolve(path), path, bytes: undefined, holders: 0 });
  }
  pruneSoon();

  return {
    hold(workspaceId, treeId) {
      const key = `${workspaceId}/${treeId}`;
      const tree = trees.get(key) ?? begin(key, workspaceId, treeId);
      tree.holders++;
      trees.set(key, tree);
      let isHeld = true;
      return {
        folder: tree.folder,
        release() {
          if (!isHeld) return;
          isHeld = false;
          tree.holders--;
          if (trees.get(key) !== tree) return; // It could not be fetched.
          // The last in the order, also for the next process, which knows the time of its folder only.
          trees.delete(key);
          trees.set(key, tree);
          const now = new Date();
          if (tree.path) utimes(tree.path, now, now).catch(() => undefined);
          pruneSoon();
        },
      };
    },
  };
}

/** What is in the folder from an earlier process, the least recently used first. */
async function treesIn(folder: string, aside: string): Promise<{ key: string; path: string }[]> {
  const found: { key: string; path: string; usedAt: number }[] = [];
  for (const workspace of await foldersIn(folder)) {
    if (join(folder, workspace) === aside) continue;
    for (const tree of await foldersIn(join(folder, workspace))) {
      const path = join(folder, workspace, tree);
      found.push({ key: `${workspace}/${tree}`, path, usedAt: (await stat(path)).mtimeMs });
    }
  }
  return found.sort((a, b) => a.usedAt - b.usedAt);
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** What its files hold together. */
async function bytesOf(tree: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await lstat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
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
