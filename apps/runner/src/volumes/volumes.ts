/**
 * The volumes of this node's containers. A copy lies in `work/<container>/<n>`: `data` is what the container has, `aside`
 * is where files are made ready, `copy.json` says what it is a copy of. A copy outlives its container, and this process,
 * until its last changes are committed.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import type { Mount } from '@berth/container-engine';
import { BerthError, type Logger } from '@berth/service-kit';
import { Backoff } from '../files/backoff';
import { untilAnswered } from '../files/until-answered';
import { writeAtomically } from '../files/write-atomically';
import { openFileCache } from './file-cache';
import type { Owner } from './place';
import { roomOn } from './room';
import { VolumeFolder, volumeIsNotMounted, type Committed, type FolderTools } from './volume-folder';
import type { Head, VolumeClient } from './volume-client';

/** How often a running container's changes are committed by themselves; at most a tenth of the time goes into looking. */
const BACKGROUND_MS = 5_000;
const BACKGROUND_SHARE = 10;
/** How long the end of a container waits for its last commit, which then goes on without it. */
const END_MS = 30_000;
/** What a last commit gets when the runner stops; what it does not manage is for the next start. */
const LEAVE_MS = 3_000;
/** Pauses between attempts to commit what a container left. */
const AGAIN_MS = { first: 500, max: 30_000 };

export interface Volumes {
  /**
   * Copies of all volumes that a container's spec names, as their heads are now. `say` reaches who reads its logs;
   * `signal` aborts when the container is not wanted any more.
   * Errors: `not_found` for a volume that is not there; `exhausted` where the disk has no room; `unavailable` when sync does not answer for half a minute.
   */
  open(
    containerId: string,
    spec: ContainerSpec,
    say: (text: string) => void,
    signal: AbortSignal,
  ): Promise<ContainerVolumes>;
  /** Publishes what a container changed in one of its volumes. Errors: `not_found`, `too_large`, `unavailable`. */
  commitVolume(containerId: string, name: string): Promise<Committed>;
  /** Gives a container what others have committed; the revision that it has then. Errors: as commitVolume. */
  reloadVolume(containerId: string, name: string): Promise<number>;
  /** Begins to commit what an earlier process left. */
  begin(): void;
  /** Waits for commits under way, for a moment: what is left is for the next start. */
  close(): Promise<void>;
}

export interface ContainerVolumes {
  mounts: Mount[];
  /** Tells where each volume is, for code that does not know its path: name to path. */
  env: Record<string, string>;
  /** Who the container has to be, so that both of us can change the files; undefined: whoever it is anyway. */
  user: Owner | undefined;
  /** The container runs: commit in the background. */
  begin(): void;
  /** The container has ended: its last changes are committed, now or as soon as sync answers. */
  end(leaving: AbortSignal): Promise<void>;
}

/** A volume of a container that runs. */
interface InUse {
  commit(): Promise<Committed>;
  reload(): Promise<number>;
}

interface Copy {
  workspaceId: string;
  volumeId: string;
  name: string;
  revision: number;
}

export interface VolumesOptions {
  folder: string;
  client: VolumeClient;
  /** Who containers are; undefined: the same as we. */
  owner: Owner | undefined;
  log: Logger;
  /** Of the disk, which volumes leave free. */
  reserveBytes: number;
  backgroundMs?: number;
}

