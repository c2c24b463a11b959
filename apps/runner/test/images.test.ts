/** Images as a node makes and keeps them, on a real Docker Engine: no service is asked but small stand-ins. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImageBuild, ImageDefinition } from '@berth/contracts/functions/v1/images';
import { ensureBaseImages, openEngine, type ContainerEngine } from '@berth/container-engine';
import { newId } from '@berth/database';
import Docker from 'dockerode';
import { pino } from 'pino';
import { openNodeImages } from '../src/images/open';
import { startRegistry } from './registry';
import { ImageBuildFailed, type BuildSettings, type NodeImages } from '../src/images/node-images';

const isThere = process.env.DOCKER_HOST || existsSync('/var/run/docker.sock');

(isThere ? describe : describe.skip)('on docker', () => {
  const docker = new Docker();
  const log = pino({ level: 'silent' });
  const settings: BuildSettings = {
    network: { certificates: undefined, pipIndexUrl: undefined, npmRegistryUrl: undefined },
    proxies: {},
    memoryMib: 256,
    cpus: 1,
    keptBytesMax: 1e12,
  };
  const trees = new Map<string, string>();
  const made: string[] = [];
  let folder: string;
  let engine: ContainerEngine;
  let node: NodeImages;

  /** Of every secret. */
  let variables: Record<string, string> = {};
  const openNode = (more: Partial<BuildSettings> = {}, build?: ImageBuild) =>
    openNodeImages(
      {
        engine,
        sources: { hold: (_, treeId) => ({ folder: Promise.resolve(trees.get(treeId)!), release() {} }) },
        images: { getImageBuild: async () => ({ build }) } as never,
        secrets: { openSecrets: async () => ({ env: variables }) } as never,
        log,
      },
      join(folder, 'images'),
      { ...settings, ...more },
    );

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-images-'));
    await ensureBaseImages(docker, {
      log: () => undefined,
      cacheDir: join(tmpdir(), 'berth-base-image-cache'),
    });
    engine = await openEngine('docker', {
      stateDir: folder,
      owner: newId('no'),
      ...(process.env.DOCKER_HOST ? { dockerHost: process.env.DOCKER_HOST } : {}),
    });
    node = await openNode();
  }, 240_000);
  afterAll(async () => {
    await node?.close();
    for (const id of made) {
      const tags = await docker.listImages({ filters: { reference: [`berth/*:${id}*`] } });
      for (const { RepoTags } of tags) for (const tag of RepoTags ?? []) await engine.removeImage(tag);
    }
    await engine?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (...commands: string[]) => ({
    step: { $case: 'runCommands' as const, value: { commands } },
  });
  const aTree = async (files: Record<string, string>): Promise<string> => {
    const treeId = newId('tr');
    const path = join(folder, treeId);
    await mkdir(path);
    for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
    trees.set(treeId, path);
    return treeId;
  };
  const aBuild = (definition: Partial<ImageDefinition>, bases: string[] = []): ImageBuild => {
    const imageId = newId('im');
    made.push(imageId);
    return ImageBuild.fromPartial({
      imageId,
      workspaceId: newId('wo'),
      attempt: 1,
      definition: ImageDefinition.fromPartial(definition as never),
      timeoutSeconds: 60,
      bases,
    });
  };
  const build = async (what: ImageBuild, on = node, signal = new AbortController().signal) => {
    const lines: string[] = [];
    await on.build(what, async (line) => void lines.push(line), signal);
    return lines;
  };
  const failureOf = async (what: ImageBuild, on = node) => {
    const error = await build(what, on).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof ImageBuildFailed)) throw error ?? new Error('it was built');
    return error.error;
  };
  const output = async (imageId: string, command: string) => {
    const id = await engine.create({
      name: newId('ta'),
      image: `berth/image:${imageId}`,
      command: ['/bin/sh', '-c', command],
    });
    await engine.start(id);
    await engine.wait(id);
    let text = '';
    for await (const { data } of engine.logs(id)) text += data.toString();
    await engine.remove(id);
    return text.trim();
  };
  /** Layers without a name that nothing is made of, of those that carry this word in what made them. */
  const dangling = async (word: string) => {
    const found = await docker.listImages({ filters: { dangling: ['true'] } });
    const histories = await Promise.all(
      found.map(
        async ({ Id }) => ((await docker.getImage(Id).history()) as { CreatedBy: string }[])[0]!.CreatedBy,
      ),
    );
    return histories.filter((by) => by.includes(word));
  };

  test('steps become an image: files, variables, folders, commands as they are written', async () => {
    const tree = await aTree({ 'a file.txt': 'from a tree' });
    const what = aBuild({
      steps: [
        { step: { $case: 'env', value: { variables: { A: 'say "$HOME" \\ ok', B: "it's" } } } },
        { step: { $case: 'workdir', value: { path: '/made here' } } },
        { step: { $case: 'copy', value: { tree, files: {}, to: 'sub' } } },
        run('printf "%s\\n" one \\\n  two > lines', 'echo "$A" >> lines'),
      ],
    });
    const lines = await build(what);
    expect(
      await output(what.imageId, 'cd "/made here"; cat lines "sub/a file.txt"; echo; echo "$A|$B"'),
    ).toBe(['one', 'two', 'say "$HOME" \\ ok', 'from a tree', `say "$HOME" \\ ok|it's`].join('\n'));
    expect(lines.filter((line) => line.startsWith('Step'))).toEqual([
      'Step 1 of 4: env A B',
      'Step 2 of 4: workdir /made here',
      'Step 3 of 4: copy to sub',
      expect.stringMatching(/^Step 4 of 4: run_commands printf/),
    ]);
  });

  test('a failed step is named, its output told, what was finished kept, and nothing half-made left', async () => {
    const word = newId('ev');
    const what = aBuild({ steps: [run(`echo ${word} > /a`), run(`echo oh no ${word} >&2; exit 3`)] });
    const error = await failureOf(what);
    expect(error).toMatchObject({
      type: 'build_failed',
      step: 1,
      stepText: expect.stringContaining('oh no'),
      message: expect.stringContaining('failed with exit code 3'),
      logTail: expect.arrayContaining([`oh no ${word}`]),
    });
    expect(await engine.findImage(`berth/image:${what.imageId}`)).toBeUndefined();
    expect(await dangling(word)).toEqual([]);
    expect(
      (await docker.listContainers({ all: true })).filter(({ Command }) => Command.includes(word)),
    ).toEqual([]);

    // With its last step made good it goes on from there.
    const definition = ImageDefinition.fromPartial({
      steps: [run(`echo ${word} > /a`), run('echo fine now')],
    });
    const lines = await build({ ...what, definition });
    expect(lines).toEqual([
      expect.stringMatching(/^Step 1 of 2/),
      '  as built before',
      expect.stringMatching(/^Step 2 of 2/),
      'fine now',
    ]);
    expect(await engine.findImage(`berth/cache:${what.imageId}-0`)).toBeUndefined();
  });

  test('a Containerfile with stages and a context is built, and only its image has a name that containers get', async () => {
    const word = newId('ev');
    const context = await aTree({ 'word.txt': word });
    const what = aBuild({
      containerfile: `FROM berth/base:stable AS one\nCOPY word.txt /w\nRUN cat /w /w > /twice\nFROM berth/base:stable\nCOPY --from=one /twice /twice\n`,
      context,
    });
    await build(what);
    expect(await output(what.imageId, 'cat /twice')).toBe(word + word);
    expect(await dangling('/twice')).toEqual([]);
  });

  test('a Containerfile that Docker cannot read is the user’s to change', async () => {
    const error = await failureOf(aBuild({ containerfile: 'FROM berth/base:stable\nRUNN x\n' }));
    expect(error).toMatchObject({ type: 'build_failed', message: expect.stringContaining('RUNN') });
  });

  test('a build that needs too much memory says so', async () => {
    const error = await failureOf(aBuild({ steps: [run(`python3 -c "x = bytearray(400 * 1024 * 1024)"`)] }));
    expect(error).toMatchObject({ type: 'out_of_memory', message: expect.stringContaining('256 MiB') });
  });

  test('a build that is given up leaves nothing', async () => {
    const word = newId('ev');
    const what = aBuild({ steps: [run(`echo ${word} > /a`), run(`echo ${word}; sleep 600`)] });
    const controller = new AbortController();
    const why = new Error('enough');
    const building = node.build(
      what,
      async (line) => {
        if (line === word) controller.abort(why);
      },
      controller.signal,
    );
    await expect(building).rejects.toMatchObject({
      reason: why,
      place: { step: 1, logTail: expect.arrayContaining([word]) },
    });
    expect(await engine.findImage(`berth/image:${what.imageId}`)).toBeUndefined();
    expect(await dangling(word)).toEqual([]);
  });

  test('what an image calls a volume is scratch in memory, and not the host’s disk without a limit', async () => {
    const what = aBuild({
      containerfile:
        'FROM berth/base:stable\nRUN mkdir -m 777 /data && echo kept > /data/word\nVOLUME /data\nHEALTHCHECK CMD touch /tmp/checked\n',
    });
    await build(what);
    expect(
      await output(
        what.imageId,
        'df -k --output=fstype,size /data | tail -1; echo x > /data/more && ls /data',
      ),
    ).toMatch(/^tmpfs +65536\nmore$/);
  });

  test('what it begins with may be missing, or not be built on', async () => {
    const nowhere = `localhost:1/${newId('ev').toLowerCase()}:1`;
    expect(await failureOf(aBuild({ base: nowhere }, [nowhere]))).toMatchObject({ type: 'infrastructure' });

    const trap = aBuild({ containerfile: 'FROM berth/base:stable\nONBUILD ADD http://x/ /x\n' });
    await build(trap);
    const base = `berth/image:${trap.imageId}`;
    expect(await failureOf(aBuild({ base }, [base]))).toMatchObject({
      type: 'base_not_found',
      message: expect.stringContaining('ONBUILD'),
    });
  });

  test('what is pulled with a secret is nobody else’s, and the secret is nowhere', async () => {
    const [username, password, word] = ['somebody', newId('ev'), newId('ev')];
    const registry = await startRegistry(username, password, word);
    try {
      const base = `${registry.host}/team/private:1`;
      const what = () => aBuild({ base, registrySecret: 'registry', environment: 'main' }, [base]);
      const stepless = what();
      const denied = { type: 'base_denied', message: expect.stringContaining(base) };
      variables = { REGISTRY_USERNAME: username, REGISTRY_PASSWORD: `not ${password}` };
      const refused = await failureOf(stepless);
      expect(refused).toMatchObject(denied);
      expect(JSON.stringify(refused)).not.toContain(password);
      expect(await failureOf(aBuild({ base }, [base]))).toMatchObject(denied);
      variables = { REGISTRY_USERNAME: username };
      expect(await failureOf(stepless)).toMatchObject({ type: 'secret_not_found' });

      variables = { REGISTRY_USERNAME: username, REGISTRY_PASSWORD: password };
      const lines = await build(stepless);
      const staged = aBuild(
        {
          containerfile: `FROM ${base} AS theirs\nFROM berth/base:stable\nCOPY --from=theirs /word /word\n`,
          registrySecret: 'registry',
          environment: 'main',
        },
        [base, 'berth/base:stable'],
      );
      lines.push(...(await build(staged)));
      expect(await output(staged.imageId, 'cat /word')).toBe(word);
      const history = await docker.getImage(`berth/image:${stepless.imageId}`).history();
      expect(JSON.stringify([lines, history])).not.toContain(password);

      // Nor does it stay where its pull ends before it has a name of its own.
      const tagImage = jest.spyOn(engine, 'tagImage').mockRejectedValueOnce(new Error('no name today'));
      await expect(build(what())).rejects.toThrow('no name today');
      expect(await engine.findImage(base)).toBeUndefined();
      const died = new Error('died');
      tagImage.mockRejectedValueOnce(died);
      const removeImage = jest.spyOn(engine, 'removeImage').mockRejectedValueOnce(died);
      await expect(build(what())).rejects.toThrow(died);
      tagImage.mockRestore();
      removeImage.mockRestore();
      expect(await engine.findImage(base)).toBeDefined();
      await (await openNode()).close();

      // Others neither find it here nor get it from there.
      expect(await engine.findImage(base)).toBeUndefined();
      expect(await engine.findImage(`berth/cache:${stepless.imageId}-base-0`)).toBeUndefined();
      expect(await failureOf(aBuild({ base }, [base]))).toMatchObject(denied);
      const hold = node.hold('wo-1', base);
      await hold.mayCreate();
      await expect(hold.ensure()).rejects.toThrow(/basic auth|unauthorized|denied/);
      hold.release();
    } finally {
      await registry.close();
    }
  });

  test('a node that misses an image makes it once, whoever wants it', async () => {
    const word = newId('ev');
    const what = aBuild({ steps: [run(`echo ${word}; sleep 0.2; echo ${word} > /a`)] });
    const fresh = await openNode({}, what);
    const held = fresh.hold(what.workspaceId, what.imageId);
    expect(held.reference).toBe(`berth/image:${what.imageId}`);
    await Promise.all(Array.from({ length: 10 }, () => fresh.hold(what.workspaceId, what.imageId).ensure()));
    expect(await output(what.imageId, 'cat /a')).toBe(word);
    await held.ensure();
    await fresh.close();
  });

  test('the least recently used images go when there are too many, never one that is held or has a container', async () => {
    const own = join(folder, newId('ev'));
    await mkdir(own);
    const [held, old, busy] = [0, 1, 2].map((index) =>
      aBuild({ steps: [run(`echo ${newId('ev')}-${index} > /a`)] }),
    );
    const tight = await openNodeImages(
      {
        engine,
        sources: { hold: () => ({ folder: Promise.resolve(''), release() {} }) },
        images: {} as never,
        secrets: {} as never,
        log,
      },
      own,
      { ...settings, keptBytesMax: 0 },
    );
    const hold = tight.hold('wo-1', held!.imageId);
    const busyHold = tight.hold('wo-1', busy!.imageId);
    await build(held!, tight);
    await build(busy!, tight);
    const name = newId('ta');
    const container = await engine.create({ name, image: `berth/image:${busy!.imageId}`, command: ['true'] });
    busyHold.release();
    await build(old!, tight);
    await tight.close(); // Waits for the collection.
    const isLeft = async ({ imageId }: ImageBuild) =>
      Boolean(await engine.findImage(`berth/image:${imageId}`));
    expect(await Promise.all([held!, busy!, old!].map(isLeft))).toEqual([true, true, false]);
    await engine.remove(container);
    hold.release();
  });

  test('layers of a build that died with its runner are removed at the next start', async () => {
    const word = newId('ev');
    const before = new Set((await docker.listImages({ all: true })).map(({ Id }) => Id));
    const tag = `berth/test:${word}`;
    await engine.build({
      containerfile: `FROM berth/base:stable\nRUN echo ${word} > /a\nRUN echo ${word} > /b`,
      tag,
    });
    const layers = (await docker.listImages({ all: true }))
      .map(({ Id }) => Id)
      .filter((id) => !before.has(id));
    const { id } = (await engine.findImage(tag))!;
    const child = await docker.createContainer({ Image: id, Cmd: ['true'] });
    await engine.tagImage(id, `${tag}-2`);
    await mkdir(join(folder, 'images', 'unfinished'), { recursive: true });
    await writeFile(join(folder, 'images', 'unfinished', 'im-1'), layers.join('\n') + '\n');
    await openNode();
    expect(await engine.findImage(tag)).toBeDefined(); // Somebody gave it a name.
    await child.remove();
    await docker.getImage(tag).remove({ noprune: true } as never);
    await docker.getImage(`${tag}-2`).remove({ noprune: true } as never);
    await writeFile(join(folder, 'images', 'unfinished', 'im-1'), layers.join('\n') + '\n');
    await openNode();
    expect(await dangling(word)).toEqual([]);
  });
});
