import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import Docker from 'dockerode';

import { BASE_IMAGE, ensureBaseImages, openEngine, type ContainerEngine } from '../src';
import { dockerHost, until } from './conformance';

const docker = new Docker();
let engine: ContainerEngine;
let folder: string;
let tag: string;
// By which what a build left without a name is found.
const label = `berth.test=${randomBytes(6).toString('hex')}`;
const from = `FROM ${BASE_IMAGE}\nLABEL ${label}\n`;

beforeAll(async () => {
  const cacheDir = join(tmpdir(), 'berth-base-image-cache');
  await ensureBaseImages(docker, { log: () => undefined, cacheDir });
  folder = await mkdtemp(join(tmpdir(), 'berth-build-'));
  engine = await openEngine('docker', {
    dockerHost,
    stateDir: folder,
    owner: `test-${randomBytes(6).toString('hex')}`,
  });
}, 240_000);
afterAll(async () => {
  // A build that was given up lets go of its layer a moment later.
  const filters = { dangling: ['true'], label: [label] };
  await until(async () => {
    await docker.pruneImages({ filters });
    return !(await docker.listImages({ filters })).length;
  });
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  tag = `berth-test/build:${randomBytes(6).toString('hex')}`;
});
afterEach(async () => {
  await docker
    .getImage(tag)
    .remove({ force: true })
    .catch(() => undefined);
});

test('an image is built from a Containerfile and a folder, with its log', async () => {
  const contextDir = join(folder, 'context');
  await mkdir(join(contextDir, 'sub'), { recursive: true });
  await writeFile(join(contextDir, 'sub', 'big'), 'x'.repeat(300_000));
  await writeFile(join(contextDir, 'empty'), '');
  await symlink('sub/big', join(contextDir, 'link'));
  const lines: string[] = [];
  const reference = await engine.build(
    {
      containerfile: `${from}ARG WORD\nCOPY . /made\nRUN echo "built $WORD $(stat -Lc %s /made/link)"\n`,
      contextDir,
      tag,
      buildArgs: { WORD: 'well' },
    },
    { onLog: (line) => lines.push(line) },
  );
  expect(reference).toBe(tag);
  expect(lines).toContain('built well 300000');
  expect(await engine.hasImage(tag)).toBe(true);
});

test('a line of the log that a command prints piece by piece is one line', async () => {
  const lines: string[] = [];
  const containerfile = `${from}RUN printf 'one ' && sleep 0.2 && printf 'line\\nand its end'\n`;
  await engine.build({ containerfile, tag }, { onLog: (line) => lines.push(line) });
  expect(lines).toContain('one line');
  expect(lines.some((line) => line.startsWith('and its end'))).toBe(true);
});

test('a failed build gives the end of its log and leaves no tag', async () => {
  const containerfile = `${from}RUN echo the reason >&2; exit 3\n`;
  await expect(engine.build({ containerfile, tag })).rejects.toMatchObject({
    kind: 'failed',
    message: expect.stringMatching(/the reason/) as string,
  });
  expect(await engine.hasImage(tag)).toBe(false);
});

test.each([
  ['containerfile', { containerfile: ' ' }],
  ['tag', { tag: 'Not A Tag' }],
  ['contextDir', { contextDir: '/no/such/folder' }],
])('a bad %s is named', async (field, bad) => {
  const request = { containerfile: `FROM ${BASE_IMAGE}`, tag, ...bad };
  await expect(engine.build(request)).rejects.toMatchObject({ kind: 'invalid', field });
});

test('a build can be given up', async () => {
  const stop = new AbortController();
  const building = engine.build(
    { containerfile: `${from}RUN echo begun && sleep 60\n`, tag },
    { signal: stop.signal, onLog: (line) => line === 'begun' && stop.abort() },
  );
  await expect(building).rejects.toMatchObject({ name: 'AbortError' });
  expect(await engine.hasImage(tag)).toBe(false);
});