export async function openVolumes({
  folder,
  client,
  owner,
  log,
  reserveBytes,
  backgroundMs = BACKGROUND_MS,
}: VolumesOptions): Promise<Volumes> {
  const work = join(folder, 'work');
  await mkdir(work, { recursive: true, mode: 0o700 });
  const room = roomOn(folder, reserveBytes);
  const cache = await openFileCache(join(folder, 'files'), client, log, room);
  const containers = new Map<string, Map<string, InUse>>();
  const stopping = new AbortController();
  /** Commits of copies whose containers are gone. */
  const leftBehind = new Set<Promise<void>>();

  const toolsOf = (root: string, { workspaceId, volumeId }: Copy): FolderTools => ({
    cache,
    room,
    client,
    workspaceId,
    volumeId,
    owner,
    data: join(root, 'data'),
    aside: join(root, 'aside'),
  });
  const note = (root: string, copy: Copy) => writeAtomically(join(root, 'copy.json'), JSON.stringify(copy));

  const make = async (root: string, head: Head, copy: Copy, signal: AbortSignal): Promise<VolumeFolder> => {
    const tools = toolsOf(root, copy);
    for (const path of [tools.data, tools.aside]) await mkdir(path, { recursive: true, mode: 0o755 });
    const made = await VolumeFolder.make(tools, head, signal);
    // Only now: what is not whole must not be taken for one from which files were removed.
    note(root, copy);
    return made;
  };

  /** Commits a copy that nobody writes to any more, however long sync is away, and takes it from the disk. */
  const settle = async (root: string, copy: Copy, commit: () => Promise<unknown>): Promise<void> => {
    const backoff = new Backoff(AGAIN_MS.first, AGAIN_MS.max);
    while (!stopping.signal.aborted) {
      try {
        await commit();
        await removeHostile(root);
        return;
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (error instanceof BerthError && !['unavailable', 'timeout', 'internal'].includes(error.kind)) {
          log.error(
            { err: error, volumeId: copy.volumeId },
            'changes to a volume cannot be committed, and are gone',
          );
          return await removeHostile(root);
        }
        log.warn({ err: error, volumeId: copy.volumeId }, 'changes to a volume wait to be committed');
        await backoff.wait(stopping.signal);
      }
    }
  };
  const settleSoon = (root: string, copy: Copy, commit: () => Promise<unknown>): Promise<void> => {
    const settled = settle(root, copy, commit)
      .catch((error: unknown) => log.error({ err: error }, 'a copy of a volume could not be removed'))
      .finally(() => leftBehind.delete(settled));
    leftBehind.add(settled);
    return settled;
  };

  const recover = async (containerFolder: string): Promise<void> => {
    for (const index of await readdir(containerFolder)) {
      const root = join(containerFolder, index);
      if (!existsSync(join(root, 'copy.json'))) continue; // Never whole: no container began with it.
      const copy = JSON.parse(await readFile(join(root, 'copy.json'), 'utf8')) as Copy;
      log.info(
        { volumeId: copy.volumeId },
        'what a container of an earlier start changed in a volume is committed',
      );
      await settleSoon(root, copy, async () => {
        const head = await client.open(copy);
        const found = VolumeFolder.found(toolsOf(root, copy), head, copy.revision);
        await found.commit({
          skipUnstable: false,
          signal: stopping.signal,
          unlessChangedSince: copy.revision,
        });
      });
      if (existsSync(root)) return;
    }
    await removeHostile(containerFolder);
  };

  const inUse = (containerId: string, name: string): InUse => {
    const found = containers.get(containerId)?.get(name);
    if (!found) throw volumeIsNotMounted(name);
    return found;
  };
  // Those that are there now, and not those of containers that begin meanwhile.
  const earlier = await readdir(work);

  return {
    async open(containerId, spec, say, signal) {
      const { workspaceId, environment } = spec;
      const root = join(work, containerId);
      const mounted = new Map<string, { folder: VolumeFolder; root: string; copy: Copy; path: string }>();
      try {
        for (const [index, [path, name]] of Object.entries(spec.volumes).sort().entries()) {
          const head = await headNamed(client, { workspaceId, environment, name });
          const copy = { workspaceId, volumeId: head.volumeId, name, revision: head.revision };
          const at = join(root, String(index));
          mounted.set(name, { folder: await make(at, head, copy, signal), root: at, copy, path });
        }
      } catch (error) {
        await rm(root, { recursive: true, force: true });
        throw error;
      }
      const ended = new AbortController();
      const said = new Set<string>();
      const sayOnce = (text: string) => {
        if (said.has(text)) return;
        said.add(text);
        say(`berth: ${text}\n`);
      };
      const sayLeftOut = (name: string, { leftOut }: Committed) => {
        for (const [path, why] of [...leftOut].slice(0, SAID_MAX)) {
          sayOnce(`volume ${name}: ${JSON.stringify(path)} is not kept: it ${why}.`);
        }
      };

      const noteRevision = (name: string) => {
        const { folder, root, copy } = mounted.get(name)!;
        if (folder.knownRevision === copy.revision) return;
        copy.revision = folder.knownRevision;
        note(root, copy);
      };
      const commitNow = async (name: string, skipUnstable: boolean, signal: AbortSignal) => {
        const committed = await mounted.get(name)!.folder.commit({ skipUnstable, signal });
        sayLeftOut(name, committed);
        noteRevision(name);
        return committed;
      };
      const reloadNow = async (name: string) => {
        const revision = await mounted.get(name)!.folder.reload();
        noteRevision(name);
        return revision;
      };
      const use = (name: string): InUse => ({
        commit: () => commitNow(name, false, stopping.signal),
        reload: () => reloadNow(name),
      });
      containers.set(containerId, new Map([...mounted.keys()].map((name) => [name, use(name)])));
      const inBackground = async (name: string) => {
        const { signal } = ended;
        for (let waitMs = backgroundMs; ;) {
          await pause(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
          if (signal.aborted) return;
          const beganAt = performance.now();
          try {
            await commitNow(name, true, signal);
          } catch (error) {
            if (signal.aborted) return;
            if (error instanceof BerthError && error.kind !== 'unavailable') {
              sayOnce(`volume ${name} could not be committed: ${error.message}`);
            } else log.warn({ err: error, containerId }, 'a volume could not be committed: trying again');
          }
          waitMs = Math.max(backgroundMs, BACKGROUND_SHARE * (performance.now() - beganAt));
        }
      };
      let background: Promise<unknown> = Promise.resolve();

      return {
        mounts: [...mounted.values()].map(({ root, path }) => ({
          source: join(root, 'data'),
          target: path,
          readOnly: false,
        })),
        env: envOf([...mounted].map(([name, { path }]) => [name, path])),
        user: mounted.size > 0 && owner === undefined ? itself() : undefined,
        begin() {
          background = Promise.all([...mounted.keys()].map(inBackground));
        },
        async end(leaving) {
          ended.abort();
          await background;
          containers.delete(containerId);
          const settled = [...mounted].map(([name, { root, copy }]) =>
            settleSoon(root, copy, () =>
              commitNow(name, false, stopping.signal).catch((error: unknown) => {
                if (error instanceof BerthError) {
                  sayOnce(`volume ${name} could not be committed at the end: ${error.message}`);
                }
                throw error;
              }),
            ),
          );
          const isSettled = Promise.all(settled).then(() => true);
          const isLate = pause(END_MS, false, { signal: leaving, ref: false }).catch(() =>
            pause(LEAVE_MS, false, { ref: false }),
          );
          if (await Promise.race([isSettled, isLate])) await rm(root, { recursive: true, force: true });
        },
      };
    },

    async commitVolume(containerId, name) {
      return inUse(containerId, name).commit();
    },

    async reloadVolume(containerId, name) {
      return inUse(containerId, name).reload();
    },

    begin() {
      for (const containerId of earlier) {
        const recovered = recover(join(work, containerId))
          .catch((error: unknown) =>
            log.error({ err: error, containerId }, 'a copy of a volume could not be looked at'),
          )
          .finally(() => leftBehind.delete(recovered));
        leftBehind.add(recovered);
      }
    },

    async close() {
      stopping.abort();
      await Promise.race([Promise.allSettled(leftBehind), pause(LEAVE_MS, undefined, { ref: false })]);
    },
  };
}

const envOf = (paths: [string, string][]): Record<string, string> =>
  paths.length === 0 ? {} : { BERTH_VOLUMES: JSON.stringify(Object.fromEntries(paths)) };

/** A runner that is not root can change files of its own user only. */
const itself = (): Owner | undefined =>
  process.getuid && process.getuid() !== 0 ? { uid: process.getuid(), gid: process.getgid!() } : undefined;

/** Reasons of one commit that are said. */
const SAID_MAX = 20;

/** A head that is not there is the user's to make. */
async function headNamed(
  client: VolumeClient,
  which: { workspaceId: string; environment: string; name: string },
) {
  try {
    return await untilAnswered(() => client.open(which));
  } catch (error) {
    if (!(error instanceof BerthError) || error.kind !== 'not_found') throw error;
    const { environment, name } = which;
    throw new BerthError(
      'not_found',
      `The environment ${environment} has no volume ${name}: make it again, or leave it out of the function.`,
      { field: 'volumes', cause: error },
    );
  }
}

/**
 * Takes a folder away in which hostile code may have dug deeper than a path can say. `rm` goes down name by name; Node's
 * own removal names whole paths, and fails.
 */
async function removeHostile(folder: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn('rm', ['-rf', '--', folder], { stdio: 'ignore' });
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`rm ended with ${code}`))));
  });
}
