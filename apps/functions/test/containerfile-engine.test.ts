/** Containerfiles that hide from our reader what a Docker Engine does: on a real one, with an image of somebody else on it. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBaseImages, openEngine, type ContainerEngine } from '@berth/container-engine';
import { newId } from '@berth/database';
import Docker from 'dockerode';
import { readContainerfile } from '../src/domain/containerfile';

const isThere = process.env.DOCKER_HOST || existsSync('/var/run/docker.sock');

(isThere ? describe : describe.skip)('on docker', () => {
  const docker = new Docker();
  const word = newId('ev');
  const theirs = `berth-test/theirs:${word.toLowerCase()}`;
  const ours = `berth-test/ours:${word.toLowerCase()}`;
  let folder: string;
  let engine: ContainerEngine;
  let id: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-containerfile-'));
    await ensureBaseImages(docker, {
      log: () => undefined,
      cacheDir: join(tmpdir(), 'berth-base-image-cache'),
    });
    engine = await openEngine('docker', {
      stateDir: folder,
      owner: newId('no'),
      ...(process.env.DOCKER_HOST ? { dockerHost: process.env.DOCKER_HOST } : {}),
    });
    await engine.build({
      containerfile: `FROM berth/base:stable\nRUN echo ${word} > /word\n`,
      tag: theirs,
    });
    id = (await engine.findImage(theirs))!.id.replace('sha256:', '').slice(0, 40);
  }, 240_000);
  afterAll(async () => {
    for (const image of [ours, theirs]) await engine?.removeImage(image);
    await engine?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  /** What an image that is built of it has of theirs; undefined where it is refused. */
  const stolen = async (containerfile: string): Promise<string | undefined> => {
    let text: string;
    try {
      ({ text } = readContainerfile(containerfile));
    } catch {
      return undefined;
    }
    await engine.build({ containerfile: text, tag: ours });
    const container = await engine.create({
      name: newId('ta'),
      image: ours,
      command: ['/bin/sh', '-c', 'cat /word /stolen/word 2>/dev/null; true'],
    });
    await engine.start(container);
    await engine.wait(container);
    let output = '';
    for await (const { data } of engine.logs(container)) output += data.toString();
    await engine.remove(container);
    await engine.removeImage(ours);
    return output.trim() || undefined;
  };

  test.each<[string, (id: string) => string]>([
    [
      'ONBUILD',
      (id) => `FROM berth/base:stable AS a\nONBUILD COPY --from=${id} / /stolen\nFROM a\nRUN true\n`,
    ],
    ['two backslashes', (id) => `FROM berth/base:stable\nRUN echo \\\\\nFROM ${id}\nRUN true\n`],
    ['three backslashes', (id) => `FROM berth/base:stable\nRUN echo \\\\\\\nFROM ${id}\nRUN true\n`],
    ['two arguments', (id) => `ARG A=x B=${id}\nFROM \${B:-berth/base:stable}\nRUN true\n`],
    [
      'a stage that is named as they are',
      (id) => `FROM berth/base:stable AS f${id}\nCOPY --from=${id} /word /word\n`,
    ],
    ['its own name, an id', (id) => `FROM berth/base:stable AS ${id}\nCOPY --from=${id} /word /word\n`],
    ['an id', (id) => `FROM ${id.slice(0, 12)}\nRUN true\n`],
  ])('%s gets nothing of somebody else', async (_, containerfile) =>
    expect(await stolen(containerfile(id))).toBeUndefined(),
  );

  test('what was read is built as it was meant', async () => {
    const text = `# a\nARG B=base\nFROM berth/\${B} AS One\nARG W="x y"\nRUN echo "$W" \\\n  # why\n\n  '\\\\' > /word\nFROM one\nCOPY --from=ONE /word /stolen/word\nCMD ["true"]\n`;
    expect(await stolen(text)).toBe('x y \\\nx y \\');
  });
});
