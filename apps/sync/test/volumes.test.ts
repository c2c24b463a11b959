/** Volumes: what commits make of each other, what is kept, and who may see it. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { SyncServiceService } from '@berth/contracts/sync/v1/sync';
import {
  CommitVolumeRequest,
  ListVolumeFilesRequest,
  ListVolumesRequest,
  OpenVolumeRequest,
  ReadVolumeFileRequest,
  VolumeFile,
  VolumeServiceService,
} from '@berth/contracts/sync/v1/volume';
import { WorkspaceServiceService } from '@berth/contracts/workspace/v1/workspace';
import { newId } from '@berth/database';
import {
  BerthError,
  defineService,
  implement,
  type CallContext,
  type ClientOf,
  type ServiceModule,
} from '@berth/service-kit';
import { ask, testBed, type TestBed } from '@berth/testing';
import { CHUNK_BYTES_MAX } from '../src/domain/chunk';
import { sync } from '../src/service';

type Client = ClientOf<typeof VolumeServiceService>;

/** Knows `main` and `prod` in every workspace. */
const workspaceStandIn: ServiceModule = defineService('workspace', async () => {
  const refuse = () => Promise.reject(new BerthError('unimplemented', 'This stand-in does not do this.'));
  return {
    services: [
      implement(WorkspaceServiceService, {
        createWorkspace: refuse,
        getWorkspace: refuse,
        listWorkspaces: refuse,
        createEnvironment: refuse,
        listEnvironments: refuse,
        getEnvironment: async ({ name }) => {
          if (!['', 'main', 'prod'].includes(name)) {
            throw new BerthError('not_found', 'No such environment.', { field: 'name' });
          }
          return { environment: { environmentId: newId('en'), name: name || 'main', createdAt: new Date() } };
        },
      }),
    ],
    async [Symbol.asyncDispose]() {},
  };
});

let bed: TestBed;
let gateway: Client;
let runner: Client;
let chunks: ClientOf<typeof SyncServiceService>;

beforeAll(async () => {
  bed = await testBed();
  await bed.start(workspaceStandIn);
  await bed.start(sync);
  gateway = bed.connect(VolumeServiceService, 'sync', 'gateway');
  runner = bed.connect(VolumeServiceService, 'sync', 'runner');
  chunks = bed.connect(SyncServiceService, 'sync', 'runner');
});
afterAll(() => bed?.close());

const hashOf = (content: Buffer) => createHash('sha256').update(content).digest('hex');

/** A volume of a workspace of its own, and what one does with it. */
class TestVolume {
  private constructor(
    readonly workspaceId: string,
    readonly caller: CallContext,
    readonly volumeId: string,
  ) {}

  static async make(): Promise<TestVolume> {
    const workspaceId = newId('wo');
    const caller = await bed.caller({ workspaceId, role: 'member' });
    const { volume } = await gateway.createVolume({ name: 'data', environment: '' }, { for: caller });
    return new TestVolume(workspaceId, caller, volume!.volumeId);
  }

  /** An entry whose chunks are there. */
  async file(path: string, content: string | Buffer, more: Partial<VolumeFile> = {}): Promise<VolumeFile> {
    const bytes = Buffer.from(content);
    const hashes: string[] = [];
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES_MAX) {
      const part = bytes.subarray(at, at + CHUNK_BYTES_MAX);
      hashes.push(hashOf(part));
      await chunks.putChunk({ hash: hashOf(part), content: part, workspaceId: this.workspaceId });
    }
    return VolumeFile.fromPartial({ path, size: BigInt(bytes.length), chunks: hashes, ...more });
  }

  async commit(request: Partial<CommitVolumeRequest>): Promise<number> {
    const { volumeId, workspaceId } = this;
    const { revision } = await runner.commitVolume(
      CommitVolumeRequest.fromPartial({ volumeId, workspaceId, ...request }),
    );
    return Number(revision);
  }

  async put(files: Record<string, string>): Promise<number> {
    const puts = await Promise.all(Object.entries(files).map(([path, text]) => this.file(path, text)));
    return this.commit({ puts });
  }

  async files(path = ''): Promise<VolumeFile[]> {
    const request = ListVolumeFilesRequest.fromPartial({ volumeId: this.volumeId, path, limit: 1000 });
    return (await gateway.listVolumeFiles(request, { for: this.caller })).data;
  }

  async paths(path = ''): Promise<string[]> {
    return (await this.files(path)).map((file) => file.path);
  }

  async read(path: string, range: Partial<ReadVolumeFileRequest> = {}): Promise<Buffer> {
    const request = ReadVolumeFileRequest.fromPartial({ volumeId: this.volumeId, path, ...range });
    const parts: Uint8Array[] = [];
    for await (const { content } of gateway.readVolumeFile(request, { for: this.caller }))
      parts.push(content);
    return Buffer.concat(parts);
  }

  async get() {
    const { volume } = await gateway.getVolume({ volumeId: this.volumeId }, { for: this.caller });
    return volume!;
  }
}

