import { createHash } from 'node:crypto';
import { BerthError } from '@berth/service-kit';

/** Bytes of the largest chunk. */
export const CHUNK_BYTES_MAX = 4 * 1024 * 1024;

const HASH = /^[0-9a-f]{64}$/;

export const isHash = (text: string): boolean => HASH.test(text);

export const hashOf = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');

/** Errors: `invalid` when `content` is not what `hash` names, or has no size that a chunk may have. */
export function checkChunk(hash: string, content: Uint8Array): void {
  checkHash(hash, 'hash');
  if (content.length === 0) throw invalid('content is empty: a chunk has at least 1 byte.', 'content');
  if (content.length > CHUNK_BYTES_MAX) {
    throw invalid(`content is larger than ${CHUNK_BYTES_MAX} bytes: cut it into several chunks.`, 'content');
  }
  if (hashOf(content) !== hash) {
    throw invalid('content does not have this SHA-256: it may have been damaged on its way.', 'content');
  }
}

/** Errors: `invalid`. */
export function checkHash(hash: string, field: string): void {
  if (!isHash(hash)) throw invalid(`${field} is not a SHA-256 in 64 lower-case hex digits.`, field);
}

const invalid = (message: string, field: string) => new BerthError('invalid', message, { field });

/** Cuts content into chunks of the largest size; nothing for nothing. */
export function cutChunks(content: Buffer): Buffer[] {
  const chunks = [];
  for (let at = 0; at < content.length; at += CHUNK_BYTES_MAX) {
    chunks.push(content.subarray(at, at + CHUNK_BYTES_MAX));
  }
  return chunks;
}
