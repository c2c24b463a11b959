import fc from 'fast-check';
import { CHUNK_BYTES_MAX, cutChunks, hashOf } from '../src/domain/chunk';
import {
  contentHashOf,
  ENTRIES_MAX,
  faultOfPath,
  toManifest,
  type ManifestEntry,
} from '../src/domain/manifest';

const HASH = hashOf(Buffer.from('x'));
const aFile = (path: string, more: Partial<ManifestEntry> = {}): ManifestEntry => ({
  path,
  executable: false,
  size: 1,
  chunks: [HASH],
  ...more,
});
const invalid = { kind: 'invalid', field: 'entries' };
const manifestOf = (...entries: ManifestEntry[]) => toManifest(entries, 'entries');

test.each(['a', 'a/b', '.a', '..a', 'a..', 'a/...', 'été/計算/🚀.py', 'x'.repeat(255), 'back\\slash', ' '])(
  'the path %j is one',
  (path) => expect(faultOfPath(path)).toBeUndefined(),
);

test.each([
  '',
  '/',
  '/a',
  '.',
  '..',
  './a',
  '../a',
  'a/..',
  'a/../b',
  'a/./b',
  'a//b',
  'a/',
  'a\0b',
  'a\nb',
  '\u007f',
  '\u0085',
  'x'.repeat(256),
  '🚀'.repeat(64),
  'a/'.repeat(2048) + 'b',
])('the path %j is refused', (path) => {
  expect(faultOfPath(path)).toBeDefined();
  expect(() => manifestOf(aFile(path))).toThrow(expect.objectContaining(invalid));
});

test.each<[string, ManifestEntry[]]>([
  ['a path twice', [aFile('a'), aFile('b'), aFile('a', { executable: true })]],
  ['a file that is the folder of another', [aFile('a'), aFile('a!'), aFile('a-b'), aFile('a/b/c')]],
  ['bytes without chunks', [aFile('a', { chunks: [] })]],
  ['chunks without bytes', [aFile('a', { size: 0 })]],
  ['a negative size', [aFile('a', { size: -1 })]],
  ['a size beyond numbers', [aFile('a', { size: Number(2n ** 60n) })]],
  ['more than fits', [aFile('a', { size: 2 ** 40 })]],
  ['a hash that is none', [aFile('a', { chunks: [HASH.toUpperCase()] })]],
  ['too many files', Array.from({ length: ENTRIES_MAX + 1 }, (_, n) => aFile(String(n)))],
])('refuses %s', (_, entries) => {
  expect(() => manifestOf(...entries)).toThrow(expect.objectContaining(invalid));
});

test('the order in which files are given does not matter; anything else does', () => {
  const files = [aFile('a'), aFile('a-b'), aFile('b/c'), aFile('b/d')];
  const hash = contentHashOf(manifestOf(...files));
  fc.assert(
    fc.property(fc.shuffledSubarray(files, { minLength: files.length }), (shuffled) => {
      expect(contentHashOf(manifestOf(...shuffled))).toBe(hash);
    }),
  );
  const others = [
    files.slice(1),
    [...files, aFile('e')],
    [aFile('a', { executable: true }), ...files.slice(1)],
    [aFile('a', { chunks: [HASH, HASH], size: 2 }), ...files.slice(1)],
    [aFile('A'), ...files.slice(1)],
  ].map((entries) => contentHashOf(manifestOf(...entries)));
  expect(new Set([hash, ...others]).size).toBe(6);
});

test('a file under another is found, whatever else is there', () => {
  const segment = fc.constantFrom('a', 'a!', 'a-', 'a.b', 'b', 'é', '🚀', '\ud7ff', '\uffee');
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/'));
  fc.assert(
    fc.property(fc.uniqueArray(path, { maxLength: 12 }), (paths) => {
      const clash = paths.some((each) => paths.some((other) => other.startsWith(`${each}/`)));
      const make = () => manifestOf(...paths.map((each) => aFile(each)));
      if (clash) expect(make).toThrow('is a file and the folder of');
      else expect(make()).toHaveLength(paths.length);
    }),
  );
});

test('content is cut into chunks of the largest size, and nothing into none', () => {
  expect(cutChunks(Buffer.alloc(0))).toEqual([]);
  const content = Buffer.alloc(2 * CHUNK_BYTES_MAX + 1, 7);
  const chunks = cutChunks(content);
  expect(chunks.map(({ length }) => length)).toEqual([CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 1]);
  expect(Buffer.concat(chunks).equals(content)).toBe(true);
});
