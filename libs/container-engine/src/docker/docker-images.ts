import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import type Docker from 'dockerode';
import { pack, type Pack } from 'tar-stream';

import { EngineError, type BuildOptions, type BuildRequest, type PullOptions } from '../engine';
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
}

/** Throws `not_found` for an image no registry has, `unavailable` where none can be reached. */
export async function pullImage(
  docker: Docker,
  image: string,
  { onProgress, signal }: PullOptions,
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
    const stream = (await docker.pull(reference, signal ? { abortSignal: signal } : {})) as Readable;
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

/** Builds on the network that containers get. Throws `failed` with the end of the build's log. */
export async function buildImage(
  docker: Docker,
  networkId: string,
  { containerfile, contextDir, tag, buildArgs }: BuildRequest,
  { onLog, signal }: BuildOptions,
): Promise<string> {
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
  const packed = packContext(context, dockerfile, containerfile, contextDir).catch((error: Error) =>
    context.destroy(error),
  );
  const tail: string[] = [];
  const say = (line: string) => {
    if (!line.trim()) return;
    onLog?.(line);
    tail.push(line);
    if (tail.length > ERROR_LINES_MAX) tail.shift();
  };
  try {
    const stream = (await docker.buildImage(context as unknown as NodeJS.ReadableStream, {
      t: tag,
      dockerfile,
      rm: true,
      forcerm: true,
      networkmode: networkId,
      buildargs: { ...buildArgs },
      ...(signal ? { abortSignal: signal } : {}),
    })) as Readable;
    let rest = '';
    for await (const { stream: text, status, error } of readProgress(stream)) {
      if (status) say(status);
      // What a command prints arrives in pieces, which need not end where a line does.
      const lines = (rest + (text ?? '')).split('\n');
      rest = lines.pop()!;
      lines.forEach(say);
      if (error) {
        say(rest);
        throw new EngineError('failed', [`Could not build ${tag}: ${error}`, ...tail].join('\n'));
      }
    }
    say(rest);
    return tag;
  } catch (error) {
    signal?.throwIfAborted();
    throw toEngineError(error, `build ${tag}`);
  } finally {
    context.destroy(); // A build refused early leaves the rest of its context unread.
    await packed;
  }
}

async function* readProgress(stream: Readable): AsyncGenerator<Progress> {
  for await (const line of readLines(stream)) {
    if (line.trim()) yield JSON.parse(line) as Progress;
  }
}

async function packContext(target: Pack, name: string, text: string, folder?: string): Promise<void> {
  target.entry({ name }, text);
  if (folder) await packFolder(target, folder, folder);
  target.finalize();
}

/** Owners and times are left out, so that the same files are the same to the builder's cache. */
async function packFolder(target: Pack, root: string, folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    const name = relative(root, path);
    const { mode, size } = await lstat(path);
    const header = { name, mode: mode & 0o777, mtime: new Date(0) };
    if (entry.isDirectory()) {
      target.entry({ ...header, type: 'directory' });
      await packFolder(target, root, path);
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
