/**
 * A manifest: the files of a tree in one order that follows from their paths alone, so that the same files are the
 * same manifest, the same hash and the same tree, in whatever order they were given.
 */
import { createHash } from 'node:crypto';
import { BerthError } from '@berth/service-kit';
import { checkHash } from './chunk';

export interface ManifestEntry {
  path: string;
  executable: boolean;
  /** Bytes. */
  size: number;
  chunks: string[];
}

export const ENTRIES_MAX = 100_000;
export const PATH_BYTES_MAX = 4096;
/** What Linux allows a name in a folder to have. */
export const SEGMENT_BYTES_MAX = 255;
/** Of all files of a tree together. */
export const TREE_BYTES_MAX = 64 * 1024 ** 3;

/**
 * The entries as a manifest. What chunks hold is checked elsewhere (`checkSizes`): here only what entries say.
 * Errors: `invalid` with `field`.
 */
export function toManifest(
  entries: readonly ManifestEntry[],
  field: string,
  max = { entries: ENTRIES_MAX, bytes: TREE_BYTES_MAX },
): ManifestEntry[] {
  const refuse = (why: string) => new BerthError('invalid', `${field}: ${why}`, { field });
  if (entries.length > max.entries) {
    throw refuse(`there are more than ${max.entries} files: give them in several parts.`);
  }
  let bytes = 0;
  for (const { path, size, chunks } of entries) {
    const fault = faultOfPath(path);
    if (fault) throw refuse(`the path ${shown(path)} ${fault}.`);
    if (!Number.isSafeInteger(size) || size < 0) throw refuse(`the size of ${shown(path)} is no size.`);
    if ((size === 0) !== (chunks.length === 0)) {
      throw refuse(
        `${shown(path)} has ${size} bytes in ${chunks.length} chunks: only an empty file has none.`,
      );
    }
    for (const hash of chunks) checkHash(hash, field);
    bytes += size;
  }
  if (bytes > max.bytes) throw refuse(`the files are larger than ${max.bytes} bytes together.`);

  const sorted = entries
    .map(({ path, executable, size, chunks }) => ({
      order: path.replaceAll('/', '\0'),
      entry: { path, executable, size, chunks },
    }))
    .sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
  // With the separator first in the order, whatever is below a path stands right after it.
  for (const [index, { order, entry }] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next?.order === order) throw refuse(`the path ${shown(entry.path)} comes twice.`);
    if (next?.order.startsWith(`${order}\0`)) {
      throw refuse(`${shown(entry.path)} is a file and the folder of ${shown(next.entry.path)}.`);
    }
  }
  return sorted.map(({ entry }) => entry);
}

/** Why a path cannot be; undefined for one that can. */
export function faultOfPath(path: string): string | undefined {
  if (path === '') return 'is empty';
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) return `is longer than ${PATH_BYTES_MAX} bytes`;
  if (/\p{Cc}/u.test(path)) return 'has a control character';
  if (path.startsWith('/')) return 'is absolute: give it relative to the root of the tree';
  const segments = path.split('/');
  if (segments.includes('')) return 'has an empty segment';
  if (segments.includes('..') || segments.includes('.')) return "has a segment '.' or '..'";
  if (segments.some((segment) => Buffer.byteLength(segment) > SEGMENT_BYTES_MAX)) {
    return `has a segment longer than ${SEGMENT_BYTES_MAX} bytes`;
  }
  return undefined;
}

/** A path as an error may show it: short, on one line. */
const shown = (path: string): string => JSON.stringify(path.length > 100 ? `${path.slice(0, 100)}…` : path);

/** SHA-256 over the manifest, entry by entry, each as one line of JSON: no two manifests read the same. */
export function contentHashOf(manifest: readonly ManifestEntry[]): string {
  const hash = createHash('sha256');
  for (const { path, executable, size, chunks } of manifest) {
    hash.update(`${JSON.stringify([path, executable, size, chunks])}\n`);
  }
  return hash.digest('hex');
}

/**
 * Whether every chunk is there (`sizeOf` knows it) and each file is as large as its chunks.
 * Errors: `precondition` for a missing chunk; `invalid` for a size.
 */
export function checkSizes(
  manifest: readonly ManifestEntry[],
  sizeOf: ReadonlyMap<string, number | undefined>,
  field: string,
): void {
  for (const { path, size, chunks } of manifest) {
    let bytes = 0;
    for (const hash of chunks) {
      const chunkBytes = sizeOf.get(hash);
      if (chunkBytes === undefined) {
        throw new BerthError(
          'precondition',
          `The chunk ${hash} of ${shown(path)} is missing: put it first.`,
          {
            field,
          },
        );
      }
      bytes += chunkBytes;
    }
    if (bytes !== size) {
      throw new BerthError(
        'invalid',
        `${field}: ${shown(path)} says ${size} bytes, its chunks have ${bytes}.`,
        {
          field,
        },
      );
    }
  }
}
