import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FetchTreeResponse, SyncServiceService, TreeEntry } from '@berth/contracts/sync/v1/sync';
import { drift, newId } from '@berth/database';
import type { CallContext, ClientOf, RunningService } from '@berth/service-kit';
import { ask, testBed, type TestBed } from '@berth/testing';
import { CHUNK_BYTES_MAX, hashOf } from '../src/domain/chunk';
import { sync } from '../src/service';

type Client = ClientOf<typeof SyncServiceService>;

let bed: TestBed;
let running: RunningService;
let gateway: Client;
let runner: Client;

beforeAll(async () => {
  bed = await testBed();
  running = await bed.start(sync);
  gateway = bed.connect(SyncServiceService, 'sync', 'gateway');
  runner = bed.connect(SyncServiceService, 'sync', 'runner');
});
afterAll(() => bed?.close());

const aCaller = async () => {
  const workspaceId = newId('wo');
  return { workspaceId, caller: await bed.caller({ workspaceId, role: 'member' }) };
};
const chunkPath = (workspaceId: string, hash: string) =>
  join(bed.dataDir, 'sync', 'chunks', workspaceId, hash.slice(0, 2), hash);
const put = (content: Buffer, caller: CallContext, hash = hashOf(content)) =>
  gateway.putChunk({ hash, content, workspaceId: '' }, { for: caller });
const missing = async (hashes: string[], caller: CallContext) =>
  (await gateway.findMissingChunks({ hashes, workspaceId: '' }, { for: caller })).missing;
const fromFiles = async (files: Record<string, string>, caller: CallContext) =>
  (await gateway.createTreeFromFiles({ files }, { for: caller })).tree!;
const fromEntries = async (entries: Partial<TreeEntry>[], caller: CallContext) =>
  (
    await gateway.createTree(
      { entries: entries.map((entry) => TreeEntry.fromPartial(entry)) },
      { for: caller },
    )
  ).tree!;

/** What a runner gets: path to bytes, in the order in which files came. */
const fetched = async (workspaceId: string, treeId: string) => {
  const files = new Map<string, { executable: boolean; content: Buffer }>();
  let current: { executable: boolean; content: Buffer } | undefined;
  for await (const { part } of runner.fetchTree({ workspaceId, treeId })) {
    if (part!.$case === 'entry') {
      current = { executable: part!.value.executable, content: Buffer.alloc(0) };
      files.set(part!.value.path, current);
    } else {
      current!.content = Buffer.concat([current!.content, part!.value]);
    }
  }
  return files;
};

test('migrations and entities agree', async () => {
  expect(await drift({ ...sync.database!, url: bed.env.BERTH_SYNC_POSTGRES_URL! })).toEqual([]);
});

describe('chunks', () => {
  test('are missing until they are put, for each workspace on its own', async () => {
    const [own, foreign] = [await aCaller(), await aCaller()];
    const content = randomBytes(1000);
    const [hash, other] = [hashOf(content), hashOf(randomBytes(10))];
    expect(await missing([hash, other, hash], own.caller)).toEqual([hash, other]);
    await put(content, own.caller);
    expect(await missing([hash, other], own.caller)).toEqual([other]);
    expect(await missing([hash], foreign.caller)).toEqual([hash]);
  });

  test('one that is put again, also at once, is one whole file and nothing beside it', async () => {
    const { caller, workspaceId } = await aCaller();
    const content = randomBytes(CHUNK_BYTES_MAX);
    await Promise.all(Array.from({ length: 4 }, () => put(content, caller)));
    await put(content, caller);
    const folder = join(chunkPath(workspaceId, hashOf(content)), '..');
    expect(readdirSync(folder)).toEqual([hashOf(content)]);
    expect(readdirSync(join(bed.dataDir, 'sync', 'aside'))).toEqual([]);
  });

  test('is read back by its own workspace only', async () => {
    const [own, foreign] = [await aCaller(), await aCaller()];
    const content = randomBytes(1000);
    const hash = hashOf(content);
    await put(content, own.caller);
    expect(await gateway.getChunk({ hash }, { for: own.caller })).toEqual({ content });
    const notFound = { kind: 'not_found', field: 'hash' };
    await expect(gateway.getChunk({ hash }, { for: foreign.caller })).rejects.toMatchObject(notFound);
    await expect(gateway.getChunk({ hash: '../x' }, { for: own.caller })).rejects.toMatchObject({
      kind: 'invalid',
    });
    writeFileSync(chunkPath(own.workspaceId, hash), 'damaged');
    await expect(gateway.getChunk({ hash }, { for: own.caller })).rejects.toMatchObject(notFound);
  });

  test.each<[string, Buffer, string | undefined, string]>([
    ['nothing', Buffer.alloc(0), undefined, 'content'],
    ['a byte too many', Buffer.alloc(CHUNK_BYTES_MAX + 1), undefined, 'content'],
    ['other content', Buffer.from('a'), hashOf(Buffer.from('b')), 'content'],
    ['a hash in capitals', Buffer.from('a'), hashOf(Buffer.from('a')).toUpperCase(), 'hash'],
    ['a hash that is a path', Buffer.from('a'), '../'.repeat(21) + 'x', 'hash'],
    ['no hash', Buffer.from('a'), '', 'hash'],
  ])('refuses %s', async (_, content, hash, field) => {
    const { caller } = await aCaller();
    await expect(put(content, caller, hash)).rejects.toMatchObject({ kind: 'invalid', field });
  });

  test('refuses to look for what is no hash, and for too many', async () => {
    const { caller } = await aCaller();
    for (const hashes of [['x'], Array<string>(10_001).fill(hashOf(Buffer.from('a')))]) {
      await expect(missing(hashes, caller)).rejects.toMatchObject({ kind: 'invalid', field: 'hashes' });
    }
  });

  test('what a killed process left half-written is gone after a start', async () => {
    const aside = join(bed.dataDir, 'sync', 'aside');
    await running[Symbol.asyncDispose]();
    mkdirSync(aside, { recursive: true });
    writeFileSync(join(aside, 'half'), 'x');
    running = await bed.start(sync);
    expect(readdirSync(aside)).toEqual([]);
  });
});

