/** Copies of volumes on a real disk: what a container changes in them, also one that means harm, and what becomes of it. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { BerthError, createLogger } from '@berth/service-kit';
import { eventually } from '@berth/testing';
import { openVolumes, type ContainerVolumes, type Volumes } from '../src/volumes/volumes';
import { StandInVolume } from './volume-stand-in';

const log = createLogger('test', 'silent');
const opened: Volumes[] = [];
let folder: string;
let volume: StandInVolume;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-volumes-'));
  volume = new StandInVolume();
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

const openNode = async (options = {}): Promise<Volumes> => {
  const made = await openVolumes({
    folder,
    client: volume,
    owner: undefined,
    log,
    reserveBytes: 0,
    backgroundMs: 3_600_000,
    ...options,
  });
  opened.push(made);
  return made;
};

/** A container with the volume, and what it does with it. */
class TestContainer {
  readonly said: string[] = [];

  private constructor(
    readonly id: string,
    private readonly node: Volumes,
    readonly volumes: ContainerVolumes,
    said: string[],
  ) {
    this.said = said;
  }

  static async start(
    node: Volumes,
    id: string,
    signal = new AbortController().signal,
  ): Promise<TestContainer> {
    const spec = ContainerSpec.fromPartial({
      workspaceId: 'wo-1',
      environment: 'main',
      volumes: { '/data': 'data' },
    });
    const said: string[] = [];
    return new TestContainer(id, node, await node.open(id, spec, (text) => said.push(text), signal), said);
  }

  path = (name: string) => join(this.volumes.mounts[0]!.source, name);

  write(name: string, content: string | Buffer): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), content);
  }

  read = (name: string) => readFileSync(this.path(name), 'utf8');
  commit = () => this.node.commitVolume(this.id, 'data');
  reload = () => this.node.reloadVolume(this.id, 'data');
  end = () => this.volumes.end(new AbortController().signal);
}