describe('a volume', () => {
  test('is made once for each name and environment, also of ten at once', async () => {
    const caller = await bed.caller();
    const create = async (name: string, environment = '') =>
      (await gateway.createVolume({ name, environment }, { for: caller })).volume!;
    const made = await Promise.all(Array.from({ length: 10 }, () => create('models')));
    expect(new Set(made.map(({ volumeId }) => volumeId)).size).toBe(1);
    expect(made[0]).toMatchObject({
      name: 'models',
      environment: 'main',
      revision: 0n,
      files: 0n,
      bytes: 0n,
    });
    const other = await create('models', 'prod');
    expect(other.volumeId).not.toBe(made[0]!.volumeId);
    const list = async (filter: Partial<ListVolumesRequest>) =>
      (await gateway.listVolumes(ListVolumesRequest.fromPartial(filter), { for: caller })).data;
    expect(await list({})).toHaveLength(2);
    expect(await list({ environment: 'prod', name: 'models' })).toEqual([other]);
    expect(await list({ name: 'x' })).toEqual([]);
    await expect(create('models', 'x')).rejects.toMatchObject({ kind: 'not_found', field: 'environment' });
    await expect(create('a/b')).rejects.toMatchObject({ kind: 'invalid', field: 'name' });
  });

  test('that is deleted is gone with its files; one of the same name begins empty', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: '1' });
    await gateway.deleteVolume({ volumeId: volume.volumeId }, { for: volume.caller });
    for (const attempt of [() => volume.get(), () => volume.put({ a: '2' }), () => volume.files()]) {
      await expect(attempt()).rejects.toMatchObject({ kind: 'not_found', field: 'volume_id' });
    }
    const again = await gateway.createVolume({ name: 'data', environment: 'main' }, { for: volume.caller });
    expect(again.volume).toMatchObject({ files: 0n });
    const asked = { environment: 'main', names: ['other', 'data'] };
    expect(await gateway.findMissingVolumes(asked, { for: volume.caller })).toEqual({ missing: ['other'] });
  });
});

