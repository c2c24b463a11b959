// Imports nothing of this repository, so that tools/images/build.mjs can load it with no build before it.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';

import type Docker from 'dockerode';

const REPOSITORY = 'berth/base';
const ALIAS_TAG = 'stable';

/** The name that stays the same; it points at the `berth/base:<hash>` that was ensured last. */
export const BASE_IMAGE = `${REPOSITORY}:${ALIAS_TAG}`;

export type Runtime = 'python' | 'node';

/** The image of a function that names none. One base holds both interpreters. */
export function defaultImage(runtime: Runtime): string {
  return DEFAULT_IMAGES[runtime];
}

const DEFAULT_IMAGES: Record<Runtime, string> = { python: BASE_IMAGE, node: BASE_IMAGE };

const PYTHON_IMAGE = 'python:3.11-slim-bookworm';
const NODE_IMAGE = `node:${process.versions.node.split('.')[0]}-bookworm-slim`;
const REGISTRY_PROBE_MS = 3_000;

/** All that decides what is in the image: a change here is a new image. */
const RECIPE = {
  version: 1,
  architecture: process.arch,
  node: process.versions.node,
  registry: [
    `FROM ${NODE_IMAGE} AS node`,
    `FROM ${PYTHON_IMAGE}`,
    'COPY --from=node /usr/local/bin/node /usr/local/bin/node',
    'ENV LANG=C.UTF-8',
    'CMD ["python3"]',
  ],
  debian: {
    suite: 'bookworm',
    // usr-is-merged keeps usrmerge out, and with it all of Perl: 49 MB of 166.
    packages: ['usr-is-merged', 'python3', 'ca-certificates', 'libstdc++6'],
    excluded: ['doc', 'man', 'locale', 'info', 'lintian', 'groff'],
    changes: ['ENV LANG=C.UTF-8', 'CMD ["python3"]'],
  },
} as const;

export interface BaseImageOptions {
  log(line: string): void;
  /** Where the unpacked Debian is kept, so that a wiped Docker gets it back in a second. */
  cacheDir: string;
  /** Build anew even where the image is there, for the distribution's own updates. */
  rebuild?: boolean;
  /** Default: a registry where one answers within three seconds, else Debian's packages. */
  source?: 'registry' | 'debian';
}

/**
 * Makes the base image present and returns its content-hashed name. Some milliseconds where it is; else it is
 * built from a registry or, on Debian as root, from packages. Safe to repeat and to run twice at once. Errors say
 * what to install.
 */
export async function ensureBaseImages(docker: Docker, options: BaseImageOptions): Promise<string> {
  const { log, cacheDir, rebuild = false } = options;
  const tag = createHash('sha256').update(JSON.stringify(RECIPE)).digest('hex').slice(0, 12);
  const reference = `${REPOSITORY}:${tag}`;
  const present = await imageId(docker, reference);
  if (present && !rebuild) {
    await pointAlias(docker, reference, present);
    return reference;
  }

  const archive = join(cacheDir, `base-${tag}.tar`);
  const started = Date.now();
  if (rebuild) await rm(archive, { force: true });
  if (existsSync(archive) && options.source !== 'registry') {
    log(`base image: importing ${archive}`);
    await importArchive(docker, archive, tag);
  } else if (await fromRegistry(docker, options)) {
    log(`base image: building from ${PYTHON_IMAGE} and ${NODE_IMAGE}`);
    await buildFromRegistry(docker, reference, rebuild, log);
  } else {
    await mkdir(cacheDir, { recursive: true });
    await assembleDebian(archive, log);
    log('base image: importing into Docker');
    await importArchive(docker, archive, tag);
  }

  await pointAlias(docker, reference, (await imageId(docker, reference))!);
  log(`base image: ${reference} ready after ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return reference;
}

async function imageId(docker: Docker, reference: string): Promise<string | undefined> {
  try {
    return (await docker.getImage(reference).inspect()).Id;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return undefined;
    throw error;
  }
}

async function pointAlias(docker: Docker, reference: string, id: string): Promise<void> {
  if ((await imageId(docker, BASE_IMAGE)) === id) return;
  await docker.getImage(reference).tag({ repo: REPOSITORY, tag: ALIAS_TAG });
}

/** Docker is asked to ask: what counts is whether the engine reaches a registry, by its own proxies and mirrors. */
async function fromRegistry(docker: Docker, { source, log }: BaseImageOptions): Promise<boolean> {
  if (source) return source === 'registry';
  log('base image: looking for a registry');
  try {
    await askRegistry(docker);
    return true;
  } catch {
    log(`base image: no registry has ${PYTHON_IMAGE} or none answers; using Debian's packages`);
    return false;
  }
}

/** dockerode's `distribution` cannot be aborted, and the engine itself waits long for a network that is not there. */
function askRegistry(docker: Docker): Promise<void> {
  return new Promise((resolve, reject) =>
    docker.modem.dial(
      {
        path: `/distribution/${PYTHON_IMAGE}/json`,
        method: 'GET',
        abortSignal: AbortSignal.timeout(REGISTRY_PROBE_MS),
        statusCodes: { 200: true, 401: 'no such image', 403: 'no such image', 500: 'server error' },
      },
      (error: unknown) => (error ? reject(error) : resolve()),
    ),
  );
}

