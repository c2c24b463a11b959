import { BerthError } from '@berth/service-kit';
import { faultOfPath, PATH_BYTES_MAX, toManifest, type ManifestEntry } from './manifest';

/** A file of a volume as it is kept. A link has a target and no bytes. */
export interface VolumeEntry extends ManifestEntry {
  link: string | null;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
export const VOLUME_FILES_MAX = 100_000;
/** Of all files of a volume together. */
export const VOLUME_BYTES_MAX = 1024 ** 4;

const refuse = (field: string, why: string) => new BerthError('invalid', `${field} ${why}.`, { field });

/** Errors: `invalid`. Names of volumes stand in commands and in the definitions of functions, so they are plain. */
export function checkVolumeName(name: string): void {
  if (NAME.test(name)) return;
  throw refuse('name', "must be 1 to 63 of a-z, A-Z, 0-9, '-', '_', '.', beginning with a letter or digit");
}

/** Files that can stand beside each other in one folder. Errors: `invalid` with the field `puts`. */
export function checkPuts(puts: readonly VolumeEntry[]): VolumeEntry[] {
  for (const { link, size, chunks } of puts) {
    if (link === null) continue;
    if (size !== 0 || chunks.length > 0) throw refuse('puts', 'has a link with bytes of its own');
    if (Buffer.byteLength(link) > PATH_BYTES_MAX || /\p{Cc}/u.test(link)) {
      throw refuse('puts', 'has a link whose target is too long or has a control character');
    }
  }
  const links = new Map(puts.map(({ path, link }) => [path, link]));
  const manifest = toManifest(puts, 'puts', { entries: VOLUME_FILES_MAX, bytes: VOLUME_BYTES_MAX });
  return manifest.map((entry) => ({ ...entry, link: links.get(entry.path) ?? null }));
}

/** Errors: `invalid` with the field `removes`. */
export function checkRemoves(paths: readonly string[]): void {
  if (paths.length > VOLUME_FILES_MAX) throw refuse('removes', `has more than ${VOLUME_FILES_MAX} paths`);
  for (const path of paths) {
    const fault = faultOfPath(path);
    if (fault) throw refuse('removes', `has a path that ${fault}`);
  }
}

/** The folders that these files need: whatever file has such a name gives way. */
export function foldersOf(paths: Iterable<string>): string[] {
  const folders = new Set<string>();
  for (const path of paths) {
    for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1)) {
      const folder = path.slice(0, cut);
      if (folders.has(folder)) break;
      folders.add(folder);
    }
  }
  return [...folders];
}

/** A path as somebody types it: `/models/` is `models`, and `/` is everything, which is the empty path. */
export function typedPath(path: string): string {
  const trimmed = path.replace(/^(\.?\/)+/, '').replace(/\/+$/, '');
  return trimmed === '.' ? '' : trimmed;
}

/** Errors: `too_large` for a volume that would become too large. */
export function checkVolumeSize({ files, bytes }: { files: number; bytes: number }): void {
  if (files > VOLUME_FILES_MAX) {
    throw new BerthError(
      'too_large',
      `The volume would have ${files} files: ${VOLUME_FILES_MAX} are the most.`,
      {
        field: 'puts',
      },
    );
  }
  if (bytes > VOLUME_BYTES_MAX) {
    throw new BerthError(
      'too_large',
      `The volume would have ${bytes} bytes: ${VOLUME_BYTES_MAX} are the most.`,
      {
        field: 'puts',
      },
    );
  }
}

export interface Slice {
  hash: string;
  /** In the chunk. */
  start: number;
  end: number;
}

/** The parts of chunks that are the bytes from `offset`, `length` of them. */
export function slicesOf(
  chunks: readonly { hash: string; bytes: number }[],
  offset: number,
  length: number,
): Slice[] {
  const slices: Slice[] = [];
  let at = 0;
  for (const { hash, bytes } of chunks) {
    const start = Math.max(0, offset - at);
    const end = Math.min(bytes, offset + length - at);
    if (start < end) slices.push({ hash, start, end });
    at += bytes;
  }
  return slices;
}

export const noSuchVolume = (field = 'volume_id') =>
  new BerthError('not_found', 'No such volume in this workspace: GET /v1/volumes lists those there are.', {
    field,
  });

export const noSuchFile = () =>
  new BerthError(
    'not_found',
    'The volume has no such file: GET /v1/volumes/{volume_id}/files lists those there are.',
    {
      field: 'path',
    },
  );