describe('a container', () => {
  test('begins with the head, and what it leaves is the next one', async () => {
    volume.put('models/weights', 'w1');
    volume.put('run.sh', '#!/bin/sh', { executable: true });
    volume.put('empty', '');
    volume.put('latest', '', { link: 'models/weights' });
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    expect(one.volumes.mounts).toMatchObject([{ target: '/data', readOnly: false }]);
    expect(JSON.parse(one.volumes.env.BERTH_VOLUMES!)).toEqual({ data: '/data' });
    expect(one.read('models/weights')).toBe('w1');
    expect(one.read('latest')).toBe('w1');
    expect(lstatSync(one.path('run.sh')).mode & 0o777).toBe(0o755);
    expect(lstatSync(one.path('empty')).size).toBe(0);

    one.write('models/new', 'n');
    appendFileSync(one.path('models/weights'), '+');
    rmSync(one.path('empty'));
    rmSync(one.path('latest'));
    symlinkSync('models/new', one.path('latest'));
    chmodSync(one.path('run.sh'), 0o644);
    await one.end();
    expect(volume.all()).toEqual({
      'models/new': 'n',
      'models/weights': 'w1+',
      'run.sh': '#!/bin/sh',
      latest: '-> models/new',
    });
    expect(volume.files.get('run.sh')!.executable).toBe(false);
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });

  test('moves only what is new, and nothing when nothing changed', async () => {
    for (let n = 0; n < 50; n++) volume.put(`file-${n}`, `content ${n}`);
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    const before = volume.revision;
    expect(await one.commit()).toMatchObject({ revision: before, changed: 0 });
    expect(volume.revision).toBe(before);
    one.write('file-7', 'changed');
    writeFileSync(one.path('file-8'), 'content 8'); // The same again.
    utimesSync(one.path('file-9'), new Date(), new Date());
    expect(await one.commit()).toMatchObject({ revision: before + 1, changed: 1 });
    expect(volume.puts).toBe(1);
    expect(await one.commit()).toMatchObject({ changed: 0 });
  });

  test('cannot hide a change behind the old size and time of a file', async () => {
    volume.put('a', 'old');
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    const { mtime, atime } = lstatSync(one.path('a'));
    writeFileSync(one.path('a'), 'new');
    utimesSync(one.path('a'), atime, mtime);
    await one.commit();
    expect(volume.text('a')).toBe('new');
  });

  test('sees what another one on its node committed only after a reload, and keeps its own changes over it', async () => {
    for (const name of ['a', 'b', 'c', 'd']) volume.put(name, `${name}1`);
    const node = await openNode();
    const [one, two] = [await TestContainer.start(node, 'one'), await TestContainer.start(node, 'two')];
    one.write('a', 'a by one');
    one.write('dir/new', 'by one');
    rmSync(one.path('b'));
    await one.commit();
    expect(two.read('a')).toBe('a1');
    two.write('c', 'c by two');
    rmSync(two.path('d'));
    one.write('d', 'd by one');
    await one.commit();
    await two.reload();
    expect(two.read('a')).toBe('a by one');
    expect(two.read('dir/new')).toBe('by one');
    expect(existsSync(two.path('b'))).toBe(false);
    expect(two.read('c')).toBe('c by two');
    expect(existsSync(two.path('d'))).toBe(false); // Its own change, which comes last.
    await two.commit();
    expect(volume.all()).toEqual({ a: 'a by one', c: 'c by two', 'dir/new': 'by one' });
    await one.reload();
    expect(readdirSync(one.path('.')).sort()).toEqual(['a', 'c', 'dir']);
    expect(await one.reload()).toBe(volume.revision);
  });

  test('writes to its own copy alone, though both copies come from one file', async () => {
    volume.put('shared', 'x'.repeat(100));
    const node = await openNode();
    const [one, two] = [await TestContainer.start(node, 'one'), await TestContainer.start(node, 'two')];
    writeFileSync(one.path('shared'), 'IN PLACE', { flag: 'r+' });
    expect(two.read('shared')).toBe('x'.repeat(100));
    expect((await TestContainer.start(node, 'three')).read('shared')).toBe('x'.repeat(100));
  });

  test('that opens a folder where the head has a file keeps what it made', async () => {
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    one.write('a/b', 'a folder');
    volume.put('a', 'a file');
    volume.put('c', 'c');
    await one.reload();
    expect(one.read('a/b')).toBe('a folder');
    expect(one.read('c')).toBe('c');
    await one.commit();
    expect(volume.text('a/b')).toBe('a folder');
  });

  test('is committed in the background once it has changed something, and not otherwise', async () => {
    const node = await openNode({ backgroundMs: 30 });
    const one = await TestContainer.start(node, 'one');
    one.volumes.begin();
    one.write('a', '1');
    await eventually(() => volume.text('a') === '1');
    one.write('b', '2');
    await eventually(() => volume.text('b') === '2');
    const { revision } = volume;
    await one.end();
    expect(volume.revision).toBe(revision);
  });

  test('names a volume that it does not have, or one that is not there', async () => {
    const node = await openNode();
    await TestContainer.start(node, 'one');
    await expect(node.commitVolume('one', 'other')).rejects.toMatchObject({
      kind: 'not_found',
      field: 'name',
    });
    await expect(node.reloadVolume('two', 'data')).rejects.toMatchObject({ kind: 'not_found' });
    volume.fails = new BerthError('not_found', 'No such volume.');
    await expect(TestContainer.start(node, 'three')).rejects.toMatchObject({
      kind: 'not_found',
      message: expect.stringContaining('main has no volume data'),
    });
    expect(readdirSync(join(folder, 'work'))).toEqual(['one']);
  });

  test('that is not wanted any more as it starts leaves nothing behind', async () => {
    for (let n = 0; n < 50; n++) volume.put(`file-${n}`, `content ${n}`);
    const node = await openNode();
    const unwanted = new AbortController();
    const starting = TestContainer.start(node, 'one', unwanted.signal);
    unwanted.abort(new Error('not wanted'));
    await expect(starting).rejects.toThrow('not wanted');
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });

  test('has a large file moved in chunks, and only those that changed', async () => {
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    const chunk = 4 * 1024 * 1024;
    const content = Buffer.alloc(10 * chunk + 5);
    for (let n = 0; n < 11; n++) content.writeUInt32BE(n + 1, n * chunk);
    one.write('large', content);
    await one.commit();
    expect(volume.puts).toBe(11);
    expect(volume.largestChunk).toBe(chunk);
    expect(volume.files.get('large')).toMatchObject({ size: content.length });
    const again = await TestContainer.start(node, 'two');
    expect(readFileSync(again.path('large')).equals(content)).toBe(true);
    appendFileSync(again.path('large'), 'end');
    await again.commit();
    expect(volume.puts).toBe(12);
  });
});