describe('commits', () => {
  test('of ten writers at once to different files are all kept, each once', async () => {
    const volume = await TestVolume.make();
    const files = await Promise.all(
      Array.from({ length: 10 }, (_, n) => volume.file(`part-${n}`, `content ${n}`)),
    );
    const revisions = await Promise.all(files.map((file) => volume.commit({ puts: [file] })));
    expect([...revisions].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await volume.paths()).toEqual(files.map(({ path }) => path).sort());
    expect(await volume.get()).toMatchObject({ revision: 10n, files: 10n, bytes: 90n });
  });

  test('to one file: the last one’s stays; a repeat, and what changes nothing, makes no revision', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: 'one' });
    expect(await volume.put({ a: 'two' })).toBe(2);
    expect(await volume.put({ a: 'two' })).toBe(2);
    expect(await volume.commit({ removes: ['not-there'] })).toBe(2);
    expect((await volume.read('a')).toString()).toBe('two');
    expect(await volume.commit({ puts: [await volume.file('a', 'two', { executable: true })] })).toBe(3);
  });

  test('that remove files merge with those that put others', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: '1', b: '2', 'dir/c': '3' });
    await Promise.all([volume.commit({ removes: ['a', 'dir/c'] }), volume.put({ b: 'new', d: '4' })]);
    expect(await volume.paths()).toEqual(['b', 'd']);
  });

  test('a file takes the place of a folder, and a folder that of a file', async () => {
    const volume = await TestVolume.make();
    await volume.put({ 'a/b/c': '1', 'a/d': '2', 'a-b': 'beside', a0: 'beside' });
    await volume.put({ a: 'a file now' });
    expect(await volume.paths()).toEqual(['a', 'a-b', 'a0']);
    await volume.put({ 'a/b/c': 'a folder again' });
    expect(await volume.paths()).toEqual(['a-b', 'a/b/c', 'a0']);
    expect(await volume.get()).toMatchObject({ files: 3n });
  });

  test('all or nothing: one bad part, and nothing of it is there', async () => {
    const volume = await TestVolume.make();
    await volume.put({ kept: 'x' });
    const good = await volume.file('good', 'x');
    const missing = VolumeFile.fromPartial({ path: 'bad', size: 3n, chunks: [hashOf(Buffer.from('y'))] });
    await expect(volume.commit({ puts: [good, missing], removes: ['kept'] })).rejects.toMatchObject({
      kind: 'precondition',
      field: 'puts',
    });
    expect(await volume.paths()).toEqual(['kept']);
    expect(await volume.get()).toMatchObject({ revision: 1n });
  });

  test.each<[string, Partial<VolumeFile>[]]>([
    ['an absolute path', [{ path: '/etc/passwd' }]],
    ['a way out', [{ path: 'a/../../b' }]],
    ['a NUL', [{ path: 'a\0b' }]],
    ['a path twice', [{ path: 'a' }, { path: 'a' }]],
    ['a file that is a folder', [{ path: 'a' }, { path: 'a/b' }]],
    ['a link with bytes', [{ path: 'a', link: 'b', size: 1n, chunks: [hashOf(Buffer.from('x'))] }]],
    ['a link to a line break', [{ path: 'a', link: 'b\nc' }]],
    ['a size without chunks', [{ path: 'a', size: 1n }]],
    ['a size that is no size', [{ path: 'a', size: -1n }]],
  ])('with %s are refused', async (_, puts) => {
    const volume = await TestVolume.make();
    const request = { puts: puts.map((put) => VolumeFile.fromPartial(put)) };
    await expect(volume.commit(request)).rejects.toMatchObject({ kind: 'invalid', field: 'puts' });
    await expect(volume.commit({ removes: ['../x'] })).rejects.toMatchObject({ field: 'removes' });
    expect(await volume.get()).toMatchObject({ revision: 0n });
  });

  test('of who may come too late leave alone what others changed meanwhile', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: 'old', b: 'old', c: 'old' });
    await volume.put({ b: 'newer' });
    const puts = [
      await volume.file('a', 'late'),
      await volume.file('b', 'late'),
      await volume.file('d', 'late'),
    ];
    await volume.commit({ puts, removes: ['c'], unlessChangedSince: 1n });
    const contents = await Promise.all((await volume.paths()).map((path) => volume.read(path)));
    expect(await volume.paths()).toEqual(['a', 'b', 'd']);
    expect(contents.map(String)).toEqual(['late', 'newer', 'late']);
  });

  test('of very many files, and of none that is too many, say so', async () => {
    const volume = await TestVolume.make();
    const chunk = await volume.file('x', 'x');
    const puts = Array.from({ length: 20_000 }, (_, n) => ({ ...chunk, path: `dir-${n % 100}/file-${n}` }));
    await volume.commit({ puts });
    expect(await volume.get()).toMatchObject({ files: 20_000n });
    const more = Array.from({ length: 80_001 }, (_, n) => ({ ...chunk, path: `more/${n}` }));
    await expect(volume.commit({ puts: more })).rejects.toMatchObject({ kind: 'too_large', field: 'puts' });
    expect(await volume.get()).toMatchObject({ files: 20_000n, revision: 1n });
  });
});

