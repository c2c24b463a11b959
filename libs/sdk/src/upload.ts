import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Http } from './http';
import type { Tree, TreeEntry } from './types';

/** Bytes of one chunk at most; what sync accepts. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
const PARALLEL = 4;
const HASHES_MAX = 10_000;
/** Never source: what tools leave behind. */
const LEFT_OUT = new Set([
  'node_modules',
  '__pycache__',
  '.git',
  '.venv',
  '.DS_Store',
  '.berth',
  '.mypy_cache',
  '.pytest_cache',
  '.ruff_cache',
]);

export interface UploadProgress {
  files: number;
  bytesTotal: number;
  bytesMoved: number;
}

/** Whether a path below a folder of source is source, too. */
export const isSource = (path: string): boolean => !path.split(sep).some((part) => LEFT_OUT.has(part));

/** The regular files below `folder` as `/`-separated paths, sorted; symlinks and tools' leftovers are left out. */
export async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep))
    .filter((parts) => !parts.some((part) => LEFT_OUT.has(part)))
    .map((parts) => parts.join('/'))
    .sort();
}

interface Piece {
  hash: string;
  file: string;
  start: number;
  length: number;
}

async function* piecesOf(file: string): AsyncGenerator<Piece> {
  let start = 0;
  for await (const content of createReadStream(file, { highWaterMark: CHUNK_BYTES })) {
    const bytes = content as Buffer;
    yield { hash: createHash('sha256').update(bytes).digest('hex'), file, start, length: bytes.length };
    start += bytes.length;
  }
}

/** Uploads a folder: only the chunks that the workspace does not have yet. The same content is the same tree. */
export async function uploadFolder(
  http: Http,
  folder: string,
  onProgress?: (progress: UploadProgress) => void,
): Promise<Tree> {
  const paths = await listFiles(folder);
  if (paths.length === 0) throw new Error(`${folder} holds no files to upload.`);
  const files = paths.map((path) => ({ path, file: join(folder, path) }));
  const entries = await moveFiles(http, files, onProgress);
  return http.json<Tree>('POST', '/v1/trees', { body: { entries } });
}

/** Moves the chunks of files that the workspace lacks, and gives the files as entries of a tree or a volume. */
export async function moveFiles(
  http: Http,
  files: readonly { path: string; file: string }[],
  onProgress?: (progress: UploadProgress) => void,
): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  const pieces = new Map<string, Piece>();
  for (const { path, file } of files) {
    const { mode } = await stat(file);
    const entry = { path, executable: (mode & 0o100) !== 0, size: 0, chunks: [] as string[] };
    for await (const piece of piecesOf(file)) {
      pieces.set(piece.hash, piece);
      entry.chunks.push(piece.hash);
      entry.size += piece.length;
    }
    entries.push(entry);
  }

  const hashes = [...pieces.keys()];
  const missing: Piece[] = [];
  for (let from = 0; from < hashes.length; from += HASHES_MAX) {
    const answer = await http.json<{ missing: string[] }>('POST', '/v1/chunks/missing', {
      body: { hashes: hashes.slice(from, from + HASHES_MAX) },
    });
    missing.push(...answer.missing.map((hash) => pieces.get(hash)!));
  }

  const progress = {
    files: entries.length,
    bytesTotal: missing.reduce((sum, { length }) => sum + length, 0),
    bytesMoved: 0,
  };
  onProgress?.(progress);
  const queue = [...missing];
  const move = async () => {
    for (let piece = queue.shift(); piece; piece = queue.shift()) {
      const { file, start, length, hash } = piece;
      const parts: Buffer[] = [];
      for await (const part of createReadStream(file, { start, end: start + length - 1 }))
        parts.push(part as Buffer);
      await http.json('PUT', `/v1/chunks/${hash}`, { bytes: Buffer.concat(parts) });
      progress.bytesMoved += length;
      onProgress?.(progress);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, move));
  return entries;
}