describe('user code that means harm', () => {
  test('makes links out of the folder: they are kept as links, and nothing of the host is read', async () => {
    const secret = join(folder, 'host-secret');
    writeFileSync(secret, 'of the host');
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    symlinkSync(secret, one.path('file-link'));
    symlinkSync(folder, one.path('folder-link'));
    one.write('real', 'x');
    await one.commit();
    expect(volume.all()).toEqual({ 'file-link': `-> ${secret}`, 'folder-link': `-> ${folder}`, real: 'x' });
    expect([...volume.chunks.values()].map(String)).toEqual(['x']);
  });

  test('puts a link in the place of a folder before a reload: nothing is written or removed beyond it', async () => {
    volume.put('dir/victim', 'old');
    volume.put('dir/gone', 'old');
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'victim'), 'of the host');
    writeFileSync(join(outside, 'gone'), 'of the host');
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    renameSync(one.path('dir'), one.path('moved'));
    symlinkSync(outside, one.path('dir'));
    volume.put('dir/victim', 'new');
    volume.put('dir/planted', 'new');
    volume.remove('dir/gone');
    await one.reload();
    expect(readdirSync(outside).sort()).toEqual(['gone', 'victim']);
    expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('of the host');
  });

  test('swaps a folder with a link all the time while it is committed: no byte of the host is taken', async () => {
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    for (let n = 0; n < 50; n++) writeFileSync(join(outside, `f${n}`), `host ${n}`);
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    for (let n = 0; n < 50; n++) one.write(`dir/f${n}`, `mine ${n}`);
    let turning = true;
    const turn = (async () => {
      symlinkSync(outside, one.path('link'));
      while (turning) {
        renameSync(one.path('dir'), one.path('aside'));
        renameSync(one.path('link'), one.path('dir'));
        await new Promise((resolve) => setImmediate(resolve));
        renameSync(one.path('dir'), one.path('link'));
        renameSync(one.path('aside'), one.path('dir'));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let n = 0; n < 10; n++) await one.commit();
    turning = false;
    await turn;
    expect([...volume.chunks.values()].map(String).filter((text) => text.startsWith('host'))).toEqual([]);
  });

  test('makes pipes, odd names and depths: those are named and left out, and all else is kept', async () => {
    volume.put('base', 'kept');
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    one.write('good', 'x');
    spawnSync('mkfifo', [one.path('pipe')]);
    writeFileSync(Buffer.concat([Buffer.from(one.path('bad-')), Buffer.from([0xff, 0xfe])]), 'x');
    one.write('line\nbreak', 'x');
    one.write(`${'d/'.repeat(200)}deep`, 'x');
    linkSync(one.path('good'), one.path('hard'));
    const { leftOut } = await one.commit();
    expect(volume.all()).toEqual({ base: 'kept', good: 'x', hard: 'x' });
    expect([...leftOut.values()].sort()).toEqual([
      'has a name that is not UTF-8',
      'has a name with a control character in it',
      'is below more than 128 folders',
      'is neither a file nor a folder nor a link',
    ]);
    await one.end();
    expect(one.said.join('')).toContain('berth: volume data: "pipe" is not kept: it is neither a file');
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });

  test('digs deeper than any path can say: the runner looks no deeper, and takes it all away', async () => {
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    one.write('good', 'x');
    const dig = 'import os\nfor _ in range(3000):\n  os.mkdir("d" * 50)\n  os.chdir("d" * 50)';
    expect(spawnSync('python3', ['-c', dig], { cwd: one.path('.') }).status).toBe(0);
    await one.end();
    expect(volume.all()).toEqual({ good: 'x' });
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });

  test('makes more files than a volume may have: it is told so, and the runner goes on', async () => {
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    const many = 'import os\nfor n in range(100001): os.mknod(str(n))';
    expect(spawnSync('python3', ['-c', many], { cwd: one.path('.') }).status).toBe(0);
    await expect(one.commit()).rejects.toMatchObject({
      kind: 'too_large',
      message: expect.stringContaining('100000 files'),
    });
    await one.end();
    expect(one.said.join('')).toMatch(/could not be committed at the end: .*100000 files/);
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  }, 30_000);

  test('makes a hole of a terabyte: it is told that no volume has that much, before a byte is read', async () => {
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    one.write('hole', '');
    truncateSync(one.path('hole'), 2 * 1024 ** 4);
    await expect(one.commit()).rejects.toMatchObject({ kind: 'too_large' });
    expect(volume.puts).toBe(0);
  });
});