describe('trees', () => {
  test('source given as text comes back byte for byte at the runner', async () => {
    const { caller, workspaceId } = await aCaller();
    const files = {
      'main.py': 'print("été 🚀")\r\n',
      'pkg/empty.txt': '',
      'pkg/large.txt': randomBytes(CHUNK_BYTES_MAX).toString('hex'), // Two chunks.
      'pkg-b.txt': 'same',
      'pkg/copy.txt': 'same',
    };
    const tree = await fromFiles(files, caller);
    expect(tree.treeId).toMatch(/^tr-[0-9A-Za-z]{22}$/);
    const got = await fetched(workspaceId, tree.treeId);
    expect(Object.fromEntries([...got].map(([path, { content }]) => [path, content.toString()]))).toEqual(
      files,
    );
  });

  test('the same content is the same tree, however it is made, in whatever order, and at once', async () => {
    const { caller } = await aCaller();
    const [a, b] = [Buffer.from('aaa'), Buffer.from('b')];
    const made = await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        fromFiles(n % 2 ? { a: 'aaa', b: 'b' } : { b: 'b', a: 'aaa' }, caller),
      ),
    );
    const entries = [
      { path: 'b', size: 1n, chunks: [hashOf(b)] },
      { path: 'a', size: 3n, chunks: [hashOf(a)] },
    ];
    made.push(await fromEntries(entries, caller));
    expect(new Set(made.map(({ treeId }) => treeId)).size).toBe(1);
    const other = await fromEntries([entries[0]!, { ...entries[1], executable: true }], caller);
    expect(other.treeId).not.toBe(made[0]!.treeId);
    expect(await gateway.getTree({ treeId: other.treeId, workspaceId: '' }, { for: caller })).toEqual({
      tree: other,
    });
  });

  test('executable files stay so', async () => {
    const { caller, workspaceId } = await aCaller();
    const content = Buffer.from('#!/bin/sh\n');
    await put(content, caller);
    const entry = { path: 'run', executable: true, size: 10n, chunks: [hashOf(content)] };
    const { treeId } = await fromEntries([entry], caller);
    expect(await fetched(workspaceId, treeId)).toEqual(new Map([['run', { executable: true, content }]]));
  });

  test('a tree whose chunk is missing is not made; put it, and it is', async () => {
    const { caller } = await aCaller();
    const content = randomBytes(10);
    const entry = { path: 'a', size: 10n, chunks: [hashOf(content)] };
    await expect(fromEntries([entry], caller)).rejects.toMatchObject({
      kind: 'precondition',
      field: 'entries',
    });
    await put(content, (await aCaller()).caller); // Somebody else's chunk does not count.
    await expect(fromEntries([entry], caller)).rejects.toMatchObject({ kind: 'precondition' });
    await put(content, caller);
    await fromEntries([entry], caller);
    await expect(fromEntries([{ ...entry, size: 11n }], caller)).rejects.toMatchObject({
      kind: 'invalid',
      field: 'entries',
    });
  });

  test.each<[string, Record<string, string>]>([
    ['no file', {}],
    ['an absolute path', { '/etc/passwd': '' }],
    ['a way out', { 'a/../../b': '' }],
    ['a file that is a folder', { a: '', 'a/b': '' }],
    ['a NUL', { 'a\0': '' }],
  ])('refuses %s before anything is written', async (_, files) => {
    const { caller, workspaceId } = await aCaller();
    await expect(
      fromFiles({ ...files, ...(Object.keys(files).length && { ok: 'x' }) }, caller),
    ).rejects.toMatchObject({
      kind: 'invalid',
      field: 'files',
    });
    expect(() => readdirSync(join(bed.dataDir, 'sync', 'chunks', workspaceId))).toThrow('ENOENT');
  });

  test('another workspace’s tree is not there, for users and for runners', async () => {
    const [own, foreign] = [await aCaller(), await aCaller()];
    const { treeId } = await fromFiles({ a: 'secret' }, own.caller);
    const notFound = { kind: 'not_found', field: 'tree_id' };
    for (const id of [treeId, newId('tr'), '', 'a\0b']) {
      await expect(
        gateway.getTree({ treeId: id, workspaceId: '' }, { for: foreign.caller }),
      ).rejects.toMatchObject(notFound);
      await expect(fetched(foreign.workspaceId, id)).rejects.toMatchObject(notFound);
    }
    await expect(fetched('../x', treeId)).rejects.toMatchObject(notFound);
  });

  test.each<[string, (path: string) => void]>([
    ['changed', (path) => writeFileSync(path, 'tampered')],
    ['cut short', (path) => truncateSync(path, 1)],
    ['gone', (path) => unlinkSync(path)],
  ])(
    'a chunk that is %s is data loss, no byte of it is sent, and putting it again mends it',
    async (_, harm) => {
      const { caller, workspaceId } = await aCaller();
      const { treeId, entries } = await fromFiles({ a: 'original', b: 'intact' }, caller);
      harm(chunkPath(workspaceId, entries[0]!.chunks[0]!));
      const parts: FetchTreeResponse[] = [];
      const reading = (async () => {
        for await (const part of runner.fetchTree({ workspaceId, treeId })) parts.push(part);
      })();
      await expect(reading).rejects.toMatchObject({ kind: 'data_loss' });
      expect(parts.map(({ part }) => part!.$case)).not.toContain('content');

      await fromFiles({ a: 'original', b: 'intact' }, caller);
      expect((await fetched(workspaceId, treeId)).get('a')!.content.toString()).toBe('original');
    },
  );

  test('trees and chunks outlive the service', async () => {
    const { caller, workspaceId } = await aCaller();
    const { treeId } = await fromFiles({ a: 'kept' }, caller);
    await running[Symbol.asyncDispose]();
    running = await bed.start(sync);
    expect((await fetched(workspaceId, treeId)).get('a')!.content.toString()).toBe('kept');
  });
});

