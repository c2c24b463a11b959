/** Source trees on a node's disk: fetched once, kept while they are mounted, and not for ever after. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TreeEntry, type FetchTreeResponse } from '@berth/contracts/sync/v1/sync';
import { BerthError, createLogger } from '@berth/service-kit';
import { eventually } from '@berth/testing';
import { openSources, type HeldSource, type Sources, type SourcesKept } from '../src/containers/sources';

const log = createLogger('runner', 'silent');
const CONTENT = 'x'.repeat(1000);
let folder: string;
let fetched: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-sources-'));
  fetched = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

async function* fetchTree({ treeId }: { treeId: string }): AsyncGenerator<FetchTreeResponse> {
  fetched.push(treeId);
  if (treeId === 'tr-none') throw new BerthError('not_found', 'No such tree.');
  const entry = TreeEntry.fromPartial({ path: 'a/main.py', size: BigInt(CONTENT.length) });
  yield { part: { $case: 'entry', value: entry } };
  yield { part: { $case: 'content', value: Buffer.from(CONTENT) } };
}

const open = (kept: Partial<SourcesKept> = {}) =>
  openSources(folder, { fetchTree: fetchTree as never }, log, { trees: 1000, bytes: 1e9, ...kept });
const hold = async (sources: Sources, treeId: string): Promise<HeldSource> => {
  const held = sources.hold('wo-1', treeId);
  expect(readFileSync(join(await held.folder, 'a/main.py'), 'utf8')).toBe(CONTENT);
  return held;
};
const here = () => readdirSync(join(folder, 'wo-1')).sort();
const becomes = (trees: string[]) =>
  eventually(() => here().join() === trees.join() && readdirSync(join(folder, 'unfinished')).length === 0);

test('of trees that nobody mounts, the least recently used go', async () => {
  const sources = await open({ trees: 2 });
  const mounted = await hold(sources, 'tr-0');
  const held: HeldSource[] = [];
  for (const tree of ['tr-1', 'tr-2', 'tr-3', 'tr-4']) held.push(await hold(sources, tree));
  const [one, two, three, four] = held as [HeldSource, HeldSource, HeldSource, HeldSource];
  for (const each of [two, one, three, one]) each.release(); // What is let go twice is let go once.
  await becomes(['tr-0', 'tr-1', 'tr-3', 'tr-4']);
  const again = await hold(sources, 'tr-1');
  four.release();
  (await hold(sources, 'tr-4')).release();
  await becomes(['tr-0', 'tr-1', 'tr-3', 'tr-4']);
  again.release();
  await becomes(['tr-0', 'tr-1', 'tr-4']);
  expect(fetched).toEqual(['tr-0', 'tr-1', 'tr-2', 'tr-3', 'tr-4']);
  mounted.release();

  // One that went is fetched again.
  await hold(sources, 'tr-2');
  expect(fetched.at(-1)).toBe('tr-2');
});

test('one that two containers mount stays until both have ended', async () => {
  const sources = await open({ trees: 0 });
  const [first, second] = await Promise.all([hold(sources, 'tr-1'), hold(sources, 'tr-1')]);
  first.release();
  (await hold(sources, 'tr-2')).release();
  await becomes(['tr-1']);
  second.release();
  await becomes([]);
  expect(fetched).toEqual(['tr-1', 'tr-2']);
});

test('they take no more bytes than they may', async () => {
  const sources = await open({ bytes: 2 * CONTENT.length + 1 });
  const held = [];
  for (let n = 0; n < 5; n++) held.push(await hold(sources, `tr-${n}`));
  for (const each of held) each.release();
  await becomes(['tr-3', 'tr-4']);
});

test('a new start knows what is here, and removes what was used longest ago', async () => {
  const before = await open();
  const pathOf = (tree: string) => join(folder, 'wo-1', tree);
  for (const tree of ['tr-1', 'tr-2', 'tr-3']) await hold(before, tree);
  utimesSync(pathOf('tr-1'), 1000, 1000);
  utimesSync(pathOf('tr-2'), 2000, 2000);
  utimesSync(pathOf('tr-3'), 3000, 3000);
  (await hold(before, 'tr-1')).release();
  await eventually(() => statSync(pathOf('tr-1')).mtimeMs > 3_000_000);
  const after = await open({ trees: 2 });
  await becomes(['tr-1', 'tr-3']);
  await hold(after, 'tr-3');
  expect(fetched).toEqual(['tr-1', 'tr-2', 'tr-3']);
});

test('one that cannot be fetched is tried anew by the next, whoever let go of it before', async () => {
  const sources = await open();
  const failed = sources.hold('wo-1', 'tr-none');
  await expect(failed.folder).rejects.toMatchObject({ kind: 'not_found' });
  const next = sources.hold('wo-1', 'tr-none');
  failed.release();
  await expect(next.folder).rejects.toMatchObject({ kind: 'not_found' });
  expect(fetched).toEqual(['tr-none', 'tr-none']);
  expect(existsSync(join(folder, 'wo-1'))).toBe(false);
});