describe('when things break', () => {
  test('a commit that fails in the middle changes nothing, and the next one has it all', async () => {
    volume.put('a', 'old');
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    one.write('a', 'new');
    one.write('b', 'new');
    volume.beforeCommit = () => {
      volume.beforeCommit = () => undefined;
      throw new BerthError('unavailable', 'away');
    };
    await expect(one.commit()).rejects.toMatchObject({ kind: 'unavailable' });
    expect(volume.all()).toEqual({ a: 'old' });
    expect(await one.commit()).toMatchObject({ changed: 2 });
    expect(volume.all()).toEqual({ a: 'new', b: 'new' });
  });

  test('what a container left while sync was away is committed when it is back', async () => {
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    one.write('a', 'last words');
    volume.fails = new BerthError('unavailable', 'away');
    const ended = one.end();
    expect(await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 700, 'waits'))])).toBe(
      'waits',
    );
    volume.fails = undefined;
    await ended;
    expect(volume.all()).toEqual({ a: 'last words' });
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });

  test('what a killed runner left is committed by the next, over nothing that came meanwhile', async () => {
    volume.put('a', 'old');
    volume.put('b', 'old');
    volume.put('c', 'old');
    volume.put('d', 'old');
    const killed = await TestContainer.start(await openNode(), 'one');
    killed.write('a', 'of the killed');
    killed.write('b', 'of the killed');
    killed.write('new', 'of the killed');
    rmSync(killed.path('c'));
    rmSync(killed.path('d'));
    volume.put('b', 'by another');
    volume.put('d', 'by another');
    volume.put('e', 'by another');
    mkdirSync(join(folder, 'work/half/0/data'), { recursive: true }); // Killed as it was made.

    const next = await openNode();
    const fresh = await TestContainer.start(next, 'two'); // Not taken for one that was left.
    next.begin();
    await eventually(() => volume.text('new'));
    await eventually(() => readdirSync(join(folder, 'work')).join() === 'two');
    expect(volume.all()).toEqual({
      a: 'of the killed',
      b: 'by another',
      d: 'by another',
      e: 'by another',
      new: 'of the killed',
    });
    expect(fresh.read('a')).toBe('old');
  });

  test('zeros take no room, in the cache and in copies, and what lies between them is kept', async () => {
    const MIB = 1024 * 1024;
    const zeros = createHash('sha256').update('zeros').digest('hex');
    volume.put('sparse', 'middle');
    const middle = volume.files.get('sparse')!.chunks[0]!;
    volume.chunks.set(zeros, Buffer.alloc(4 * MIB));
    volume.put('sparse', '', {
      size: 128 * MIB + 6,
      chunks: [...Array<string>(16).fill(zeros), middle, ...Array<string>(16).fill(zeros)],
    });
    const node = await openNode();
    const one = await TestContainer.start(node, 'one');
    const cached = readdirSync(join(folder, 'files/wo-1'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    for (const path of [one.path('sparse'), ...cached]) {
      const { size, blocks } = lstatSync(path);
      expect(size).toBe(128 * MIB + 6);
      expect(blocks * 512).toBeLessThan(MIB);
      const content = readFileSync(path);
      expect(content.subarray(64 * MIB, 64 * MIB + 6).toString()).toBe('middle');
      content.fill(0, 64 * MIB, 64 * MIB + 6);
      expect(content.equals(Buffer.alloc(content.length))).toBe(true);
    }
    expect(cached.length).toBe(1);
  });

  test('a head for which the disk has no room is not fetched, and the start says why', async () => {
    volume.put('large', 'x', { size: 2 ** 50 });
    let fetched = 0;
    const fetchChunks = volume.fetchChunks.bind(volume);
    volume.fetchChunks = (...asked) => (fetched++, fetchChunks(...asked));
    const node = await openNode();
    await expect(TestContainer.start(node, 'one')).rejects.toMatchObject({
      kind: 'exhausted',
      message: expect.stringContaining("The node's disk has no room for 1073741824 MiB"),
    });
    volume.put('large', 'x');
    const strict = await openNode({ folder: join(folder, 'strict'), reserveBytes: 2 ** 50 });
    await expect(TestContainer.start(strict, 'two')).rejects.toMatchObject({ kind: 'exhausted' });
    expect(fetched).toBe(0);
    await TestContainer.start(node, 'three');
  });

  test('files that nobody used for longest make room for new ones', async () => {
    const { openFileCache } = await import('../src/volumes/file-cache');
    const cache = await openFileCache(
      join(folder, 'cache'),
      volume,
      log,
      { check: async () => undefined },
      250,
    );
    for (const [index, letter] of ['a', 'b', 'c'].entries()) {
      volume.put(letter, letter.repeat(100));
      await cache.copyTo('wo-1', volume.files.get(letter)!, join(folder, `copy-${index}`));
    }
    const left = () => readdirSync(join(folder, 'cache/wo-1'), { recursive: true, withFileTypes: true });
    await eventually(() => left().filter((entry) => entry.isFile()).length === 2);
    await cache.copyTo('wo-1', volume.files.get('a')!, join(folder, 'again'));
    expect(readFileSync(join(folder, 'again'), 'utf8')).toBe('a'.repeat(100));
  });
});