describe('files', () => {
  test('are listed by path, page by page, all or below a folder', async () => {
    const volume = await TestVolume.make();
    await volume.put({ 'a/b': '1', 'a/b2/c': '2', 'a/é 🚀': '3', b: '4' });
    expect(await volume.paths('a/b')).toEqual(['a/b']);
    expect(await volume.paths('/a/')).toEqual(['a/b', 'a/b2/c', 'a/é 🚀']);
    expect(await volume.paths('/')).toHaveLength(4);
    expect(await volume.paths('a/b/')).toEqual(['a/b']);
    const seen: string[] = [];
    let cursor = '';
    do {
      const request = ListVolumeFilesRequest.fromPartial({ volumeId: volume.volumeId, limit: 2, cursor });
      const page = await gateway.listVolumeFiles(request, { for: volume.caller });
      seen.push(...page.data.map(({ path }) => path));
      cursor = page.nextCursor;
    } while (cursor);
    expect(seen).toEqual(await volume.paths());
  });

  test('are read whole or in part, over the borders of chunks', async () => {
    const volume = await TestVolume.make();
    const content = randomBytes(2 * CHUNK_BYTES_MAX + 10);
    const empty = await volume.file('empty', '');
    const link = VolumeFile.fromPartial({ path: 'link', link: '/etc/passwd' });
    await volume.commit({ puts: [await volume.file('large', content), empty, link] });
    expect((await volume.read('large')).equals(content)).toBe(true);
    expect(await volume.read('empty')).toHaveLength(0);
    for (const [offset, length] of [
      [0, 1],
      [CHUNK_BYTES_MAX - 1, 2],
      [5, 2 * CHUNK_BYTES_MAX],
      [content.length, 0],
    ] as const) {
      const part = await volume.read('large', { offset: BigInt(offset), length: BigInt(length) });
      expect(part.equals(content.subarray(offset, offset + length))).toBe(true);
    }
    const tail = await volume.read('large', { offset: BigInt(content.length - 3) });
    expect(tail.equals(content.subarray(-3))).toBe(true);
    await expect(volume.read('large', { offset: -1n })).rejects.toMatchObject({ field: 'offset' });
    await expect(volume.read('large', { length: 1n << 50n })).rejects.toMatchObject({ kind: 'invalid' });
    await expect(volume.read('link')).rejects.toMatchObject({ kind: 'invalid', field: 'path' });
    await expect(volume.read('none')).rejects.toMatchObject({ kind: 'not_found', field: 'path' });
  });

  test('are removed one by one, or a folder at once', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: '1', 'dir/b': '2', 'dir/c/d': '3', dir2: '4' });
    const remove = async (path: string, recursive = false) =>
      (
        await gateway.removeVolumeFiles(
          { volumeId: volume.volumeId, path, recursive },
          { for: volume.caller },
        )
      ).removed;
    expect(await remove('/a')).toBe(1n);
    await expect(remove('a')).rejects.toMatchObject({ kind: 'not_found', field: 'path' });
    await expect(remove('dir')).rejects.toMatchObject({ kind: 'precondition', field: 'recursive' });
    expect(await remove('dir/', true)).toBe(2n);
    expect(await volume.paths()).toEqual(['dir2']);
    expect(await remove('/', true)).toBe(1n);
    expect(await volume.get()).toMatchObject({ files: 0n, bytes: 0n, revision: 4n });
  });

  test('are given to runners as one head, unless they know it', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: '1', 'b/c': '2' });
    const open = async (request: Partial<OpenVolumeRequest>) => {
      const { workspaceId } = volume;
      const messages = [];
      for await (const message of runner.openVolume(
        OpenVolumeRequest.fromPartial({ workspaceId, ...request }),
      )) {
        messages.push(message);
      }
      return messages;
    };
    const named = { environment: 'main', name: 'data' };
    const [head, files] = await open(named);
    expect(head!.volume).toMatchObject({ volumeId: volume.volumeId, revision: 1n });
    expect(files!.files.map(({ path }) => path)).toEqual(['a', 'b/c']);
    expect(await open({ volumeId: volume.volumeId, knownRevision: 1n })).toHaveLength(1);
    expect(await open({ ...named, knownRevision: 0n })).toHaveLength(2);
    await expect(open({ environment: 'prod', name: 'data' })).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('whose chunk is gone are data loss, and no byte of another is sent in its place', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: 'will be lost' });
    const folder = join(bed.dataDir, 'sync', 'chunks', volume.workspaceId);
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
    expect(existsSync(folder)).toBe(true);
    await expect(volume.read('a')).rejects.toMatchObject({ kind: 'data_loss' });
  });
});

