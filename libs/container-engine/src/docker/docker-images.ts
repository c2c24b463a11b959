import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import type Docker from 'dockerode';
import { pack, type Pack } from 'tar-stream';

import {
  BuildError,
  EngineError,
  type BuildOptions,
  type BuildRequest,
  type ImageSummary,
  type PullOptions,
} from '../engine';
import { readLines } from '../lines';
import { toEngineError } from './docker-error';

/** How much of a failed build's log its error carries. */
const ERROR_LINES_MAX = 20;

interface Progress {
  stream?: string;
  status?: string;
  id?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { code?: number };
}

/** Throws `not_found` for an image no registry has, `unavailable` where none can be reached. */
export async function pullImage(
  docker: Docker,
  image: string,
  { auth, onProgress, signal }: PullOptions,
): Promise<void> {
  if (/^berth\//.test(image)) {
    // Anyone could own that name on a public registry.
    throw new EngineError('not_found', `${image} is built, not pulled: run node tools/images/build.mjs.`, {
      field: 'image',
    });
  }
  try {
    // Without a tag the engine would pull every one.
    const reference = /(:[^/]+|@sha256:[0-9a-f]+)$/.test(image) ? image : `${image}:latest`;
    const stream = (await docker.pull(reference, {
      ...(auth ? { authconfig: { ...auth, serveraddress: registryOf(reference) } } : {}),
      ...(signal ? { abortSignal: signal } : {}),
    })) as Readable;
    for await (const { status, id, error } of readProgress(stream)) {
      if (error) throw new EngineError(kindOfPullFailure(error), `Could not pull ${image}: ${error}`);
      if (status) onProgress?.(id ? `${id}: ${status}` : status);
    }
  } catch (error) {
    signal?.throwIfAborted();
    const failure = toEngineError(error, `pull ${image}`);
    if (failure.kind !== 'failed') throw failure;
    throw new EngineError(kindOfPullFailure(failure.message), failure.message, { cause: error });
  }
}

function kindOfPullFailure(message: string): EngineError['kind'] {
  if (/manifest unknown|not found|does not exist|access denied/i.test(message)) return 'not_found';
  return /dial tcp|timeout|lookup|connection|TLS/i.test(message) ? 'unavailable' : 'failed';
}

/** As Docker reads references: what stands before the first slash, if it looks like a host. */
function registryOf(reference: string): string {
  const [first, rest] = reference.split(/\/(.*)/);
  return rest && /[.:]|^localhost$/.test(first!) ? first! : 'https://index.docker.io/v1/';
}

export async function findImage(docker: Docker, image: string): Promise<ImageSummary | undefined> {
  try {
    const { Id, Size, RepoTags, Config } = await docker.getImage(image).inspect();
    return {
      id: Id,
      tags: RepoTags ?? [],
      bytes: Size,
      onBuild: (Config as { OnBuild?: string[] | null }).OnBuild ?? [],
    };
  } catch (error) {
    const failure = toEngineError(error, `look for image ${image}`);
    if (failure.kind === 'not_found') return undefined;
    throw failure;
  }
}

export async function tagImage(docker: Docker, image: string, tag: string): Promise<void> {
  const [, repo, name] = /^(.+?)(?::([^/:]+))?$/.exec(tag)!;
  try {
    await docker.getImage(image).tag({ repo: repo!, tag: name ?? 'latest' });
  } catch (error) {
    throw toEngineError(error, `name an image ${tag}`);
  }
}

export async function removeImage(docker: Docker, image: string): Promise<void> {
  try {
    await docker.getImage(image).remove();
  } catch (error) {
    const failure = toEngineError(error, `remove image ${image}`);
    if (failure.kind !== 'not_found') throw failure;
  }
}