describe('who may not', () => {
  const requests: Record<keyof typeof SyncServiceService, object> = {
    findMissingChunks: {},
    putChunk: { hash: hashOf(Buffer.from('x')), content: Buffer.from('x') },
    createTree: {},
    createTreeFromFiles: { files: { a: 'x' } },
    getTree: { treeId: newId('tr') },
    getChunk: { hash: hashOf(Buffer.from('x')) },
    fetchTree: { treeId: newId('tr'), workspaceId: newId('wo') },
  };
  const rpcs = Object.keys(requests) as (keyof typeof requests)[];
  const attempt = (client: Client, rpc: keyof typeof requests, caller?: CallContext) =>
    ask(SyncServiceService, client, rpc, requests[rpc], caller);

  test.each(rpcs)('%s refuses a caller without a token', async (rpc) => {
    const nobody = { ...(await bed.caller()), token: '' };
    await expect(attempt(gateway, rpc, nobody)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test.each(rpcs)('%s refuses a service that is not listed', async (rpc) => {
    const scheduler = bed.connect(SyncServiceService, 'sync', 'scheduler');
    await expect(attempt(scheduler, rpc)).rejects.toMatchObject({ kind: 'denied' });
  });

  test.each(rpcs.filter((rpc) => rpc !== 'fetchTree'))(
    '%s refuses an admin key, which opens no workspace',
    async (rpc) => {
      const owner = await bed.caller({ workspaceId: '', scope: 'organization' });
      await expect(attempt(gateway, rpc, owner)).rejects.toMatchObject({ kind: 'denied' });
    },
  );

  test('no user fetches a tree as runners do', async () => {
    await expect(attempt(gateway, 'fetchTree', await bed.caller())).rejects.toMatchObject({ kind: 'denied' });
  });
});