describe('who may not', () => {
  const requests: Record<keyof typeof VolumeServiceService, object> = {
    createVolume: { name: 'x' },
    listVolumes: {},
    getVolume: { volumeId: newId('vo') },
    deleteVolume: { volumeId: newId('vo') },
    listVolumeFiles: { volumeId: newId('vo') },
    readVolumeFile: { volumeId: newId('vo'), path: 'x' },
    commitVolume: { volumeId: newId('vo') },
    removeVolumeFiles: { volumeId: newId('vo'), path: 'x' },
    findMissingVolumes: {},
    openVolume: {},
    fetchChunks: {},
  };
  const rpcs = Object.keys(requests) as (keyof typeof requests)[];
  const ofRunners = ['openVolume', 'fetchChunks'];
  const attempt = (client: Client, rpc: keyof typeof requests, caller?: CallContext, fields?: object) =>
    ask(VolumeServiceService, client, rpc, { ...requests[rpc], ...fields }, caller);

  test.each(rpcs)('%s refuses a caller without a token', async (rpc) => {
    const nobody = { ...(await bed.caller()), token: '' };
    await expect(attempt(gateway, rpc, nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test.each(rpcs)('%s refuses a service that is not listed', async (rpc) => {
    const scheduler = bed.connect(VolumeServiceService, 'sync', 'scheduler');
    await expect(attempt(scheduler, rpc)).rejects.toMatchObject({ kind: 'denied' });
  });

  test.each(rpcs)('%s refuses an admin key, which opens no workspace', async (rpc) => {
    const owner = await bed.caller({ workspaceId: '', scope: 'organization' });
    await expect(attempt(gateway, rpc, owner)).rejects.toMatchObject({ kind: 'denied' });
  });

  test.each(ofRunners as (keyof typeof requests)[])('%s is for runners', async (rpc) => {
    await expect(attempt(gateway, rpc, await bed.caller())).rejects.toMatchObject({ kind: 'denied' });
  });

  test('another workspace’s volume is not there, for users and for runners', async () => {
    const volume = await TestVolume.make();
    await volume.put({ a: 'theirs' });
    const foreign = await TestVolume.make();
    const { volumeId } = volume;
    const fields = { volumeId, path: 'a' };
    for (const rpc of rpcs.filter((each) => 'volumeId' in requests[each])) {
      await expect(attempt(gateway, rpc, foreign.caller, fields)).rejects.toMatchObject({
        kind: 'not_found',
        field: 'volume_id',
      });
    }
    const { workspaceId } = foreign;
    await expect(attempt(runner, 'openVolume', undefined, { volumeId, workspaceId })).rejects.toMatchObject({
      kind: 'not_found',
    });
    await expect(attempt(runner, 'commitVolume', undefined, { volumeId, workspaceId })).rejects.toMatchObject(
      {
        kind: 'not_found',
      },
    );
    const hashes = [hashOf(Buffer.from('theirs'))];
    await expect(attempt(runner, 'fetchChunks', undefined, { workspaceId, hashes })).rejects.toMatchObject({
      kind: 'data_loss',
    });
    await expect(
      attempt(gateway, 'commitVolume', foreign.caller, { ...fields, workspaceId: volume.workspaceId }),
    ).rejects.toMatchObject({ kind: 'not_found', field: 'workspace_id' });
    expect((await volume.read('a')).toString()).toBe('theirs');
  });
});