/** Builds on the network that containers get. Throws `failed` with the end of the build's log. */
export async function buildImage(
  docker: Docker,
  networkId: string,
  request: BuildRequest,
  { onLog, onInstruction, onLayer, signal }: BuildOptions,
): Promise<string> {
  const { containerfile, contextDir, tag, buildArgs, memoryBytes, cpus } = request;
  if (!containerfile.trim())
    throw new EngineError('invalid', 'containerfile is empty.', { field: 'containerfile' });
  if (!/^[a-z0-9][\w.\-/:]{0,254}$/.test(tag)) {
    throw new EngineError('invalid', 'tag is not an image name.', { field: 'tag' });
  }
  if (contextDir && !(await lstat(contextDir).catch(() => undefined))?.isDirectory()) {
    throw new EngineError('invalid', `contextDir ${contextDir} is not a folder.`, { field: 'contextDir' });
  }

  const dockerfile = `.containerfile-${randomUUID()}`;
  const context = pack();
  const packed = packContext(context, dockerfile, request).catch((error: Error) => context.destroy(error));
  const tail: string[] = [];
  const containers = new Set<string>();
  const say = async (line: string) => {
    if (!line.trim()) return;
    const [, index, instruction] = /^Step (\d+)\/\d+ : ([^]*)$/.exec(line) ?? [];
    if (index) await onInstruction?.(Number(index) - 1, instruction!);
    const [, layer] = /^ ---> ([0-9a-f]{12})$/.exec(line) ?? [];
    if (layer) await onLayer?.(layer);
    const [, container] = /^ ---> Running in ([0-9a-f]{12})$/.exec(line) ?? [];
    if (container) containers.add(container);
    await onLog?.(line);
    tail.push(line);
    if (tail.length > ERROR_LINES_MAX) tail.shift();
  };
  const began = Date.now();
  try {
    const stream = (await docker.buildImage(context as unknown as NodeJS.ReadableStream, {
      t: tag,
      dockerfile,
      rm: true,
      forcerm: true,
      networkmode: networkId,
      buildargs: { ...buildArgs },
      ...(memoryBytes ? { memory: memoryBytes, memswap: memoryBytes } : {}),
      ...(cpus ? { cpuperiod: CPU_PERIOD_US, cpuquota: Math.round(cpus * CPU_PERIOD_US) } : {}),
      ...(signal ? { abortSignal: signal } : {}),
    })) as Readable;
    let rest = '';
    for await (const { stream: text, status, error, errorDetail } of readProgress(stream)) {
      if (status) await say(status);
      // What a command prints arrives in pieces, which need not end where a line does.
      const lines = (rest + uncoloured(text ?? '')).split('\n');
      rest = lines.pop()!;
      for (const line of lines) await say(line);
      if (error) {
        await say(rest);
        throw new BuildError(
          [`Could not build ${tag}: ${error}`, ...tail].join('\n'),
          error,
          errorDetail?.code,
          await ranOutOfMemory(docker, containers, began),
        );
      }
      // A command that ends no line must not fill the memory.
      if (rest.length > LINE_LENGTH_MAX) {
        await say(rest);
        rest = '';
      }
    }
    await say(rest);
    return tag;
  } catch (error) {
    signal?.throwIfAborted();
    throw toEngineError(error, `build ${tag}`);
  } finally {
    context.destroy(); // A build refused early leaves the rest of its context unread.
    await packed;
  }
}

const STDERR = { before: '\u001b[91m', after: '\u001b[0m' };

/** Docker paints each piece that a command prints to stderr. */
const uncoloured = (text: string): string =>
  text.startsWith(STDERR.before) && text.endsWith(STDERR.after)
    ? text.slice(STDERR.before.length, -STDERR.after.length)
    : text;

const CPU_PERIOD_US = 100_000;
const LINE_LENGTH_MAX = 64 * 1024;

/** Docker takes a build's containers away before it says how they ended; its events know. */
async function ranOutOfMemory(
  docker: Docker,
  containers: ReadonlySet<string>,
  began: number,
): Promise<boolean> {
  const events = (await docker.getEvents({
    since: Math.floor(began / 1000),
    until: Math.ceil(Date.now() / 1000),
    filters: { type: ['container'], event: ['oom'] },
  })) as unknown as Readable;
  for await (const line of readLines(events)) {
    if (!line.trim()) continue;
    const { Actor } = JSON.parse(line) as { Actor?: { ID?: string } };
    if (containers.has(Actor?.ID?.slice(0, 12) ?? '')) return true;
  }
  return false;
}

async function* readProgress(stream: Readable): AsyncGenerator<Progress> {
  for await (const line of readLines(stream)) {
    if (line.trim()) yield JSON.parse(line) as Progress;
  }
}

async function packContext(
  target: Pack,
  name: string,
  { containerfile, contextDir, contextFolders = {}, contextFiles = {} }: BuildRequest,
): Promise<void> {
  target.entry({ name }, containerfile);
  for (const [file, content] of Object.entries(contextFiles)) {
    target.entry({ name: file, mode: 0o644, mtime: new Date(0) }, content);
  }
  for (const [at, folder] of Object.entries(contextFolders)) {
    target.entry({ name: at, type: 'directory', mode: 0o755, mtime: new Date(0) });
    await packFolder(target, folder, folder, at);
  }
  if (contextDir) await packFolder(target, contextDir, contextDir);
  target.finalize();
}

/** Owners and times are left out, so that the same files are the same to the builder's cache. */
async function packFolder(target: Pack, root: string, folder: string, at = ''): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    const name = join(at, relative(root, path));
    const { mode, size } = await lstat(path);
    const header = { name, mode: mode & 0o777, mtime: new Date(0) };
    if (entry.isDirectory()) {
      target.entry({ ...header, type: 'directory' });
      await packFolder(target, root, path, at);
    } else if (entry.isSymbolicLink()) {
      target.entry({ ...header, type: 'symlink', linkname: await readlink(path) });
    } else if (entry.isFile()) {
      await pipeline(
        createReadStream(path, size ? { end: size - 1 } : {}),
        target.entry({ ...header, size }),
      );
    }
  }
}