async function buildFromRegistry(
  docker: Docker,
  reference: string,
  rebuild: boolean,
  log: (line: string) => void,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'berth-base-'));
  try {
    await writeFile(join(folder, 'Dockerfile'), RECIPE.registry.join('\n'));
    const stream = (await docker.buildImage(
      { context: folder, src: ['Dockerfile'] },
      { t: reference, rm: true, forcerm: true, pull: true, nocache: rebuild },
    )) as Readable;
    await readProgress(docker, stream, 'build the base image', (line) => log(`base image: ${line}`));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function importArchive(docker: Docker, archive: string, tag: string): Promise<void> {
  const stream = (await docker.importImage(createReadStream(archive), {
    repo: REPOSITORY,
    tag,
    changes: [...RECIPE.debian.changes],
  })) as unknown as Readable;
  await readProgress(docker, stream, `import ${archive}; delete it and run this again`, () => undefined);
}

function readProgress(
  docker: Docker,
  stream: Readable,
  doing: string,
  onLine: (line: string) => void,
): Promise<void> {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(
      stream,
      (error: Error | null) =>
        error ? reject(new Error(`Could not ${doing}: ${error.message}`, { cause: error })) : resolve(),
      ({ stream: text }: { stream?: string }) => text?.trim() && onLine(text.trim()),
    ),
  );
}

const run = promisify(execFile);

/** Writes a Debian root folder with both interpreters to `archive`. */
async function assembleDebian(archive: string, log: (line: string) => void): Promise<void> {
  await requireDebianRoot();
  if (!(await hasProgram('mmdebstrap'))) {
    log('base image: installing mmdebstrap');
    await aptGet('update');
    await aptGet('install', '--yes', '--no-install-recommends', 'mmdebstrap');
  }
  const work = await mkdtemp(join(tmpdir(), 'berth-base-'));
  try {
    await writeFile(join(work, 'apt.conf'), await hostAptSettings());
    await writeFile(join(work, 'sources.list'), await hostSources());
    log(`base image: assembling Debian ${RECIPE.debian.suite} from packages, half a minute`);
    await assemble(archive, work, log);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Under a lock, so that of two platforms that start at once the second finds the first one's archive. Its name is
 * put in place last: an archive that is there is whole.
 */
const ASSEMBLE = `
test -e "$BERTH_ARCHIVE" && exit 0
mmdebstrap "$@" "$BERTH_ARCHIVE.part.tar" "$BERTH_SOURCES" && mv "$BERTH_ARCHIVE.part.tar" "$BERTH_ARCHIVE"
`;

async function assemble(archive: string, work: string, log: (line: string) => void): Promise<void> {
  const { suite, packages, excluded } = RECIPE.debian;
  const options = [
    '--variant=apt',
    `--include=${packages.join(',')}`,
    '--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr',
    `--aptopt=${join(work, 'apt.conf')}`,
    ...excluded.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    '--customize-hook=install -D -m 0755 "$BERTH_NODE" "$1/usr/local/bin/node"',
    // The host's proxies and exceptions are the host's; the image keeps its sources only.
    '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
    '--customize-hook=rm -rf "$1/var/cache/debconf/"*-old "$1/var/log/"* "$1/var/cache/apt/"*.bin',
    suite,
  ];
  const child = spawn('flock', [`${archive}.lock`, '/bin/sh', '-c', ASSEMBLE, 'sh', ...options], {
    env: {
      ...process.env,
      BERTH_ARCHIVE: archive,
      BERTH_SOURCES: join(work, 'sources.list'),
      BERTH_NODE: process.execPath,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let tail = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-2_000);
    for (const [, line] of text.matchAll(
      /^I: ((?:installing|extracting|running|downloading|cleaning).*)$/gm,
    )) {
      log(`base image: ${line!.slice(0, 60)}`);
    }
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`Could not assemble the base image; mmdebstrap said:\n${tail}`);
}

async function requireDebianRoot(): Promise<void> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const debian = /^ID=debian$/m.test(release);
  if (debian && process.getuid?.() === 0) return;
  throw new Error(
    `Cannot get a base image: Docker reaches no registry that has ${PYTHON_IMAGE}, and ` +
      (debian
        ? 'only root can assemble one from packages. '
        : 'this is not Debian, whose packages could serve. ') +
      `Give Docker a registry (a mirror in daemon.json), or run this as root on Debian, or load an image by hand: ` +
      `docker load, then docker tag <image with python3 and node> ${BASE_IMAGE}.`,
  );
}

/**
 * The host's own entries for Debian itself, wherever they point: other vendors' repositories do not belong in the
 * image. What the entries offer is known once their lists are there.
 */
async function hostSources(): Promise<string> {
  const format = '$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)';
  const read = async () => {
    const { stdout } = await run('apt-get', ['indextargets', '--format', format]);
    const lines = stdout.split('\n').flatMap((line) => {
      const [createdBy, origin, uri, release, component] = line.split('|');
      if (createdBy !== 'Packages' || origin !== 'Debian') return [];
      return [`deb ${uri} ${release} ${component}`];
    });
    return [...new Set(lines)].join('\n');
  };
  const known = await read();
  if (known) return `${known}\n`;
  await aptGet('update');
  const updated = await read();
  if (updated) return `${updated}\n`;
  throw new Error(
    'Cannot get a base image: this host’s apt sources hold no Debian repository. Add one, then retry.',
  );
}

/** How the host reaches its mirrors: proxies, certificates, the age it accepts. */
async function hostAptSettings(): Promise<string> {
  const { stdout } = await run('apt-config', ['dump', 'Acquire']);
  const reach = /^Acquire::(http|https|Check-|Retries|Force|AllowInsecure)/;
  return [
    ...stdout.split('\n').filter((line) => reach.test(line)),
    'Acquire::Languages "none";',
    'APT::Install-Recommends "false";',
    '',
  ].join('\n');
}

async function aptGet(...args: string[]): Promise<void> {
  await run('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

async function hasProgram(name: string): Promise<boolean> {
  return run('sh', ['-c', `command -v ${name}`]).then(
    () => true,
    () => false,
  );
}
